"""The masks of ``n4ax correct``: expressions, labels, thresholds and margins."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

import n4ax
from n4ax.images.dilation import dilate
from n4ax.images.expressions import evaluate, parse
from tests.cli.program import QUICK, expect_error, phantom, read_voxels, run, save

SIZES = (2.0, 2.0, 2.5)


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with an image, labels, a map of probabilities and masks of odd names."""
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "scan.nii.gz", phantom())
    labels = np.digitize(phantom(), [100, 400, 600]).astype(np.int16)
    save(tmp_path / "labels.nii.gz", labels)
    save(tmp_path / "aparc+aseg.nii.gz", (labels * 10).astype(np.int16))
    save(tmp_path / "p.nii.gz", (phantom() / 1200).astype(np.float32))
    holes = np.where(phantom() > 600, np.nan, 1).astype(np.float32)
    save(tmp_path / "nan.nii.gz", holes)
    (tmp_path / "otsu").write_text("a file of that name")
    left = np.zeros(phantom().shape, np.uint8)
    left[:12] = 1
    save(tmp_path / "left (1).nii.gz", left)
    return tmp_path


def used_mask(*options: object) -> np.ndarray:
    words = ["correct", "scan.nii.gz", "-q", *QUICK, "--mask-output", "used.nii.gz", *options]
    assert run(*words) == 0
    found = read_voxels(Path("used.nii.gz"))
    assert found.dtype == np.uint8
    return found > 0


LABELS = np.digitize(phantom(), [100, 400, 600])
LEFT = np.arange(24)[:, None, None] < np.full(phantom().shape, 12)
OTSU = n4ax.otsu_mask(phantom().astype(np.float32)) > 0


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--mask", "otsu"], OTSU),
        (["--mask", "otsu+left (1).nii.gz"], OTSU & LEFT),
        (["--mask", "otsu & left (1).nii.gz"], OTSU & LEFT),
        (["--mask", "!left (1).nii.gz"], ~LEFT),
        (["--mask", "otsu&!(left (1).nii.gz|labels.nii.gz=3)"], OTSU & ~(LEFT | (LABELS == 3))),
        (["--mask", "labels.nii.gz=2,3"], LABELS >= 2),
        (["--mask", "labels.nii.gz", "--mask-label", "1,3"], (LABELS == 1) | (LABELS == 3)),
        (["--mask", "labels.nii.gz", "--mask-label", "2"], LABELS == 2),
        (["--mask", "aparc+aseg.nii.gz=30"], LABELS == 3),
        (["--mask", "otsu+aparc+aseg.nii.gz=30"], OTSU & (LABELS == 3)),
        (["--mask", "p.nii.gz>0.5"], phantom() / 1200 > 0.5),
        (["--mask", "p.nii.gz", "--mask-above", "0.25"], phantom() / 1200 > 0.25),
        (["--mask", "left (1).nii.gz | p.nii.gz>0.5"], LEFT | (phantom() / 1200 > 0.5)),
        (["--mask", "all", "--mask-dilate", "-3"], None),
        (["--mask", "otsu", "--mask-dilate", "5"], dilate(OTSU, 5, SIZES)),
        (["--mask", "otsu", "--mask-dilate", "1e30"], np.ones_like(OTSU)),
        (["--mask", "labels.nii.gz=3", "--mask-dilate", "-2"], dilate(LABELS == 3, -2, SIZES)),
    ],
)
def test_masks_are_combined(files: Path, options: list[str], expected: np.ndarray | None) -> None:
    found = used_mask(*options)
    assert np.array_equal(found, np.ones_like(OTSU) if expected is None else expected)


def test_the_field_is_that_of_the_combined_mask(files: Path) -> None:
    assert run("correct", "scan.nii.gz", "-q", *QUICK, "--mask", "otsu+left (1).nii.gz") == 0
    image = phantom().astype(np.float32)
    expected = n4ax.n4(image, OTSU & LEFT, iters=(3, 2), conv_threshold=0, voxel_order="F")
    assert np.array_equal(read_voxels(Path("scan_n4.nii.gz")), expected)


