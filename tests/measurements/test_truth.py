"""The simulated brains are what they promise, and errors are measured against their true field."""

from importlib.util import find_spec
from itertools import pairwise

import numpy as np
import pytest

from benchmarks import other_tools, quality
from benchmarks.pages import render_page
from benchmarks.truth import grid, methods
from benchmarks.truth.fields import KINDS, SPREADS, make_log_field
from benchmarks.truth.goals import judge_goals
from benchmarks.truth.judge import error
from benchmarks.truth.maps import average, weigh_voxels
from benchmarks.truth.phantoms import CONTRASTS, SCALP, Case, make_case, name_half

needs_maps = pytest.mark.skipif(find_spec("nilearn") is None, reason="nilearn is not installed")

VOXEL = 6.0
"""The voxel size of most tests, in mm; the smallest brain that still has all tissues."""

BALL = np.linalg.norm(np.indices((25, 29, 25)).T - [12, 14, 12], axis=-1).T < 11
BALL_SPACING = (7.0, 6.0, 7.0)


def mean_in(case: Case, tissue: int) -> float:
    """The mean of the true signal's voxels that are nearly pure."""
    pure = case.tissues[tissue] > 0.9
    assert pure.sum() > 10
    return float((case.image / np.exp(case.log_field))[pure].mean())


@needs_maps
def test_the_same_arguments_give_the_same_bits() -> None:
    one, other = (make_case("coils", 1.4, "T2w", 0.04, 3, VOXEL, True) for _ in range(2))
    assert one.image.tobytes() == other.image.tobytes()
    assert one.log_field.tobytes() == other.log_field.tobytes()
    unlike = make_case("coils", 1.4, "T2w", 0.04, 4, VOXEL, True)
    assert not np.array_equal(unlike.image[:20, :20, :20], one.image[:20, :20, :20])


@needs_maps
def test_a_case_has_the_shapes_and_types_that_it_promises() -> None:
    case = make_case("7 T", 2.0, "T1w", 0.03, 0, (4.0, 5.0, 8.0))
    assert case.image.dtype == case.log_field.dtype == case.tissues.dtype == np.float32
    assert case.brain.dtype == bool
    assert case.image.shape == case.log_field.shape == case.brain.shape == case.tissues.shape[1:]
    assert case.spacing == (4.0, 5.0, 8.0)
    np.testing.assert_array_equal(np.diag(case.affine), [4, 5, 8, 1])
    volume = case.brain.sum() * np.prod(case.spacing) / 1e6
    assert 1.5 < volume < 2.2  # litres
    np.testing.assert_allclose(case.tissues.sum(0)[case.brain], 1, atol=1e-5)
    assert not case.tissues[:, ~case.brain].any()
    assert not case.image[~case.brain].any()
    assert (case.image[case.brain] > 0).all()


@pytest.mark.parametrize("strength", SPREADS)
@pytest.mark.parametrize("kind", KINDS)
def test_fields_have_the_promised_spread(kind: str, strength: float) -> None:
    field = make_log_field(kind, strength, BALL, BALL_SPACING, 5)
    assert field.dtype == np.float32
    assert field.shape == BALL.shape
    wanted = 0.0 if kind == "none" else SPREADS[strength]
    assert field[BALL].std() == pytest.approx(wanted, rel=1e-4)
    assert field[BALL].mean() == pytest.approx(0, abs=1e-5)
    assert np.isfinite(field).all()
    if wanted:
        assert not np.array_equal(field, make_log_field(kind, strength, BALL, BALL_SPACING, 6))


def test_a_7_t_field_is_bright_in_the_middle_and_slices_are_stepped() -> None:
    waves = make_log_field("7 T", 2.0, BALL, BALL_SPACING, 0)
    inner = np.linalg.norm(np.indices(BALL.shape).T - [12, 14, 12], axis=-1).T < 3
    assert waves[inner].mean() > 0.2 > 0 > waves[BALL & ~inner].mean()
    slices = make_log_field("slices", 1.3, BALL, BALL_SPACING, 0)
    assert (slices == slices[:1, :1]).all()
    steps = np.diff(slices[0, 0])
    assert (steps[1:] * steps[:-1] < 0).mean() > 0.8


@needs_maps
@pytest.mark.parametrize("contrast", CONTRASTS)
def test_tissues_have_the_order_of_the_contrast(contrast: str) -> None:
    case = make_case("coils", 1.4, contrast, 0.01, 0, 3.0)
    found = [mean_in(case, tissue) for tissue in range(3)]
    wanted = CONTRASTS[contrast][:3]
    np.testing.assert_allclose(np.array(found) / found[1], wanted, rtol=0.06, atol=0.04)
    assert (found[0] > found[1]) == (contrast != "T1w")


