"""The settings: whose defaults they are, what they refuse, and that the front doors share them."""

import inspect
from dataclasses import FrozenInstanceError, fields
from inspect import Parameter
from typing import Any

import numpy as np
import pytest
import SimpleITK

import n4ax
from n4ax.errors import InputError
from n4ax.images.axes import ImageAxes
from n4ax.posing import pose
from n4ax.settings import CHOSEN, ItkTool, N4Settings
from n4ax.settings.arithmetic import read_arithmetic, read_itk_version

ITK = SimpleITK.N4BiasFieldCorrectionImageFilter()


def test_defaults_are_those_of_simpleitk() -> None:
    settings = N4Settings()
    assert settings.iters == tuple(ITK.GetMaximumNumberOfIterations())
    assert settings.conv_threshold == ITK.GetConvergenceThreshold()
    assert settings.nbins == ITK.GetNumberOfHistogramBins()
    assert settings.fwhm == ITK.GetBiasFieldFullWidthAtHalfMaximum()
    assert settings.wiener == ITK.GetWienerFilterNoise()
    assert settings.spline_order == ITK.GetSplineOrder()
    assert N4Settings.simpleitk() == settings


@pytest.mark.parametrize("order", [1, 2, 3])
def test_default_lattice_is_that_of_simpleitk(order: int) -> None:
    image = np.random.default_rng(0).random((12, 13, 14))
    problem = pose(image, "all", None, None, N4Settings(spline_order=order)).problem
    assert problem.control_points == tuple(ITK.GetNumberOfControlPoints())


def test_everything_that_simpleitk_has_not_is_off_by_default() -> None:
    settings = N4Settings()
    assert settings.over_relax == 1
    assert settings.shrink_factor == 1
    assert settings.tiny is None
    assert settings.convergence == "itk"
    assert settings.outside == "divide"
    assert settings.nonfinite == "error"
    assert settings.voxel_order == "C"


def changed(settings: N4Settings) -> dict[str, Any]:
    default = N4Settings().keywords()
    return {name: value for name, value in settings.keywords().items() if value != default[name]}


def test_presets_of_ants_differ_from_simpleitk_in_shrinking_threshold_and_mesh() -> None:
    assert changed(N4Settings.ants()) == {"shrink_factor": 4, "conv_threshold": 0, "mesh": 1}
    assert changed(N4Settings.antspy()) == {"shrink_factor": 4, "conv_threshold": 1e-7, "mesh": 1}


def test_fast_preset_is_the_whole_schedule_accelerated() -> None:
    assert changed(N4Settings.fast()) == {"conv_threshold": 0, "accelerate": True}


REFUSED: list[tuple[str, Any, str]] = [
    ("accelerate", "yes", "True or False"),
    ("iters", (), "such as"),
    ("iters", (5, -1), "at least 0"),
    ("iters", 2.5, "whole numbers"),
    ("iters", "50", "whole numbers"),
    ("iters", ("5", "5"), "whole numbers"),
    ("iters", True, "whole numbers"),
    ("iters", None, "whole numbers"),
    ("iters", (np.nan,), "whole numbers"),
    ("iters", (np.inf,), "whole numbers"),
    ("iters", (1,) * 11, "at most 10"),
    ("conv_threshold", None, "a number"),
    ("conv_threshold", np.nan, "a number"),
    ("conv_threshold", "small", "a number"),
    ("convergence", "exactly", "'itk', 'exact'"),
    ("over_relax", 0, "above 0"),
    ("over_relax", np.inf, "above 0"),
    ("nbins", 2, "at least 3"),
    ("nbins", 65537, "at most 65536"),
    ("nbins", 200.5, "a whole number"),
    ("nbins", None, "a whole number"),
    ("fwhm", 0.0, "above 0"),
    ("fwhm", (0.1, 0.2), "above 0"),
    ("wiener", -0.01, "at least 0"),
    ("wiener", True, "a number"),
    ("tiny", 0, "above 0"),
    ("tiny", np.nan, "above 0"),
    ("spline_order", 0, "at least 1"),
    ("spline_order", 6, "at most 5"),
    ("control_points", 3, "at least 4"),
    ("control_points", (4, 3, 4), "at least 4"),
    ("control_points", (), "at least 4"),
    ("control_points", 4.5, "whole numbers"),
    ("mesh", 0, "at least 1"),
    ("mesh", (1, 1.5), "whole numbers"),
    ("spline_distance", -200, "above 0"),
    ("spline_distance", (200, 200), "above 0"),
    ("shrink_factor", 0, "at least 1"),
    ("shrink_factor", "4", "whole numbers"),
    ("adapt", "yes", "True or False"),
    ("mask_label", "1", "a whole number"),
    ("mask_label", 1.5, "a whole number"),
    ("nonfinite", "ignore", "'error', 'exclude'"),
    ("non_positive", "ignore", "'itk', 'exclude', 'offset'"),
    ("scale", "max", "'itk', 'minmax', 'mean', 'unit-field'"),
    ("outside", None, "'divide', 'keep', 'zero'"),
    ("voxel_order", "K", "'C', 'F'"),
    ("arithmetic", "ITK", "'limit', 'itk'"),
    ("itk_version", 4, "5, 6"),
    ("itk_threads", 0, "at least 1"),
    ("itk_threads", 129, "at most 128"),
    ("itk_threads", 4, "the arithmetic of ITK alone"),
    ("itk_work_units", 1.5, "at most 128"),
    ("itk_work_units", 64, "the arithmetic of ITK alone"),
    ("itk_tool", "itk", "'simpleitk', 'ants'"),
    ("itk_tool", "ants", "the arithmetic of ITK alone"),
]


