"""The machine and the versions, which are stored in the JSON beside every result."""

import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import n4ax
from benchmarks.peers import ROOT, Worker, list_peers


def describe_machine() -> dict[str, Any]:
    """The machine, the date, and the load before the measurement, which should be near 0."""
    return {
        "processor": _read_value(Path("/proc/cpuinfo"), "model name") or platform.machine(),
        "processors": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": platform.system(),
        "date": datetime.now(UTC).date().isoformat(),
        "load_before": round(os.getloadavg()[0], 2),
    }


def list_versions() -> dict[str, Any]:
    """The versions of this package and of the packages in every peer's environment."""
    found: dict[str, Any] = {"n4ax": n4ax.__version__, "revision": find_revision()}
    for peer in list_peers():
        with Worker(peer) as worker:
            found[f"environment of {peer.name}"] = worker.ask(do="versions")
    return found


def find_revision() -> str | None:
    """The commit, with a "+" if src/ differs from it; ``None`` outside a clone."""
    commit = _git("rev-parse", "--short", "HEAD")
    return commit and commit + ("+" if _git("status", "--porcelain", "src") else "")


def _git(*words: str) -> str | None:
    command = ["git", "-C", str(ROOT), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() or None


def _read_value(path: Path, what: str) -> str | None:
    """The value in the first line ``what: value`` of a system file, if there is such a line."""
    if not path.exists():
        return None
    lines = path.read_text().splitlines()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith(what)), None)
