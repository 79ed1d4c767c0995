"""The volumes that the benchmarks use, and the differences of two fields on them."""

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
    """An image with its mask."""

    name: str
    image: npt.NDArray[np.float32]
    """In C order, so that the last axis is ITK's x; axes of length 1 are dropped."""
    mask: npt.NDArray[np.uint8]
    """The Otsu mask."""
    spacing: tuple[float, ...]
    """Voxel size in mm, with the axes in the order of ``image``."""

    def describe(self) -> dict[str, Any]:
        """The name, the shape and the number of voxels in the mask, for the JSON."""
        return {
            "name": TITLES.get(self.name, self.name),
            "shape": list(self.image.shape),
            "voxels": int(np.count_nonzero(self.mask)),
        }

    def save(self, folder: Path) -> str:
        """Write image and mask to an .npz file for the workers, and return its path."""
        file, path = tempfile.mkstemp(".npz", dir=folder)
        with open(file, "wb") as stream:
            np.savez(stream, image=self.image, mask=self.mask)
        return path


def volume_exists(name: str) -> bool:
    """Whether the file of a volume is on this machine."""
    return volume_path(name).exists()


def volume_path(name: str) -> Path:
    """The NIfTI file of a volume."""
    if name == PACKAGED:
        return ROOT / "src" / "n4ax" / "data" / "head.nii.gz"
    return DATA / f"{name}.nii.gz"


def load_volume(name: str, every: int = 1) -> Volume:
    """A volume and its Otsu mask, with every ``every``-th voxel along each axis."""
    scan = nib.load(volume_path(name))
    image = np.asarray(scan.dataobj, np.float32).squeeze()
    sizes = [float(size) * every for size in scan.header.get_zooms()[: image.ndim]]
    image = np.ascontiguousarray(image[(slice(None, None, every),) * image.ndim].T)
    return Volume(name, image, n4ax.otsu_mask(image), tuple(reversed(sizes)))


def load_head(quick: bool) -> Volume:
    """The T1w head at full resolution; in quick runs, or if it is not there, the packaged head."""
    return load_volume(PACKAGED if quick or not volume_exists(T1W) else T1W)


def compare_files(
    found: str | Path, expected: str | Path, mask: npt.NDArray[Any]
) -> dict[str, float]:
    """Mean and largest difference of two log fields in .npy files, in the mask."""
    return compare_fields(np.load(found), np.load(expected), mask)


def compare_fields(
    found: npt.NDArray[Any], expected: npt.NDArray[Any], inside: npt.NDArray[Any]
) -> dict[str, float]:
    """Mean and largest difference of two log fields in the mask; no scale is removed."""
    gap = np.abs(found.astype(np.float64) - expected)[inside != 0]
    return {"mean": float(gap.mean()), "max": float(gap.max())}


def count_different_bits(found: npt.NDArray[np.float32], expected: npt.NDArray[np.float32]) -> int:
    """The number of voxels whose bits differ; 0 differs from -0, and NaN is equal to itself."""
    one, other = (np.ascontiguousarray(array, np.float32) for array in (found, expected))
    return int(np.count_nonzero(one.view(np.int32) != other.view(np.int32)))


def move_by_one_ulp(image: npt.NDArray[np.float32], seed: int) -> npt.NDArray[np.float32]:
    """The image with every voxel that is not 0 moved up or down by one float32 ulp."""
    up = np.random.default_rng(seed).random(image.shape) < 0.5
    towards = np.where(up, np.float32(np.inf), np.float32(-np.inf))
    return np.where(image == 0, image, np.nextafter(image, towards)).astype(np.float32)