@pytest.mark.parametrize(("name", "value", "expected"), REFUSED)
def test_a_value_out_of_range_is_refused_by_name_with_what_was_expected(
    name: str, value: Any, expected: str
) -> None:
    with pytest.raises(ValueError, match=f"^{name} ") as refusal:
        N4Settings(**{name: value})
    assert expected in str(refusal.value)


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, value, _ in REFUSED if np.size(value) == 1]
)
def test_a_refusal_says_what_was_given(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"^{name} ") as refusal:
        N4Settings(**{name: value})
    assert repr(value) in str(refusal.value)


def test_every_setting_is_checked() -> None:
    assert {name for name, _, _ in REFUSED} == set(N4Settings().keywords())


def test_values_at_the_ends_of_their_ranges_are_taken() -> None:
    least = N4Settings(iters=(0,), nbins=3, wiener=0, spline_order=1, control_points=2)
    assert least.iters == (0,)
    assert N4Settings(iters=(1,) * 10, nbins=65536, spline_order=5).nbins == 65536
    assert N4Settings(mask_label=0, mesh=1, shrink_factor=1).mask_label == 0
    assert N4Settings(conv_threshold=0).conv_threshold == 0


@pytest.mark.parametrize(
    "two",
    [
        {"control_points": 4, "mesh": 1},
        {"control_points": 4, "spline_distance": 200},
        {"mesh": 1, "spline_distance": 200},
        {"itk_threads": 2, "itk_work_units": 2},
    ],
)
def test_only_one_way_of_saying_a_thing_is_taken(two: dict[str, Any]) -> None:
    arithmetic = "itk" if "itk_threads" in two else "limit"
    with pytest.raises(ValueError, match=" and ".join(two)):
        N4Settings(arithmetic=arithmetic, **two)


def test_whole_numbers_are_kept_as_python_integers_whatever_their_type() -> None:
    settings = N4Settings(
        iters=np.array([8, 4]),  # type: ignore[arg-type]
        nbins=np.int64(100),  # type: ignore[arg-type]
        spline_order=2.0,  # type: ignore[arg-type]
        mask_label=np.uint8(3),  # type: ignore[arg-type]
        control_points=[4, np.int16(5)],  # type: ignore[list-item]
        shrink_factor=4.0,  # type: ignore[arg-type]
    )
    plain = N4Settings(
        iters=(8, 4),
        nbins=100,
        spline_order=2,
        mask_label=3,
        control_points=(4, 5),
        shrink_factor=4,
    )
    assert repr(settings) == repr(plain)


def test_iterations_of_one_level_may_be_given_as_one_number() -> None:
    assert N4Settings(iters=7).iters == (7,)  # type: ignore[arg-type]


