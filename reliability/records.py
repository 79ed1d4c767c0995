"""The JSON that a section leaves, and what was found."""

import json
import tomllib
from pathlib import Path
from typing import Any

from benchmarks.machine import describe_machine, find_revision
from benchmarks.peers import ROOT

FOLDER = ROOT / "reliability"


def write_record(section: str, result: dict[str, Any], *, seconds: float) -> Path:
    """Write what a section measured, with the machine and the commit."""
    record = {
        "section": section,
        "seconds": round(seconds, 1),
        "machine": describe_machine(),
        "revision": find_revision(),
        "result": result,
    }
    path = FOLDER / "results" / f"{section}.json"
    path.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    return path


def read_records() -> dict[str, dict[str, Any]]:
    """The records of all sections that have been run, by their names."""
    paths = sorted((FOLDER / "results").glob("*.json"))
    return {path.stem: json.loads(path.read_text()) for path in paths}


def read_findings() -> dict[str, list[dict[str, str]]]:
    """What was found in each area, what is done now, and the test that holds it."""
    paths = sorted((FOLDER / "findings").glob("*.toml"))
    return {path.stem: tomllib.loads(path.read_text()).get("finding", []) for path in paths}
