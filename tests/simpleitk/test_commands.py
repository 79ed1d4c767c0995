"""The filter calls commands and reports on its run as SimpleITK does."""

import gc
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from n4ax.inputs import Run
from tests.support.simpleitk import (
    FIXED,
    HEAD,
    Array,
    Events,
    Filter,
    Image,
    Ours,
    check_same_events,
    get_array,
    make_filter,
    read_image,
    run_both,
)


def test_events_have_the_number_and_order_of_simpleitk(image: Image, mask: Image) -> None:
    def record(kind: type[Filter]) -> list[str]:
        n4, log = make_filter(kind, (3, 0, 2)), []
        for name in ("End", "Iteration", "Any", "Delete", "Start", "Iteration"):
            n4.AddCommand(getattr(sitk, f"sitk{name}Event"), lambda n=name: log.append(n))
        n4.Execute(image, mask)
        n4.Execute(image, mask)
        return list(log)  # a copy, from before ITK's filter is deleted

    theirs, ours = run_both(record)
    assert ours == theirs
    assert ours.count("Iteration") == 2 * 2 * 5


@pytest.mark.parametrize("event", ["Start", "Iteration", "End"])
def test_abort_has_the_effect_that_it_has_in_simpleitk(
    image: Image, mask: Image, event: str
) -> None:
    def abort(kind: type[Filter]) -> tuple[Events, float, Array]:
        n4 = make_filter(kind, (3, 2))
        n4.AddCommand(getattr(sitk, f"sitk{event}Event"), n4.Abort)
        events = Events(n4)
        corrected = n4.Execute(image, mask)
        return events, n4.GetProgress(), get_array(corrected)

    theirs, ours = run_both(abort)
    check_same_events(ours[0], theirs[0])
    assert ours[1] == theirs[1] == (event == "Iteration")
    full = get_array(make_filter(iters=(3, 2)).Execute(image, mask))
    assert np.array_equal(ours[2], full)


def test_abort_does_not_affect_the_next_run(image: Image, mask: Image) -> None:
    n4 = make_filter()
    n4.AddCommand(sitk.sitkIterationEvent, n4.Abort)
    n4.Execute(image, mask)
    n4.RemoveAllCommands()
    events = Events(n4)
    n4.Execute(image, mask)
    assert n4.GetProgress() == 0
    assert "Progress" not in [name for name, _, _ in events.seen]


def test_commands_are_listed_and_removed(image: Image, mask: Image) -> None:
    n4, log = make_filter(), []
    assert n4.AddCommand(sitk.sitkAnyEvent, lambda: log.append(1)) == 0
    assert n4.HasCommand(sitk.sitkAnyEvent)
    assert not n4.HasCommand(sitk.sitkIterationEvent)
    n4.RemoveAllCommands()
    assert not n4.HasCommand(sitk.sitkAnyEvent)
    n4.Execute(image, mask)
    assert log == []


def test_command_object_is_called_until_it_is_deleted(image: Image, mask: Image) -> None:
    log = []

    class Note(sitk.Command):
        def Execute(self) -> None:  # noqa: N802
            log.append(self.GetName())

    def count(kind: type[Filter]) -> list[Any]:
        n4, command = make_filter(kind, (3,)), Note()
        n4.AddCommand(sitk.sitkIterationEvent, command)
        n4.Execute(image, mask)
        counts = [n4.HasCommand(sitk.sitkIterationEvent), len(log)]
        del command
        gc.collect()
        n4.Execute(image, mask)
        counts += [n4.HasCommand(sitk.sitkIterationEvent), len(log)]
        log.clear()
        return counts

    theirs, ours = run_both(count)
    assert ours == theirs == [True, 3, False, 3]


def test_command_may_add_commands_and_ask_for_the_field(image: Image, mask: Image) -> None:
    n4, fields = make_filter(iters=(3, 2)), []

    def look() -> None:
        if n4.GetElapsedIterations() == 2:
            fields.append(get_array(n4.GetLogBiasFieldAsImage(image)))

    n4.AddCommand(sitk.sitkStartEvent, lambda: n4.AddCommand(sitk.sitkIterationEvent, look))
    n4.Execute(image, mask)
    assert len(fields) == 2
    for iters, found in zip(((2,), (3, 2)), fields, strict=True):
        other = make_filter(iters=iters)
        other.Execute(image, mask)
        assert np.array_equal(found, get_array(other.GetLogBiasFieldAsImage(image)))