@needs_maps
def test_tissue_has_texture_and_the_noise_that_is_asked_for() -> None:
    quiet, loud = (make_case("none", 1.0, "T1w", noise, 0, 3.0) for noise in (0.0, 0.08))
    white = quiet.tissues[1] > 0.97
    assert 0.01 < quiet.image[white].std() / quiet.image[white].mean() < 0.05
    difference = (loud.image - quiet.image)[white]
    assert difference.std() == pytest.approx(80, rel=0.1)


@needs_maps
def test_a_whole_head_has_layers_and_air_around() -> None:
    case = make_case("none", 1.0, "T1w", 0.02, 0, 4.0, head=True)
    middle = tuple(size // 2 for size in case.image.shape)
    assert case.image[:3].mean() < 40
    assert (case.image[:2] > 0).mean() > 0.99  # noise in air is not 0
    line = case.image[:, middle[1], middle[2]]
    last = int(np.flatnonzero(case.brain[:, middle[1], middle[2]])[-1])
    outside = line[last + 1 : last + 1 + int(SCALP / 4)]
    assert outside.min() < 400  # the skull
    assert outside[int(np.argmin(outside)) :].max() > 700  # the scalp
    without = make_case("none", 1.0, "T1w", 0.02, 0, 4.0)
    assert case.brain.sum() == pytest.approx(without.brain.sum(), rel=0.02)


def test_odd_seeds_and_flair_are_held_back() -> None:
    halves = {(contrast, seed): name_half(contrast, seed) for contrast in CONTRASTS
              for seed in (0, 1)}  # fmt: skip
    chosen = {key for key, half in halves.items() if half == "chosen on"}
    assert chosen == {(contrast, 0) for contrast in CONTRASTS if contrast != "FLAIR"}


def test_averaging_keeps_means_and_the_middle() -> None:
    matrix = weigh_voxels(12, 1.0, 2.5, 0.0)
    assert matrix.shape == (5, 12)
    np.testing.assert_allclose(matrix.sum() * 2.5, 12, rtol=1e-6)
    ramp = np.arange(12, dtype=np.float32)
    line = average(np.broadcast_to(ramp, (3, 4, 12)), [np.eye(3), np.eye(4), matrix])
    assert line.shape == (3, 4, 5)
    assert line[0, 0, 2] == pytest.approx(5.5)
    assert all(a < b for a, b in pairwise(line[0, 0, :4]))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("coils", 1.4, "T3w"), "contrast is 'T3w'"),
        (("coils", 1.4, "T1w", -0.1), "noise is -0.1"),
    ],
)
def test_what_cannot_be_simulated_is_named(arguments: tuple[object, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_case(*arguments)  # type: ignore[arg-type]


def test_unknown_fields_are_named() -> None:
    with pytest.raises(ValueError, match="kind is 'coil'"):
        make_log_field("coil", 1.4, BALL, BALL_SPACING, 0)
    with pytest.raises(ValueError, match=r"strength is 1.5"):
        make_log_field("coils", 1.5, BALL, BALL_SPACING, 0)


@needs_maps
def test_the_true_field_has_no_error_and_nothing_has_the_whole() -> None:
    case = make_case("polynomial", 2.0, "PD", 0.03, 1, VOXEL)
    assert error(case.log_field, case) == 0
    assert error(case.log_field + 3, case) == pytest.approx(0, abs=1e-5)
    assert error(0, case) == pytest.approx(20.5, rel=1e-3)
    assert error(-case.log_field, case) == pytest.approx(41, rel=1e-3)


@needs_maps
def test_defaults_add_a_field_to_a_flat_brain_and_a_coarse_mesh_adds_less() -> None:
    case = make_case("none", 1.0, "T1w", 0.03, 0, 3.0)
    found = {name: error(methods.METHODS[name](case, "brain"), case)
             for name in ("SimpleITK", "200 mm, 3 levels")}  # fmt: skip
    assert 4.5 < found["SimpleITK"] < 8.5
    assert found["200 mm, 3 levels"] < 0.7 * found["SimpleITK"]


@needs_maps
def test_a_case_is_judged_and_the_best_is_not_worse_than_any() -> None:
    plan = grid.Plan("coils", 2.0, "FLAIR", 0.02, 0, VOXEL, "otsu")
    row = grid.judge_plan(plan)
    assert row["half"] == "held back"
    assert set(row["errors"]) == {*methods.METHODS, methods.BEST}
    assert row["errors"]["nothing"] == pytest.approx(20.5, rel=1e-3)
    assert row["errors"][methods.BEST] == min(row["errors"].values())
    assert row["errors"][methods.BEST] < 10


def test_a_shrink_factor_stands_for_the_distance_of_samples(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[object] = []

    class Found:
        log_bias = 0.0

    def fit(*given: object, **keywords: object) -> Found:
        asked.append(keywords.get("shrink_factor"))
        return Found()

    monkeypatch.setattr(methods.n4ax, "fit", fit)
    voxel = np.ones((2, 2, 2), np.float32)
    for spacing in ((1.0, 1.0, 1.0), (1.0, 1.0, 5.0), (2.0, 2.0, 2.0), (3.0, 3.0, 3.0)):
        case = Case(voxel, voxel > 0, voxel[None], voxel, spacing, np.eye(4),
                    "none", 1.0, "T1w", 0.0, 0, False)  # fmt: skip
        methods.METHODS["niPreps"](case, "brain")
        methods.METHODS["SimpleITK"](case, "brain")
    assert asked == [4, None, 4, None, 2, None, 1, None]


def make_rows() -> list[dict[str, object]]:
    """Rows of two strata, as the grid makes them."""
    names = [*methods.METHODS, methods.BEST]
    return [
        {
            "kind": kind, "strength": strength, "contrast": contrast, "half": "held back",
            "errors": dict.fromkeys(names, float(number) or 0.5),
        }
        for number, (kind, strength, contrast) in enumerate([
            ("none", 1.0, "T1w"), ("coils", 1.4, "T1w"), ("coils", 1.4, "T2w"),
            ("coils", 1.4, "FLAIR"), ("coils", 1.4, "PD"),
        ])
    ]  # fmt: skip


def test_tables_have_the_median_and_the_worst_of_each_stratum() -> None:
    none, coils = grid.summarise_strata(make_rows())
    assert (none["kind"], none["cases"], none["spread"]) == ("none", 1, 0.0)
    assert (coils["kind"], coils["cases"], coils["spread"]) == ("coils", 4, 9.9)
    assert coils["errors"]["SimpleITK"] == {"median": 2.5, "worst": 4.0}
    assert list(grid.summarise_by(make_rows(), "contrast")) == ["T1w", "T2w", "FLAIR", "PD"]


def test_the_page_shows_every_part(monkeypatch: pytest.MonkeyPatch) -> None:
    def judge(parts: dict[str, grid.Part]) -> object:
        return ((name, make_rows()) for name in parts)

    monkeypatch.setattr(grid, "judge_parts", judge)
    result = quality.measure(False, 1)
    machine = {"processor": "x", "processors": 1, "memory_gib": 1, "date": "today"}
    record = {
        "result": result, "quick": False, "rounds": 1, "machine": machine,
        "versions": {"n4ax": "0", "revision": "1"},
    }  # fmt: skip
    page = render_page("quality", ("quality",), {"quality": record})
    assert all(part.title in page for part in grid.PARTS.values())
    assert "| coils, 1.4 | 2.5 (4.0) |" in page
    assert "`conv_threshold=1e-07, shrink_factor=4, spline_distance=200`" in page
    assert "SimpleITK, niPreps and 200 mm with 3 levels | in none |" in page


def test_goals_are_judged_on_what_was_held_back() -> None:
    rows = make_rows()
    for row in rows:
        row["errors"] = row["errors"] | {methods.AUTO: 1.0, methods.AUTO_BY_TISSUES: 2.0}  # type: ignore[operator]
    found = judge_goals([*rows, {**rows[0], "half": "chosen on"}])
    assert found["cases"] == len(rows)
    assert found["flat"] == 2.0  # 1 where SimpleITK has 0.5
    assert found["worse"] == [{"kind": "none", "strength": 1.0, "by": 0.5}]
    assert found["by_tissues"] == {"median": 2.4, "worst": 4.0}
    assert found["contrasts"]["PD"]["SimpleITK"] == 0.25


def test_parts_have_both_halves_and_every_contrast() -> None:
    plans = list(grid.PARTS["brain"].plan())
    assert {plan.contrast for plan in plans} == set(CONTRASTS)
    halves = [name_half(plan.contrast, plan.seed) for plan in plans]
    assert halves.count("chosen on") / len(halves) == pytest.approx(0.4)
    assert {plan.mask for part in grid.PARTS.values() for plan in part.plan()} == {
        "brain", "otsu", "all",
    }  # fmt: skip


def test_voxels_of_which_a_tool_says_nothing_count_as_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    log_field = np.linspace(-0.1, 0.1, 8, dtype=np.float32).reshape(2, 2, 2)
    case = Case(np.ones((2, 2, 2), np.float32), log_field < 1, log_field[None], log_field,
                (1.0, 1.0, 1.0), np.eye(4), "coils", 1.4, "T1w", 0.0, 0, False)  # fmt: skip

    def answer(peer: object, arguments: list[str]) -> None:
        _, tool, folder = arguments
        assert tool == "niimath"
        found = np.load(f"{folder}/000.npz")
        wrong = log_field + np.float32(0.5)
        wrong[found["mask"] & (log_field > 0.09)] = np.nan
        np.save(f"{folder}/000.npy", wrong)

    monkeypatch.setattr(other_tools, "prepare_peer", lambda name: name)
    monkeypatch.setattr(other_tools, "run_process", answer)
    (found,) = other_tools.run_tool("niimath", [case])
    assert np.isfinite(found).all()
    assert error(found, case) == pytest.approx(0, abs=1e-5)
