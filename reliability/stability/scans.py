"""The twelve volumes, and the voxels of each whose values are kept."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from benchmarks.volumes import PACKAGED, TITLES, load_volume, volume_exists

TWELVE = {
    "t1w_head_memprage_3t_fnndsc_adi": TITLES["t1w_head_memprage_3t_fnndsc_adi"],
    "t1w_head_studyforrest_0p7mm": TITLES["t1w_head_studyforrest_0p7mm"],
    "t1w_head_gre_3t_uih_0p5mm": TITLES["t1w_head_gre_3t_uih_0p5mm"],
    "t1gd_brain_skullstripped_uint8_sclslope": TITLES["t1gd_brain_skullstripped_uint8_sclslope"],
    "flair_head_ms_3mm": TITLES["flair_head_ms_3mm"],
    "flair_head_tcga_thick5p5mm_oblique": TITLES["flair_head_tcga_thick5p5mm_oblique"],
    "epi_7t_layerfmri_oblique_sclslope": TITLES["epi_7t_layerfmri_oblique_sclslope"],
    "brain_2d_rss8ch_sigpy": TITLES["brain_2d_rss8ch_sigpy"],
    "mouse_anat_small_sammba": TITLES["mouse_anat_small_sammba"],
    "abdomen_mr_3mm_negative_totalseg": "abdomen, 3 mm",
    "pelvis_pd_3t_surfacecoil_prostatex": "pelvis, PD, 1.5 × 1.5 × 3 mm",
    "pelvis_tfl_small_64x48x36_prostatex": "pelvis, TurboFLASH, 6 mm",
}
"""The volumes by their files in ``../shared/data``, and what they are called on the page."""

LARGE = 500_000
"""With more voxels in the mask than this, the field is estimated on every fourth voxel along each
axis, as pipelines do."""

KEPT = 50_000
"""As many voxels of the mask, drawn at random, are kept of every result."""


class Scan(NamedTuple):
    """A volume with its mask, and how it is corrected."""

    name: str
    title: str
    image: npt.NDArray[np.float32]
    """The last axis is ITK's x."""
    mask: npt.NDArray[np.uint8]
    spacing: tuple[float, ...]
    """Voxel size in mm, with the axes in the order of ``image``."""
    shrink: int
    kept: npt.NDArray[np.int64]
    """The voxels of the mask that are kept, as indices into the flat image."""

    @property
    def voxels(self) -> int:
        """Number of voxels in the mask."""
        return int(np.count_nonzero(self.mask))


def list_scans() -> list[str]:
    """The names of the volumes that are on this machine; without any, the packaged head."""
    there = [name for name in TWELVE if volume_exists(name)]
    return there or [PACKAGED]


def load_scan(name: str, every: int = 1) -> Scan:
    """Load a volume, with every ``every``-th voxel along each axis."""
    volume = load_volume(name, every)
    inside = np.flatnonzero(volume.mask)
    kept = inside
    if len(inside) > KEPT:
        kept = np.sort(np.random.default_rng(0).choice(inside, KEPT, replace=False))
    return Scan(
        name=name,
        title=TWELVE.get(name) or TITLES[name],
        image=volume.image,
        mask=volume.mask,
        spacing=volume.spacing,
        shrink=4 if len(inside) > LARGE else 1,
        kept=kept,
    )
