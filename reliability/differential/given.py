"""A problem as files and images, and what n4ax makes of it by its first door."""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import SimpleITK as sitk

import n4ax
from n4ax.result import N4Result
from reliability.differential.problems import Array, Problem
from tests.support.bits import check_bits

Answer = dict[str, Array]
"""What came of it, axes in the order x, y, z: ``corrected``, ``log_bias`` and others."""

PLAIN = ("iters", "conv_threshold", "nbins", "fwhm", "wiener", "spline_order", "mesh",
         "shrink_factor", "mask_label", "arithmetic", "itk_version", "itk_threads",
         "itk_tool")  # fmt: skip
"""The keywords that SimpleITK's filter has names for, or that choose its arithmetic."""


class InapplicableError(Exception):
    """A door has no way to take this problem."""


@dataclass(frozen=True)
class Given:
    """A problem, the folder of its files, and a source of random numbers for its doors."""

    problem: Problem
    folder: Path
    random: np.random.Generator

    @cached_property
    def paths(self) -> dict[str, Path]:
        """The NIfTI files of image, mask and weights, those that there are."""
        kept = {
            "image": self.problem.voxels,
            "mask": self.problem.mask,
            "weights": self.problem.weights,
        }
        found: dict[str, Path] = {}
        for name, voxels in kept.items():
            if voxels is not None:
                found[name] = self.folder / f"{name}.nii"
                scan = nib.Nifti1Image(voxels, self.problem.affine, dtype=voxels.dtype)
                nib.save(scan, found[name])
        return found

    @property
    def may_start(self) -> bool:
        """Whether N4 can start from a field; ITK cannot, and a raised image has none yet."""
        keywords = self.problem.keywords
        return keywords.get("arithmetic") != "itk" and keywords.get("non_positive") != "offset"

    @property
    def uses_otsu(self) -> bool:
        """Whether the mask is Otsu's."""
        return self.problem.mask is None and self.problem.word == "otsu"

    @property
    def mask(self) -> Any:
        """The array of the mask, or its word."""
        return self.problem.word if self.problem.mask is None else self.problem.mask

    @property
    def sizes(self) -> tuple[float, ...]:
        """The size of a voxel in mm, as the file keeps it."""
        return tuple(float(z) for z in nib.load(self.paths["image"]).header.get_zooms())  # type: ignore[attr-defined]

    def load(self, name: str, dtype: Any = None) -> Any:
        """An image of nibabel; the word or ``None`` if there is no such file."""
        if name not in self.paths:
            return self.problem.word if name == "mask" else None
        scan: Any = nib.load(self.paths[name])
        if dtype is None:
            return scan
        header = scan.header.copy()
        header.set_data_dtype(dtype)
        return nib.Nifti1Image(np.asarray(scan.dataobj).astype(dtype), scan.affine, header)

    def read(self, name: str) -> Any:
        """An image of SimpleITK; the word or ``None`` if there is no such file."""
        if name not in self.paths:
            return self.problem.word if name == "mask" else None
        image = sitk.ReadImage(str(self.paths[name]))
        for key in image.GetMetaDataKeys():
            image.EraseMetaData(key)
        return image

    def fit_images(self, dtype: Any = None, **changes: Any) -> N4Result[Any]:
        """The result for images of nibabel."""
        return n4ax.fit(
            self.load("image", dtype),
            changes.pop("mask", self.load("mask")),
            weights=self.load("weights"),
            **self.problem.keywords | changes,
        )

    def fit_arrays(self, **changes: Any) -> N4Result[Any]:
        """The result for arrays, whose place in space nothing says."""
        problem = self.problem
        return n4ax.fit(
            changes.pop("image", problem.voxels),
            changes.pop("mask", self.mask),
            weights=changes.pop("weights", problem.weights),
            **{"spacing": self.sizes, "voxel_order": "F"} | problem.keywords | changes,
        )

    @cached_property
    def of_images(self) -> Answer:
        """What every door must give that reads where the image lies."""
        return describe(self.fit_images())

    @cached_property
    def of_singles(self) -> Answer:
        """The same for an image that is read as float32, as the programs read all images."""
        if self.problem.voxels.dtype == np.float32:
            return self.of_images
        return describe(self.fit_images(np.float32))

    @cached_property
    def of_arrays(self) -> Answer:
        """What every door must give that takes arrays."""
        return describe(self.fit_arrays())

    def keep(self, names: tuple[str, ...], **changes: Any) -> "Given":
        """The same problem with those of its keywords alone, and others."""
        keywords = {name: value for name, value in self.problem.keywords.items() if name in names}
        changed = replace(self.problem, keywords=keywords | changes)
        return Given(changed, self.folder, self.random)


def describe(result: N4Result[Any]) -> Answer:
    """The arrays of a result."""
    return {
        "corrected": to_array(result.corrected),
        "log_bias": to_array(result.log_bias),
        "iterations": np.array(result.iterations),
    }


def to_array(image: Any) -> Array:
    """The voxels of an image or array, with the axes in the order x, y, z."""
    if isinstance(image, sitk.Image):
        return sitk.GetArrayFromImage(image).T
    return np.asarray(getattr(image, "dataobj", image))


def check_same(found: Answer, expected: Answer) -> None:
    """Assert that all that a door gives has the expected bits.

    Raises
    ------
    AssertionError
        Where the first difference is, and how large the largest is.
    """
    for name, voxels in found.items():
        check_bits(voxels, expected[name], name)
