"""The form of an ANTs command line: flags, and values that may have parameters in brackets.

``-c [ 50x50, 1e-7 ]`` and ``-c {50x50,1e-7}`` both have one value with the parameters ``50x50``
and ``1e-7``. ``-c 50x50`` has a value without parameters, which ANTs treats differently.

Names of files may have brackets, commas and blanks of their own, and begin with a bracket or a
dash: ``-o [(1)c.nii,(1)b.nii]``. The endings of images tell where a name ends.
"""

import re
from collections import deque
from collections.abc import Collection, Sequence
from math import isinf
from typing import NamedTuple

from n4ax.images.names import READ, WRITTEN

OPENING, CLOSING = "[({<", "])}>"
_PARTNER = dict(zip(OPENING, CLOSING, strict=True))
_INTEGER = re.compile(r"[+-]?\d+", re.ASCII)
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE | re.ASCII)
_MOST_DIGITS = 40


class UsageError(ValueError):
    """The command line does not have the form that ANTs expects."""


class Value(NamedTuple):
    """One value of an option: its text, and its parameters if it has brackets."""

    text: str
    parameters: tuple[str, ...] | None


class Occurrence(NamedTuple):
    """One occurrence of an option on the command line."""

    flag: str
    values: list[Value]


def parse_words(
    arguments: Sequence[str], flags_of_files: Collection[str] = ()
) -> tuple[list[str], list[Occurrence]]:
    """Split a command line into options.

    Parameters
    ----------
    arguments
        The words of the command line.
    flags_of_files
        The flags whose values are names of files.

    Returns
    -------
    stray : list of str
        The words before the first flag, which ANTs ignores.
    options : list of Occurrence
        The options with their values, in the order of the command line.

    Raises
    ------
    UsageError
        Brackets do not match.
    """
    stray: list[str] = []
    options: list[Occurrence] = []
    words = deque(arguments)
    while words:
        word = words.popleft()
        takes_files = bool(options) and options[-1].flag in flags_of_files
        takes_first = takes_files and not options[-1].values
        if _is_flag(word) and not (takes_first and ends_as_image(word)):
            options.append(Occurrence(word, []))
        elif options:
            read = _read_files if takes_files else _read_parameters
            options[-1].values.append(read(word, words))
        else:
            stray.append(word)
    return stray, options


def _is_flag(word: str) -> bool:
    return word.startswith("-") and not is_number(word)


def ends_as_image(word: str) -> bool:
    """Whether a word ends as the name of an image does, in small or capital letters."""
    return word.lower().endswith((*READ, *WRITTEN))


def begins_with_bracket(word: str) -> bool:
    """Whether the first letter is an opening bracket."""
    return word[:1] in _PARTNER


def _read_parameters(word: str, following: deque[str]) -> Value:
    """A value that is no name; if it has brackets, it takes the words up to the closing one."""
    if not begins_with_bracket(word):
        return Value(word, None)
    taken, body = [word], word[1:]
    while True:
        if any(letter in OPENING for letter in body):
            raise UsageError(
                f"{' '.join(taken)!r} opens a bracket inside a bracket; expected a form such as "
                "[50x50,1e-7]: is a closing bracket missing?"
            )
        closed = [at for at, letter in enumerate(body) if letter in CLOSING]
        if closed and closed[0] != len(body) - 1:
            raise UsageError(f"{taken[-1]!r} goes on after its closing bracket")
        if closed:
            text = "".join(taken)
            return Value(text, tuple(part.strip() for part in text[1:-1].split(",")))
        if not following or _is_flag(following[0]):
            raise UsageError(
                f"{' '.join(taken)!r} has no closing bracket; add it, as in [50x50,1e-7]"
            )
        body = following.popleft()
        taken.append(body)


def _read_files(word: str, following: deque[str]) -> Value:
    """A name, or several in brackets, which take the words up to the closing one.

    A word that begins with a bracket and is not closed is a value without parameters.
    """
    if not begins_with_bracket(word) or is_name(word):
        return Value(word, None)
    words = [word]
    for other in following:
        if _is_flag(other) and not ends_as_image(other):
            break
        words.append(other)
    count = _count_words(words)
    if count == 0:
        return Value(word, None)
    for _ in range(count - 1):
        following.popleft()
    text = " ".join(words[:count])
    return Value(text, _split_names(text[1:-1]))


def is_name(word: str) -> bool:
    """Whether a word that begins with a bracket is a name: ``(1).nii``, and not ``[c.nii``."""
    opening = word[0]
    return ends_as_image(word) and word.count(opening) <= word.count(_PARTNER[opening])


def _count_words(words: Sequence[str]) -> int:
    """How many of the words belong to the bracket at the beginning of the first; 0 if it is open.

    The bracket is closed where as many brackets have been closed as opened. If names have brackets
    without a partner, so that this is nowhere, it is closed by the last word that can close it.
    """
    depth = last = 0
    for count, word in enumerate(words, start=1):
        depth += sum((letter in OPENING) - (letter in CLOSING) for letter in word)
        if word[-1:] in tuple(CLOSING) and depth <= 0:
            return count
        if word[-1:] == _PARTNER[words[0][0]]:
            last = count
    return last


def _split_names(text: str) -> tuple[str, ...]:
    """Split a list of names at its commas.

    Commas may be part of a name if there are two names that end as images do: ``a,1.nii,b.nii``.
    """
    parts = text.split(",")
    plain = tuple(part.strip() for part in parts)
    if len(parts) <= 2 or not all(plain):
        return plain
    names: list[str] = []
    begun: list[str] = []
    for part in parts:
        begun.append(part)
        if ends_as_image(part.rstrip()):
            names.append(",".join(begun).strip())
            begun = []
    return tuple(names) if len(names) == 2 and not begun else plain


def is_number(text: str) -> bool:
    """Whether the whole text is a decimal number."""
    return _NUMBER.fullmatch(text.strip()) is not None


def read_whole(option: str, text: str) -> int:
    """Read a whole number.

    Raises
    ------
    UsageError
        The text is not a whole number; the message names the option.
    """
    if _INTEGER.fullmatch(text.strip()) is None:
        raise UsageError(f"{option} has {text!r}; expected a whole number")
    if len(text.strip()) > _MOST_DIGITS:
        raise UsageError(
            f"{option} has a number of {len(text.strip())} digits; expected at most {_MOST_DIGITS}"
        )
    return int(text)


def read_number(option: str, text: str) -> float:
    """Read a decimal number.

    Raises
    ------
    UsageError
        The text is not a number; the message names the option.
    """
    if not is_number(text):
        raise UsageError(f"{option} has {text!r}; expected a number")
    number = float(text)
    if isinf(number):
        raise UsageError(f"{option} has {text!r}; expected a number below 1.8e308")
    return number


def split_vector(text: str) -> list[str]:
    """Split a vector such as ``50x50x30`` into its parts; an ``x`` at the end is ignored."""
    return [part.strip() for part in text.strip().removesuffix("x").split("x")]
