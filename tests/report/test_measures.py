"""The measures of a correction, on images with known tissues."""

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from n4ax.report.measures import measure
from n4ax.report.pages import write_all
from n4ax.report.pictures import draw
from n4ax.report.volumes import Volumes, find_positions
from tests.report.support import make_phantom, make_shading, write_record


def is_finite(entry: Any) -> bool:
    if isinstance(entry, dict):
        return all(map(is_finite, entry.values()))
    if isinstance(entry, list):
        return all(map(is_finite, entry))
    return entry is None or isinstance(entry, str) or bool(np.isfinite(entry))


def test_the_field_and_the_histograms_are_those_of_the_image() -> None:
    image, _ = make_phantom()
    log_bias = make_shading(image.shape, 0.05)
    mask = np.ones(image.shape, bool)
    found = measure(Volumes(image * np.exp(log_bias), log_bias, image, mask))
    assert found["FieldRange"] == pytest.approx([np.exp(-0.05), np.exp(0.05)], rel=1e-5)
    assert found["FieldWindow"][0] * found["FieldWindow"][1] == pytest.approx(1, rel=1e-5)
    histogram = found["Histogram"]
    edges = np.linspace(*histogram["Range"], 129)
    assert len(histogram["After"]) == 128
    assert histogram["After"] == np.histogram(image, edges)[0].tolist()
    assert json.loads(json.dumps(found)) == found


def test_measures_do_not_depend_on_what_lies_outside_the_mask_or_is_not_finite() -> None:
    image, _ = make_phantom()
    log_bias = make_shading(image.shape)
    mask = np.zeros(image.shape, bool)
    mask[:, 4:-4] = True
    clean = measure(Volumes(image, log_bias, image, mask))
    dirty, field = image.copy(), log_bias.copy()
    dirty[:, 0], field[:, 0] = np.nan, np.inf
    assert measure(Volumes(dirty, field, dirty, mask)) == clean
    for order in "CF":  # the same call gives the same numbers again
        arrays = [np.asarray(array, order=order) for array in (image, log_bias, image, mask)]
        assert measure(Volumes(*arrays)) == measure(Volumes(*arrays))
    dirty[:, 5], field[:, 5] = np.inf, np.nan
    some = measure(Volumes(dirty, field, image, mask))
    assert is_finite(some)
    assert None not in some["FieldRange"]


def test_large_masks_are_sampled() -> None:
    image, _ = make_phantom((120, 80, 80))
    found = measure(Volumes(image, image * 0, image, np.ones(image.shape, bool)))
    assert sum(found["Histogram"]["After"]) <= 100_000
    whole = np.asfortranarray(image)
    again = measure(Volumes(whole, whole * 0, whole, np.ones(image.shape, bool, order="F")))
    assert again["Histogram"]["Range"] == pytest.approx(found["Histogram"]["Range"], rel=0.01)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("constant", np.full((6, 7, 8), 3.0)),
        ("zero", np.zeros((6, 7, 8))),
        ("not finite", np.full((6, 7, 8), np.nan)),
        ("negative", -make_phantom((12, 10, 8))[0]),
        ("huge", make_phantom((12, 10, 8))[0] * 1e35),
        ("two values", np.arange(336).reshape(6, 7, 8) % 2),
        ("tiny differences", 1.0 + np.arange(336).reshape(6, 7, 8) * 1e-40),
        ("flat", make_phantom((20, 20))[0]),
        ("a line", np.arange(9.0).reshape(9, 1, 1)),
    ],
)
@pytest.mark.parametrize("voxels", ["all", "one", "none"])
def test_degenerate_images_have_no_numbers_but_no_errors_either(
    tmp_path: Path, name: str, values: Any, voxels: str
) -> None:
    image = values.astype(np.float32)
    mask = np.full(image.shape, voxels == "all")
    mask.flat[0] |= voxels == "one"
    log_bias = np.full(image.shape, 900.0 if name == "huge" else 0.0, np.float32)
    found = measure(Volumes(image, log_bias, image, mask))
    assert is_finite(found)
    json.dumps(found, allow_nan=False)
    assert [len(found["Histogram"][when]) for when in ("Before", "After")] == [128, 128]
    assert {"before", "after", "field", "outline", "tile"} <= draw(
        Volumes(image, log_bias, image, mask), np.eye(4)
    ).keys()
    write_record(tmp_path, "01", None, "T1w", found, shape=image.shape)
    assert write_all(tmp_path)


def test_no_warning_is_swallowed() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        measure(Volumes(*[np.full((3, 3, 3), np.inf, np.float32)] * 3, np.ones((3, 3, 3), bool)))
    assert caught == []


