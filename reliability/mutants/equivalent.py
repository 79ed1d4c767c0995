"""Mutants that no test can notice, each with the reason, in ``equivalent.toml``."""

import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from benchmarks.peers import ROOT
from reliability.mutants.mutations import Mutant

PATH = Path(__file__).with_name("equivalent.toml")


class Equivalent(NamedTuple):
    """Mutants of a line that change nothing which can be seen.

    Attributes
    ----------
    file, line
        The file, from the root of the project, and the line's text.
    mutation
        ``before -> after``, or ``*`` for all mutants of the line.
    why
        The argument.
    """

    file: str
    line: str
    mutation: str
    why: str

    def covers(self, mutant: Mutant) -> bool:
        """Whether a mutant is one of these."""
        same = self.mutation in ("*", f"{mutant.before} -> {mutant.after}")
        return same and (self.file, self.line) == (mutant.file, mutant.text)


def read_equivalent(path: Path = PATH) -> list[Equivalent]:
    """Read the list."""
    return [Equivalent(**entry) for entry in tomllib.loads(path.read_text()).get("mutant", [])]


def find_outdated(entries: Iterable[Equivalent], mutants: Iterable[Mutant]) -> list[Equivalent]:
    """Find the entries that no mutant of the sources is left for."""
    mutants = list(mutants)
    return [entry for entry in entries if not any(map(entry.covers, mutants))]


def list_sources(entries: Iterable[Equivalent]) -> list[Path]:
    """List the files that the entries are about."""
    return sorted({ROOT / entry.file for entry in entries})
