"""The filter and the function have the interface of the installed SimpleITK."""

import re
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

import n4ax
from n4ax import simpleitk as sitk_n4
from tests.support.simpleitk import (
    Filter,
    Image,
    Ours,
    get_array,
    get_place,
    make_filter,
    phantom,
    run_both,
)


def list_public(kind: type) -> set[str]:
    return {name for name in dir(kind) if not name.startswith("_")}


def test_filter_has_every_name_of_simpleitk() -> None:
    assert issubclass(Ours, Filter)
    assert list_public(Filter) <= list_public(Ours)
    names = ("ShrinkFactor", "SplineDistance", "Arithmetic", "ItkVersion")
    added = {f"{verb}{name}" for verb in ("Get", "Set") for name in names}
    assert list_public(Ours) - list_public(Filter) == added


def test_every_default_is_that_of_simpleitk() -> None:
    theirs, ours = Filter(), Ours()
    values: dict[str, Any] = {}
    for name in list_public(Filter):
        if name.startswith("Get") and f"Set{name[3:]}" in list_public(Filter):
            values[name] = getattr(theirs, name)()
            assert getattr(ours, name)() == values[name], name
    assert len(values) >= 16
    assert ours.GetName() == theirs.GetName()
    assert ours.GetProgress() == theirs.GetProgress()


def test_methods_that_are_not_plain_parameters_are_overridden() -> None:
    """SimpleITK's own methods would ask an ITK filter that never ran."""
    names = list_public(Filter)
    for name in sorted(names - {"thisown", "GetName"}):
        noun = re.sub(r"^(Set|Get)|(On|Off)$", "", name)
        parameter = {f"Set{noun}", f"Get{noun}"} <= names or "Global" in name
        assert parameter or name in vars(Ours), name


CHANGES: dict[str, tuple[Any, dict[str, Any]]] = {
    "ConvergenceThreshold": (0.0025, {"conv_threshold": 0.0025}),
    "MaximumNumberOfIterations": ([3, 2], {"iters": (3, 2)}),
    "BiasFieldFullWidthAtHalfMaximum": (0.3, {"fwhm": 0.3}),
    "WienerFilterNoise": (0.05, {"wiener": 0.05}),
    "NumberOfHistogramBins": (150, {"nbins": 150}),
    "NumberOfControlPoints": ([4, 5, 6], {"control_points": (4, 5, 6)}),
    "SplineOrder": (2, {"spline_order": 2}),
    "UseMaskLabel": (False, {"mask_label": None}),
    "MaskLabel": (2, {"mask_label": 2}),
    "ShrinkFactor": ((1, 3, 3), {"shrink_factor": (1, 3, 3)}),
    "SplineDistance": (12.5, {"spline_distance": 12.5, "control_points": None}),
}
"""A new value for every parameter, and the keywords of n4ax.fit that mean the same."""

BASE: dict[str, Any] = {
    "iters": (5, 4),
    "conv_threshold": 0.001,
    "control_points": (4, 4, 4),
    "mask_label": 1,
    "spacing": (0.9, 1.1, 2.5),
    "voxel_order": "F",
}


def test_changes_cover_every_parameter() -> None:
    setters = {name for name in vars(Filter) if name.startswith("Set")}
    assert setters <= {f"Set{name}" for name in CHANGES}


@pytest.mark.parametrize("name", CHANGES)
def test_every_parameter_reaches_n4(name: str, image: Image, mask: Image) -> None:
    value, keywords = CHANGES[name]
    n4 = Ours()
    n4.SetMaximumNumberOfIterations([5, 4])
    unchanged = get_array(n4.Execute(image, mask))
    getattr(n4, f"Set{name}")(value)
    corrected = get_array(n4.Execute(image, mask))
    assert not np.array_equal(corrected, unchanged)
    result = n4ax.fit(get_array(image).T, get_array(mask).T, **BASE | keywords)
    assert np.array_equal(corrected, result.corrected.T)
    log_field = get_array(n4.GetLogBiasFieldAsImage(image))
    assert np.array_equal(log_field, result.log_bias.T)


def parse_parameters_of_the_function() -> list[tuple[str, str]]:
    """Read the names and defaults of SimpleITK's function, in order, from its docstring."""
    text = (sitk.N4BiasFieldCorrection.__doc__ or "").split("maskImage,")[1]
    text = text.split("-> Image")[0]
    return re.findall(r"(\w+)=((?:std::vector< uint32_t >)?[^,()]+(?:\([^)]*\))?)", text)


