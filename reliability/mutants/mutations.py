"""The mutants of a source file: mutmut's mutations, less those that cannot show anything."""

from collections import Counter
from collections.abc import Iterator
from os.path import commonprefix
from pathlib import Path
from typing import NamedTuple

import libcst as cst
from libcst.metadata import MetadataWrapper, ParentNodeProvider, PositionProvider
from mutmut.mutation.file_mutation import deep_replace
from mutmut.mutation.mutators import mutation_operators

from benchmarks.peers import ROOT
from reliability.mutants.rules import find_reason_to_skip


class Mutant(NamedTuple):
    """A fault in a source file.

    Attributes
    ----------
    file
        The file, from the root of the project.
    line
        The line where what is changed begins, from 1.
    text
        That line.
    before, after
        What is changed, and into what.
    number
        Counts changes of the same text into the same, within lines of the same text.
    start, stop, new
        The characters of the source that are replaced, and what replaces them.
    """

    file: str
    line: int
    text: str
    before: str
    after: str
    number: int
    start: int
    stop: int
    new: str

    @property
    def key(self) -> str:
        """What tells this mutant from all others, and stays when other lines change."""
        return " | ".join([self.file, self.text, self.before, self.after, str(self.number)])

    def apply(self, source: str) -> str:
        """Put the fault into the source."""
        return source[: self.start] + self.new + source[self.stop :]


def make_mutants(path: Path) -> tuple[list[Mutant], Counter[str]]:
    """Make all mutants of a file, and count those that are skipped, by the reason."""
    source = path.read_text()
    lines = source.splitlines()
    name = str(path.relative_to(ROOT))
    seen: set[tuple[int, int, str]] = set()
    numbers: Counter[tuple[str, str, str]] = Counter()
    skipped: Counter[str] = Counter()
    mutants = []
    for line, before, after, mutated in _mutate(source, skipped):
        place = _compare(source, mutated)
        if place in seen:
            continue
        seen.add(place)
        text = lines[line - 1].strip()
        number = numbers[text, before, after]
        numbers[text, before, after] += 1
        mutants.append(Mutant(name, line, text, before, after, number, *place))
    return mutants, skipped


def _mutate(source: str, skipped: Counter[str]) -> Iterator[tuple[int, str, str, str]]:
    """Yield the line, what is changed, into what, and the whole mutated source."""
    wrapper = MetadataWrapper(cst.parse_module(source), unsafe_skip_copy=True)
    module = wrapper.module
    positions = wrapper.resolve(PositionProvider)
    parents = wrapper.resolve(ParentNodeProvider)
    offsets = _find_offsets(source)
    for node in positions:
        for kind, operator in mutation_operators:
            for changed in operator(node) if isinstance(node, kind) else ():
                reason = find_reason_to_skip(node, changed, parents)
                if reason is not None:
                    skipped[reason] += 1
                    continue
                before, after = module.code_for_node(node), module.code_for_node(changed)
                start = positions[node].start
                # A parenthesis before the node is part of its code.
                end = offsets[start.line - 1] + start.column + len(before)
                place = source.rfind(before, 0, end)
                if place >= 0 and "\n" not in before:
                    mutated = source[:place] + after + source[place + len(before) :]
                else:  # code over several lines, whose indentation the node does not know
                    mutated = deep_replace(module, node, changed).code  # type: ignore[union-attr]
                yield start.line, before.strip(), after.strip(), mutated


def _find_offsets(source: str) -> list[int]:
    offsets = [0]
    for line in source.splitlines(keepends=True):
        offsets.append(offsets[-1] + len(line))
    return offsets


def _compare(source: str, mutated: str) -> tuple[int, int, str]:
    """Find the characters that are replaced, and what replaces them."""
    start = len(commonprefix([source, mutated]))  # noqa: RUF071  # these are texts
    most = min(len(source), len(mutated)) - start
    same = len(commonprefix([source[::-1][:most], mutated[::-1][:most]]))  # noqa: RUF071
    return start, len(source) - same, mutated[start : len(mutated) - same]
