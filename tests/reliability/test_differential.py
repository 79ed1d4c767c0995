"""A hundred random problems two ways each, and what a campaign does when it is stopped."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from reliability.differential import campaign, command, noise
from reliability.differential.summary import summarise

SEED = 11
CASES = {"doors": 60, "simpleitk": 32, "ants": 8}


@pytest.mark.slow
@pytest.mark.parametrize("against", CASES)
def test_random_problems_show_no_difference(against: str) -> None:
    lines = [campaign.compare_case(against, SEED, number) for number in range(CASES[against])]
    found = [(line["number"], line["found"], line.get("trace")) for line in lines if line["found"]]
    assert found == []
    assert sum(line["refused"] for line in lines) <= 0.1 * len(lines)


def test_every_kind_of_problem_has_its_share() -> None:
    cases = list(campaign.plan(1000, campaign.AGAINST))
    assert len(set(cases)) == 1000
    for name, share in campaign.SHARES.items():
        assert sum(kind == name for kind, _ in cases) == 100 * share
    assert list(campaign.plan(3, ["ants"])) == [("ants", 0), ("ants", 1), ("ants", 2)]


def test_a_campaign_goes_on_after_a_torn_line(tmp_path: Path) -> None:
    path = tmp_path / "seed-1.jsonl"
    done: dict[str, Any] = {"against": "doors", "number": 0, "seconds": 1.0, "found": []}
    path.write_text(json.dumps(done) + "\n" + '{"against": "doors", "numb')
    assert campaign.read_lines(path) == [done]
    assert list(campaign.run(path, 1, [("doors", 0)], 1, 60)) == []
    assert campaign.read_lines(path) == [done]


def test_a_difference_is_told_and_ends_the_command_with_status_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "seed-1.jsonl"
    line = {"against": "doors", "number": 0, "seconds": 1.0, "found": ["bits: x"], "doors": ["a"]}
    path.write_text(json.dumps(line) + "\n")
    monkeypatch.setattr(command, "find_file", lambda seed: path)
    said = CliRunner().invoke(command.main, ["--cases", "1", "--against", "doors"])
    assert said.exit_code == 1
    assert "1 findings" in said.output
    assert summarise([line])["found"] == [{"against": "doors", "number": 0, "what": "bits: x"}]


def test_a_gap_is_held_against_itks_own() -> None:
    zero, inside = np.zeros(8), np.ones(8, bool)
    calls: list[int] = []

    def neighbour(number: int) -> Any:
        calls.append(number)
        return zero + (1e-3 if number == 7 else 1e-5)

    near = noise.measure(zero + 3e-5, zero, inside, neighbour)
    assert near["within"]
    assert near["neighbours"] == noise.FIRST
    far = noise.measure(zero + 3e-3, zero, inside, neighbour)
    assert far["within"]  # the eighth neighbour is as far away
    assert far["neighbours"] == 8
    beyond = noise.measure(zero + 1, zero, inside, neighbour)
    assert not beyond["within"]
    assert beyond["neighbours"] == noise.MOST
    assert beyond["ratio"] == pytest.approx(1000)
    assert not noise.measure(zero + np.nan, zero, inside, neighbour)["within"]


def test_iterations_are_compared_until_nothing_moves() -> None:
    count = noise.count_until_rest
    assert count([[0.5, 0.1], [0.2]]) == (2, 1)
    assert count([[0.5, 0.1], [0.2, 0.0], [0.0]]) == (2, 1, 0)
    assert count([[0.5, 0.0], [0.2], []]) == (1, 0, 0)
    assert count([[0.0], [0.0]]) == (1, 0)


def test_a_neighbour_has_intensities_or_logarithms_one_ulp_away() -> None:
    image = np.array([0, -3, 20, 60, 150, 4e4], np.float32).repeat(50).reshape(6, 50)
    for number, values in ((1, lambda x: x), (2, lambda x: np.log(x.astype(np.float64)))):
        moved = noise.move_image(image, number)
        before, after = (values(x[2:]).astype(np.float32) for x in (image, moved))
        steps = (after - before) / np.spacing(np.abs(before))
        assert np.abs(steps).max() == 1
        assert (steps != 0).any(axis=1).all()
        assert np.array_equal(moved[0], image[0])
    assert np.array_equal(noise.move_image(image, 2)[1], image[1])
