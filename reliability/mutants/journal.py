"""What became of each mutant, a line of JSON each, so that a run goes on where it was ended."""

import json
from pathlib import Path
from typing import Any, NamedTuple


class Outcome(NamedTuple):
    """What became of a mutant.

    Attributes
    ----------
    key
        The mutant's; see :class:`reliability.mutants.mutations.Mutant`.
    outcome
        ``killed``, ``timeout``, ``survived``, or ``not run`` if no test runs the line.
    by
        The test that noticed it.
    tests
        How many tests were tried.
    seconds
        How long that took.
    """

    key: str
    outcome: str
    by: str | None
    tests: int
    seconds: float


def read_journal(path: Path) -> dict[str, Outcome]:
    """Read the outcomes by the mutants' keys; the last one counts."""
    if not path.exists():
        return {}
    lines = [json.loads(line) for line in path.read_text().splitlines() if line.endswith("}")]
    return {line["key"]: Outcome(**line) for line in lines}


def add_to_journal(path: Path, outcome: Outcome) -> None:
    """Write one more outcome."""
    with path.open("a") as file:
        file.write(json.dumps(_as_dictionary(outcome), ensure_ascii=False) + "\n")


def _as_dictionary(outcome: Outcome) -> dict[str, Any]:
    return outcome._asdict()
