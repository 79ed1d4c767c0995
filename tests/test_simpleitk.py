"""The SimpleITK door: scripts with one changed name get what SimpleITK gave them."""

import gc
import re
import subprocess
import sys
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import SimpleITK as sitk

import n4ax
from n4ax import simpleitk as sitk_n4
from tests.support.itk import THREADS, one_ulp_off

MEAN, LARGEST = 5e-6, 3e-5
"""Bounds on the log field in the mask, where SimpleITK's own reproducibility is better."""

NOISE_FACTOR = 4
"""Else: so many times SimpleITK's difference to itself, over inputs one ulp apart."""

FIXED = 1e-6
"""Bound for a few iterations of one level."""

HEAD = Path(n4ax.__file__).parent / "data" / "head.nii.gz"

Array = npt.NDArray[Any]
Image = sitk.Image
Filter = sitk.N4BiasFieldCorrectionImageFilter
Ours = sitk_n4.N4BiasFieldCorrectionImageFilter
MODULES = (sitk, sitk_n4)


@pytest.fixture(autouse=True)
def _global_settings() -> Iterator[None]:
    """SimpleITK's global settings, put back afterwards."""
    names = ("NumberOfThreads", "CoordinateTolerance", "DirectionTolerance")
    process = sitk.ProcessObject
    before = [getattr(process, f"GetGlobalDefault{name}")() for name in names]
    process.SetGlobalDefaultNumberOfThreads(8)
    yield
    for name, value in zip(names, before, strict=True):
        getattr(process, f"SetGlobalDefault{name}")(value)


def image_of(array: Array, like: Image | None = None) -> Image:
    """An image of an array z, y, x; by default in an oblique place of its own."""
    image = sitk.GetImageFromArray(array, isVector=False)
    if like is not None:
        image.CopyInformation(like)
        return image
    n = image.GetDimension()
    image.SetSpacing((0.9, 1.1, 2.5)[:n])
    image.SetOrigin((-20.5, 13.25, 7.0)[:n])
    turn = np.eye(n)
    turn[:2, :2] = [[np.cos(0.3), -np.sin(0.3)], [np.sin(0.3), np.cos(0.3)]]
    image.SetDirection(turn.ravel().tolist())
    return image


def array_of(image: Image) -> Array:
    return sitk.GetArrayFromImage(image)


def place(image: Image) -> tuple[Any, ...]:
    return image.GetSize(), image.GetSpacing(), image.GetOrigin(), image.GetDirection()