def test_function_has_the_parameters_of_simpleitk_in_order_with_their_defaults(
    image: Image, mask: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[Any, dict[str, Any]]] = []

    def note(n4: Any, *inputs: Any, weights: Any = None) -> None:
        getters = [f"Get{name}" for name in CHANGES]
        seen.append((inputs, {name[3:]: getattr(n4, name)() for name in getters}))

    monkeypatch.setattr(Ours, "Execute", note)
    documented = parse_parameters_of_the_function()
    names = [name[0].upper() + name[1:] for name, _ in documented]
    assert set(names) == set(CHANGES) - {"ShrinkFactor", "SplineDistance"}
    values = [CHANGES[name][0] for name in names]

    sitk_n4.N4BiasFieldCorrection(image)
    ((inputs, defaults),) = seen
    assert inputs == (image, None)
    for name, (_, default) in zip(names, documented, strict=True):
        vector = re.fullmatch(r"std::vector< uint32_t >\((\d+), ?(\d+)\)", default)
        expected = (int(vector[2]),) * int(vector[1]) if vector else eval(default)
        assert defaults[name] == expected, name

    for count in range(len(values) + 1):
        for others in ((), (mask,)):
            sitk_n4.N4BiasFieldCorrection(image, *others, *values[:count])
            inputs, found = seen.pop()
            assert inputs == (image, *(others or (None,)))
            for name, value in zip(names, values[:count], strict=False):
                assert np.array_equal(found[name], value), name
            assert all(found[name] == defaults[name] for name in names[count:])


def test_function_gives_the_result_of_the_filter(image: Image, mask: Image) -> None:
    expected = get_array(make_filter(iters=(4, 3)).Execute(image, mask))
    call = sitk_n4.N4BiasFieldCorrection
    by_position = call(image, mask, 0.0, [4, 3])
    by_name = call(image, maskImage=mask, maximumNumberOfIterations=[4, 3], convergenceThreshold=0)
    for corrected in (by_position, by_name):
        assert np.array_equal(get_array(corrected), expected)
        assert get_place(corrected) == get_place(image)
    theirs = sitk.N4BiasFieldCorrection(image, mask, 0.0, [5])
    np.testing.assert_allclose(get_array(call(image, mask, 0.0, [5])), get_array(theirs), rtol=2e-6)
    added = call(image, 0.0, [4], weights=mask, shrinkFactor=2, splineDistance=20.0)
    n4 = make_filter(iters=(4,))
    n4.SetShrinkFactor(2)
    n4.SetSplineDistance(20.0)
    assert np.array_equal(get_array(added), get_array(n4.Execute(image, weights=mask)))


@pytest.mark.parametrize(
    ("values", "keywords", "words"),
    [
        ((), {"splineorder": 2}, "unexpected keyword argument 'splineorder'"),
        (
            (0.1,),
            {"convergenceThreshold": 0.1},
            "multiple values for argument 'convergenceThreshold'",
        ),
        ((None,), {"maskImage": phantom()}, "multiple values for argument 'maskImage'"),
        ((0.1, [2], 0.2, 0.1, 99, [4] * 3, 3, True, 1, 5), {}, "too many positional arguments"),
        (("mask",), {}, "maskImage is of type str; expected a SimpleITK.Image"),
    ],
)
def test_function_refuses_other_arguments(
    image: Image, values: tuple[Any, ...], keywords: dict[str, Any], words: str
) -> None:
    with pytest.raises(TypeError, match=words):
        sitk_n4.N4BiasFieldCorrection(image, *values, **keywords)


def test_str_is_that_of_simpleitk_with_the_added_parameters(image: Image, mask: Image) -> None:
    def describe(kind: type[Filter]) -> list[str]:
        n4 = make_filter(kind, (2, 1))
        before = str(n4)
        n4.AddCommand(sitk.sitkStartEvent, lambda: None)
        n4.AddCommand(sitk.sitkIterationEvent, lambda: None)
        n4.Execute(image, mask)
        after = str(n4).partition("  ActiveProcess")[0]  # SimpleITK adds ITK's filter
        return (before + after).splitlines()

    theirs, ours = run_both(describe)
    own = ("  ShrinkFactor: 1", "  SplineDistance: 0", "  Arithmetic: limit", "  ItkVersion: 5")
    assert [ours.count(line) for line in own] == [2] * 4
    for expected, found in zip(theirs, [line for line in ours if line not in own], strict=True):
        if expected.startswith("  CurrentConvergenceMeasurement: 0."):
            values = [float(line.split()[-1]) for line in (found, expected)]
            assert values[0] == pytest.approx(values[1], rel=1e-3)
        else:
            assert found == expected


@pytest.mark.parametrize("name", ["ShrinkFactor", "SplineDistance", "Arithmetic", "ItkVersion"])
def test_added_parameters_are_checked_when_they_are_set(name: str) -> None:
    n4 = Ours()
    with pytest.raises(ValueError, match="expected"):
        getattr(n4, f"Set{name}")(-2)


def test_spline_distance_of_0_means_the_number_of_control_points(image: Image, mask: Image) -> None:
    n4 = make_filter()
    expected = get_array(n4.Execute(image, mask))
    assert n4.GetSplineDistance() == 0
    n4.SetSplineDistance(12.5)
    assert n4.GetSplineDistance() == 12.5
    assert not np.array_equal(get_array(n4.Execute(image, mask)), expected)
    n4.SetSplineDistance(0)
    assert np.array_equal(get_array(n4.Execute(image, mask)), expected)


def test_import_without_simpleitk_says_what_to_install() -> None:
    program = "import sys; sys.modules['SimpleITK'] = None; import n4ax.simpleitk"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 1
    assert "ImportError: n4ax.simpleitk needs SimpleITK" in done.stderr
    assert "pip install 'n4ax[simpleitk]'" in done.stderr
