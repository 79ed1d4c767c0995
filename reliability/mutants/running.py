"""Runs mutants through the server, and counts what became of them."""

import json
import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.peers import ROOT
from reliability.mutants.equivalent import read_equivalent
from reliability.mutants.journal import Outcome
from reliability.mutants.mutations import Mutant, make_mutants
from reliability.mutants.places import Place
from reliability.mutants.rooms import import_kernels, list_files, name_module
from reliability.mutants.selection import Recorded, choose_tests, find_place_of

WORK = ROOT / "build" / "mutants"
JOURNAL = WORK / "journal.jsonl"


class Room(NamedTuple):
    """A room with all its mutants, those that a run is about, and what was skipped by form."""

    name: str
    mutants: list[Mutant]
    chosen: list[Mutant]
    skipped: Counter[str]


def choose_mutants(name: str, sample: int | None, seed: int) -> Room:
    """Make the mutants of a room, and choose all or a sample of them."""
    mutants: list[Mutant] = []
    skipped: Counter[str] = Counter()
    for file in list_files(name):
        own, left_out = make_mutants(file)
        mutants += own
        skipped += left_out
    order = sorted(mutants, key=lambda mutant: mutant.key)
    random.Random(seed).shuffle(order)
    return Room(name, mutants, order[:sample], skipped)


def make_job(mutant: Mutant, recorded: Recorded, most_seconds: float) -> dict[str, Any]:
    """Describe a mutant and its tests for the server."""
    tests = choose_tests(
        mutant, recorded, _find_callers(mutant, find_place_of(mutant)), most_seconds
    )
    expected = sum(recorded.seconds[test] for test in tests)
    return {"mutant": list(mutant), "tests": tests, "limit": 30 + 3 * expected}


def _find_callers(mutant: Mutant, place: Place) -> set[str]:
    """Find the kernels that a mutant of a kernel changes."""
    if "/kernels/" not in mutant.file:
        return set()
    from n4ax.engines.compiled.kernel import Intrinsic, Kernel
    from reliability.mutants.swapping import find_callers, list_kernels, name_kernel

    import_kernels()
    kernels: list[Kernel | Intrinsic] = list_kernels()
    module = name_module(mutant.file)
    if place.function is None:
        names = {name for k in kernels if (name := name_kernel(k)).startswith(f"{module}.")}
    else:
        names = {f"{module}.{place.function}"}
    return find_callers(kernels, names)


def run_jobs(
    jobs: Sequence[dict[str, Any]],
    *,
    stop_at: float,
    workers: int,
    journal: Path,
    work: Path = WORK,
) -> None:
    """Try mutants in a server process, until a time; ``work`` is where it leaves its files."""
    work.mkdir(parents=True, exist_ok=True)
    path = work / "jobs.json"
    given = {
        "journal": str(journal), "stop_at": stop_at, "workers": workers, "jobs": list(jobs),
    }  # fmt: skip
    path.write_text(json.dumps(given))
    files = sorted({name.split("::")[0] for job in jobs for name in job["tests"]})
    environment = os.environ | {
        "N4AX_MUTANTS_JOBS": str(path),
        "NUMBA_CACHE_DIR": str(WORK / "numba"),
        "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)]),
    }
    options = ["-q", "-p", "no:cacheprovider", "-p", "reliability.mutants.server"]
    command = [sys.executable, "-m", "pytest", *options, *files]
    with (work / "server.log").open("w") as log:
        done = subprocess.run(command, cwd=ROOT, env=environment, stdout=log, check=False)
    if done.returncode not in (0, 5):  # pytest's status for no tests
        raise RuntimeError(f"the server of mutants ended with {done.returncode}; see {log.name}")


def count(room: Room, outcomes: dict[str, Outcome]) -> dict[str, Any]:
    """Count what became of the mutants of a room."""
    equivalent = read_equivalent()
    counts: Counter[str] = Counter()
    survivors = []
    for mutant in room.chosen:
        outcome = outcomes.get(mutant.key)
        if outcome is None:
            continue
        noticed = outcome.outcome in ("killed", "timeout")
        if not noticed and any(entry.covers(mutant) for entry in equivalent):
            counts["equivalent"] += 1
            continue
        counts[outcome.outcome] += 1
        if not noticed:
            survivors.append(_describe(mutant, outcome))
    noticed = counts["killed"] + counts["timeout"]
    judged = noticed + len(survivors)
    return {
        "room": room.name,
        "mutants": len(room.mutants),
        "tried": judged + counts["equivalent"],
        "killed": counts["killed"],
        "timeouts": counts["timeout"],
        "survived": len(survivors),
        "equivalent": counts["equivalent"],
        "share": round(100 * noticed / judged, 1) if judged else None,
        "survivors": survivors,
    }


def _describe(mutant: Mutant, outcome: Outcome) -> dict[str, Any]:
    return {
        "file": mutant.file,
        "line": mutant.text,
        "mutation": f"{mutant.before} -> {mutant.after}",
        "outcome": outcome.outcome,
        "tests": outcome.tests,
    }


def add_up(rows: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Add the counts of several rooms."""
    rows = list(rows)
    names = ("mutants", "tried", "killed", "timeouts", "survived", "equivalent")
    total: dict[str, Any] = {name: sum(row[name] for row in rows) for name in names}
    noticed = total["killed"] + total["timeouts"]
    judged = noticed + total["survived"]
    return total | {"share": round(100 * noticed / judged, 1) if judged else None}
