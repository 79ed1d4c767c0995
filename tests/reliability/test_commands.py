"""The makers of the fuzzer's inputs, and what it takes for a finding."""

from pathlib import Path
from random import Random

import numpy as np
import pytest

from n4ax.errors import InputError
from n4ax.settings import N4Settings
from reliability.fuzz.arguments import draw_image, draw_mask
from reliability.fuzz.checks import Call
from reliability.fuzz.folders import fill_folder
from reliability.fuzz.listings import find_changes, list_folder
from reliability.fuzz.refusals import call_or_refuse, freeze
from reliability.fuzz.settings_values import NAMES
from reliability.fuzz.targets.ants_program import make_words


def test_an_input_is_made_again_from_its_seed() -> None:
    for number in range(200):
        assert make_words(Random(number)) == make_words(Random(number))
        one, again = (draw_image(Random(number), (6, 5, 4)) for _ in range(2))
        assert freeze(one) == freeze(again)
        one, again = (draw_mask(Random(number), (6, 5, 4)) for _ in range(2))
        assert freeze(one) == freeze(again)


def test_all_parameters_are_fuzzed() -> None:
    assert set(NAMES) == set(N4Settings().keywords())


def test_a_change_of_an_array_or_a_file_is_seen(tmp_path: Path) -> None:
    array = np.zeros((3, 3))
    before = freeze(array)
    array[1, 1] = -0.0
    assert freeze(array) != before
    place = fill_folder(Random(1), tmp_path)
    tree = list_folder(tmp_path)
    assert find_changes(tree, list_folder(tmp_path)) == []
    (place / "i.nii").write_bytes(b"")
    (place / "new").mkdir()
    assert find_changes(tree, list_folder(tmp_path)) == ["here/i.nii", "here/new"]


def test_an_error_that_slips_out_is_no_refusal() -> None:
    def refuse() -> None:
        N4Settings(nbins=1)

    assert call_or_refuse(refuse)[1].startswith("InputError: nbins is 1")
    with pytest.raises(ValueError, match="truth value"):
        call_or_refuse(lambda: bool(np.zeros(3)))
    with pytest.raises(ZeroDivisionError):
        call_or_refuse(lambda: 1 / 0)
    with pytest.raises(InputError):  # raised, but not by n4ax
        call_or_refuse(_raise_outside)


def _raise_outside() -> None:
    raise InputError("{nbins} is bad")


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("Traceback (most recent call last):", "Traceback"),
        ("x: error: invalid literal for int()", "invalid literal"),
        ("x: error: not enough memory", "not enough memory"),
        ("", "without a word"),
    ],
)
def test_what_a_program_must_not_say_is_a_finding(said: str, expected: str, tmp_path: Path) -> None:
    import sys

    def program(_words: object) -> int:
        print(said, file=sys.stderr)
        return 1

    place = fill_folder(Random(1), tmp_path)
    with pytest.raises(AssertionError, match=expected):
        Call(program, ["-i"], place)
