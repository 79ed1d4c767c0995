"""The same bits as SimpleITK: how they are asked for, and the threads that they stand for."""

import re
from dataclasses import replace
from typing import Any

import pytest
import SimpleITK as sitk

from n4ax import simpleitk as sitk_n4
from n4ax.settings import N4Settings
from n4ax.simpleitk.execution import Execution
from n4ax.simpleitk.inputs import open_inputs
from tests.support.simpleitk import Image, Ours, make_filter

Process = sitk.ProcessObject


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("N4AX_ARITHMETIC", "N4AX_ITK_VERSION"):
        monkeypatch.delenv(name, raising=False)


def find_arithmetic(settings: N4Settings) -> tuple[Any, ...]:
    assert settings.itk_work_units is None
    return settings.arithmetic, settings.itk_version, settings.itk_threads, settings.itk_tool


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, ("limit", 5, None, "simpleitk")),
        ({"N4AX_ARITHMETIC": "itk"}, ("itk", 5, 3, "simpleitk")),
        ({"N4AX_ARITHMETIC": "itk", "N4AX_ITK_VERSION": "6"}, ("itk", 6, 3, "simpleitk")),
        ({"N4AX_ARITHMETIC": "limit", "N4AX_ITK_VERSION": "6"}, ("limit", 6, None, "simpleitk")),
    ],
)
def test_variables_switch_a_script_that_is_not_changed(
    image: Image,
    used: list[N4Settings],
    monkeypatch: pytest.MonkeyPatch,
    variables: dict[str, str],
    expected: tuple[Any, ...],
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    Process.SetGlobalDefaultNumberOfThreads(3)
    n4 = make_filter()
    assert (n4.GetArithmetic(), n4.GetItkVersion()) == expected[:2]
    n4.Execute(image)
    sitk_n4.N4BiasFieldCorrection(image, 0.0, [2])
    assert [find_arithmetic(settings) for settings in used] == [expected] * 2


def test_setters_and_arguments_go_before_the_variables(
    image: Image, used: list[N4Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    Process.SetGlobalDefaultNumberOfThreads(3)
    values: list[tuple[Any, Any]] = [("limit", 5), ("itk", 6), ("itk", 5)]
    for variables in (("limit", "5"), ("itk", "6")):
        monkeypatch.setenv("N4AX_ARITHMETIC", variables[0])
        monkeypatch.setenv("N4AX_ITK_VERSION", variables[1])
        for arithmetic, version in values:
            n4 = make_filter(iters=(1,))
            n4.SetArithmetic(arithmetic)
            n4.SetItkVersion(version)
            assert (n4.GetArithmetic(), n4.GetItkVersion()) == (arithmetic, version)
            assert f"\n  Arithmetic: {arithmetic}\n  ItkVersion: {version}\n" in str(n4)
            n4.Execute(image)
            sitk_n4.N4BiasFieldCorrection(
                image, 0.0, [1], arithmetic=arithmetic, itkVersion=version
            )
            threads = 3 if arithmetic == "itk" else None
            expected = (arithmetic, version, threads, "simpleitk")
            assert [find_arithmetic(settings) for settings in used[-2:]] == [expected] * 2


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("Arithmetic", "ITK", "Arithmetic is 'ITK'; expected one of 'limit', 'itk'"),
        ("ItkVersion", 4, "ItkVersion is 4; expected one of 5, 6"),
    ],
)
def test_other_values_are_refused(
    name: str, value: Any, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    n4 = Ours()
    with pytest.raises(ValueError, match=f"^{words}"):
        getattr(n4, f"Set{name}")(value)
    variable = {"Arithmetic": "N4AX_ARITHMETIC", "ItkVersion": "N4AX_ITK_VERSION"}[name]
    monkeypatch.setenv(variable, str(value))
    with pytest.raises(ValueError, match=f"^{variable} is '{value}'; expected"):
        Ours()


@pytest.mark.parametrize(("threader", "tool"), [("Platform", "simpleitk"), ("Pool", "ants")])
def test_threads_are_the_global_ones_when_it_runs(
    image: Image, used: list[N4Settings], threader: str, tool: str
) -> None:
    n4 = make_filter(iters=(1,))
    n4.SetArithmetic("itk")
    n4.SetNumberOfThreads(2)  # these two change nothing in SimpleITK's numbers
    n4.SetNumberOfWorkUnits(7)
    Process.SetGlobalDefaultThreader(threader)
    for number in (4, 1, 128):
        Process.SetGlobalDefaultNumberOfThreads(number)
        n4.Execute(image)
        assert find_arithmetic(used[-1]) == ("itk", 5, number, tool)


def test_other_threaders_are_refused_with_advice(image: Image, used: list[N4Settings]) -> None:
    n4 = make_filter(iters=(1,))
    Process.SetGlobalDefaultThreader("TBB")
    n4.Execute(image)
    n4.SetArithmetic("itk")
    words = (
        "the global default threader of SimpleITK is 'TBB', and Arithmetic is 'itk', which can "
        "reproduce Platform and Pool only: call "
        'SimpleITK.ProcessObject.SetGlobalDefaultThreader("Platform")'
    )
    with pytest.raises(RuntimeError, match=re.escape(words)):
        n4.Execute(image)
    assert len(used) == 1
    Process.SetGlobalDefaultThreader("Platform")  # the advice
    n4.Execute(image)
    assert find_arithmetic(used[-1]) == ("itk", 5, 8, "simpleitk")


def test_a_run_is_repeated_with_its_own_threads(image: Image, used: list[N4Settings]) -> None:
    n4 = make_filter(iters=(2, 1))
    n4.SetArithmetic("itk")
    n4.SetItkVersion(6)
    Process.SetGlobalDefaultNumberOfThreads(3)

    def look() -> None:
        Process.SetGlobalDefaultNumberOfThreads(5)
        Process.SetGlobalDefaultThreader("Pool")
        n4.SetArithmetic("limit")
        n4.SetItkVersion(5)
        n4.GetLogBiasFieldAsImage(image)

    n4.AddCommand(sitk.sitkIterationEvent, look)
    n4.Execute(image)
    first, *repeated = used
    assert find_arithmetic(first) == ("itk", 6, 3, "simpleitk")
    assert repeated == [replace(first, iters=iters) for iters in ((1,), (2,), (2, 1))]


def test_a_measure_is_found_with_the_settings_of_the_run(
    image: Image, used: list[N4Settings]
) -> None:
    settings = N4Settings(
        iters=(2,), voxel_order="F", arithmetic="itk", itk_version=6, itk_threads=3, itk_tool="ants"
    )
    execution = Execution(settings, open_inputs(image, None, None), 1)
    execution.solve(None)
    heard: list[float] = []
    Execution(settings, open_inputs(image, None, None), 1).solve(
        lambda *news: heard.append(news[3])
    )
    assert execution.find_measure() == heard[-1]
    assert used == [settings, settings]  # no run is repeated for the measure
