"""Errors that people can act on: one line, of the right kind, which names what is wrong."""

from collections.abc import Callable, Iterable
from typing import Any

from n4ax.messages import make_one_line


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