def phantom(dtype: Any = np.float32, shape: tuple[int, ...] = (14, 20, 24)) -> Array:
    """Three tissues, a smooth field, noise; axes z, y, x."""
    at = np.stack(np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij"))
    radius = np.sqrt((at**2).sum(axis=0))
    tissue = np.select([radius < 0.5, radius < 0.8], [300.0, 210.0], 120.0)
    noise = np.random.default_rng(5).normal(0, 4, shape)
    return (tissue * np.exp(0.3 * at[-1] - 0.2 * at[0]) + noise).astype(dtype)


@pytest.fixture
def image() -> Image:
    return image_of(phantom())


@pytest.fixture
def mask(image: Image) -> Image:
    """1 and 2 in two tissues, 0 outside."""
    voxels = array_of(image)
    return image_of((voxels > 130).astype(np.uint8) + (voxels > 240), image)


def quick(kind: type[Filter] = Ours, iters: tuple[int, ...] = (5,), threshold: float = 0) -> Any:
    n4 = kind()
    n4.SetMaximumNumberOfIterations(list(iters))
    n4.SetConvergenceThreshold(threshold)
    return n4


def both(act: Callable[[type[Filter]], Any]) -> tuple[Any, Any]:
    return act(Filter), act(Ours)


# ---- the three ways in which scripts call it: each written once -------------------------------


@dataclass
class Events:
    """What a filter says of itself at every event."""

    n4: Any
    seen: list[tuple[str, int, int]] = field(default_factory=list)
    measures: list[float] = field(default_factory=list)
    progress: list[float] = field(default_factory=list)

    NAMES = ("Start", "Iteration", "Progress", "Abort", "MultiResolutionIteration", "User", "End")

    def __post_init__(self) -> None:
        for name in self.NAMES:
            self.n4.AddCommand(getattr(sitk, f"sitk{name}Event"), lambda n=name: self.note(n))

    def note(self, name: str) -> None:
        self.seen.append((name, self.n4.GetCurrentLevel(), self.n4.GetElapsedIterations()))
        self.measures.append(self.n4.GetCurrentConvergenceMeasurement())
        self.progress.append(self.n4.GetProgress())


@dataclass
class Outcome:
    corrected: Image
    log_field: Image
    inside: npt.NDArray[np.bool_]
    events: Events


def as_fastsurfer(module: ModuleType, image: Image) -> Outcome:
    """Shrunk by 4, all iterations; the field at full resolution, the mean restored."""
    sitk.ProcessObject.SetGlobalDefaultCoordinateTolerance(1e-4)
    sitk.ProcessObject.SetGlobalDefaultDirectionTolerance(1e-4)
    mask = sitk.Cast(sitk.OtsuThreshold(image, 0, 1) > 0, sitk.sitkUInt8)
    factors = [4] * image.GetDimension()
    n4 = module.N4BiasFieldCorrectionImageFilter()
    n4.SetMaximumNumberOfIterations([50] * 4)
    n4.SetConvergenceThreshold(0.0)
    events = Events(n4)
    n4.Execute(sitk.Shrink(image, factors), sitk.Shrink(mask, factors))
    log_field = n4.GetLogBiasFieldAsImage(image)
    corrected = image / sitk.Exp(log_field)
    inside = array_of(mask) > 0
    corrected *= float(array_of(image)[inside].mean() / array_of(corrected)[inside].mean())
    return Outcome(corrected, log_field, inside, events)


def as_example(module: ModuleType, image: Image, shrink: int, iterations: int) -> Outcome:
    """SimpleITK's own example: Otsu at full resolution, image and mask shrunk."""
    mask = sitk.OtsuThreshold(image, 0, 1, 200)
    factors = [shrink] * image.GetDimension()
    n4 = module.N4BiasFieldCorrectionImageFilter()
    n4.SetMaximumNumberOfIterations([iterations] * 4)
    events = Events(n4)
    n4.Execute(sitk.Shrink(image, factors), sitk.Shrink(mask, factors))
    log_field = n4.GetLogBiasFieldAsImage(image)
    return Outcome(image / sitk.Exp(log_field), log_field, array_of(mask) > 0, events)


def as_brainles(module: ModuleType, image: Image, iterations: int) -> Outcome:
    """Otsu, no shrinking, fewer levels; the filter's own result is kept."""
    mask = sitk.OtsuThreshold(image, 0, 1, 200)
    n4 = module.N4BiasFieldCorrectionImageFilter()
    n4.SetMaximumNumberOfIterations([iterations] * 3)
    events = Events(n4)
    corrected = n4.Execute(image, mask)
    return Outcome(corrected, n4.GetLogBiasFieldAsImage(image), array_of(mask) > 0, events)


def differences(one: Outcome, two: Outcome) -> tuple[float, float]:
    """Mean and largest difference of the log fields in the mask."""
    difference = np.abs(array_of(one.log_field) - array_of(two.log_field))[two.inside]
    return float(difference.mean()), float(difference.max())


def check_as_simpleitk(way: Callable[..., Outcome], image: Image, **keywords: int) -> None:
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(THREADS)
    theirs, ours = (way(module, image, **keywords) for module in MODULES)
    check_same_events(ours.events, theirs.events)

    mean, largest = differences(ours, theirs)
    bounds = np.array([MEAN, LARGEST])
    if mean > MEAN or largest > LARGEST:
        others = (image_of(one_ulp_off(array_of(image), seed), image) for seed in range(3))
        noise = [differences(way(sitk, other, **keywords), theirs) for other in others]
        bounds = np.maximum(bounds, NOISE_FACTOR * np.max(noise, axis=0))
    assert mean <= bounds[0]
    assert largest <= bounds[1]

    assert place(ours.corrected) == place(ours.log_field) == place(image)
    assert ours.corrected.GetPixelID() == theirs.corrected.GetPixelID()
    assert ours.log_field.GetPixelID() == sitk.sitkFloat32
    expected = array_of(theirs.corrected)[theirs.inside]
    relative = np.abs(array_of(ours.corrected)[theirs.inside] / expected - 1)
    assert relative.max() <= np.expm1(largest) + 1e-6 + mean  # the mean: FastSurfer's factor


def check_same_events(ours: Events, theirs: Events) -> None:
    assert ours.seen == theirs.seen
    assert ours.progress == theirs.progress
    np.testing.assert_allclose(ours.measures[:11], theirs.measures[:11], rtol=1e-3)
    np.testing.assert_allclose(ours.measures, theirs.measures, rtol=1e-2)


def read(path: Path) -> Image:
    return sitk.ReadImage(str(path), sitk.sitkFloat32)


@pytest.mark.slow
def test_fastsurfers_script_gives_the_same_with_one_name_changed() -> None:
    check_as_simpleitk(as_fastsurfer, read(HEAD))


def test_simpleitks_example_gives_the_same_with_one_name_changed() -> None:
    check_as_simpleitk(as_example, read(HEAD), shrink=3, iterations=20)


def test_brainles_script_gives_the_same_with_one_name_changed() -> None:
    check_as_simpleitk(as_brainles, read(HEAD)[30:62, 28:60, 30:54], iterations=10)


@pytest.mark.parametrize(
    ("name", "way", "keywords"),
    [
        pytest.param(
            "pelvis_pd_3t_surfacecoil_prostatex", as_fastsurfer, {}, marks=pytest.mark.slow
        ),
        pytest.param(
            "flair_head_ms_3mm", as_example, {"shrink": 4, "iterations": 10}, marks=pytest.mark.slow
        ),
        pytest.param(
            "mouse_anat_small_sammba", as_brainles, {"iterations": 10}, marks=pytest.mark.slow
        ),
    ],
)
def test_scripts_give_the_same_on_other_real_volumes(
    shared: Path, name: str, way: Callable[..., Outcome], keywords: dict[str, int]
) -> None:
    check_as_simpleitk(way, read(shared / "data" / f"{name}.nii.gz"), **keywords)


# ---- the surface: SimpleITK's, whatever its version ------------------------------------------


def public(kind: type) -> set[str]:
    return {name for name in dir(kind) if not name.startswith("_")}


def test_every_name_of_simpleitks_is_there() -> None:
    assert issubclass(Ours, Filter)
    assert public(Filter) <= public(Ours)
    beyond = {
        f"{verb}{name}" for verb in ("Get", "Set") for name in ("ShrinkFactor", "SplineDistance")
    }
    assert public(Ours) - public(Filter) == beyond


def test_every_default_is_simpleitks() -> None:
    theirs, ours = Filter(), Ours()
    values: dict[str, Any] = {}
    for name in public(Filter):
        if name.startswith("Get") and f"Set{name[3:]}" in public(Filter):
            values[name] = getattr(theirs, name)()
            assert getattr(ours, name)() == values[name], name
    assert len(values) >= 16
    assert ours.GetName() == theirs.GetName()
    assert ours.GetProgress() == theirs.GetProgress()


def test_whatever_is_no_plain_parameter_is_our_own() -> None:
    """What SimpleITK's class does by itself would ask a filter that never ran."""
    names = public(Filter)
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
"""A value of every parameter, and what it is for n4ax.fit on arrays."""

BASE: dict[str, Any] = {
    "iters": (5, 4),
    "conv_threshold": 0.001,
    "control_points": (4, 4, 4),
    "mask_label": 1,
    "spacing": (0.9, 1.1, 2.5),
    "voxel_order": "F",
}


def test_every_parameter_is_tried() -> None:
    setters = {name for name in vars(Filter) if name.startswith("Set")}
    assert setters <= {f"Set{name}" for name in CHANGES}


@pytest.mark.parametrize("name", CHANGES)
def test_every_parameter_reaches_n4(name: str, image: Image, mask: Image) -> None:
    value, keywords = CHANGES[name]
    n4 = Ours()
    n4.SetMaximumNumberOfIterations([5, 4])
    unchanged = array_of(n4.Execute(image, mask))
    getattr(n4, f"Set{name}")(value)
    corrected = array_of(n4.Execute(image, mask))
    assert not np.array_equal(corrected, unchanged)
    result = n4ax.fit(array_of(image).T, array_of(mask).T, **BASE | keywords)
    assert np.array_equal(corrected, result.corrected.T)
    log_field = array_of(n4.GetLogBiasFieldAsImage(image))
    assert np.array_equal(log_field, result.log_bias.T)


def parameters_of_the_function() -> list[tuple[str, str]]:
    """Names and defaults of SimpleITK's function, in order, as it documents them."""
    text = (sitk.N4BiasFieldCorrection.__doc__ or "").split("maskImage,")[1]
    text = text.split("-> Image")[0]
    return re.findall(r"(\w+)=((?:std::vector< uint32_t >)?[^,()]+(?:\([^)]*\))?)", text)


def test_the_function_has_simpleitks_parameters_in_its_order_and_its_defaults(
    image: Image, mask: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[Any, dict[str, Any]]] = []

    def note(n4: Any, *inputs: Any, weights: Any = None) -> None:
        getters = [f"Get{name}" for name in CHANGES]
        seen.append((inputs, {name[3:]: getattr(n4, name)() for name in getters}))

    monkeypatch.setattr(Ours, "Execute", note)
    documented = parameters_of_the_function()
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


def test_the_function_gives_what_the_filter_gives(image: Image, mask: Image) -> None:
    expected = array_of(quick(iters=(4, 3)).Execute(image, mask))
    call = sitk_n4.N4BiasFieldCorrection
    by_place = call(image, mask, 0.0, [4, 3])
    by_name = call(image, maskImage=mask, maximumNumberOfIterations=[4, 3], convergenceThreshold=0)
    for corrected in (by_place, by_name):
        assert np.array_equal(array_of(corrected), expected)
        assert place(corrected) == place(image)
    theirs = sitk.N4BiasFieldCorrection(image, mask, 0.0, [5])
    np.testing.assert_allclose(array_of(call(image, mask, 0.0, [5])), array_of(theirs), rtol=2e-6)
    beyond = call(image, 0.0, [4], weights=mask, shrinkFactor=2, splineDistance=20.0)
    n4 = quick(iters=(4,))
    n4.SetShrinkFactor(2)
    n4.SetSplineDistance(20.0)
    assert np.array_equal(array_of(beyond), array_of(n4.Execute(image, weights=mask)))


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
def test_the_function_refuses_other_arguments(
    image: Image, values: tuple[Any, ...], keywords: dict[str, Any], words: str
) -> None:
    with pytest.raises(TypeError, match=words):
        sitk_n4.N4BiasFieldCorrection(image, *values, **keywords)


def test_str_says_what_simpleitks_says_and_the_rest(image: Image, mask: Image) -> None:
    def said(kind: type[Filter]) -> list[str]:
        n4 = quick(kind, (2, 1))
        before = str(n4)
        n4.AddCommand(sitk.sitkStartEvent, lambda: None)
        n4.AddCommand(sitk.sitkIterationEvent, lambda: None)
        n4.Execute(image, mask)
        after = str(n4).partition("  ActiveProcess")[0]  # SimpleITK goes on with ITK's filter
        return (before + after).splitlines()

    theirs, ours = both(said)
    own = ("  ShrinkFactor: 1", "  SplineDistance: 0")
    assert [ours.count(line) for line in own] == [2, 2]
    for expected, found in zip(theirs, [line for line in ours if line not in own], strict=True):
        if expected.startswith("  CurrentConvergenceMeasurement: 0."):
            values = [float(line.split()[-1]) for line in (found, expected)]
            assert values[0] == pytest.approx(values[1], rel=1e-3)
        else:
            assert found == expected


# ---- events ----------------------------------------------------------------------------------


def test_events_come_as_often_and_in_the_order_of_simpleitks(image: Image, mask: Image) -> None:
    def heard(kind: type[Filter]) -> list[str]:
        n4, log = quick(kind, (3, 0, 2)), []
        for name in ("End", "Iteration", "Any", "Delete", "Start", "Iteration"):
            n4.AddCommand(getattr(sitk, f"sitk{name}Event"), lambda n=name: log.append(n))
        n4.Execute(image, mask)
        n4.Execute(image, mask)
        return list(log)  # before ITK's filter goes

    theirs, ours = both(heard)
    assert ours == theirs
    assert ours.count("Iteration") == 2 * 2 * 5


@pytest.mark.parametrize("event", ["Start", "Iteration", "End"])
def test_abort_does_what_it_does_in_simpleitk(image: Image, mask: Image, event: str) -> None:
    def aborted(kind: type[Filter]) -> tuple[Events, float, Array]:
        n4 = quick(kind, (3, 2))
        n4.AddCommand(getattr(sitk, f"sitk{event}Event"), n4.Abort)
        events = Events(n4)
        corrected = n4.Execute(image, mask)
        return events, n4.GetProgress(), array_of(corrected)

    theirs, ours = both(aborted)
    check_same_events(ours[0], theirs[0])
    assert ours[1] == theirs[1] == (event == "Iteration")
    full = array_of(quick(iters=(3, 2)).Execute(image, mask))
    assert np.array_equal(ours[2], full)


def test_abort_is_forgotten_at_the_next_run(image: Image, mask: Image) -> None:
    n4 = quick()
    n4.AddCommand(sitk.sitkIterationEvent, n4.Abort)
    n4.Execute(image, mask)
    n4.RemoveAllCommands()
    events = Events(n4)
    n4.Execute(image, mask)
    assert n4.GetProgress() == 0
    assert "Progress" not in [name for name, _, _ in events.seen]


def test_commands_are_counted_and_removed(image: Image, mask: Image) -> None:
    n4, log = quick(), []
    assert n4.AddCommand(sitk.sitkAnyEvent, lambda: log.append(1)) == 0
    assert n4.HasCommand(sitk.sitkAnyEvent)
    assert not n4.HasCommand(sitk.sitkIterationEvent)
    n4.RemoveAllCommands()
    assert not n4.HasCommand(sitk.sitkAnyEvent)
    n4.Execute(image, mask)
    assert log == []


def test_a_command_object_is_called_until_it_is_deleted(image: Image, mask: Image) -> None:
    log = []

    class Note(sitk.Command):
        def Execute(self) -> None:  # noqa: N802
            log.append(self.GetName())

    def count(kind: type[Filter]) -> list[Any]:
        n4, command = quick(kind, (3,)), Note()
        n4.AddCommand(sitk.sitkIterationEvent, command)
        n4.Execute(image, mask)
        counts = [n4.HasCommand(sitk.sitkIterationEvent), len(log)]
        del command
        gc.collect()
        n4.Execute(image, mask)
        counts += [n4.HasCommand(sitk.sitkIterationEvent), len(log)]
        log.clear()
        return counts

    theirs, ours = both(count)
    assert ours == theirs == [True, 3, False, 3]


def test_a_command_may_add_others_and_ask_for_the_field(image: Image, mask: Image) -> None:
    n4, fields = quick(iters=(3, 2)), []

    def look() -> None:
        if n4.GetElapsedIterations() == 2:
            fields.append(array_of(n4.GetLogBiasFieldAsImage(image)))

    n4.AddCommand(sitk.sitkStartEvent, lambda: n4.AddCommand(sitk.sitkIterationEvent, look))
    n4.Execute(image, mask)
    assert len(fields) == 2
    for iters, found in zip(((2,), (3, 2)), fields, strict=True):
        other = quick(iters=iters)
        other.Execute(image, mask)
        assert np.array_equal(found, array_of(other.GetLogBiasFieldAsImage(image)))


@pytest.mark.parametrize("event", ["Start", "Iteration", "End"])
def test_a_command_that_fails_ends_the_run(image: Image, mask: Image, event: str) -> None:
    def fail() -> None:
        raise KeyError("lost")

    def failing(kind: type[Filter]) -> Any:
        n4 = quick(kind, (3, 2))
        events = Events(n4)
        n4.AddCommand(getattr(sitk, f"sitk{event}Event"), fail)
        with pytest.raises(RuntimeError) as caught:
            n4.Execute(image, mask)
        return n4, events, caught.value

    theirs, ours = both(failing)
    check_same_events(ours[1], theirs[1])
    assert isinstance(ours[2].__cause__, KeyError)
    assert f"a command for {event}Event raised KeyError: 'lost'" in str(ours[2])
    if event == "Start":
        with pytest.raises(RuntimeError, match="no iteration has been done yet"):
            ours[0].GetLogBiasFieldAsImage(image)
        return
    fields = [array_of(n4.GetLogBiasFieldAsImage(image)) for n4, _, _ in (theirs, ours)]
    np.testing.assert_allclose(*fields, atol=FIXED)


def test_an_interrupt_in_a_command_stays_one(image: Image, mask: Image) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    n4 = quick()
    n4.AddCommand(sitk.sitkIterationEvent, interrupt)
    with pytest.raises(KeyboardInterrupt):
        n4.Execute(image, mask)


def test_a_filter_that_its_commands_name_is_let_go_of(image: Image, mask: Image) -> None:
    def used() -> weakref.ref[Any]:
        n4 = quick()
        n4.AddCommand(sitk.sitkIterationEvent, lambda: n4.GetCurrentLevel())
        n4.Execute(image, mask)
        return weakref.ref(n4)

    reference = used()
    gc.collect()
    assert reference() is None


@pytest.mark.parametrize(
    ("event", "command", "kind", "words"),
    [
        (99, print, RuntimeError, "there is no event 99"),
        (sitk.sitkStartEvent, 3, TypeError, "command is 3; expected a callable"),
    ],
)
def test_no_command_and_no_event(event: Any, command: Any, kind: type, words: str) -> None:
    with pytest.raises(kind, match=words):
        Ours().AddCommand(event, command)


# ---- measurements ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("iters", "threshold"), [((4, 0), 0.0), ((3, 2), 0.0), ((30, 30), 3e-3), ((1, 1), 1.0)]
)
def test_measurements_after_the_run_are_simpleitks(
    image: Image, mask: Image, iters: tuple[int, ...], threshold: float
) -> None:
    def measured(kind: type[Filter]) -> tuple[int, int, float]:
        n4 = quick(kind, iters, threshold)
        n4.Execute(image, mask)
        return (
            n4.GetCurrentLevel(),
            n4.GetElapsedIterations(),
            n4.GetCurrentConvergenceMeasurement(),
        )

    theirs, ours = both(measured)
    assert ours == pytest.approx(theirs, rel=1e-3)


