"""The picture of a correction: its sides, the line around the mask, and its numbers."""

import io
import warnings
from itertools import combinations
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
import pytest

import n4ax
from tests.cli.program import QUICK, phantom, run, save

pytest.importorskip("matplotlib")

from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.image import imread

from n4ax.figure import OUTLINE, draw_figure, make_figure

SHAPE = (20, 24, 18)
NOISE = np.random.default_rng(0).random(SHAPE)
TURN = np.array([[0.96, 0, -0.28], [0, 1, 0], [0.28, 0, 0.96]]) @ [
    [0.8, -0.6, 0],
    [0.6, 0.8, 0],
    [0, 0, 1],
]
"""A rotation by 37 degrees about one axis, and by 16 about another."""


def make_affine(axes: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """An affine with these directions of the voxels' axes, and the middle of the grid at 0."""
    affine = np.eye(4)
    affine[:3, :3] = axes
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(SHAPE) - 1) / 2)
    return affine


AFFINES = {
    "RAS": make_affine(np.diag([1.0, 1, 1])),
    "LAS": make_affine(np.diag([-1.0, 1, 1])),
    "LPS": make_affine(np.diag([-2.0, -2, 2])),
    "PIR": make_affine(np.array([[0, 0, 1.0], [-1, 0, 0], [0, -1, 0]])),
    "oblique": make_affine(TURN * (1.0, 1.0, 2.0)),
}
TOWARDS = {
    "L": (-1, 0, 0), "R": (1, 0, 0), "P": (0, -1, 0), "A": (0, 1, 0), "I": (0, 0, -1),
    "S": (0, 0, 1),
}  # fmt: skip
"""Where the sides of a patient are in mm of RAS."""


def draw(
    before: npt.NDArray[Any],
    mask: npt.NDArray[np.bool_] | None = None,
    affine: npt.NDArray[np.float64] = np.eye(4),  # noqa: B008 - not changed
    log_bias: npt.NDArray[Any] | None = None,
    **words: Any,
) -> Figure:
    mask = np.ones(before.shape, bool) if mask is None else mask
    log_bias = np.zeros(before.shape, np.float32) if log_bias is None else log_bias
    words = {"title": "head.nii.gz", **words}
    return make_figure(before, log_bias, before, mask, affine, **words)


def find_panels(figure: Figure) -> list[Any]:
    """All panels, without the colour bar, row by row."""
    return [cell for cell in figure.axes if cell.images]


def find_letters(panel: Any) -> dict[str, str]:
    """The letter at each side of a panel."""
    places = {(-1, 0): "left", (1, 0): "right", (0, 1): "top", (0, -1): "bottom"}
    return {
        places[tuple(np.sign(np.round(np.array(text.get_position()) - 0.5, 6)).astype(int))]: (
            text.get_text()
        )
        for text in panel.texts
    }


