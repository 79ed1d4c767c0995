"""The form of an ANTs command line: flags, and values that may have parameters in brackets.

``-c [ 50x50, 1e-7 ]`` and ``-c {50x50,1e-7}`` both have one value with the parameters ``50x50``
and ``1e-7``. ``-c 50x50`` has a value without parameters, which ANTs treats differently.
"""

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

OPENING, CLOSING = "[({<", "])}>"
_INTEGER = re.compile(r"[+-]?\d+")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE)


class UsageError(ValueError):
    """The command line does not have the form that ANTs expects."""


class Value(NamedTuple):
    """One value of an option: its text, and its parameters if it has brackets."""

    text: str
    parameters: tuple[str, ...] | None

    @classmethod
    def parse(cls, word: str) -> "Value":
        """Split a word into its parameters, if it starts with a bracket and so ends with one."""
        if word[:1] not in tuple(OPENING):
            return cls(word, None)
        return cls(word, tuple(part.strip() for part in word[1:-1].split(",")))


class Occurrence(NamedTuple):
    """One occurrence of an option on the command line."""

    flag: str
    values: list[Value]


def parse_words(arguments: Sequence[str]) -> tuple[list[str], list[Occurrence]]:
    """Split a command line into options.

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
    for word in _join_bracketed(arguments):
        if word.startswith("-") and not is_number(word):
            options.append(Occurrence(word, []))
        elif options:
            options[-1].values.append(Value.parse(word))
        else:
            stray.append(word)
    return stray, options


def _join_bracketed(arguments: Iterable[str]) -> list[str]:
    """The words, with all words from an opening to its closing bracket joined into one."""
    words: list[str] = []
    inside: list[str] = []
    for word in arguments:
        if not inside and word[:1] not in tuple(OPENING):
            words.append(word)
            continue
        body = word if inside else word[1:]
        if any(letter in OPENING for letter in body):
            raise UsageError(
                f"{' '.join([*inside, word])!r} opens a bracket inside a bracket; expected a form "
                "such as [50x50,1e-7]: is a closing bracket missing?"
            )
        closed = [at for at, letter in enumerate(body) if letter in CLOSING]
        if closed and closed[0] != len(body) - 1:
            raise UsageError(f"{word!r} goes on after its closing bracket")
        inside.append(word)
        if closed:
            words.append("".join(inside))
            inside = []
    if inside:
        raise UsageError(f"{' '.join(inside)!r} has no closing bracket; add it, as in [50x50,1e-7]")
    return words


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
    return float(text)


def split_vector(text: str) -> list[str]:
    """Split a vector such as ``50x50x30`` into its parts; an ``x`` at the end is ignored."""
    return [part.strip() for part in text.strip().removesuffix("x").split("x")]