@pytest.mark.parametrize("radius", [-6, -2.5, 1, 2, 4.9, 5, 12])
def test_margins_are_distances_in_mm(radius: float) -> None:
    mask = np.random.default_rng(0).random((20, 17, 12)) > (0.999 if radius > 0 else 0.02)
    far = ndimage.distance_transform_edt(~mask if radius > 0 else mask, SIZES)
    expected = far <= radius * (1 + 1e-9) if radius > 0 else far > -radius * (1 + 1e-9)
    assert np.array_equal(dilate(mask, radius, SIZES), expected)
    assert expected.any()
    assert not expected.all()


def test_series_take_otsu_of_the_volume_that_is_estimated(tmp_path: Path) -> None:
    volumes = np.stack([phantom(), phantom() // 2, phantom() * 2], axis=-1)
    path = save(tmp_path / "bold.nii.gz", volumes)
    inside = save(tmp_path / "left.nii.gz", LEFT.astype(np.uint8))
    words = ["correct", path, "-q", *QUICK, "--mask", f"otsu & {inside}"]
    used = tmp_path / "used.nii.gz"
    assert run(*words, "--series", "2", "--mask-output", used) == 0
    otsu = n4ax.otsu_mask((phantom() * 2).astype(np.float32)) > 0
    assert np.array_equal(read_voxels(used) > 0, otsu & LEFT)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--mask", "otsu+gone.nii.gz"], "gone.nii.gz is neither otsu nor all nor a file"),
        (["--mask", "otsu & "], "expected a mask at 'the end'"),
        (["--mask", "(otsu | all"], "expected ')' at 'the end'"),
        (["--mask", "otsu labels.nii.gz"], "otsu labels.nii.gz is neither"),
        (["--mask", "labels.nii.gz=7"], "has no value equal to 7; its values go from 0 to 3"),
        (["--mask", "p.nii.gz>3"], "has no value above 3"),
        (["--mask", "p.nii.gz"], "give a threshold with --mask-above 0.5"),
        (["--mask", "otsu+p.nii.gz"], "give a threshold with --mask-above 0.5"),
        (["--mask", "otsu", "--mask-above", "0.5"], "--mask-above chooses values of a mask in a"),
        (["--mask", "otsu", "--mask-label", "2"], "--mask-label chooses values of a mask in a"),
        (["--mask", "labels.nii.gz", "--mask-label", "two"], "whole number such as 2, or several"),
        (["--mask", "labels.nii.gz=3", "--mask-dilate", "-90"], "leaves no voxel inside"),
        (["--mask", "otsu", "--mask-dilate", "inf"], "--mask-dilate is inf; expected a number"),
        (["--mask", "nan.nii.gz & all"], "nan.nii.gz has NaN values"),
        (["--mask", "labels.nii.gz", "--mask-label", "7", "--mask-above", "0"], "only one of"),
        (["--mask", "left (1).nii.gz & !left (1).nii.gz"], "leaves no voxel inside"),
    ],
)
def test_masks_that_mean_nothing_are_refused(
    files: Path, capsys: pytest.CaptureFixture[str], options: list[str], words: str
) -> None:
    assert words in expect_error(capsys, "correct", files / "scan.nii.gz", *options)


def test_operators_bind_as_usual() -> None:
    rng = np.random.default_rng(1)
    masks = {name: rng.random(50) > 0.5 for name in ("a.nii", "b.nii", "c.nii")}
    a, b, c = masks.values()
    for text, expected in (
        ("a.nii|b.nii&c.nii", a | (b & c)),
        ("(a.nii|b.nii)&c.nii", (a | b) & c),
        ("!a.nii&b.nii", ~a & b),
        ("!(a.nii&b.nii)|c.nii", ~(a & b) | c),
        ("!!a.nii + b.nii+c.nii", a & b & c),
    ):
        found = parse(text, lambda name: Path(name) if name in masks else None)
        assert np.array_equal(evaluate(found, lambda part: masks[part.path.name]), expected), text