def test_settings_are_frozen_and_equal_settings_hash_alike() -> None:
    one = N4Settings(iters=[3, 2], mesh=[1, 2], nbins=64)  # type: ignore[arg-type]
    other = N4Settings(iters=(3, 2), mesh=(1, 2), nbins=64)
    assert len({one, other, N4Settings()}) == 2
    with pytest.raises(FrozenInstanceError):
        one.nbins = 3  # type: ignore[misc]


def test_settings_take_no_positional_values() -> None:
    with pytest.raises(TypeError, match="positional"):
        N4Settings((50,))  # type: ignore[misc]


@pytest.mark.parametrize("preset", ["simpleitk", "ants", "antspy", "fast"])
def test_keywords_make_the_same_settings_again(preset: str) -> None:
    settings = getattr(N4Settings, preset)()
    assert set(settings.keywords()) == {field.name for field in fields(N4Settings)}
    assert N4Settings(**settings.keywords()) == settings


def per_axis(value: Any, shape: tuple[int, ...], order: Any = "C") -> tuple[int, ...]:
    return ImageAxes.of(shape, order).per_axis("mesh", value)


def test_auto_leaves_what_it_does_not_choose_to_the_user() -> None:
    assert N4Settings(adapt=True, wiener=0.5, scale="mean").wiener == 0.5
    given = {
        "iters": (5,), "conv_threshold": 0.1, "over_relax": 1.5, "fwhm": 0.3,
        "control_points": 5, "mesh": 2, "spline_distance": 90.0, "shrink_factor": 2,
    }  # fmt: skip
    assert set(given) == {*CHOSEN} - {"accelerate"}  # it asks for a threshold of 0 itself
    for name, value in given.items():
        with pytest.raises(ValueError, match=f"chooses {name} for each image: leave out {name}"):
            N4Settings(adapt=True, **{name: value})


def test_threads_of_itk_are_kept_as_python_integers() -> None:
    threads = N4Settings(arithmetic="itk", itk_threads=np.int8(3)).itk_threads
    units = N4Settings(arithmetic="itk", itk_work_units=np.int16(12)).itk_work_units
    assert [(type(number), number) for number in (threads, units)] == [(int, 3), (int, 12)]


def test_one_value_serves_every_axis_and_a_sequence_must_have_one_per_axis() -> None:
    assert per_axis(2, (9, 9, 1, 9)) == (2, 2, 2)
    assert per_axis((1, 2), (9, 9)) == (1, 2)
    assert per_axis((1, 2), (9, 9), "F") == (2, 1)
    assert per_axis((1, 2, 3), (9, 1, 9)) == (1, 3)
    assert per_axis((1, 3), (9, 1, 9)) == (1, 3)
    with pytest.raises(ValueError, match=r"mesh has 2 values, \(1, 2\); the image has 3 axes"):
        per_axis((1, 2), (9, 9, 9))


@pytest.mark.parametrize("function", [n4ax.n4, n4ax.fit])
def test_every_setting_is_a_keyword_of_the_front_doors_with_the_same_default(function: Any) -> None:
    taken = inspect.signature(function).parameters
    for name, default in N4Settings().keywords().items():
        assert taken[name].kind is Parameter.KEYWORD_ONLY
        assert taken[name].default == default, name


def test_front_doors_agree_but_for_what_they_return() -> None:
    n4 = dict(inspect.signature(n4ax.n4).parameters)
    fit = dict(inspect.signature(n4ax.fit).parameters)
    assert n4.pop("return_bias").default is False
    assert fit.pop("affine").default is None
    assert fit.pop("shared_field").default is False
    assert list(n4.values()) == list(fit.values())


def test_every_keyword_of_the_front_doors_reaches_the_settings() -> None:
    image = np.random.default_rng(0).random((12, 14)) + 1
    given = {
        "iters": (2,),
        "conv_threshold": 0.0,
        "convergence": "exact",
        "over_relax": 1.5,
        "nbins": 50,
        "fwhm": 0.2,
        "wiener": 0.02,
        "tiny": 1e-3,
        "spline_order": 2,
        "mesh": (2, 1),
        "shrink_factor": 2,
        "mask_label": 1,
        "nonfinite": "exclude",
        "non_positive": "exclude",
        "scale": "mean",
        "outside": "keep",
        "voxel_order": "F",
    }
    used = n4ax.fit(image, np.ones(image.shape), **given).settings
    assert used == N4Settings(**given)
    assert set(changed(used)) == set(given)


