"""Errors that name parameters, and are told in the words of the door that the user came by."""

import pickle

import numpy as np
import pytest

from n4ax.errors import InputError

OPTIONS = {"shrink_factor": "--shrink-factor", "mask": "--mask"}


@pytest.mark.parametrize(
    ("template", "values", "python", "options"),
    [
        ("{mask} is empty", (), "mask is empty", "--mask is empty"),
        ("{weights} is empty", (), "weights is empty", "weights is empty"),
        ("use {weights:{0}}", (2,), "use weights=2", "use weights=2"),
        ("use {shrink_factor:4}", (), "use shrink_factor=4", "use --shrink-factor 4"),
        (
            "use {shrink_factor:{0}}",
            ((4, 4, 3),),
            "use shrink_factor=(4, 4, 3)",
            "use --shrink-factor 4x4x3",
        ),
        ("use {shrink_factor:{0}}", ((4,),), "use shrink_factor=(4,)", "use --shrink-factor 4"),
        ('pass {mask:"all"}', (), 'pass mask="all"', "pass --mask all"),
        ("use {mask:{0}}", ("'a, b'",), "use mask='a, b'", "use --mask 'a, b'"),
        ("use {mask:{0}}", ("(x, y).nii",), "use mask=(x, y).nii", "use --mask (x, y).nii"),
        ("use {mask:{0}}", ("",), "use mask=", "use --mask "),
        ("use {mask:{0}} or {1}", ("{1}", "{mask}"), "use mask={1} or {mask}", "use --mask {1} or"),
        ("{mask} is {0!r}", ("{shrink_factor}",), "mask is '{shrink_factor}'", "--mask is "),
        ("/data/mask of {0:g}", (1.5,), "/data/mask of 1.5", "/data/mask of 1.5"),
    ],
)
def test_names_are_those_of_the_door(
    template: str, values: tuple[object, ...], python: str, options: str
) -> None:
    error = InputError(template, *values)
    assert isinstance(error, ValueError)
    assert str(error) == python
    assert error.with_options(OPTIONS).startswith(options)
    assert "--shrink-factor}" not in error.with_options(
        OPTIONS
    )  # what a user gave is never rewritten


def test_an_error_says_which_image_it_is_about() -> None:
    error = InputError("{mask} is empty").about("image 2")
    assert str(error) == "image 2: mask is empty"
    assert error.with_options(OPTIONS) == "image 2: --mask is empty"


def test_an_error_comes_through_another_process_as_it_was() -> None:
    error = InputError("{mask} has shape {0}", (3, 4)).about("image 2")
    copy = pickle.loads(pickle.dumps(error))
    assert str(copy) == str(error)
    assert copy.with_options(OPTIONS) == error.with_options(OPTIONS)


def test_a_text_with_braces_of_its_own_is_kept() -> None:
    assert str(InputError('raise InputError("{0} is {1}")')) == 'raise InputError("{0} is {1}")'


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (10**5000, "an object of type int that cannot be shown"),
        ("y" * 9000, f"'{'y' * 299}… (9002 letters)"),
        (np.zeros((30, 30)), "array([[0., 0., 0., "),
    ],
    ids=["digits", "letters", "lines"],
)
def test_a_value_that_nobody_can_read_is_cut_or_described(value: object, shown: str) -> None:
    message = str(InputError("{nbins} is {0!r}; expected less", value))
    assert message.startswith(f"nbins is {shown}")
    assert message.endswith("; expected less")
    assert len(message) < 400
    assert "\n" not in message


def test_a_long_name_of_a_file_is_shown_whole() -> None:
    assert str(InputError("{0} is missing", "d/" * 2000)) == f"{'d/' * 2000} is missing"
