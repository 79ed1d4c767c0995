"""One input of a target: made, tried within a bound of time, and now and then tried again."""

import os
import pkgutil
import shutil
import signal
import sys
import tempfile
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from random import Random
from types import FrameType
from typing import Any

import reliability.fuzz.targets as package

_MEMORY = "/dev/shm"
"""Where folders are made and removed without a disk, on Linux."""

REPEAT_EVERY = 8
"""Every eighth input is tried twice, and must give the same text."""


class HangError(BaseException):
    """An input took longer than its bound. No handler of ``Exception`` catches this."""


@dataclass(frozen=True)
class Finding:
    """An input that showed something wrong."""

    target: str
    seed: int
    index: int
    kind: str
    """Where and how it went wrong: inputs of the same kind are counted and not listed."""
    details: str

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def list_targets() -> list[str]:
    """The names of all targets."""
    return sorted(found.name for found in pkgutil.iter_modules(package.__path__))


def load_target(name: str) -> Any:
    """The module of a target."""
    return import_module(f"{package.__name__}.{name}")


def try_index(name: str, seed: int, index: int) -> Finding | None:
    """Try an input of a target by its number; return what was found, if anything was."""
    target = load_target(name)
    try:
        first = _try(target, name, seed, index)
        if index % REPEAT_EVERY == 0:
            second = _try(target, name, seed, index)
            if first != second:
                details = f"first: {first}\nagain: {second}"
                return Finding(name, seed, index, "not the same on repetition", details)
    except HangError:
        return Finding(name, seed, index, f"hang: {_find_place()}", traceback.format_exc())
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        kind = f"{type(error).__name__} in {_find_place()}"
        return Finding(name, seed, index, kind, traceback.format_exc())
    return None


def _try(target: Any, name: str, seed: int, index: int) -> str:
    folder = Path(tempfile.mkdtemp(prefix="fuzz-", dir=_MEMORY if os.path.isdir(_MEMORY) else None))
    before = dict(os.environ), os.getcwd()
    try:
        with bound_time(target.SECONDS), warnings.catch_warnings():
            warnings.simplefilter("error")
            text: str = target.try_input(Random(f"{seed} {name} {index}"), folder)
            return text.replace(str(folder), "FOLDER")
    finally:
        os.chdir(before[1])
        if dict(os.environ) != before[0]:
            os.environ.clear()
            os.environ.update(before[0])
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def bound_time(seconds: float) -> Iterator[None]:
    """Raise :class:`HangError` in the main thread if a block takes longer."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise HangError

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _find_place() -> str:
    """The function of n4ax where the exception that is being handled came from, without a line."""
    stack = traceback.extract_tb(sys.exc_info()[2])
    frames = [frame for frame in stack if "/n4ax/" in frame.filename] or list(stack)
    if not frames:
        return "nowhere"
    last = frames[-1]
    return f"{Path(last.filename).name}:{last.name}"
