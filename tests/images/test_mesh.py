"""The mesh on an image: absurd ones are refused at once, those of pipelines never."""

import re
import time
from typing import Any

import numpy as np
import pytest

from n4ax.errors import InputError
from n4ax.images import mesh
from n4ax.images.axes import ImageAxes
from n4ax.itk.space import Space
from n4ax.settings import N4Settings
from n4ax.settings.parameters import MOST_LEVELS

HEAD = (256, 256, 192)
FIVE, FOUR = (50,) * 5, (50,) * 4


def lay(
    shape: tuple[int, ...], step: float, order: Any = "F", **keywords: Any
) -> tuple[tuple[int, ...], N4Settings]:
    settings = N4Settings(voxel_order=order, **keywords)
    space = Space.from_spacing([step] * len(shape))
    grid, points = mesh.lay_mesh(ImageAxes.of(shape, order), space, settings)
    assert len(grid) == len(shape)
    return points, settings


@pytest.mark.parametrize(
    "keywords",
    [
        {"spline_distance": 200.0, "iters": FIVE, "shrink_factor": 4},
        {"spline_distance": 200.0, "iters": FOUR, "shrink_factor": 2},
        {"spline_distance": 300.0, "iters": (300,) * 4},
        {"spline_distance": 600.0},
        {"spline_distance": 100.0, "iters": (1000,), "shrink_factor": 4},
        {"spline_distance": 100.0, "iters": FOUR},
        {"spline_distance": 150.0, "iters": (200, 200)},
        {"spline_distance": 256.0, "iters": (1000, 1000, 850, 100), "shrink_factor": 4},
        {"spline_distance": 50.0, "iters": FIVE},
        {"spline_distance": 20.0, "iters": FOUR},
        {"mesh": 1, "iters": FIVE, "shrink_factor": 4},
        {"mesh": 1, "iters": (5,) * 8},
        {"iters": (50, 40, 30)},
    ],
)
@pytest.mark.parametrize(("shape", "step"), [(HEAD, 1.0), ((512, 512, 400), 0.5)])
def test_meshes_of_pipelines_are_laid(
    shape: tuple[int, ...], step: float, keywords: dict[str, Any]
) -> None:
    lay(shape, step, **keywords)


def test_ten_levels_are_laid_on_a_slice() -> None:
    lay((512, 512), 0.5, mesh=1, iters=(5,) * MOST_LEVELS)


@pytest.mark.parametrize(
    ("shape", "keywords", "words"),
    [
        (HEAD, {"spline_distance": 1.0}, r"255 x 255 x 191 mesh elements .* 4 levels .* 41\d GB"),
        (HEAD, {"spline_distance": 0.5, "iters": (50,)}, r"510 x 510 x 382 mesh elements"),
        (HEAD, {"spline_distance": 1e-6}, r"at the last of 4 levels they would take more than"),
        (HEAD, {"spline_distance": 1e-37}, "mesh elements are too many"),
        (HEAD, {"mesh": 200}, "200 x 200 x 200 mesh elements are too many: .* GB .* 2.15 GB"),
        (HEAD, {"mesh": (200, 300, 1), "iters": FIVE}, "200 x 300 x 1 mesh elements"),
        (HEAD, {"control_points": 203}, "200 x 200 x 200 mesh elements"),
        (HEAD, {"control_points": (900, 4, 900), "iters": FIVE}, "897 x 1 x 897 mesh elements"),
        ((40000, 40000), {"mesh": 9000}, "9000 x 9000 mesh elements .* GB are allowed"),
        ((9, 9, 9, 9), {"mesh": 40}, "40 x 40 x 40 x 40 mesh elements"),
        (HEAD, {"mesh": 1, "iters": (5,) * MOST_LEVELS}, "1 x 1 x 1 mesh .* use 9 levels in iters"),
        (HEAD, {"iters": (5,) * MOST_LEVELS}, "1 x 1 x 1 mesh .* use 9 levels in iters"),
    ],
)
@pytest.mark.parametrize("order", ["C", "F"])
def test_absurd_meshes_are_refused_at_once_and_the_advice_works(
    shape: tuple[int, ...], keywords: dict[str, Any], words: str, order: Any
) -> None:
    begun = time.perf_counter()
    with pytest.raises(InputError, match=words) as caught:
        lay(shape, 1.0, order, **keywords)
    assert time.perf_counter() - begun < 1
    found = re.search(r"use (\w+)=(\(.*\)|[\d.]+)|use (\d+) levels", str(caught.value))
    assert found is not None, caught.value
    name, value, levels = found.groups()
    if levels is not None:
        keywords = keywords | {"iters": (5,) * int(levels)}
    else:
        assert name in keywords
        keywords = keywords | {name: eval(value)}
    lay(shape, 1.0, order, **keywords)


def test_absurd_padding_is_refused() -> None:
    for distance in (1e8, 1e37):
        with pytest.raises(InputError, match="256 mm make one element of every axis already"):
            lay(HEAD, 1.0, spline_distance=distance)
    points, _ = lay(HEAD, 1.0, spline_distance=256.0)
    assert points == (4, 4, 4)


def test_a_large_image_may_have_a_large_mesh() -> None:
    keywords: dict[str, Any] = {"mesh": 300, "iters": (5,)}
    lay((1000, 1000, 1000), 1.0, **keywords)
    with pytest.raises(InputError, match="mesh elements are too many"):
        lay((400, 400, 200), 1.0, **keywords)


def test_estimate_is_near_the_memory_that_the_engine_takes() -> None:
    tracemalloc = pytest.importorskip("tracemalloc")
    import n4ax
    from n4ax.method.footprint import estimate_memory

    image = np.random.default_rng(0).gamma(3, 40, (40, 44, 48)).astype(np.float32)
    points, settings = lay(image.shape, 1.0, "C", mesh=30, iters=(2, 2))
    grid, _ = mesh.lay_mesh(ImageAxes.of(image.shape, "C"), Space.from_spacing([1.0] * 3), settings)
    n4ax.n4(image, "all", iters=(1,))  # compiles
    tracemalloc.start()
    n4ax.n4(image, "all", mesh=30, iters=(2, 2), conv_threshold=0)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    estimate = estimate_memory(grid, points, 3, 2)
    assert 0.5 * peak < estimate < 2 * peak
