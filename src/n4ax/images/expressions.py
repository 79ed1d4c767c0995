"""Masks that are made of several: ``otsu+brain.nii.gz``, ``head.nii.gz & !lesion.nii.gz``.

``+`` and ``&`` keep the voxels that are in both, ``|`` those in either, ``!`` those that are not in
what follows, and parentheses group. ``labels.nii.gz=2,41`` are the voxels with one of these labels,
and ``p.nii.gz>0.5`` those with a greater value.

Names of files may have such letters too, as in ``aparc+aseg.mgz``: at each place, the longest piece
of the text that is the name of a file is taken for that file.
"""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from n4ax.errors import InputError
from n4ax.images.arguments import MaskWord, read_word
from n4ax.paths import is_folder

_LETTERS = "+&|!()"
_DEEPEST = 30
_MOST_SIGNS = 200
"""The names that end at each of them are looked up, from each of them."""
_CONDITION = re.compile(
    r"(?P<name>.*?)\s*(?:=\s*(?P<labels>[\d,\s]+)|>\s*(?P<above>[\d.eE-]+))?", re.ASCII
)


class Part(NamedTuple):
    """A mask that is no combination: a word, or a file with the condition that a voxel is inside.

    Attributes
    ----------
    word
        ``"otsu"`` or ``"all"``; ``None`` for a file.
    path
        The file.
    labels
        The values that are inside; every value but 0 if there are none.
    above
        Values above this are inside; ``None`` if labels decide.
    """

    word: MaskWord | None
    path: Path
    labels: tuple[int, ...] = ()
    above: float | None = None


class Combination(NamedTuple):
    """Masks that are combined: all of them, any of them, or the opposite of one."""

    operator: str
    """``"&"``, ``"|"`` or ``"!"``."""
    parts: "tuple[Expression, ...]"


Expression = Part | Combination


def parse(text: str, find: Callable[[str], Path | None]) -> Expression:
    """Read an expression.

    Parameters
    ----------
    text
        The expression.
    find
        Gives the file of a name, or ``None`` if there is none.

    Raises
    ------
    InputError
        The text is no expression, or a file is missing. The message shows where.
    """
    signs = sum(letter in _LETTERS for letter in text)
    if signs > _MOST_SIGNS:
        raise InputError("{mask} has {0} signs; expected at most {1}", signs, _MOST_SIGNS)
    reader = _Reader(text, find)
    expression = reader.read_any()
    if not reader.is_at_end():
        raise reader.fail("expected an operator")
    return expression


def list_parts(expression: Expression) -> Iterator[Part]:
    """All words and files in an expression, in the order in which they are written."""
    if isinstance(expression, Part):
        yield expression
        return
    for part in expression.parts:
        yield from list_parts(part)


def evaluate(expression: Expression, take: Callable[[Part], Any]) -> Any:
    """Evaluate an expression.

    Parameters
    ----------
    expression
        What :func:`parse` read.
    take
        Gives the mask of a part as an array of bool. All arrays have one shape.

    Returns
    -------
    array of bool
        The voxels inside.
    """
    if isinstance(expression, Part):
        return take(expression)
    first, *others = (evaluate(part, take) for part in expression.parts)
    if expression.operator == "!":
        return ~first
    for other in others:
        first = first & other if expression.operator == "&" else first | other
    return first


def spell(expression: Expression, name: Callable[[Path], str]) -> str:
    """Write an expression in one way, whatever blanks and names it was given with.

    Parameters
    ----------
    expression
        What :func:`parse` read.
    name
        What to write for a file.
    """
    if isinstance(expression, Combination):
        parts = [spell(part, name) for part in expression.parts]
        joined = expression.operator.join(parts)
        return f"!{joined}" if expression.operator == "!" else f"({joined})"
    if expression.word is not None:
        return expression.word
    labels = "" if not expression.labels else f"={','.join(map(str, expression.labels))}"
    above = "" if expression.above is None else f">{expression.above!r}"
    return f"{name(expression.path)}{labels}{above}"