@pytest.mark.parametrize("event", ["Start", "Iteration", "End"])
def test_failing_command_ends_the_run(image: Image, mask: Image, event: str) -> None:
    def fail() -> None:
        raise KeyError("lost")

    def run_into_failure(kind: type[Filter]) -> Any:
        n4 = make_filter(kind, (3, 2))
        events = Events(n4)
        n4.AddCommand(getattr(sitk, f"sitk{event}Event"), fail)
        with pytest.raises(RuntimeError) as caught:
            n4.Execute(image, mask)
        return n4, events, caught.value

    theirs, ours = run_both(run_into_failure)
    check_same_events(ours[1], theirs[1])
    assert isinstance(ours[2].__cause__, KeyError)
    assert f"a command for {event}Event raised KeyError: 'lost'" in str(ours[2])
    if event == "Start":
        with pytest.raises(RuntimeError, match="no iteration has been done yet"):
            ours[0].GetLogBiasFieldAsImage(image)
        return
    fields = [get_array(n4.GetLogBiasFieldAsImage(image)) for n4, _, _ in (theirs, ours)]
    np.testing.assert_allclose(*fields, atol=FIXED)


def test_keyboard_interrupt_in_a_command_stays_one(image: Image, mask: Image) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    n4 = make_filter()
    n4.AddCommand(sitk.sitkIterationEvent, interrupt)
    with pytest.raises(KeyboardInterrupt):
        n4.Execute(image, mask)


def test_filter_that_its_commands_refer_to_can_be_deleted(image: Image, mask: Image) -> None:
    def use_and_drop() -> weakref.ref[Any]:
        n4 = make_filter()
        n4.AddCommand(sitk.sitkIterationEvent, lambda: n4.GetCurrentLevel())
        n4.Execute(image, mask)
        return weakref.ref(n4)

    reference = use_and_drop()
    gc.collect()
    assert reference() is None


@pytest.mark.parametrize(
    ("event", "command", "kind", "words"),
    [
        (99, print, RuntimeError, "event is 99, which is not an event of SimpleITK"),
        (sitk.sitkStartEvent, 3, TypeError, "command is 3; expected a callable"),
    ],
)
def test_unknown_events_and_objects_that_are_not_commands_are_refused(
    event: Any, command: Any, kind: type, words: str
) -> None:
    with pytest.raises(kind, match=words):
        Ours().AddCommand(event, command)


# ---- measurements ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("iters", "threshold"), [((4, 0), 0.0), ((3, 2), 0.0), ((30, 30), 3e-3), ((1, 1), 1.0)]
)
def test_measurements_after_the_run_are_those_of_simpleitk(
    image: Image, mask: Image, iters: tuple[int, ...], threshold: float
) -> None:
    def measure(kind: type[Filter]) -> tuple[int, int, float]:
        n4 = make_filter(kind, iters, threshold)
        n4.Execute(image, mask)
        return (
            n4.GetCurrentLevel(),
            n4.GetElapsedIterations(),
            n4.GetCurrentConvergenceMeasurement(),
        )

    theirs, ours = run_both(measure)
    assert ours == pytest.approx(theirs, rel=1e-3)


def test_measure_is_the_same_with_and_without_commands(runs: list[Run]) -> None:
    image = read_image(HEAD)[20:76, 20:76, 20:60]  # so large that measures are not all computed
    mask = sitk.OtsuThreshold(image, 0, 1, 200)
    silent, listened = make_filter(iters=(4,)), make_filter(iters=(4,))
    listened.AddCommand(sitk.sitkIterationEvent, lambda: None)
    for n4 in (silent, listened):
        n4.Execute(image, mask)
    for x in range(10, 46):  # the filter answers for the image as it was when it ran
        image[x, x, 20] = 1e4
        mask[x, 20, 20] = 0
    expected = listened.GetCurrentConvergenceMeasurement()
    assert expected > 0
    assert len(runs) == 2
    assert silent.GetCurrentConvergenceMeasurement() == expected
    assert len(runs) == 2  # no run is repeated for a measure that it did not need
    assert silent.GetCurrentConvergenceMeasurement() == expected


@pytest.mark.parametrize(
    "ask",
    [
        lambda n4: n4.GetCurrentLevel(),
        lambda n4: n4.GetElapsedIterations(),
        lambda n4: n4.GetCurrentConvergenceMeasurement(),
        lambda n4: n4.GetLogBiasFieldAsImage(sitk.Image(9, 9, 9, sitk.sitkFloat32)),
    ],
)
def test_measurements_before_the_run_are_refused(ask: Callable[[Any], Any]) -> None:
    with pytest.raises(RuntimeError, match="bad_function_call"):
        ask(Filter())
    with pytest.raises(RuntimeError, match=r"Get\w+: there is no result; call Execute first"):
        ask(Ours())