@pytest.mark.parametrize("share", [0.0, 1e-5, 0.1, 0.5, 1.0])
def test_the_sample_is_every_nth_voxel_of_the_mask(share: float) -> None:
    random = np.random.default_rng(2)
    for size in (0, 1, 65_535, 65_536, 1_300_000):
        mask = random.random(size) < share
        mask[size // 3 : size // 2] = share > 0.4
        voxels = np.flatnonzero(mask)
        step = max(-(-len(voxels) // 100_000), 1)
        found = find_positions(mask)
        assert len(found) <= 100_000
        np.testing.assert_array_equal(found, voxels[::step])


TOWARDS = {"R": (0, 1), "L": (0, -1), "A": (1, 1), "P": (1, -1), "S": (2, 1), "I": (2, -1)}


def make_affine(codes: str, size: float = 2.0) -> Any:
    """An affine of an image whose axes point to these sides."""
    affine = np.diag([0.0, 0, 0, 1])
    for axis, code in enumerate(codes):
        mm, sign = TOWARDS[code]
        affine[mm, axis] = sign * size
    return affine


@pytest.mark.parametrize(
    ("codes", "axis", "rises"),
    [
        ("RAS", "bottom to top", True),
        ("RAI", "bottom to top", False),
        ("ASR", "left to right", True),
        ("ASL", "left to right", False),
        ("SRP", "back to front", False),
    ],
)
def test_a_profile_runs_along_the_axis_of_the_shading_and_becomes_flat(
    codes: str, axis: str, rises: bool
) -> None:
    image, _ = make_phantom()
    log_bias = make_shading(image.shape, 0.4)  # along the last axis
    mask = np.ones(image.shape, bool)
    mask[..., 10] = mask[..., :3] = False
    shaded = image * np.exp(log_bias)
    found = measure(Volumes(shaded, log_bias, image, mask), make_affine(codes))["Profile"]
    assert found["Axis"] == axis
    assert found["Unit"] == "mm"
    inside = [number for number in range(32) if number > 2]
    middles = [number * 2 + 1.0 for number in inside]
    assert found["Positions"] == (middles if rises else [64 - place for place in middles[::-1]])
    turn = slice(None) if rises else slice(None, None, -1)
    before, after = (
        np.array([np.nan if value is None else value for value in found[when]])[turn]
        for when in ("Before", "After")
    )
    empty = np.isnan(before)
    assert np.flatnonzero(empty).tolist() == [10 - 3]
    assert np.isnan(after).tolist() == empty.tolist()
    medians = [
        np.median(shaded[..., number][mask[..., number]]) for number in inside if number != 10
    ]
    assert before[~empty] == pytest.approx(medians / np.median(shaded[mask]), rel=1e-2)
    assert np.ptp(before[~empty]) > 0.6
    assert np.ptp(after[~empty]) < 0.05
    assert np.median(after[~empty]) == pytest.approx(1, abs=0.02)


def test_a_profile_has_no_directions_if_the_file_does_not_give_them() -> None:
    image, _ = make_phantom()
    volumes = Volumes(image, make_shading(image.shape), image, np.ones(image.shape, bool))
    found = measure(volumes, make_affine("ASL"), directed=False)
    assert (found["Profile"]["Axis"], found["Profile"]["Unit"]) == ("axis 3", "mm")
    assert found["Profile"]["Positions"][:2] == [1, 3]
    assert found["Planes"] == []
    found = measure(volumes)
    assert (found["Profile"]["Axis"], found["Profile"]["Unit"]) == ("axis 3", "voxels")
    assert found["Profile"]["Positions"][:2] == [0.5, 1.5]


def test_slices_of_long_images_are_taken_together() -> None:
    image, _ = make_phantom((20, 20, 300))
    volumes = Volumes(image, make_shading(image.shape), image, np.ones(image.shape, bool))
    found = measure(volumes, np.eye(4))["Profile"]
    assert found["Axis"] == "bottom to top"
    assert len(found["Positions"]) == len(found["Before"]) == 60
    assert found["Positions"][1] - found["Positions"][0] == 5


def test_both_histograms_are_of_the_same_voxels() -> None:
    image, _ = make_phantom()
    before, after = image.copy(), image.copy()
    before[:5], after[-7:] = np.nan, np.inf
    mask = np.ones(image.shape, bool)
    found = measure(Volumes(before, image * 0, after, mask))["Histogram"]
    assert found["Before"] == found["After"]
    edges = np.linspace(*found["Range"], 129)
    assert sum(found["After"]) == np.histogram(image[5:-7], edges)[0].sum()
