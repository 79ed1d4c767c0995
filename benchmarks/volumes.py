"""The volumes that are measured, and how far apart two fields are on them."""

import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import nibabel as nib
import numpy as np
import numpy.typing as npt

import n4ax
from benchmarks.peers import ROOT

DATA = ROOT.parent / "shared" / "data"
ORACLE = ROOT.parent / "shared" / "oracle"
PACKAGED = "packaged head"
T1W = "t1w_head_memprage_3t_fnndsc_adi"
FLAIR = "flair_head_tcga_thick5p5mm_oblique"
TITLES = {
    PACKAGED: "packaged T1w head",
    T1W: "T1w head, 1.1 mm",
    FLAIR: "FLAIR head, 0.9 × 0.9 × 5.5 mm",
    "t1w_head_studyforrest_0p7mm": "T1w head, 0.7 mm",
    "t1w_head_gre_3t_uih_0p5mm": "T1w head, 0.5 × 0.5 × 1 mm",
    "flair_head_ms_3mm": "FLAIR head, 0.7 × 0.7 × 3 mm",
    "t1gd_brain_skullstripped_uint8_sclslope": "T1w brain with Gd, 1 mm",
    "epi_7t_layerfmri_oblique_sclslope": "EPI brain, 7 T, 0.8 × 0.8 × 1.3 mm",
    "brain_2d_rss8ch_sigpy": "brain, 2-D",
    "mouse_anat_small_sammba": "mouse head, 0.3 mm",
}


class Volume(NamedTuple):
    name: str
    image: npt.NDArray[np.float32]
    """C order, last axis ITK's x, singleton axes dropped."""
    mask: npt.NDArray[np.uint8]
    """Otsu's."""
    spacing: tuple[float, ...]
    """Voxel size in mm, axes as in ``image``."""

    def described(self) -> dict[str, Any]:
        """For the JSON: name, shape and voxels in the mask."""
        return {
            "name": TITLES.get(self.name, self.name),
            "shape": list(self.image.shape),
            "voxels": int(np.count_nonzero(self.mask)),
        }

    def saved(self, folder: Path) -> str:
        """A path of an .npz for the workers."""
        file, path = tempfile.mkstemp(".npz", dir=folder)
        with open(file, "wb") as stream:
            np.savez(stream, image=self.image, mask=self.mask)
        return path


def is_there(name: str) -> bool:
    return path_of(name).exists()


def path_of(name: str) -> Path:
    """The NIfTI file of a volume."""
    if name == PACKAGED:
        return ROOT / "src" / "n4ax" / "data" / "head.nii.gz"
    return DATA / f"{name}.nii.gz"


def volume(name: str, every: int = 1) -> Volume:
    """A volume and its Otsu mask; of ``every`` n-th voxel along each axis, if not 1."""
    scan = nib.load(path_of(name))
    image = np.asarray(scan.dataobj, np.float32).squeeze()
    sizes = [float(size) * every for size in scan.header.get_zooms()[: image.ndim]]
    image = np.ascontiguousarray(image[(slice(None, None, every),) * image.ndim].T)
    return Volume(name, image, n4ax.otsu_mask(image), tuple(reversed(sizes)))


def head(quick: bool) -> Volume:
    """The T1w head at full resolution; the packaged one if it is to be quick or is not there."""
    return volume(PACKAGED if quick or not is_there(T1W) else T1W)


def difference(found: str | Path, expected: str | Path, mask: npt.NDArray[Any]) -> dict[str, float]:
    """Mean and largest difference in the mask of two log fields in .npy files, as they are."""
    return apart(np.load(found), np.load(expected), mask)


def apart(
    found: npt.NDArray[Any], expected: npt.NDArray[Any], inside: npt.NDArray[Any]
) -> dict[str, float]:
    gap = np.abs(found.astype(np.float64) - expected)[inside != 0]
    return {"mean": float(gap.mean()), "max": float(gap.max())}