class _Reader:
    """Reads an expression from left to right."""

    def __init__(self, text: str, find: Callable[[str], Path | None]) -> None:
        self._text, self._find, self._at = text, find, 0
        self._depth = 0  # of signs and parentheses

    def is_at_end(self) -> bool:
        """Whether nothing but blanks is left."""
        rest = self._text[self._at :]
        self._at += len(rest) - len(rest.lstrip())
        return self._at >= len(self._text)

    def read_any(self) -> Expression:
        """Read masks between ``|``."""
        return self._read_between("|", "|", lambda: self._read_between("&", "+&", self._read_one))

    def fail(self, expected: str) -> InputError:
        """The error that says what is wrong at the place that was reached."""
        rest = self._text[self._at :] or "the end"
        return InputError("{mask} is {0!r}: {1} at {2!r}", self._text, expected, rest)

    def _read_between(
        self, operator: str, letters: str, read: Callable[[], Expression]
    ) -> Expression:
        parts = [read()]
        while not self.is_at_end() and self._text[self._at] in letters:
            self._at += 1
            parts.append(read())
        return parts[0] if len(parts) == 1 else Combination(operator, tuple(parts))

    def _read_one(self) -> Expression:
        if self.is_at_end():
            raise self.fail("expected a mask")
        found = self._read_word() or self._read_file()
        if found is not None:
            return found
        letter = self._text[self._at]
        if letter in "!(" and self._depth == _DEEPEST:
            raise self.fail(f"expected at most {_DEEPEST} signs inside each other")
        if letter == "!":
            self._at += 1
            self._depth += 1
            opposite = Combination("!", (self._read_one(),))
            self._depth -= 1
            return opposite
        if letter == "(":
            self._at += 1
            self._depth += 1
            inner = self.read_any()
            self._depth -= 1
            if self.is_at_end() or self._text[self._at] != ")":
                raise self.fail("expected ')'")
            self._at += 1
            return inner
        named = self._cut().strip() or self._text[self._at :]
        raise InputError(
            "{mask} is {0!r}: {1} is neither otsu nor all nor a file that exists{2}",
            self._text,
            named,
            _advise(named),
        )

    def _read_file(self) -> Part | None:
        """Read the longest name of a file that begins here."""
        rest = self._text[self._at :]
        ends = [place for place, letter in enumerate(rest) if place and letter in _LETTERS]
        for end in (len(rest), *reversed(ends)):
            piece = rest[:end].strip()
            part = self._find_part(piece)
            if part is not None:
                self._at += end
                return part
        return None

    def _find_part(self, piece: str) -> Part | None:
        path = self._find(piece)
        if path is not None:
            return Part(None, path)
        found = _CONDITION.fullmatch(piece)
        if found is None or not (found["labels"] or found["above"]):
            return None
        path = self._find(found["name"])
        if path is None:
            return None
        try:
            if found["above"]:
                return Part(None, path, above=float(found["above"]))
            return Part(None, path, tuple(int(label) for label in found["labels"].split(",")))
        except ValueError:
            raise self.fail("expected labels such as =2,41 or a threshold such as >0.5") from None

    def _cut(self) -> str:
        """The text up to the next sign."""
        return re.split(f"[{re.escape(_LETTERS)}]", self._text[self._at :], maxsplit=1)[0]

    def _read_word(self) -> Part | None:
        """Read a word, which a file of that name in the current folder does not change."""
        piece = self._cut()
        word = read_word(piece.strip())
        if word is None:
            return None
        self._at += len(piece)
        return Part(word, Path())


def _advise(name: str) -> str:
    """What may have been meant by a name that is none."""
    if is_folder(Path(name)):
        return f"; it is a folder: give a pattern such as {name}/{{stem}}_mask.nii.gz"
    if re.search(r"[<>=~]|\b(and|or|not)\b", name):
        return "; the signs are & | ! ( ), =2,41 for labels and >0.5 for a threshold"
    return ""