def test_the_measure_of_a_run_nobody_listened_to_is_that_of_one_with_commands() -> None:
    image = read(HEAD)[20:76, 20:76, 20:60]  # enough voxels that it is not computed by the way
    mask = sitk.OtsuThreshold(image, 0, 1, 200)
    alone, listened = quick(iters=(4,)), quick(iters=(4,))
    listened.AddCommand(sitk.sitkIterationEvent, lambda: None)
    for n4 in (alone, listened):
        n4.Execute(image, mask)
    assert np.isnan(alone._stand.measure)  # or there is nothing to test here
    for x in range(10, 46):  # asked afterwards, it tells of the image that it was run on
        image[x, x, 20] = 1e4
        mask[x, 20, 20] = 0
    expected = listened.GetCurrentConvergenceMeasurement()
    assert expected > 0
    assert alone.GetCurrentConvergenceMeasurement() == expected


@pytest.mark.parametrize(
    "ask",
    [
        lambda n4: n4.GetCurrentLevel(),
        lambda n4: n4.GetElapsedIterations(),
        lambda n4: n4.GetCurrentConvergenceMeasurement(),
        lambda n4: n4.GetLogBiasFieldAsImage(sitk.Image(9, 9, 9, sitk.sitkFloat32)),
    ],
)
def test_before_the_run_there_is_nothing_to_tell(ask: Callable[[Any], Any]) -> None:
    with pytest.raises(RuntimeError, match="bad_function_call"):
        ask(Filter())
    with pytest.raises(RuntimeError, match=r"Get\w+: there is nothing to tell yet; call Execute"):
        ask(Ours())


