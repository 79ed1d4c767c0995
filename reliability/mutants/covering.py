"""Which lines and branches the recorded tests run, by room, and those that nothing runs."""

import json
import tempfile
from pathlib import Path
from typing import Any

import coverage

from benchmarks.peers import ROOT
from reliability.mutants.rooms import ROOMS, list_files


def measure_coverage(parts: Path) -> list[dict[str, Any]]:
    """Count lines and branches of each room but that of the kernels, whose lines are compiled."""
    files = _read_files(parts)
    return [_count(room, files) for room in ROOMS if room != "kernels"]


def _read_files(parts: Path) -> dict[str, Any]:
    """Combine what all tests and their subprocesses ran, and let coverage judge each file."""
    with tempfile.TemporaryDirectory() as folder:
        measured = coverage.Coverage(
            data_file=f"{folder}/all", branch=True, source_pkgs=["n4ax"], config_file=False
        )
        found = [
            path for path in parts.glob("*/*") if path.name.startswith(("coverage", "process"))
        ]
        measured.combine([str(path) for path in found], keep=True)
        measured.save()
        report = Path(folder) / "report.json"
        measured.json_report(outfile=str(report), ignore_errors=True)
        files: dict[str, Any] = json.loads(report.read_text())["files"]
    return {str((ROOT / name).resolve()): file for name, file in files.items()}


def _count(room: str, files: dict[str, Any]) -> dict[str, Any]:
    own = {path: files[str(path)] for path in list_files(room) if str(path) in files}
    sums = [file["summary"] for file in own.values()]
    lines = sum(one["num_statements"] for one in sums)
    branches = sum(one["num_branches"] for one in sums)
    return {
        "room": room,
        "lines": _share(sum(one["covered_lines"] for one in sums), lines),
        "branches": _share(sum(one["covered_branches"] for one in sums), branches),
        "lines_not_run": lines - sum(one["covered_lines"] for one in sums),
        "not_run": {
            str(path.relative_to(ROOT)): {
                "lines": file["missing_lines"],
                "branches": file["missing_branches"],
            }
            for path, file in own.items()
            if file["missing_lines"] or file["missing_branches"]
        },
    }


def _share(covered: int, all_of_them: int) -> float:
    return round(100 * covered / all_of_them, 1) if all_of_them else 100.0
