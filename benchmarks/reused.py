"""Figures of other sections that the section of goals judges.

They are taken from the results on disk if these are of the same run: the same machine, the same
commit, today or yesterday. Otherwise they are measured again in a shorter form, or, where that
takes too long, taken with a note of where they are from.
"""

import json
import subprocess
import tempfile
from contextlib import ExitStack
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from benchmarks import accelerated, calls, gpu, iterations, pipelines
from benchmarks.machine import describe_machine, find_revision
from benchmarks.pages import result_path
from benchmarks.peers import ROOT, Worker, prepare_peer
from benchmarks.volumes import PACKAGED, T1W, Volume, volume_exists

GPU = ROOT / "benchmarks" / "results" / "gpu.json"
PEERS = ("SimpleITK", iterations.OLD, "n4ax")
SAME_MACHINE = ("processor", "processors", "memory_gib")


def read_record(section: str, quick: bool) -> dict[str, Any] | None:
    """The results of a section, or ``None`` if it has none."""
    path = result_path(section, quick)
    return json.loads(path.read_text()) if path.exists() else None


def is_of_this_run(record: dict[str, Any] | None) -> bool:
    """Whether results are of this machine, this commit, and not older than a day."""
    if record is None:
        return False
    here, there = describe_machine(), record["machine"]
    age = datetime.now(UTC).date() - date.fromisoformat(there["date"])
    return (
        all(here[name] == there[name] for name in SAME_MACHINE)
        and record["versions"]["revision"] == find_revision()
        and age.days <= 1
    )


def read_this_run(section: str, quick: bool) -> dict[str, Any] | None:
    """The result of a section in this run, or ``None``."""
    record = read_record(section, quick)
    return record["result"] if record and is_of_this_run(record) else None


def compare_iterations(head: Volume, quick: bool, rounds: int) -> dict[str, Any]:
    """Seconds of an iteration at full resolution of n4ax and of its peers."""
    result = read_this_run("iterations", quick)
    if result is not None:
        found, described = result["volumes"][0]["full"]["iteration"], result["volumes"][0]
    else:
        described = head.describe()
        with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
            workers = {name: stack.enter_context(Worker(prepare_peer(name))) for name in PEERS}
            path = head.save(Path(folder))
            found = iterations.time_iterations(path, workers, 1, min(rounds, 2))
    kept = {name: {key: found[name][key] for key in ("spread", "ours_faster_by")} for name in PEERS}
    return {"volume": described["name"], "voxels": described["voxels"], "peers": kept}


def compare_shrunken(quick: bool, rounds: int) -> dict[str, Any]:
    """SimpleITK's example at shrink factor 4: the time of its filter, and of our solver."""
    result = read_this_run("pipelines", quick)
    if result is not None:
        (case,) = (case for case in result["cases"] if case["tool"] == "SimpleITK")
    else:
        name = PACKAGED if quick or not volume_exists(T1W) else T1W
        (example,) = (case for case in pipelines.CASES if not case.options)
        with tempfile.TemporaryDirectory() as place, Worker(prepare_peer("n4ax")) as worker:
            files = pipelines.write_images(name, Path(place))
            case = pipelines.measure_case(example, files, Path(place), worker, min(rounds, 2))
    return {"spread": case["spread"], "faster_by": case["solve_faster_by"]}


def compare_fast(quick: bool, rounds: int) -> list[dict[str, Any]]:
    """The fast preset beside all iterations, on each head of its table."""
    result = read_this_run("accelerated", quick)
    if result is not None:
        both = (accelerated.FAST, accelerated.ALL)
        return [
            {key: head[key] for key in ("name", "voxels")}
            | calls.compare({way: head["ways"][way]["seconds"] for way in both}, *both)
            for head in result["heads"]
        ]
    there = [name for name in accelerated.HEADS if volume_exists(name)]
    with tempfile.TemporaryDirectory() as folder:
        names = [PACKAGED] if quick or not there else there
        return calls.compare_fast(names, Path(folder), rounds)


def read_studies(quick: bool) -> dict[str, Any]:
    """Images a minute beside ANTsPy, and where they were measured if not in this run."""
    record = read_record("studies", quick)
    if record is None:
        return {"why": "the section of studies has no results"}
    result, machine = record["result"], record["machine"]
    found = {key: result[key] for key in ("spread", "faster_by")}
    if is_of_this_run(record):
        return found
    origin = {key: machine[key] for key in ("processor", "date")}
    return found | {"origin": origin | {"revision": record["versions"]["revision"]}}


def read_gpu() -> dict[str, Any]:
    """What ``benchmarks/gpu.py`` last wrote, and when it was committed if it does not say so."""
    if not GPU.exists():
        return {"why": "benchmarks/results/gpu.json is missing"}
    report = json.loads(GPU.read_text())
    kept = ("device", "jax", "bandwidth", "date", "n4ax", "profile", "bits")
    rows = [row for row in report["rows"] if tuple(row["shape"]) == gpu.FULL]
    if not rows:
        return {"why": "benchmarks/results/gpu.json has no volume of 256 × 176 × 256"}
    names = ("volume", "voxels", "shape", "bytes per iteration", "old", *gpu.SCHEDULES)
    row = {name: rows[0][name] for name in names if name in rows[0]}
    command = ["git", "-C", str(ROOT), "log", "-1", "--format=%cs", "--", str(GPU)]
    committed = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    found = {name: report[name] for name in kept if name in report}
    return found | {"row": row, "committed": committed or None}
