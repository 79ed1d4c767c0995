"""Input that cannot be used: one error, told in the words of whichever door the user came by."""

from __future__ import annotations

import errno
import re
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from functools import partial
from os import PathLike
from string import Formatter
from typing import Any, cast

_PLACE_OF_VALUE = re.compile(r"\{(\d+)\}")
_QUOTES = "\"'"
_LONGEST_VALUE = 300
_LONGEST_TEXT = 5000  # the path of a file may be as long
NO_MEMORY = (
    "not enough memory: allow more, correct fewer images at a time, or set {shrink_factor:2}; an "
    "image in .nii needs less than in .nii.gz"
)
"""Uncompressed input takes 8 bytes for each voxel less, which are mapped from the file; so does a
shrink factor of 2 or more. Number of threads and iterations change nothing."""

LITTLE_MEMORY = "not enough memory: allow more, or run fewer programs at a time"
"""What helps where there is nothing to set."""

NO_THREAD = (
    "the system starts no further thread: free memory, or raise the limit on processes (ulimit -u)"
)

_OF_LIBRARIES = ("cannot allocate memory", "failed to map segment")
"""What the loader says, in an error of no errno, if it has no memory for a library."""

_Reduced = tuple[type["InputError"], tuple[str, *tuple[Any, ...]], dict[str, Any]]


class InputError(ValueError):
    """An argument that cannot be used.

    The message names parameters, and a parameter has another name on the command line than in
    Python. So the message is kept as a template: ``{name}`` stands for the name of a parameter,
    ``{name:{0}}`` for a parameter set to a value (``shrink_factor=4`` in Python,
    ``--shrink-factor 4`` on the command line), and ``{0}``, ``{1!r}`` for the values.

    Parameters
    ----------
    template
        The message.
    *values
        What ``{0}``, ``{1}`` and so on stand for. Text from a user belongs here, since braces in
        it would otherwise be read as names.

    Examples
    --------
    >>> error = InputError("{shrink_factor} is {0!r}; expected whole numbers", "four")
    >>> str(error)
    "shrink_factor is 'four'; expected whole numbers"
    >>> error.with_options({"shrink_factor": "--shrink-factor"})
    "--shrink-factor is 'four'; expected whole numbers"
    """

    def __init__(self, template: str, *values: Any) -> None:
        self._template = template
        self._values = values
        self._subject = ""
        super().__init__(str(self))

    def __str__(self) -> str:
        return self._subject + self._fill_in(_write_for_python)

    def __reduce__(self) -> _Reduced:
        # Copies of exceptions are made from what __init__ takes.
        return type(self), (self._template, *self._values), {"_subject": self._subject}

    def with_options(self, options: Mapping[str, str]) -> str:
        """The message in the words of a command line.

        Parameters
        ----------
        options
            What each parameter is called there; a parameter that is missing keeps its name.
        """
        return self._subject + self._fill_in(partial(_write_for_options, options))

    def about(self, subject: str) -> InputError:
        """The same error, with what it is about in front: ``"image 2: mask has shape ..."``."""
        error = InputError(self._template, *self._values)
        error._subject = f"{subject}: {self._subject}"
        return error

    def _fill_in(self, write: Callable[[str, Any], str]) -> str:
        """Fill in the template; ``write`` gives the name of a parameter, maybe set to a value."""
        try:
            return "".join(
                literal
                + ("" if place is None else self._fill_place(place, spec, conversion, write))
                for literal, place, spec, conversion in Formatter().parse(self._template)
            )
        except (LookupError, ValueError, TypeError, AttributeError):
            if self._values:
                raise
            # torch makes a copy of the error of a worker from a whole traceback, braces and all.
            return self._template

    def _fill_place(
        self,
        place: str,
        spec: str | None,
        conversion: str | None,
        write: Callable[[str, Any], str],
    ) -> str:
        if place.isidentifier():
            number = _PLACE_OF_VALUE.fullmatch(spec or "")
            return write(place, self._values[int(number[1])] if number else _Spelled(spec or ""))
        return show_value(self._values[int(place)], conversion, spec or "")


