"""The short form: a sample of the mathematics whose own tests take well under a second."""

import random
import time
from pathlib import Path

from benchmarks.peers import ROOT
from reliability.mutants.journal import Outcome, read_journal
from reliability.mutants.mutations import Mutant, make_mutants
from reliability.mutants.running import run_jobs

OWN_TESTS = {
    "src/n4ax/method/sharpening.py": "tests/method/test_sharpening.py",
    "src/n4ax/method/bspline.py": "tests/method/test_bspline.py",
    "src/n4ax/method/footprint.py": "tests/method/test_footprint.py",
    "src/n4ax/itk/linpack.py": "tests/itk/test_linpack.py",
    "src/n4ax/itk/bspline.py": "tests/itk/test_bspline.py",
}


def try_sample(count: int, seed: int, work: Path) -> list[tuple[Mutant, Outcome]]:
    """Try some mutants of these files with the tests of their own, in the folder ``work``."""
    mutants = [mutant for file in OWN_TESTS for mutant in make_mutants(ROOT / file)[0]]
    mutants.sort(key=lambda mutant: mutant.key)
    chosen = random.Random(seed).sample(mutants, count)
    jobs = [
        {"mutant": list(mutant), "tests": [OWN_TESTS[mutant.file]], "limit": 120.0}
        for mutant in chosen
    ]
    journal = work / "journal.jsonl"
    run_jobs(jobs, stop_at=time.time() + 600, workers=2, journal=journal, work=work)
    outcomes = read_journal(journal)
    return [(mutant, outcomes[mutant.key]) for mutant in chosen]