# ---- images, masks and weights ---------------------------------------------------------------


def field_and_image(kind: type[Filter], image: Image, mask: Image | None, **setters: Any) -> Any:
    n4 = quick(kind)
    for name, value in setters.items():
        getattr(n4, f"Set{name}")(value)
    corrected = n4.Execute(image) if mask is None else n4.Execute(image, mask)
    return corrected, n4.GetLogBiasFieldAsImage(image)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("ndim", [2, 3])
def test_float_images_of_2_and_3_axes_come_out_as_in_simpleitk(ndim: int, dtype: type) -> None:
    voxels = phantom(np.float64, (40, 50, 24)[-ndim - 1 :][:ndim] if ndim == 2 else (14, 20, 24))
    voxels = (voxels * (1 + 1e-10)).astype(dtype)
    image = image_of(voxels)
    image.SetMetaData("0010|0010", "somebody")
    mask = image_of((voxels > 130).astype(np.uint8), image)
    theirs, ours = both(lambda kind: field_and_image(kind, image, mask))
    for expected, found in zip(theirs, ours, strict=True):
        assert found.GetPixelID() == expected.GetPixelID()
        assert place(found) == place(expected) == place(image)
        assert found.GetMetaDataKeys() == expected.GetMetaDataKeys() == ()
    np.testing.assert_allclose(array_of(ours[1]), array_of(theirs[1]), atol=FIXED)
    quotient = voxels / np.exp(array_of(ours[1]).astype(np.float64)).astype(np.float32)
    close = 1e-12 if dtype is np.float64 else 1e-6
    np.testing.assert_allclose(array_of(ours[0]), quotient, rtol=close)


