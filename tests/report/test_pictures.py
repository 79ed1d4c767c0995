"""The pictures of a scan: their layout, and the planes that they show."""

from typing import Any

import matplotlib
import numpy as np
import pytest

from n4ax.images.planes import count_planes, find_planes
from n4ax.report.pictures import draw, make_field_colours
from n4ax.report.volumes import Volumes
from tests.report.support import make_phantom, make_shading, read_pixels


def test_pictures_have_one_layout_and_the_same_bytes_again() -> None:
    image, _ = make_phantom()
    log_bias = make_shading(image.shape)
    mask = image > 200
    volumes = Volumes(image, log_bias, image / np.exp(log_bias), mask)
    arguments = (volumes, np.diag([1, 1, 2.5, 1]))
    contents = draw(*arguments)
    assert list(contents) == ["before", "after", "field"]
    pictures = [read_pixels(content, "RGB") for content in contents.values()]
    assert len({picture.shape for picture in pictures}) == 1
    assert len(pictures[0]) <= 320
    assert all(picture.std() > 10 for picture in pictures)
    assert np.ptp(pictures[0], axis=2).max() <= 4  # grey
    assert np.ptp(pictures[2], axis=2).max() > 100
    assert draw(*arguments) == contents


def test_planes_are_upright_and_as_wide_and_high_as_they_are_in_mm() -> None:
    # 30 mm to the right, 50 mm to the front and 80 mm up, stored feet first and mirrored.
    image = np.ones((16, 30, 25), np.float32)
    image[:4] = 9  # the top 20 mm, since the first axis runs down
    affine = np.array([[0, 1, 0, 0], [0, 0, 2, 0], [-5, 0, 0, 0], [0, 0, 0, 1]], float)
    mask = np.ones(image.shape, bool)
    content = draw(Volumes(image, image * 0, image, mask), affine)["before"]
    cells = np.split(read_pixels(content), 3, axis=1)
    boxes = []
    for cell in cells:
        rows, columns = np.nonzero(cell > 12)
        boxes.append((np.ptp(columns) + 1, np.ptp(rows) + 1))
    (axial, coronal, sagittal) = boxes
    assert axial[0] / axial[1] == pytest.approx(30 / 50, rel=0.03)
    assert coronal[0] / coronal[1] == pytest.approx(30 / 80, rel=0.03)
    assert sagittal[0] / sagittal[1] == pytest.approx(50 / 80, rel=0.03)
    middle = cells[1][:, cells[1].shape[1] // 2]
    assert middle[len(middle) // 8] > middle[-len(middle) // 4] + 100  # head up


@pytest.mark.parametrize(
    ("shape", "count"),
    [
        ((9, 8, 7), 3),
        ((9, 8), 1),
        ((9, 8, 1), 1),
        ((1, 9, 8), 1),
        ((2, 2, 2), 3),
        ((9, 8, 7, 1), 3),
    ],
)
def test_count_of_planes_is_that_of_the_pictures(shape: tuple[int, ...], count: int) -> None:
    image = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    content = draw(Volumes(image, image * 0, image, image > 3), np.eye(4))["before"]
    height, width = read_pixels(content).shape
    assert count_planes(shape) == count
    assert (width / height > 1.7) == (count == 3)


@pytest.mark.parametrize("flip", [(), (0,), (1, 2), (0, 1, 2)])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("shape", [(600, 7, 9), (5, 300, 4), (3, 4, 256)])
def test_planes_go_through_the_middle_of_the_mask(
    shape: tuple[int, int, int], order: Any, flip: tuple[int, ...]
) -> None:
    random = np.random.default_rng(5)
    mask = np.asarray(random.random(shape) < random.random(shape), order=order)
    mask = np.flip(mask, flip).transpose(1, 0, 2)
    for kind in (bool, np.uint8):
        for plane in find_planes(mask.view(kind)):
            weights = np.count_nonzero(np.moveaxis(mask, plane.axis, 0), axis=(1, 2))
            behind = weights[: plane.position].sum()
            assert behind < weights.sum() / 2 <= behind + weights[plane.position]


def test_the_colours_of_the_field_are_those_of_matplotlib() -> None:
    theirs = matplotlib.colormaps["RdBu_r"](np.arange(256))[:, :3] * 255
    np.testing.assert_array_equal(make_field_colours(), theirs.round())
