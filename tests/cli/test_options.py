"""The options that commands share: how values are read, and how errors name the options."""

import click
import pytest

from n4ax.cli import n4ax_command, options
from n4ax.errors import InputError

CORRECT = n4ax_command.commands["correct"]
BIDS = n4ax_command.commands["bids"]


def test_option_names_are_the_longest_spellings() -> None:
    names = options.option_names(CORRECT)
    assert names["images"] == "IMAGE"
    assert names["output"] == "--output"
    assert names["shrink_factor"] == "--shrink-factor"
    assert names["accelerate"] == "--accelerate"
    assert set(names) == {parameter.name for parameter in CORRECT.params}
    assert options.option_names(BIDS)["memory_gb"] == "--memory-gb"


def test_names_of_before_and_of_other_programs_work_and_are_not_shown() -> None:
    words = ["--iterations", "3x2", "--threshold", "0", "--noise", "1", "--bins", "9", "--shrink"]
    found = CORRECT.make_context("correct", ["a.nii", *words, "2", "--threads", "1"]).params
    names = ("iters", "conv_threshold", "wiener", "nbins", "shrink_factor", "threads")
    assert [found[name] for name in names] == [(3, 2), 0, 1, 9, 2, 1]
    text = CORRECT.get_help(click.Context(CORRECT)).replace("\n", " ")
    old = [word for word in (*words, "--threads") if word.startswith("--")]
    assert not [word for word in old if f" {word} " in text]
    with pytest.raises(click.BadParameter) as caught:
        CORRECT.make_context("correct", ["a.nii", "--bins", "many"])
    assert "'--nbins'" in caught.value.format_message()


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (InputError("{conv_threshold} is {0!r}", "low"), "--conv-threshold is 'low'"),
        (InputError("give {shrink_factor:{0}}", (4, 4, 3)), "give --shrink-factor 4x4x3"),
        (InputError("{images} and a mask differ"), "IMAGE and a mask differ"),
        (InputError("{num_threads} is {0}", 0), "num_threads is 0"),
        (InputError("{mask} is empty").about("image 2"), "image 2: --mask is empty"),
        (ValueError("mask is {mask}, shrink_factor=4"), "mask is {mask}, shrink_factor=4"),
    ],
)
def test_errors_of_the_library_name_options(error: ValueError, message: str) -> None:
    with pytest.raises(ValueError) as caught, options.use_option_names(CORRECT):  # noqa: PT011
        raise error
    assert str(caught.value) == message


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyError("mask")])
def test_other_errors_pass_unchanged(error: Exception) -> None:
    with pytest.raises(type(error)) as caught, options.use_option_names(CORRECT):
        raise error
    assert caught.value is error


@pytest.mark.parametrize(
    ("text", "value"),
    [("mean", "mean"), ("b0", "b0"), ("7", 7), ("0,5,10", (0, 5, 10)), (None, None)],
)
def test_series_are_words_or_numbers_of_volumes(text: str | None, value: object) -> None:
    context, option = click.Context(CORRECT), CORRECT.params[0]
    assert options.read_series(context, option, text) == value


def test_a_missing_library_names_its_extra() -> None:
    with (
        pytest.raises(ValueError, match=r"no_such_library is missing: pip install 'n4ax\[bids\]'"),
        options.name_missing_extra("bids"),
    ):
        import no_such_library  # type: ignore[import-not-found]  # noqa: F401
