"""Runs the quick tests once, to know which lines each of them runs."""

import os
import subprocess
import sys
from pathlib import Path

from benchmarks.peers import ROOT

PARTS: dict[str, tuple[str, ...]] = {
    "method": ("tests/method", "tests/itk"),
    "rest": ("tests/field", "tests/settings", "tests/test_level.py",
             "tests/test_posing.py", "tests/test_itk_versions.py", "tests/test_field.py",
             "tests/test_processors.py",
             "tests/test_calls.py", "tests/test_errors.py", "tests/test_shortage.py"),
    "engines": ("tests/engines",),
    "bits": ("tests/engines/test_bits.py", "tests/method/test_accelerated.py",
             "tests/method/test_convergence.py"),
    "arithmetic": ("tests/arithmetic/test_engines.py", "tests/arithmetic/test_edges.py",
                   "tests/arithmetic/test_random.py", "tests/test_api.py", "tests/test_series.py",
                   "tests/test_shared_scans.py", "tests/test_contrasts.py",
                   "tests/test_result.py"),
    "doors": ("tests/ants", "tests/simpleitk", "tests/cli/test_options.py",
              "tests/cli/test_mistakes.py", "tests/cli/test_apply.py", "tests/cli/test_masks.py"),
    "files": ("tests/images", "tests/test_files.py", "tests/test_texts.py",
              "tests/bids/test_journal.py",
              "tests/bids/test_writing.py", "tests/bids/test_settings.py",
              "tests/cli/test_provenance.py", "tests/cli/test_correct.py"),
}  # fmt: skip
"""Tests that are recorded together. A part that is there already is not recorded again."""


def record_tests(folder: Path) -> None:
    """Record all parts that are missing in a folder."""
    for name, tests in PARTS.items():
        if not (folder / name / "tests.json").exists():
            _record(folder / name, tests)


def _record(folder: Path, tests: tuple[str, ...]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    environment = os.environ | {
        "N4AX_MUTANTS_FOLDER": str(folder),
        "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)]),
    }
    options = ["-q", "-m", "not slow", "-p", "no:cacheprovider"]
    options += ["-p", "reliability.mutants.recording"]
    command = [sys.executable, "-m", "pytest", *options, *tests]
    subprocess.run(command, cwd=ROOT, env=environment, check=False)
