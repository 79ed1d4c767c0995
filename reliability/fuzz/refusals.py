"""Refusals: errors that n4ax raises on purpose, told apart from those that slip out of it."""

import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from n4ax.errors import InputError
from n4ax.messages import make_one_line

LONGEST = 1500
"""Letters of a message; a longer one shows a value that nobody can read."""

_EXPECTED = (InputError, TypeError, ValueError, OSError, OverflowError, RuntimeError)


def call_or_refuse(function: Callable[[], Any]) -> tuple[Any, str]:
    """Call a function; give its result, or the message of the error with which it refused.

    Raises
    ------
    Exception
        The error was not raised by a line of n4ax that says ``raise``, so that it slipped out of
        NumPy or another library, or of a line that did not see it coming.
    AssertionError
        Its message is empty, too long, or shows a template that was not filled in.
    """
    try:
        return function(), ""
    except _EXPECTED as error:
        if not _is_raised_on_purpose(error):
            raise
        return None, _read_message(error)


def _read_message(error: Exception) -> str:
    """The message of a refusal, after a check that a person can read it."""
    message = str(error)
    assert message.strip(), f"{type(error).__name__} without a message"
    if not isinstance(error, OSError):  # which holds a name, of whatever length
        assert len(message) <= LONGEST, f"{len(message)} letters: {message[:300]}…"
    assert "{image}" not in message, message
    return f"{type(error).__name__}: {message}"


def _is_raised_on_purpose(error: BaseException) -> bool:
    """Whether the line that raised an error is one of n4ax's own, and says so."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    if "SimpleITK" in last.filename:  # its setters check their arguments by themselves
        return isinstance(error, TypeError | OverflowError | ValueError)
    if isinstance(error, OSError) and error.filename is not None:  # the system names the file
        return True
    return "n4ax" in Path(last.filename).parts and "raise" in (last.line or "")


def freeze(value: Any) -> Any:
    """What a value holds, to be compared with what it holds later."""
    if isinstance(value, np.ndarray):
        held = np.asarray(value)
        has_gaps = held.dtype.hasobject or held.dtype == np.longdouble  # bytes that mean nothing
        content = [repr(one) for one in held.flat] if has_gaps else held.tobytes()
        hidden = np.ma.getmaskarray(value).tobytes() if np.ma.isMaskedArray(value) else b""
        return content, hidden, held.dtype.str, held.shape, held.strides, held.flags.writeable
    try:
        return repr(value)
    except ValueError:  # a whole number of too many digits
        return f"{value:x}" if isinstance(value, int) else [freeze(one) for one in value]


def call(work: Callable[..., Any], *arguments: Any, names: Iterable[str] = ()) -> str:
    """Call a function; return what came of it as text, or its refusal.

    Parameters
    ----------
    work
        The function.
    *arguments
        What it is called with.
    names
        Texts of which a refusal must have one, such as the name of the file; none if empty.

    Raises
    ------
    AssertionError
        The refusal is empty, or names nothing. An exception of another kind leaves this function.
    """
    try:
        return f"{work(*arguments)!r:.300}"
    except (ValueError, OSError) as error:
        return check_refusal(error, names)


def check_refusal(error: Exception, names: Iterable[str] = ()) -> str:
    """The message of an error, in one line; an error of a codec tells people nothing."""
    assert not isinstance(error, UnicodeError), f"{type(error).__name__}: {error}"
    message = make_one_line(str(error))
    assert message, f"{type(error).__name__} without a word"
    names = list(names)
    assert not names or any(name in message for name in names), f"{message!r} names none of {names}"
    return f"refused: {message}"
