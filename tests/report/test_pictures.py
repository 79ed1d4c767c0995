"""The pictures of a scan: their layout, and the planes that they show."""

from typing import Any

import matplotlib
import numpy as np
import pytest

from n4ax.images.planes import count_planes, find_planes, find_sides_by_name, find_slices
from n4ax.report.measures import measure
from n4ax.report.pictures import draw, make_field_colours
from n4ax.report.volumes import Volumes
from tests.report.support import make_phantom, make_shading, read_pixels

NAMES = ("before", "after", "field", "outline")


def test_pictures_have_one_layout_and_the_same_bytes_again() -> None:
    image, _ = make_phantom()
    log_bias = make_shading(image.shape)
    mask = image > 200
    volumes = Volumes(image, log_bias, image / np.exp(log_bias), mask)
    arguments = (volumes, np.diag([1, 1, 2.5, 1]))
    contents = draw(*arguments)
    assert list(contents) == [*NAMES, *(f"slices-{name}" for name in NAMES), "tile"]
    pictures = {name: read_pixels(content, "RGB") for name, content in contents.items()}
    for start in ("", "slices-"):
        before, after, field, outline = (pictures[start + name] for name in NAMES)
        assert before.shape == after.shape == outline.shape
        assert np.ptp(before, axis=2).max() <= 4  # grey
        assert np.ptp(field, axis=2).max() > 100
        assert all(picture.std() > 10 for picture in (before, after, field))
    assert pictures["field"].shape == pictures["before"].shape
    assert len(pictures["before"]) <= 320
    assert draw(*arguments) == contents
    assert sum(map(len, contents.values())) < 250_000


def test_the_outline_is_the_edge_of_the_mask_on_transparent_ground() -> None:
    image = np.full((60, 60, 60), 100.0, np.float32)
    mask = np.zeros(image.shape, bool)
    mask[20:40, 20:40, 20:40] = True
    contents = draw(Volumes(image, image * 0, image, mask), np.eye(4))
    pixels = read_pixels(contents["outline"], "RGBA")
    assert set(np.unique(pixels[..., 3])) == {0, 255}
    first, _, _ = np.split(pixels[..., 3] > 0, 3, axis=1)
    rows, columns = np.nonzero(first)
    # The axial plane is 300 pixels high for 60 voxels, and the mask is a third of it.
    assert np.ptp(rows) + 1 == pytest.approx(100, abs=3)
    assert np.ptp(columns) + 1 == pytest.approx(100, abs=3)
    middle = first[rows.min() + 5 : rows.max() - 4, columns.min() + 5 : columns.max() - 4]
    assert not middle.any()
    nothing = draw(Volumes(image, image * 0, image, mask & False), np.eye(4))["outline"]
    assert not read_pixels(nothing, "RGBA").any()


def test_a_tile_has_the_first_plane_and_its_field_in_small_cells() -> None:
    image, _ = make_phantom()
    log_bias = make_shading(image.shape)
    volumes = Volumes(image, log_bias, image, np.ones(image.shape, bool))
    content = draw(volumes, np.eye(4))["tile"]
    after, _ = np.split(read_pixels(content, "RGB"), 2, axis=1)
    assert max(after.shape[:2]) == 72
    assert np.ptp(after, axis=2).max() < 30
    assert len(content) < 4000
    assert list(draw(Volumes(image[..., 3], log_bias[..., 3], image[..., 3], image[..., 3] > 0),
                     np.eye(4)))[-1] == "tile"  # fmt: skip


@pytest.mark.parametrize(("thickness", "count"), [(1, 1), (4, 4), (17, 17), (18, 18), (40, 18)])
def test_slices_are_evenly_spaced_through_the_mask_from_its_bottom(
    thickness: int, count: int
) -> None:
    mask = np.zeros((12, 10, 50), bool)
    mask[2:-2, 2:-2, 5 : 5 + thickness] = True
    positions = [plane.position for plane in find_slices(mask.view(np.uint8), 18)]
    assert len(positions) == len(set(positions)) == count
    assert positions == sorted(positions)
    below, above = positions[0] - 5, 4 + thickness - positions[-1]
    steps = np.diff(positions)
    assert abs(below - above) <= 1
    assert below <= thickness / count
    assert steps.size == 0 or np.ptp(steps) <= 1
    image = np.where(mask, np.arange(50.0) + 50, 0).astype(np.float32)  # brighter to the top
    shown = read_pixels(draw(Volumes(image, image * 0, image, mask), np.eye(4))["slices-before"])
    columns, rows = min(count, 6), -(-count // 6)
    cells = [cell.max() for row in np.split(shown, rows) for cell in np.split(row, columns, axis=1)]
    assert cells[:count] == sorted(cells[:count])
    assert all(level < 12 for level in cells[count:])  # the rest of the last row is empty


CORNERS = {
    "axial": lambda marker: (marker[0], marker[1]),
    "coronal": lambda marker: (marker[0], marker[2]),
    "sagittal": lambda marker: (marker[1], marker[2]),
}
ENDS = ("RL", "AP", "SI")


@pytest.mark.parametrize("axes", [(0, 1, 2), (2, 0, 1), (1, 2, 0), (1, 0, 2)])
@pytest.mark.parametrize("flips", [(1, 1, 1), (-1, 1, 1), (-1, -1, 1), (1, -1, -1), (-1, -1, -1)])
@pytest.mark.parametrize("side", [(1, 1, 1), (-1, 1, 1), (1, -1, -1)])
def test_a_marker_is_at_the_sides_that_the_page_names(
    axes: tuple[int, ...], flips: tuple[int, ...], side: tuple[int, ...]
) -> None:
    shape = np.array([36, 44, 40])
    affine = np.zeros((4, 4))
    affine[3, 3] = 1
    for axis, (mm, flip) in enumerate(zip(axes, flips, strict=True)):
        affine[mm, axis] = flip
        affine[mm, 3] -= flip * (shape[axis] - 1) / 2  # the middle is at 0 mm
    places = np.moveaxis(np.indices(shape), 0, -1) @ affine[:3, :3].T + affine[:3, 3]
    image = np.where((places * side > 6).all(-1), 200, 20).astype(np.float32)
    volumes = Volumes(image, image * 0, image, np.ones(image.shape, bool))
    planes = measure(volumes, affine)["Planes"]
    assert planes == ["axial", "coronal", "sagittal"]
    # The middle planes do not meet the marker, so that each is moved into its half by the mask.
    volumes.mask[~(places * side > 0).all(-1)] = False
    cells = np.split(read_pixels(draw(volumes, affine)["before"]), 3, axis=1)
    wanted = [ENDS[mm][0 if end > 0 else 1] for mm, end in enumerate(side)]
    for name, cell in zip(planes, cells, strict=True):
        rows, columns = np.nonzero(cell > 128)
        sides = find_sides_by_name(name)
        assert sides is not None
        across = sides.left if columns.mean() < cell.shape[1] / 2 else sides.right
        up = sides.top if rows.mean() < len(cell) / 2 else sides.bottom
        assert (across, up) == CORNERS[name](wanted)


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
    contents = draw(Volumes(image, image * 0, image, image > 3), np.eye(4))
    assert ("slices-after" in contents) == (count == 3)
    content = contents["before"]
    height, width = read_pixels(content).shape
    assert count_planes(shape) == count
    names = measure(Volumes(image, image * 0, image, image > 3), np.eye(4))["Planes"]
    assert len(names) == count
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
