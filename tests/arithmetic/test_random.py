"""Random small cases have the bits of SimpleITK, which runs here, at random numbers of threads."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import SimpleITK as sitk

import n4ax
from tests.support import itk
from tests.support.bits import check_run, count_differences

CASES = 40
QUICK = 16
"""The first of them, with every kind among them, are not slow."""

THREADS = (1, 2, 3, 5, 8, 64)


@dataclass(frozen=True)
class Case:
    """An image in space, its mask, the number of threads and the keywords of the correction."""

    image: sitk.Image
    mask: sitk.Image | None
    threads: int
    keywords: dict[str, Any]

    def run_simpleitk(self, threads: int | None = None) -> itk.ItkResult:
        return itk.correct_image(
            self.image, self.mask, threads=threads or self.threads, **self.keywords
        )


def make_case(number: int) -> Case:
    """A shaded phantom, oblique in space; the number decides the kind, its random draws the rest.

    Numbers of the axes are in the order x, y, z.
    """
    random = np.random.default_rng(7000 + number)
    ndim = 2 if number % 4 == 3 else 3
    low, high = (40, 80) if ndim == 2 else (14, 27)
    shape = tuple(int(n) for n in random.integers(low, high, ndim))
    voxels, radius = make_phantom(random, shape)
    keywords = choose_keywords(random, number, ndim)
    mask = None
    if number % 3:
        labels = (radius < 0.95) * 1 + (radius < 0.6) * (1 + number % 2)
        mask = make_image(labels.astype(np.uint8))
        if number % 3 == 2:
            keywords["mask_label"] = int(random.choice(np.unique(labels[labels > 0])))
    image = make_image(voxels.astype(np.float64 if number % 5 == 4 else np.float32))
    place(random, image, mask, keywords)
    return Case(image, mask, int(random.choice(THREADS)), keywords)


def make_phantom(
    random: np.random.Generator, shape: tuple[int, ...]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Four tissues with waves, noise, zeros, and in half of the cases negative intensities."""
    at = np.stack(np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij"))
    radius = np.sqrt((at**2).sum(axis=0))
    tissue = np.select([radius < 0.35, radius < 0.6, radius < 0.85], [300.0, 210.0, 120.0], 15.0)
    waves = sum(
        random.normal(0, 0.15) * np.cos(random.uniform(0.5, 2.5) * axis + random.uniform(0, 6))
        for axis in at
    )
    voxels = tissue * np.exp(waves) + random.normal(0, random.uniform(1, 6), shape)
    if random.random() < 0.3:
        voxels = np.rint(voxels)
    voxels[random.random(shape) < 0.004] = 0
    if random.random() < 0.5:
        voxels = np.maximum(voxels, 0)
    else:
        voxels[random.random(shape) < 0.001] *= -0.05
    return voxels, radius


def choose_keywords(random: np.random.Generator, number: int, ndim: int) -> dict[str, Any]:
    order = 1 + number % 5
    levels = int(random.integers(1, 5))
    keywords: dict[str, Any] = {
        "iters": tuple(int(n) for n in random.integers(2, 9, levels)),
        "conv_threshold": float(random.choice([0.0, 0.0, 1e-4, 1e-3])),
        "spline_order": order,
        "nbins": int(random.choice([200, 200, 128, 64, 300, 37])),
        "fwhm": float(random.choice([0.15, 0.15, 0.1, 0.3])),
        "wiener": float(random.choice([0.01, 0.01, 0.05, 0.001])),
        # SimpleITK's default of 4 is too few for the orders 4 and 5.
        "control_points": (max(4, order + 1),) * ndim,
    }
    if random.random() < 0.7:
        keywords["control_points"] = tuple(
            int(n) for n in random.integers(order + 1, order + 5, ndim)
        )
    return keywords


def make_image(voxels: npt.NDArray[Any]) -> sitk.Image:
    return sitk.GetImageFromArray(np.ascontiguousarray(voxels.T))


def place(
    random: np.random.Generator,
    image: sitk.Image,
    mask: sitk.Image | None,
    keywords: dict[str, Any],
) -> None:
    """Place an image and its mask somewhere, mostly oblique, and in a third of cases shrink it."""
    ndim = image.GetDimension()
    turn = np.eye(ndim)
    if random.random() < 0.7:
        turn = np.linalg.qr(random.normal(size=(ndim, ndim)))[0]
    for one in [image] if mask is None else [image, mask]:
        one.SetDirection(turn.ravel().tolist())
    spacing = [float(z) for z in random.choice([1.0, 0.5, 3.0, 1.1, 1 / 3, 0.9375], ndim)]
    origin = [float(n) for n in random.normal(0, 80, ndim)]
    for one in [image] if mask is None else [image, mask]:
        one.SetSpacing(spacing)
        one.SetOrigin(origin)
    # SimpleITK divides a float64 image by a float32 field only in the filter itself.
    if random.random() < 0.4 and image.GetPixelID() == sitk.sitkFloat32:
        keywords["shrink_factor"] = tuple(int(n) for n in random.integers(1, 4, ndim))


@pytest.mark.parametrize(
    "number",
    [n if n < QUICK else pytest.param(n, marks=pytest.mark.slow) for n in range(CASES)],
)
def test_random_case_has_the_bits_of_simpleitk(number: int) -> None:
    case = make_case(number)
    mask = "all" if case.mask is None else case.mask
    ours = n4ax.fit(case.image, mask, arithmetic="itk", itk_threads=case.threads, **case.keywords)
    check_run(ours, case.run_simpleitk())


def test_the_cases_cover_what_they_are_meant_to() -> None:
    cases = [make_case(number) for number in range(QUICK)]
    voxels = [sitk.GetArrayViewFromImage(case.image) for case in cases]
    assert {case.image.GetDimension() for case in cases} == {2, 3}
    assert {case.keywords["spline_order"] for case in cases} == {1, 2, 3, 4, 5}
    assert {case.image.GetPixelID() for case in cases} == {sitk.sitkFloat32, sitk.sitkFloat64}
    assert {case.threads for case in map(make_case, range(CASES))} == set(THREADS)
    for kind in ("mask_label", "shrink_factor"):
        assert 2 <= sum(kind in case.keywords for case in cases) <= QUICK - 2, kind
    assert 2 <= sum(case.mask is None for case in cases) <= QUICK - 2
    assert any(v.min() < 0 for v in voxels)
    assert all(np.any(v == 0) for v in voxels)
    assert any(len(set(case.keywords["control_points"])) > 1 for case in cases)


@pytest.mark.parametrize("number", range(6))
def test_a_case_is_the_same_again_but_not_with_other_threads(number: int) -> None:
    case = make_case(number)
    one, again, many = (case.run_simpleitk(threads) for threads in (1, 1, 64))
    assert one.convergence == again.convergence
    assert count_differences(one.log_bias, again.log_bias) == 0
    assert count_differences(one.log_bias, many.log_bias) > 0
