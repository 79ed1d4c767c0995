"""Lattices of control points as the filter of ITK's own Python package gives them.

``python -m tests.support.itk_lattices`` writes them to ``tests/data/itk_lattices.npz``, with the
package ``itk``, which the other tests do not need (5.4.7 was used). ITK runs on one thread.
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

PATH = Path(__file__).parents[1] / "data" / "itk_lattices.npz"


class Case(NamedTuple):
    """An image and how ITK corrects it; axes in the order x, y, z."""

    size: tuple[int, ...]
    spacing: tuple[float, ...]
    origin: tuple[float, ...]
    angle: float
    """By how much the first two axes are turned, in radians."""
    points: tuple[int, ...]
    order: int = 3
    shrink: int = 1
    padding: tuple[tuple[int, int], ...] | None = None
    """Voxels before and after the image, as for a spline distance of 13 mm."""
    iters: tuple[int, ...] = (3, 2)

    @property
    def direction(self) -> npt.NDArray[np.float64]:
        """Unit vectors of the axes, one per column."""
        turned = np.eye(len(self.size))
        cosine, sine = np.cos(self.angle), np.sin(self.angle)
        turned[:2, :2] = [[cosine, -sine], [sine, cosine]]
        return turned

    def make_image(self) -> npt.NDArray[np.float32]:
        """Make the voxels, in the order of ITK's arrays."""
        at = np.meshgrid(*[np.linspace(-1, 1, n) for n in self.size[::-1]], indexing="ij")
        radius = np.sqrt(sum(x * x for x in at))
        tissue = np.select([radius < 0.5, radius < 0.9], [800.0, 400.0], 60.0)
        noise = np.random.default_rng(0).normal(0, 8, self.size[::-1])
        return (tissue * np.exp(0.4 * at[0] - 0.3 * at[-1]) + noise).clip(1).astype(np.float32)


CASES = {
    "turned and shrunk": Case((16, 14, 12), (2.0, 1.5, 3.0), (10.0, -20, 30), 0.3, (4, 4, 4), 3, 2),
    "quadratic": Case((20, 23), (1.0, 2.0), (-7.0, 5.0), -0.2, (4, 5), 2),
    "padded and shrunk": Case(
        (22, 19), (1.0, 1.5), (3.0, 8.0), 0.1, (5, 6), 3, 2, ((2, 3), (4, 4))
    ),
}


class Answer(NamedTuple):
    """What ITK gives."""

    array: npt.NDArray[np.float32]
    origin: npt.NDArray[np.float64]
    spacing: npt.NDArray[np.float64]
    direction: npt.NDArray[np.float64]


def find_lattice(case: Case) -> Any:
    """Run ITK's filter, and give its lattice as an image of the package ``itk``."""
    import itk

    itk.MultiThreaderBase.SetGlobalDefaultNumberOfThreads(1)
    n = len(case.size)
    image, mask = _make(case, case.make_image()), _make(case, np.ones(case.size[::-1], np.uint8))
    if case.padding is not None:
        lower, upper = ([pair[k] for pair in case.padding] for k in (0, 1))
        image, mask = (
            itk.constant_pad_image_filter(
                one, pad_lower_bound=lower, pad_upper_bound=upper, constant=0
            )
            for one in (image, mask)
        )
    if case.shrink > 1:
        image, mask = (
            itk.shrink_image_filter(one, shrink_factors=[case.shrink] * n) for one in (image, mask)
        )
    kinds = itk.Image[itk.F, n], itk.Image[itk.UC, n], itk.Image[itk.F, n]
    n4 = itk.N4BiasFieldCorrectionImageFilter[kinds].New()
    n4.SetNumberOfWorkUnits(1)
    n4.SetInput(image)
    n4.SetMaskImage(mask)
    n4.SetSplineOrder(case.order)
    n4.SetNumberOfControlPoints(case.points)
    n4.SetNumberOfFittingLevels(len(case.iters))
    n4.SetMaximumNumberOfIterations(case.iters)
    n4.SetConvergenceThreshold(0.0)
    n4.Update()
    return n4.GetLogBiasFieldControlPointLattice()


def _make(case: Case, voxels: npt.NDArray[Any]) -> Any:
    import itk

    image = itk.image_from_array(voxels)
    image.SetSpacing(case.spacing)
    image.SetOrigin(case.origin)
    image.SetDirection(itk.matrix_from_array(case.direction))
    return image


def read(name: str) -> Answer:
    """Read the answer of ITK to a case."""
    with np.load(PATH) as data:
        return Answer(*(data[f"{name} {part}"] for part in Answer._fields))


def take(lattice: Any) -> Answer:
    """Take the numbers out of ITK's image."""
    size = tuple(lattice.GetLargestPossibleRegion().GetSize())
    points = np.array([lattice.GetPixel(list(at))[0] for at in np.ndindex(size)], np.float32)
    rows = lattice.GetDirection().GetVnlMatrix()
    direction = [[rows.get(i, j) for j in range(len(size))] for i in range(len(size))]
    return Answer(
        points.reshape(size).T,
        np.array(list(lattice.GetOrigin())),
        np.array(list(lattice.GetSpacing())),
        np.array(direction),
    )


if __name__ == "__main__":
    answers = {name: take(find_lattice(case)) for name, case in CASES.items()}
    np.savez_compressed(
        PATH,
        **{
            f"{name} {part}": getattr(answer, part)
            for name, answer in answers.items()
            for part in Answer._fields
        },
    )
