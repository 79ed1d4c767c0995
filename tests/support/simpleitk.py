"""Images, filters and commands for the tests of ``n4ax.simpleitk``."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

import n4ax
from n4ax import simpleitk as sitk_n4

FIXED = 1e-6
"""Bound on the difference of the log fields after a few iterations of one level."""

HEAD = Path(n4ax.__file__).parent / "data" / "head.nii.gz"

Array = npt.NDArray[Any]
Image = sitk.Image
Filter = sitk.N4BiasFieldCorrectionImageFilter
Ours = sitk_n4.N4BiasFieldCorrectionImageFilter


def make_image(array: Array, like: Image | None = None) -> Image:
    """An image of an array z, y, x, which lies where ``like`` does, or else obliquely."""
    image = sitk.GetImageFromArray(array, isVector=False)
    if like is not None:
        image.CopyInformation(like)
        return image
    n = image.GetDimension()
    image.SetSpacing((0.9, 1.1, 2.5)[:n])
    image.SetOrigin((-20.5, 13.25, 7.0)[:n])
    turn = np.eye(n)
    turn[:2, :2] = [[np.cos(0.3), -np.sin(0.3)], [np.sin(0.3), np.cos(0.3)]]
    image.SetDirection(turn.ravel().tolist())
    return image


def get_array(image: Image) -> Array:
    return sitk.GetArrayFromImage(image)


def get_place(image: Image) -> tuple[Any, ...]:
    return image.GetSize(), image.GetSpacing(), image.GetOrigin(), image.GetDirection()


def phantom(dtype: Any = np.float32, shape: tuple[int, ...] = (14, 20, 24)) -> Array:
    """Three tissues with a smooth field and noise; axes z, y, x."""
    at = np.stack(np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij"))
    radius = np.sqrt((at**2).sum(axis=0))
    tissue = np.select([radius < 0.5, radius < 0.8], [300.0, 210.0], 120.0)
    noise = np.random.default_rng(5).normal(0, 4, shape)
    return (tissue * np.exp(0.3 * at[-1] - 0.2 * at[0]) + noise).astype(dtype)


def make_filter(
    kind: type[Filter] = Ours, iters: tuple[int, ...] = (5,), threshold: float = 0
) -> Any:
    """A filter with few iterations; threshold 0 makes it do all of them."""
    n4 = kind()
    n4.SetMaximumNumberOfIterations(list(iters))
    n4.SetConvergenceThreshold(threshold)
    return n4


def run_both(act: Callable[[type[Filter]], Any]) -> tuple[Any, Any]:
    """Results with SimpleITK's filter and with ours."""
    return act(Filter), act(Ours)


def correct_with(kind: type[Filter], image: Image, mask: Image | None, **setters: Any) -> Any:
    """The corrected image and its log field, after some setters have been called."""
    n4 = make_filter(kind)
    for name, value in setters.items():
        getattr(n4, f"Set{name}")(value)
    corrected = n4.Execute(image) if mask is None else n4.Execute(image, mask)
    return corrected, n4.GetLogBiasFieldAsImage(image)


@dataclass
class Events:
    """What a filter reports at every event."""

    n4: Any
    seen: list[tuple[str, int, int]] = field(default_factory=list)
    measures: list[float] = field(default_factory=list)
    progress: list[float] = field(default_factory=list)

    NAMES = ("Start", "Iteration", "Progress", "Abort", "MultiResolutionIteration", "User", "End")

    def __post_init__(self) -> None:
        for name in self.NAMES:
            self.n4.AddCommand(getattr(sitk, f"sitk{name}Event"), lambda n=name: self.record(n))

    def record(self, name: str) -> None:
        self.seen.append((name, self.n4.GetCurrentLevel(), self.n4.GetElapsedIterations()))
        self.measures.append(self.n4.GetCurrentConvergenceMeasurement())
        self.progress.append(self.n4.GetProgress())


def check_same_events(ours: Events, theirs: Events) -> None:
    assert ours.seen == theirs.seen
    assert ours.progress == theirs.progress
    np.testing.assert_allclose(ours.measures[:11], theirs.measures[:11], rtol=1e-3)
    np.testing.assert_allclose(ours.measures, theirs.measures, rtol=1e-2)


def read_image(path: Path) -> Image:
    return sitk.ReadImage(str(path), sitk.sitkFloat32)