@pytest.mark.parametrize(
    ("tool", "threads", "expected"),
    [("simpleitk", None, 1), ("simpleitk", 1, 1), ("simpleitk", 7, 7), ("simpleitk", 128, 128),
     ("ants", None, 1), ("ants", 1, 1), ("ants", 2, 8), ("ants", 31, 124), ("ants", 64, 128)],
)  # fmt: skip
def test_a_number_of_threads_stands_for_work_units_by_the_rule_of_the_tool(
    tool: ItkTool, threads: int | None, expected: int
) -> None:
    settings = N4Settings(arithmetic="itk", itk_threads=threads, itk_tool=tool)
    assert settings.work_units == expected


def test_work_units_may_be_given_themselves() -> None:
    assert N4Settings(arithmetic="itk", itk_work_units=99).work_units == 99


def test_acceleration_does_not_follow_itk_to_the_last_digit() -> None:
    with pytest.raises(ValueError, match=r"^arithmetic is 'itk' and accelerate is True"):
        N4Settings.fast().override(arithmetic="itk")


def test_the_environment_names_an_arithmetic() -> None:
    assert read_arithmetic({}) is read_arithmetic({"N4AX_ARITHMETIC": " "}) is None
    assert read_arithmetic({"N4AX_ARITHMETIC": "itk"}) == "itk"
    with pytest.raises(ValueError, match="N4AX_ARITHMETIC is 'ants'; expected limit or itk"):
        read_arithmetic({"N4AX_ARITHMETIC": "ants"})


def test_the_environment_names_a_version_of_itk() -> None:
    assert read_itk_version({}) is read_itk_version({"N4AX_ITK_VERSION": ""}) is None
    assert read_itk_version({"N4AX_ITK_VERSION": "5"}) == 5
    assert read_itk_version({"N4AX_ITK_VERSION": " 6 "}) == 6
    for word in ("4", "5.4", "six"):
        with pytest.raises(ValueError, match=f"N4AX_ITK_VERSION is '{word}'; expected 5 or 6"):
            read_itk_version({"N4AX_ITK_VERSION": word})


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("iters", (10**6 + 1,), "at most 1000000"),
        ("iters", (10**400,), "at most 1000000"),
        ("iters", {5, 6}, "whole numbers"),
        ("iters", b"2", "whole numbers"),
        ("mesh", 10**400, "at most 2147483647"),
        ("shrink_factor", None, "whole numbers"),
        ("shrink_factor", 2**31, "at most 2147483647"),
        ("mask_label", 10**400, "at most"),
        ("mask_label", np.datetime64("nat"), "a whole number"),
        ("nbins", 10**400, "at most 65536"),
        ("wiener", 10**400, "at most 3.4e+38"),
        ("conv_threshold", -(10**400), "at least 0"),
        ("fwhm", 10**400, "above 0"),
        ("fwhm", np.True_, "above 0"),
        ("scale", np.arange(3), "'itk', 'minmax', 'mean', 'unit-field'"),
        ("itk_version", [5, 6], "5, 6"),
    ],
)
def test_what_no_float_can_hold_or_compare_is_refused_by_name(
    name: str, value: Any, expected: str
) -> None:
    with pytest.raises(InputError, match=f"^{name} ") as refusal:
        N4Settings(**{name: value})
    assert expected in str(refusal.value)


@pytest.mark.filterwarnings("error")
def test_numbers_of_numpy_with_few_digits_are_compared_without_a_warning() -> None:
    settings = N4Settings(wiener=np.float16(2.5), fwhm=np.float16(0.5), conv_threshold=np.int8(1))
    assert repr(settings) == "N4Settings(conv_threshold=1.0, fwhm=0.5, wiener=2.5)"
    assert N4Settings(spline_distance=np.float16(2.5)).spline_distance / 1e9 == 2.5e-9
    assert repr(N4Settings(spline_distance=200)) == "N4Settings(spline_distance=200)"


def test_numbers_may_come_as_an_array_of_any_library() -> None:
    assert N4Settings(iters=np.array([3, 2]), mesh=np.array(2)).keywords()["iters"] == (3, 2)