@pytest.mark.parametrize(
    ("masked", "setters"),
    [
        (True, {}),
        (True, {"MaskLabel": 2}),
        (True, {"MaskLabel": 0}),
        (True, {"UseMaskLabel": False}),
        (False, {}),
    ],
)
def test_the_mask_means_what_it_means_in_simpleitk(
    image: Image, mask: Image, masked: bool, setters: dict[str, Any]
) -> None:
    region = mask if masked else None
    theirs, ours = both(lambda kind: field_and_image(kind, image, region, **setters))
    np.testing.assert_allclose(array_of(ours[1]), array_of(theirs[1]), atol=FIXED)


@pytest.mark.parametrize("pixel", [sitk.sitkInt16, sitk.sitkUInt8, sitk.sitkInt64])
def test_integer_images_are_taken(image: Image, mask: Image, pixel: int) -> None:
    whole = sitk.Cast(sitk.Minimum(image, 255), pixel)
    with pytest.raises(RuntimeError, match="is not supported"):
        Filter().Execute(whole, mask)
    corrected, log_field = field_and_image(Ours, whole, mask)
    expected = field_and_image(Ours, sitk.Cast(whole, sitk.sitkFloat32), mask)
    assert corrected.GetPixelID() == sitk.sitkFloat32
    assert np.array_equal(array_of(corrected), array_of(expected[0]))
    assert np.array_equal(array_of(log_field), array_of(expected[1]))