def test_series_in_space_and_time_are_dilated_in_space(tmp_path: Path) -> None:
    volumes = np.stack([phantom()] * 4, axis=-1)
    scan = save(tmp_path / "bold.nii", volumes)
    inside = np.zeros(volumes.shape, np.uint8)
    inside[8:12, 8:12, 8:12, 1] = 1
    save(tmp_path / "mask.nii", inside)
    used = tmp_path / "used.nii"
    words = ["--mask", tmp_path / "mask.nii", "--mask-dilate", "4", "--mask-output", used]
    assert run("correct", scan, "--series", "4d", *words, "-q", *QUICK) == 0
    counts = (read_voxels(used) > 0).sum(axis=(0, 1, 2))
    assert counts[1] > 64
    assert not counts[[0, 2, 3]].any()


def test_otsu_is_that_of_the_image_divided_by_the_field_to_start_from(tmp_path: Path) -> None:
    steep = (phantom() * np.exp(2 * np.linspace(-1, 1, 24))[:, None, None]).astype(np.float32)
    scan, field = save(tmp_path / "scan.nii", steep), tmp_path / "f.npz"
    found = n4ax.fit(scan, "all", iters=(1,)).field
    points = np.zeros(found.control_points.shape, np.float32)
    points += np.linspace(-4, 4, len(points))[:, None, None].astype(np.float32)
    replace(found, control_points=points).save(field)
    masks = []
    for text in ("otsu", "otsu & all"):
        used = tmp_path / "used.nii"
        words = ["--init", field, "--mask", text, "--mask-output", used, "-q", *QUICK]
        assert run("correct", scan, *words) == 0
        masks.append(read_voxels(used) > 0)
    assert np.array_equal(*masks)
    assert not np.array_equal(masks[0], n4ax.otsu_mask(steep) > 0)


def test_an_expression_longer_than_any_name_is_read(files: Path) -> None:
    many = " & ".join(["left (1).nii.gz"] * 30)
    assert len(many) > 255  # which no part of a path may be
    assert np.array_equal(used_mask("--mask", many), LEFT)


@pytest.mark.parametrize(
    ("mask", "expected"),
    [
        ("(" * 31 + "otsu" + ")" * 31, "at most 30 signs inside each other"),
        ("!" * 31 + "otsu", "at most 30 signs inside each other"),
        ("!" * 5000 + "otsu", "has 5000 signs; expected at most 200"),
        (" & ".join(["otsu"] * 300), "has 299 signs; expected at most 200"),
        ("labels.nii.gz=" + "9" * 5000, "expected labels such as =2,41"),
        ("labels.nii.gz=１", "neither otsu nor all nor a file"),
    ],
)
def test_an_expression_beyond_all_use_is_refused_at_once(
    files: Path, capsys: pytest.CaptureFixture[str], mask: str, expected: str
) -> None:
    assert expected in expect_error(capsys, "correct", files / "scan.nii.gz", "--mask", mask)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("threshold", "expected"),
    [
        ("1e300", "has no value above 1e+300; its values go from 0.0008"),
        ("nan", "--mask-above is nan; expected a number"),
    ],
)
def test_a_threshold_that_no_value_can_pass_is_refused_without_a_warning(
    files: Path, capsys: pytest.CaptureFixture[str], threshold: str, expected: str
) -> None:
    options = ("--mask", "p.nii.gz", "--mask-above", threshold)
    assert expected in expect_error(capsys, "correct", files / "scan.nii.gz", *options)


def test_a_b_value_that_is_not_a_number_is_refused(
    files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--b0-threshold", "nan")
    assert "nan is not a number" in expect_error(capsys, "correct", files / "scan.nii.gz", *options)