@pytest.mark.parametrize("side", TOWARDS)
@pytest.mark.parametrize("name", AFFINES)
def test_a_bright_side_is_where_its_letter_is(name: str, side: str) -> None:
    affine = AFFINES[name]
    at = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"), axis=-1)
    mm = at @ affine[:3, :3].T + affine[:3, 3]
    figure = draw(np.where(mm @ TOWARDS[side] > 0, 200.0, 20.0).astype(np.float32), None, affine)
    seen = 0
    for panel in find_panels(figure):
        letters = find_letters(panel)
        assert len(letters) == 4
        if side not in letters.values():
            continue
        shown = np.asarray(panel.images[0].get_array())  # the first row is at the top
        if np.ptp(shown) == 0:  # the field
            continue
        rows, columns = (n // 2 for n in shown.shape)
        means = {
            "left": shown[:, :columns], "right": shown[:, -columns:],
            "top": shown[:rows], "bottom": shown[-rows:],
        }  # fmt: skip
        brightest = max(means, key=lambda where: float(means[where].mean()))
        assert letters[brightest] == side
        seen += 1
    assert seen == 4  # two planes, before and after


def test_left_is_at_the_left() -> None:
    axial, coronal, sagittal = (find_letters(panel) for panel in find_panels(draw(NOISE))[::3])
    assert axial == {"left": "L", "right": "R", "top": "A", "bottom": "P"}
    assert coronal == {"left": "L", "right": "R", "top": "S", "bottom": "I"}
    assert sagittal == {"left": "P", "right": "A", "top": "S", "bottom": "I"}


@pytest.mark.parametrize(
    "affine", [np.full((4, 4), np.nan), np.zeros((4, 4)), np.diag([1.0, 0, 1, 1])]
)
def test_no_letters_without_a_place_in_space(affine: npt.NDArray[np.float64]) -> None:
    for panel in find_panels(draw(NOISE, None, affine)):
        assert not panel.texts
    for panel in find_panels(draw(NOISE.reshape(30, 1, 1, -1))):  # a line over time
        assert not panel.texts


def find_outline(picture: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """The pixels of a picture that have the colour of the line; its edges are blended."""
    return np.abs(picture[..., :3] - to_rgb(OUTLINE)).max(axis=-1) < 0.2


def test_the_line_follows_the_mask() -> None:
    image = np.full((40, 50), 100.0, np.float32)
    mask = np.zeros(image.shape, bool)
    mask[10:30, 15:45] = True
    log_bias = np.zeros(image.shape, np.float32)
    arguments = image, log_bias, image, mask, np.eye(4), "head"
    picture = imread(io.BytesIO(draw_figure(*arguments)))
    line = find_outline(picture)
    figure = make_figure(*arguments)
    figure.canvas.draw()
    for number, panel in enumerate(find_panels(figure)):
        left, bottom, right, top = np.round(panel.get_window_extent().extents).astype(int)
        height = picture.shape[0]
        inside = line[height - top : height - bottom, left:right]
        if number > 0:
            assert not inside.any()
            continue
        rows, columns = np.nonzero(inside)
        # The first axis points to the right and the second up; the ends lie between two voxels.
        found = columns.min(), columns.max() + 1, rows.min(), rows.max() + 1
        scale = inside.shape[1] / 40
        expected = np.array([10, 30, 50 - 45, 50 - 15]) * scale
        np.testing.assert_allclose(found, expected, atol=scale / 2 + 2)
        assert len(rows) < 0.1 * inside.size  # a line, no area


def test_a_mask_at_the_edge_is_closed_and_the_whole_image_has_no_line() -> None:
    image = np.full((40, 50), 100.0, np.float32)
    mask = np.ones(image.shape, bool)
    arguments = image, np.zeros(image.shape, np.float32), image
    whole = imread(io.BytesIO(draw_figure(*arguments, mask, np.eye(4), "head")))
    assert not find_outline(whole).any()
    assert not any("outline" in text.get_text() for text in draw(image).texts)
    mask[20:] = False
    figure = draw(image, mask)
    assert "outline: mask" in [text.get_text() for text in figure.texts]
    before = find_panels(figure)[0]
    (path,) = before.collections[0].get_paths()
    assert np.array_equal(path.vertices[0], path.vertices[-1])
    np.testing.assert_allclose(path.get_extents().extents, (-0.5, -0.5, 19.5, 49.5))
    assert before.axis() == (-0.5, 39.5, 49.5, -0.5)


def read_numbers(figure: Figure) -> list[str]:
    (text,) = [text.get_text() for text in figure.texts if "field from" in text.get_text()]
    return text.splitlines()


def test_numbers_are_those_that_the_image_is_divided_by() -> None:
    log_bias = np.linspace(-0.7, 0.3, 24 * 20 * 16, dtype=np.float32).reshape(24, 20, 16)
    mask = np.zeros(log_bias.shape, bool)
    mask[6:20, 4:, 4:12] = True
    figure = draw(phantom(), mask, log_bias=log_bias)
    inside = log_bias[mask]
    assert read_numbers(figure) == [
        f"field from {np.exp(-0.7):.3f} to {np.exp(0.3):.3f} in the image",
        f"field from {np.exp(inside.min()):.3f} to {np.exp(inside.max()):.3f} in the mask",
    ]
    shown = find_panels(figure)[1].images[0]
    low, high = shown.get_clim()
    assert (low + high) / 2 == pytest.approx(inside.mean(), abs=1e-6)
    (bar,) = [cell for cell in figure.axes if not cell.images]
    assert bar.get_xlabel() == "field (image is divided by it)"
    assert bar.get_xlim() == (low, high)
    for place, label in zip(bar.get_xticks(), bar.get_xticklabels(), strict=True):
        assert float(label.get_text()) == pytest.approx(np.exp(place), rel=5e-3)
    middle = shown.cmap(shown.norm(inside.mean()))
    assert min(middle[:3]) > 0.95  # white
    assert shown.norm.vmin == low  # the colours are those of the volume itself, in logarithms
    assert np.array_equal(shown.get_array(), log_bias[:, :, 7].T[::-1])


def test_numbers_are_those_of_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Figure] = []

    def keep(*arguments: Any, **words: Any) -> bytes:
        drawn.append(make_figure(*arguments, **words))
        return draw_figure(*arguments, **words)

    monkeypatch.setattr("n4ax.figure.draw_figure", keep)
    scan = save(tmp_path / "head.nii", phantom())
    assert run("correct", scan, "--figure", tmp_path / "head.png", *QUICK) == 0
    (figure,) = drawn
    whole = read_numbers(figure)[0].removeprefix("field from ").removesuffix(" in the image")
    assert f"The field ranges from {whole}." in capsys.readouterr().out


def test_a_notebook_shows_letters_where_an_image_says_its_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    drawn: list[Figure] = []

    def keep(*arguments: Any, **words: Any) -> bytes:
        drawn.append(make_figure(*arguments, **words))
        return b""

    monkeypatch.setattr("n4ax.figure.draw_figure", keep)
    voxels = phantom().astype(np.float32)
    for image in (voxels, nib.Nifti1Image(voxels, AFFINES["LAS"])):
        n4ax.fit(image, iters=(3,), conv_threshold=0)._repr_html_()
    of_array, of_image = (sum(len(panel.texts) for panel in find_panels(one)) for one in drawn)
    assert (of_array, of_image) == (0, 4 * 9)


def test_the_mask_is_named_and_counted() -> None:
    mask = np.zeros(SHAPE, bool)
    mask[2:15] = True
    image = np.random.default_rng(0).random(SHAPE)
    for words, expected in (
        ({"mask_name": "otsu"}, "head.nii.gz  ·  mask otsu, 5,616 voxels"),
        ({}, "head.nii.gz  ·  mask, 5,616 voxels"),
        ({"title": "", "mask_name": "brain.nii"}, "mask brain.nii, 5,616 voxels"),
    ):
        texts = [text.get_text() for text in draw(image, mask, **words).texts]
        assert expected in texts


LONG = "a_long_name_" * 20 + ".nii.gz  ·  n4ax 1.2.3  ·  10 iterations"


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        (SHAPE, {"title": LONG}),
        (SHAPE, {"title": "头" * 80}),
        (SHAPE, {"title": "W" * 250, "mask_name": "M" * 120}),
        ((64, 64, 3), {"title": "a $title", "mask_name": "otsu"}),
        ((30, 40), {"title": "2-D"}),
        ((200, 12), {"title": "flat"}),
        ((12, 200), {"title": "tall"}),
        ((400, 5), {"title": "flatter"}),
        ((5, 400), {"title": "taller"}),
        ((200, 2, 3), {"title": "a line"}),
        ((10, 12, 9, 3), {"title": "a series"}),
    ],
)
def test_nothing_is_cut_off_or_lies_upon_another_text(
    shape: tuple[int, ...], words: dict[str, str]
) -> None:
    random = np.random.default_rng(0)
    mask = random.random(shape) > 0.3
    log_bias = random.normal(0, 0.1, shape).astype(np.float32)
    figure = draw(random.random(shape), mask, log_bias=log_bias, **words)
    boxes = find_text_boxes(figure)
    for panel in find_panels(figure):
        letters = find_letters(panel)
        assert letters.get("left", "L") in "LP"
        assert letters.get("right", "R") in "RA"
    page = figure.bbox
    for box in boxes:
        assert box.x0 >= 0
        assert box.y0 >= 0
        assert box.x1 <= page.x1
        assert box.y1 <= page.y1
    for one, other in combinations(boxes, 2):
        assert not one.overlaps(other)


def find_text_boxes(figure: Figure) -> list[Any]:
    """Where all texts are, once the figure is laid out."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # letters that the font does not have
        figure.canvas.draw()
        bars = [cell for cell in figure.axes if not cell.images]
        texts = [*figure.texts, *(text for cell in figure.axes for text in cell.texts)]
        for bar in bars:
            texts += [*bar.get_xticklabels(), bar.xaxis.label]
        return [text.get_window_extent() for text in texts if text.get_text()]