@pytest.mark.parametrize(
    "pixel", [sitk.sitkFloat32, sitk.sitkFloat64, sitk.sitkInt16, sitk.sitkUInt32]
)
def test_masks_of_any_type_are_taken(image: Image, mask: Image, pixel: int) -> None:
    other = sitk.Cast(mask, pixel)
    with pytest.raises(RuntimeError, match="Failure to convert"):
        Filter().Execute(image, other)
    expected = array_of(quick().Execute(image, mask))
    assert np.array_equal(array_of(quick().Execute(image, other)), expected)


def test_masks_and_weights_may_be_arrays(image: Image, mask: Image) -> None:
    weights = np.random.default_rng(2).random(array_of(image).shape)
    inside = array_of(mask) == 1  # bool, z, y, x
    n4 = quick(iters=(4, 3))
    corrected = array_of(n4.Execute(image, inside, weights=weights))
    other = array_of(n4.Execute(image, mask, weights=image_of(weights, image)))
    result = n4ax.fit(
        array_of(image).T, inside.T, weights=weights.T, iters=(4, 3), conv_threshold=0,
        voxel_order="F",
    )  # fmt: skip
    assert np.array_equal(corrected, other)
    assert np.array_equal(corrected, result.corrected.T)
    assert not np.array_equal(corrected, array_of(n4.Execute(image, mask)))


def test_shrink_factor_gives_what_shrinking_before_gives(image: Image, mask: Image) -> None:
    factors = [1, 2, 2]  # midway between voxels: the place in space decides which are taken
    before = quick(iters=(4, 3))
    before.Execute(sitk.Shrink(image, factors), sitk.Shrink(mask, factors))
    n4 = quick(iters=(4, 3))
    n4.SetShrinkFactor(factors)
    corrected = n4.Execute(image, mask)
    assert n4.GetShrinkFactor() == (1, 2, 2)
    assert place(corrected) == place(image)
    ours, theirs = (array_of(f.GetLogBiasFieldAsImage(image)) for f in (n4, before))
    assert np.array_equal(ours, theirs)


@pytest.mark.parametrize("name", ["ShrinkFactor", "SplineDistance"])
def test_parameters_of_our_own_are_checked_when_they_are_set(name: str) -> None:
    n4 = Ours()
    with pytest.raises(ValueError, match="expected"):
        getattr(n4, f"Set{name}")(-2)


def test_spline_distance_of_0_leaves_it_to_the_control_points(image: Image, mask: Image) -> None:
    n4 = quick()
    expected = array_of(n4.Execute(image, mask))
    assert n4.GetSplineDistance() == 0
    n4.SetSplineDistance(12.5)
    assert n4.GetSplineDistance() == 12.5
    assert not np.array_equal(array_of(n4.Execute(image, mask)), expected)
    n4.SetSplineDistance(0)
    assert np.array_equal(array_of(n4.Execute(image, mask)), expected)


def test_one_slice_of_a_volume_is_taken_as_it_is(image: Image, mask: Image) -> None:
    flat = array_of(quick().Execute(image[:, :, 5], mask[:, :, 5]))
    slab = quick().Execute(image[:, :, 5:6], mask[:, :, 5:6])
    assert place(slab) == place(image[:, :, 5:6])
    assert np.array_equal(array_of(slab)[0], flat)