def show_value(value: Any, conversion: str | None = None, spec: str = "") -> str:
    """Write a value for a message: in one line, and shortened if nobody could read it.

    Parameters
    ----------
    value
        Any object.
    conversion, spec
        As in a template: ``"r"`` for ``{0!r}``, and what follows the colon.
    """
    try:
        text = repr(value) if conversion == "r" else format(value, spec)
    except Exception:  # a number of too many digits, or an object that cannot be shown
        return f"an object of type {type(value).__name__} that cannot be shown"
    is_text = isinstance(value, str | PathLike | Exception)  # or holds a name, as other messages
    if not is_text:
        text = " ".join(text.split())
    most = _LONGEST_TEXT if is_text and conversion != "r" else _LONGEST_VALUE
    return text if len(text) <= most else f"{text[:most]}… ({len(text)} letters)"


class _Spelled(str):
    """A value as a template spells it for Python; it is empty if there is none."""


def _write_for_python(name: str, value: Any) -> str:
    return name if isinstance(value, _Spelled) and not value else f"{name}={value}"


def _write_for_options(options: Mapping[str, str], name: str, value: Any) -> str:
    if name not in options:
        return _write_for_python(name, value)
    if isinstance(value, _Spelled):
        return f"{options[name]} {value.strip(_QUOTES)}".rstrip()
    if isinstance(value, tuple):  # (4, 4, 3) is written 4x4x3 on the command line
        value = "x".join(map(str, cast("tuple[Any, ...]", value)))
    return f"{options[name]} {value}"


class ShortageError(MemoryError):
    """There is not enough memory, and something is known that helps.

    Parameters
    ----------
    advice
        What to say, as a template of :class:`InputError`.
    reason
        What could not be had, if that is known.
    """

    def __init__(self, advice: str, reason: str = "") -> None:
        self.advice = advice
        super().__init__(advice, reason)

    def __str__(self) -> str:
        advice, reason = self.args
        told = str(InputError(advice))
        return f"{told} ({reason})" if reason else told


def describe_shortage(
    error: BaseException, names: Mapping[str, str], advice: str | None = None
) -> str | None:
    """What the system had too little of, memory or threads, and what to do.

    Parameters
    ----------
    error
        An error of any kind.
    names
        What the parameters are called on the command line.
    advice
        What to say about memory, as a template of :class:`InputError`; by default what the error
        says.

    Returns
    -------
    str or None
        One line; ``None`` if the error is about something else.
    """
    if lacks_memory(error):
        own = error.advice if isinstance(error, ShortageError) else LITTLE_MEMORY
        return InputError(advice or own).with_options(names)
    return NO_THREAD if lacks_thread(error) else None


def lacks_memory(error: BaseException) -> bool:
    """Whether an error says that there is no memory."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno == errno.ENOMEM
    if isinstance(error, ImportError | OSError):
        return any(words in str(error).lower() for words in _OF_LIBRARIES)
    return isinstance(error, MemoryError)


def lacks_thread(error: BaseException) -> bool:
    """Whether an error says that the system starts no further thread."""
    return isinstance(error, RuntimeError) and "start new thread" in str(error)


@contextmanager
def explain_shortage(advice: str = LITTLE_MEMORY) -> Generator[None]:
    """Let a lack of memory say what to do, in the words of Python.

    Parameters
    ----------
    advice
        What to say, as a template of :class:`InputError`.

    Raises
    ------
    ShortageError
        There is not enough memory in the block.
    """
    try:
        yield
    except (MemoryError, ImportError, OSError) as error:
        if not lacks_memory(error) or isinstance(error, ShortageError):
            raise
        raise ShortageError(advice, str(error)) from error
