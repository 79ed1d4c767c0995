"""The words of an ANTs command line: flags, and values with parameters in brackets.

``-c [ 50x50, 1e-7 ]`` and ``-c {50x50,1e-7}`` are one value with the parameters ``50x50`` and
``1e-7``; ``-c 50x50`` is a value without parameters, which is another thing to ANTs.
"""

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

OPENING, CLOSING = "[({<", "])}>"
_INTEGER = re.compile(r"[+-]?\d+")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE)


class UsageError(ValueError):
    """The command line is not of ANTs' form."""


class Value(NamedTuple):
    """One value of an option: the word itself, or its parameters if it has brackets."""

    text: str
    parameters: tuple[str, ...] | None

    @classmethod
    def of(cls, word: str) -> "Value":
        """A word, brackets closed."""
        if word[:1] not in tuple(OPENING):
            return cls(word, None)
        return cls(word, tuple(part.strip() for part in word[1:-1].split(",")))


class Occurrence(NamedTuple):
    """An occurrence of an option on the command line."""

    flag: str
    values: list[Value]


def parse_words(arguments: Sequence[str]) -> tuple[list[str], list[Occurrence]]:
    """Words before the first flag, which ANTs ignores, and the options in their order.

    Raises
    ------
    UsageError
        Brackets do not match.
    """
    stray: list[str] = []
    options: list[Occurrence] = []
    for word in _regrouped(arguments):
        if word.startswith("-") and not is_number(word):
            options.append(Occurrence(word, []))
        elif options:
            options[-1].values.append(Value.of(word))
        else:
            stray.append(word)
    return stray, options


def _regrouped(arguments: Iterable[str]) -> list[str]:
    """The words, with those between an opening and a closing bracket joined to one."""
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
    """A whole number.

    Raises
    ------
    UsageError
        The text is something else.
    """
    if _INTEGER.fullmatch(text.strip()) is None:
        raise UsageError(f"{option} has {text!r}; expected a whole number")
    return int(text)


def read_number(option: str, text: str) -> float:
    """A decimal number.

    Raises
    ------
    UsageError
        The text is something else.
    """
    if not is_number(text):
        raise UsageError(f"{option} has {text!r}; expected a number")
    return float(text)


def read_vector(text: str) -> list[str]:
    """The parts of a vector such as ``50x50x30``; an ``x`` at its end does not count."""
    return [part.strip() for part in text.strip().removesuffix("x").split("x")]