def test_four_axes_stay_four() -> None:
    image = sitk.JoinSeries([image_of(phantom(shape=(6, 8, 10)) + k) for k in range(5)])
    n4 = quick(iters=(2,))
    n4.SetNumberOfControlPoints([4] * 4)
    corrected = n4.Execute(image)
    assert place(corrected) == place(image)
    assert corrected.GetNumberOfComponentsPerPixel() == 1


def test_the_field_is_stretched_over_any_reference_as_in_simpleitk(
    image: Image, mask: Image
) -> None:
    references = [
        sitk.Image((31, 9, 17), sitk.sitkInt16),
        sitk.Image((8, 40, 5), sitk.sitkVectorFloat32, 2),
        sitk.Image((24, 20, 14), sitk.sitkLabelUInt8),
    ]
    for reference in references:
        reference.SetSpacing((0.5, 0.25, 3.0))
        reference.SetOrigin((1.0, 2.0, 3.0))

    def fields(kind: type[Filter]) -> list[Image]:
        n4 = quick(kind)
        n4.Execute(image, mask)
        return [n4.GetLogBiasFieldAsImage(reference) for reference in references]

    for expected, found, reference in zip(*both(fields), references, strict=True):
        assert place(found) == place(expected) == place(reference)
        assert found.GetPixelID() == expected.GetPixelID() == sitk.sitkFloat32
        np.testing.assert_allclose(array_of(found), array_of(expected), atol=FIXED)


def test_running_a_filter_again_gives_the_same_bits(image: Image, mask: Image) -> None:
    n4 = quick(iters=(6, 5))
    first = n4.Execute(image, mask), n4.GetLogBiasFieldAsImage(image)
    n4.Execute(sitk.Exp(image / 200), mask)
    again = n4.Execute(image, mask), n4.GetLogBiasFieldAsImage(image)
    for one, two in zip(first, again, strict=True):
        assert np.array_equal(array_of(one), array_of(two))


def test_threads_are_honoured_and_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    import n4ax.engines.cpu.engine as cpu

    monkeypatch.setattr(cpu, "available_cpus", lambda: 3)
    counts: list[int] = []
    solve = sitk_n4.fit_image

    def note(*arguments: Any, num_threads: int, **keywords: Any) -> Any:
        counts.append(num_threads)
        return solve(*arguments, num_threads=num_threads, **keywords)

    monkeypatch.setattr(sitk_n4, "fit_image", note)
    image = read(HEAD)
    results = []
    for threads in (1, 2, 0, 100):
        n4 = quick(iters=(2,))
        n4.SetNumberOfThreads(threads)
        results.append(array_of(n4.Execute(image)))
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(2)
    quick(iters=(1,)).Execute(image)
    assert counts == [1, 2, 3, 3, 2]
    assert all(np.array_equal(result, results[0]) for result in results)


def test_the_image_is_left_alone(image: Image, mask: Image) -> None:
    before = array_of(image), array_of(mask)
    quick().Execute(image, mask, weights=mask)
    assert np.array_equal(array_of(image), before[0])
    assert np.array_equal(array_of(mask), before[1])


# ---- what is refused -------------------------------------------------------------------------


def turned_by(image: Image, angle: float) -> list[float]:
    turn = np.eye(3)
    turn[0, 1] = angle
    return (np.reshape(image.GetDirection(), (3, 3)) + turn - np.eye(3)).ravel().tolist()


@pytest.mark.parametrize("coordinate", [1e-6, 1e-4])
@pytest.mark.parametrize("direction", [1e-6, 1e-4])
def test_masks_elsewhere_are_refused_where_simpleitk_refuses_them(
    image: Image, mask: Image, coordinate: float, direction: float
) -> None:
    sitk.ProcessObject.SetGlobalDefaultCoordinateTolerance(coordinate)
    sitk.ProcessObject.SetGlobalDefaultDirectionTolerance(direction)
    x, y, z = image.GetOrigin()
    moves: list[tuple[str, float, Any]] = []
    for gap in (8e-7, 2e-6, 8e-5, 2e-4):
        step = gap * image.GetSpacing()[0]
        moves.append(("Origin", gap <= coordinate, (x, y, z + step)))
        moves.append(("Spacing", gap <= coordinate, (0.9, 1.1 + step, 2.5)))
        moves.append(("Direction", gap <= direction, turned_by(image, gap)))
    for what, tolerated, value in moves:
        other = sitk.Image(mask)
        getattr(other, f"Set{what}")(value)
        for kind in (Filter, Ours):
            n4 = quick(kind, (1,))
            if tolerated:
                n4.Execute(image, other)
                continue
            with pytest.raises(RuntimeError, match="do not occupy the same physical space"):
                n4.Execute(image, other)


