"""Random rounding, significant bits, and how stable n4ax is beside ITK on a small head."""

import platform
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from benchmarks.volumes import PACKAGED
from reliability.pages.command import render_page
from reliability.records import read_records
from reliability.stability.bits import (
    compare_casts,
    count_common,
    count_significant,
    find_confidence_loss,
)
from reliability.stability.command import describe_plan, has_failed, main
from reliability.stability.measure import (
    FIRST_RULE,
    Plan,
    check_repetition,
    check_simpleitk,
    count_differences,
    describe_rule,
    measure_scan,
    run_programs,
)
from reliability.stability.picture import draw
from reliability.stability.programs import ITK_1, ITK_64, OURS, run_ours
from reliability.stability.rounding import move_input, round_randomly
from reliability.stability.scans import Scan, load_scan
from reliability.stability.stages import (
    EVERY,
    MEASURE,
    STAGED,
    STAGES,
    pose_scan,
    run_stage,
)
from reliability.stability.summary import summarise

FEWER = 2.0
"""From four samples, the significant bits are known to about so many bits."""

pytestmark = pytest.mark.skipif(
    (sys.platform, platform.machine(), platform.libc_ver()[0]) != ("linux", "x86_64", "glibc"),
    reason="the bits are those of ITK on x86-64 Linux with the GNU C library",
)


@pytest.fixture(scope="module")
def head() -> Scan:
    """The packaged head with one voxel in six along each axis."""
    return load_scan(PACKAGED, 6)


def test_numbers_move_by_one_unit_at_most_and_in_all_three_ways() -> None:
    given = np.random.default_rng(1).normal(0, 300, 30_000).astype(np.float32)
    moved = round_randomly(given, np.random.default_rng(2))
    steps = moved.view(np.int32) - given.view(np.int32)
    shares = [np.mean(steps == step) for step in (-1, 0, 1)]
    np.testing.assert_allclose(shares, 1 / 3, atol=0.02)


def test_zeros_infinities_and_nan_stay_as_they_are() -> None:
    given = np.repeat(np.array([0.0, -0.0, np.inf, -np.inf, np.nan], np.float32), 50)
    moved = round_randomly(given, np.random.default_rng(0))
    np.testing.assert_array_equal(moved.view(np.int32), given.view(np.int32))


def test_an_image_is_not_changed_by_its_perturbation(head: Scan) -> None:
    before = head.image.copy()
    assert move_input(head.image, 0, 0) is head.image
    one, same, other = (move_input(head.image, 0, sample) for sample in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)
    np.testing.assert_array_equal(head.image, before)


def test_significant_bits_are_those_that_the_spread_leaves() -> None:
    random = np.random.default_rng(0)
    samples = 700 * (1 + 2.0**-10 * random.standard_normal((2000, 5)))
    np.testing.assert_allclose(count_significant(samples), 10, atol=0.1)
    assert (count_significant(np.full((4, 3), -2.5)) == 24).all()
    assert (count_significant(np.array([[1.0], [-1.0]])) == 0).all()


def test_common_bits_are_those_above_the_difference() -> None:
    one = np.array([1.0, 1.0 + 2.0**-8, 0.0, 5.0], np.float32)
    other = np.array([1.0, 1.0, 0.0, -5.0], np.float32)
    np.testing.assert_array_equal(count_common(one, other), [24, 8, 24, 0])


def test_few_samples_make_fewer_bits_certain() -> None:
    # The quantiles are those of printed tables: chi-squared 0.8312 of 5 degrees, normal 1.96.
    assert find_confidence_loss(6) == pytest.approx(
        np.log2(5 / 0.8312) / 2 + np.log2(1.96), abs=0.002
    )
    assert find_confidence_loss(3) > find_confidence_loss(6) > find_confidence_loss(60) > 0


def test_casts_cut_off_digits_and_keep_to_their_range() -> None:
    one = np.array([99.999, 100.0, 300.0, 70000.0], np.float32)
    other = np.array([100.0, 100.5, 301.0, 80000.0], np.float32)
    assert compare_casts(one, other, top=255.0) == {"uint8": 0.25, "int16": 0.5}


@pytest.mark.parametrize("program", STAGED)
def test_the_engine_in_between_changes_nothing_by_itself(head: Scan, program: str) -> None:
    plain = run_ours(head, head.image, program, FIRST_RULE)
    staged = run_stage(head, pose_scan(head, program, FIRST_RULE), None, (0,))
    assert count_differences(plain, staged) == 0


@pytest.mark.parametrize("program", [OURS, pytest.param(ITK_1, marks=pytest.mark.slow)])
def test_a_rounding_of_every_stage_reaches_the_field_and_can_be_repeated(
    head: Scan, program: str
) -> None:
    posed = pose_scan(head, program, FIRST_RULE)
    plain = run_stage(head, posed, None, (0,))
    for stage in (*STAGES, EVERY):
        one, again = (run_stage(head, posed, stage, (0, 1)) for _ in range(2))
        assert count_differences(one, again) == 0, stage
        # The measure decides when a level ends, and nothing else.
        assert (count_differences(one, plain) > 0) is (stage != MEASURE), stage


@pytest.mark.slow
def test_n4ax_is_as_stable_as_itk_on_a_small_head(tmp_path: Path) -> None:
    head, plan = load_scan(PACKAGED, 3), Plan(0, 4, 2, 1, tmp_path)
    found = run_programs(head, FIRST_RULE, plan, print)
    rule = describe_rule(found, float(head.image.max()))
    rows, pair = rule["rows"], rule["pairs"][f"{ITK_64} / {OURS}"]
    for what in ("field", "corrected"):
        for bits in ("median", "least"):
            theirs = min(rows[name][what][bits] for name in (ITK_1, ITK_64))
            assert rows[OURS][what][bits] >= theirs - FEWER, (what, bits)
            # n4ax is as near to ITK as ITK to itself.
            assert pair[what][bits] >= rows[ITK_64][what][bits] - FEWER, (what, bits)
    assert {name: row["stops"] for name, row in rows.items()} == {ITK_1: 0, ITK_64: 0, OURS: 0}
    assert check_repetition(head, found, plan) == {"runs": 3, "different": 0}
    assert check_simpleitk(head, found, plan, print)["different"] == 0


@pytest.mark.slow
def test_a_measurement_is_continued_summed_up_and_drawn(head: Scan, tmp_path: Path) -> None:
    plan = Plan(3, 2, 2, 0, tmp_path / "kept")
    first = measure_scan(head, plan, print)
    told = sorted(path.stat().st_mtime_ns for path in plan.folder.rglob("*.npz"))
    assert measure_scan(head, plan, print) == first
    assert sorted(path.stat().st_mtime_ns for path in plan.folder.rglob("*.npz")) == told
    result = describe_plan(plan) | {"summary": summarise([first], 2, 2), "volumes": [first]}
    assert not has_failed(result)
    draw(result, tmp_path)
    assert "ITK, 64 threads" in (tmp_path / "stability.svg").read_text()


def test_a_volume_that_does_not_exist_is_named() -> None:
    done = CliRunner().invoke(main, ["--volumes", "knee"])
    assert done.exit_code == 2
    assert "no volume begins with 'knee'; give the beginning of one of " in done.output


@pytest.mark.skipif("stability" not in read_records(), reason="stability has not been measured")
def test_the_page_has_a_line_for_each_of_the_volumes() -> None:
    volumes = read_records()["stability"]["result"]["volumes"]
    page = render_page()
    for volume in volumes:
        assert page.count(f"| {volume['title']} |") >= 6