def test_a_mask_elsewhere_is_told_from_the_image(image: Image, mask: Image) -> None:
    moved = sitk.Image(mask)
    moved.SetOrigin((0, 0, 0))
    with pytest.raises(
        RuntimeError,
        match=r"origins \(-20.5, 13.25, 7\) and \(0, 0, 0\); the tolerance is 1e-06 .*"
        r"SetGlobalDefaultCoordinateTolerance.*maskImage.CopyInformation",
    ):
        quick().Execute(image, moved)
    turned = sitk.Image(mask)
    turned.SetDirection(turned_by(image, 0.1))
    with pytest.raises(RuntimeError, match=r"image and weights do not .*SetGlobalDefaultDirection"):
        quick().Execute(image, weights=turned)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ((0, 255), r"MaskLabel 1 \(found: 0, 255\).*UseMaskLabelOff.*SetMaskLabel\(255\)"),
        ((0, 2, 7), r"MaskLabel 1 \(found: 0, 2, 7\).*UseMaskLabelOff\(\)$"),
        ((0, 0.5), r"MaskLabel 1 \(found: 0, 0.5\).*UseMaskLabelOff\(\)$"),
        ((0,), r"MaskLabel 1 \(found: 0\)$"),
    ],
)
def test_a_mask_without_the_label_is_refused_with_advice(
    image: Image, values: tuple[float, ...], words: str
) -> None:
    labels = np.resize(np.array(values, np.float32), array_of(image).shape)
    with pytest.raises(RuntimeError, match=words):
        quick().Execute(image, image_of(labels, image))


def test_the_advice_helps(image: Image, mask: Image) -> None:
    high = sitk.Cast(mask > 0, sitk.sitkUInt8) * 255
    off, other = quick(), quick()
    off.UseMaskLabelOff()
    other.SetMaskLabel(255)
    assert np.array_equal(array_of(off.Execute(image, high)), array_of(other.Execute(image, high)))


def vector(image: Image) -> Image:
    return sitk.Compose(image, image)


def complex_of(image: Image) -> Image:
    return sitk.RealAndImaginaryToComplex(image, image)


def label_map(image: Image) -> Image:
    return sitk.Cast(sitk.Cast(image > 200, sitk.sitkUInt8), sitk.sitkLabelUInt8)


@pytest.mark.parametrize("argument", ["image", "maskImage", "weights"])
@pytest.mark.parametrize(
    ("turn", "words"),
    [
        (vector, "{} has 2 components a voxel"),
        (complex_of, "{} has dtype complex64; expected real numbers"),
        (label_map, "{} is a label map: pass SimpleITK.LabelMapToLabel"),
        (lambda image: image[1:], r"{} has size \(23, 20, 14\), the image"),
        (lambda image: image[:, :, 3], r"{} has size \(24, 20\), the image"),
    ],
)
def test_images_that_are_not_of_one_real_number_a_voxel_of_one_size_are_refused(
    image: Image, argument: str, turn: Callable[[Image], Image], words: str
) -> None:
    inputs = {"image": image, argument: turn(image)}
    if argument == "image" and "size" in words:
        inputs["maskImage"] = image
        words, argument = r"maskImage has size \(24, 20, 14\), the image", "maskImage"
    with pytest.raises(RuntimeError, match=words.format(argument)):
        quick().Execute(**inputs)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (lambda image: (array_of(image),), "image is of type ndarray; expected a SimpleITK.Image"),
        (lambda image: (None,), "image is of type NoneType"),
        (lambda image: (image, "mask.nii"), "maskImage is of type str"),
    ],
)
def test_what_is_no_image_is_refused(
    image: Image, arguments: Callable[[Image], tuple[Any, ...]], words: str
) -> None:
    with pytest.raises(TypeError, match=words):
        quick().Execute(*arguments(image))


def test_references_that_do_not_fit_are_refused(image: Image, mask: Image) -> None:
    n4 = quick()
    n4.Execute(image, mask)
    with pytest.raises(RuntimeError, match="referenceImage has 2 axes and the image had 3"):
        n4.GetLogBiasFieldAsImage(image[:, :, 2])
    with pytest.raises(TypeError, match="referenceImage is of type ndarray"):
        n4.GetLogBiasFieldAsImage(array_of(image))


@pytest.mark.parametrize(
    ("setters", "words"),
    [
        ({"NumberOfHistogramBins": 0}, "nbins is 0"),
        ({"MaximumNumberOfIterations": []}, "iters is empty"),
        ({"NumberOfControlPoints": 3}, "needs at least 4 on every axis"),
        ({"NumberOfControlPoints": [4, 4]}, "control_points has 2 values"),
        ({"SplineOrder": 4}, "a spline of order 4 needs at least 5"),
    ],
)
def test_parameters_out_of_range_are_refused_as_simpleitk_does(
    image: Image, mask: Image, setters: dict[str, Any], words: str
) -> None:
    with pytest.raises(RuntimeError, match=words):
        field_and_image(Ours, image, mask, **setters)


def test_after_a_refusal_there_is_no_field_of_the_run_before(image: Image, mask: Image) -> None:
    n4 = quick()
    n4.Execute(image, mask)
    with pytest.raises(RuntimeError, match="has size"):
        n4.Execute(image, mask[1:])
    with pytest.raises(RuntimeError, match="nothing to tell"):
        n4.GetLogBiasFieldAsImage(image)


def test_without_simpleitk_the_message_says_what_to_install() -> None:
    program = "import sys; sys.modules['SimpleITK'] = None; import n4ax.simpleitk"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 1
    assert "ImportError: n4ax.simpleitk needs SimpleITK" in done.stderr
    assert "pip install 'n4ax[simpleitk]'" in done.stderr
