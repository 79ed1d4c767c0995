"""Studies with worker processes that are killed, run twice at once, or lose their disk."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nibabel as nib
import psutil

from reliability.faults.cases import make_phantom
from reliability.faults.plan import Fault, Plan
from reliability.faults.trials import list_disasters
from reliability.faults.workshop import find_differences, make_environment, read_tree

_CHAIN = 6
"""So many times a study is killed before it may end."""
_PATIENCE = 120


@dataclass
class Tally:
    """What was done to studies, and what was lost by it."""

    killed_runs: int = 0
    killed_workers: int = 0
    at_once: int = 0
    disasters: int = 0
    completed: int = 0
    files: int = 0
    losses: list[str] = field(default_factory=list)

    def describe(self) -> dict[str, Any]:
        """The counts as an object of JSON."""
        return dict(vars(self))


class Study:
    """A dataset of small images, and what a good run makes of it.

    Parameters
    ----------
    folder
        An empty folder.
    images
        The number of images.
    """

    def __init__(self, folder: Path, images: int) -> None:
        self.folder = folder
        self._dataset = folder / "study"
        for number in range(images):
            name = f"sub-{number // 2 + 1}"
            place = self._dataset / name / "anat"
            place.mkdir(parents=True, exist_ok=True)
            image = make_phantom(number, scale=2)
            nib.save(image, place / f"{name}_run-{number % 2 + 1}_T1w.nii.gz")
        start = time.monotonic()
        process = self.start(folder / "good")
        _, said = process.communicate(timeout=_PATIENCE)
        assert process.returncode == 0, said
        self.seconds = time.monotonic() - start
        self.good = read_images(folder / "good")

    def start(
        self, output: Path, variables: Mapping[str, str] | None = None
    ) -> subprocess.Popen[str]:
        """Start a run with two workers."""
        words = [
            "bids", str(self._dataset), str(output), "participant", "--iters", "10x10",
            "--conv-threshold", "0", "--n-procs", "2", "--omp-nthreads", "1", "-q",
        ]  # fmt: skip
        return subprocess.Popen(
            [sys.executable, "-m", "n4ax", *words], stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, text=True, start_new_session=True,
            env=make_environment() | (variables or {}),
        )  # fmt: skip


def read_images(output: Path) -> dict[str, bytes]:
    """The images, sidecars and pictures of a study: what is the same whatever happened."""
    return {
        name: content
        for name, content in read_tree(output).items()
        if name.startswith("sub-") and "/" in name
        and not ("/figures/" in name and name.endswith(".json"))
    }  # fmt: skip


def find_workers(process: int) -> list[psutil.Process]:
    """The worker processes of a run."""
    with suppress(psutil.NoSuchProcess):
        children = psutil.Process(process).children(recursive=True)
        return [child for child in children if _is_worker(child)]
    return []


def _is_worker(process: psutil.Process) -> bool:
    try:
        words = " ".join(process.cmdline())  # Dask gives it a title if setproctitle is installed
        return "spawn_main" in words or words.startswith("dask worker")
    except psutil.Error:
        return False


def try_kills(study: Study, number: int, seed: int, tell: Callable[[str], None]) -> Tally:
    """Kill runs and workers at random moments, and let each study end after some of these."""
    tally, source = Tally(), random.Random(f"{seed} kills")
    places = _name_folders(study, "kill")
    while tally.killed_runs + tally.killed_workers < number:
        output = next(places)
        for _ in range(min(_CHAIN, number - tally.killed_runs - tally.killed_workers)):
            if _kill_once(study, output, source, tally):
                break
            _check_there(study, output, tally)
        _complete(study, output, tally)
        tell(f"killed {tally.killed_runs} runs and {tally.killed_workers} workers")
    return tally


def _name_folders(study: Study, name: str) -> Iterator[Path]:
    number = 0
    while True:
        number += 1
        yield study.folder / f"{name}-{number}"


def _kill_once(study: Study, output: Path, source: random.Random, tally: Tally) -> bool:
    """Kill a run or one of its workers; return whether the run came to its end."""
    process = study.start(output)
    moment = source.uniform(0.15, 1) * study.seconds
    with suppress(subprocess.TimeoutExpired):
        process.wait(moment)
    workers = find_workers(process.pid)
    if process.poll() is None and workers and source.random() < 0.25:
        with suppress(psutil.NoSuchProcess):
            source.choice(workers).kill()
            tally.killed_workers += 1
        process.communicate(timeout=_PATIENCE)
        if process.returncode != 0:
            tally.losses.append(f"status {process.returncode} after a worker was killed")
        return True
    if process.poll() is None:
        os.kill(process.pid, signal.SIGKILL)
        tally.killed_runs += 1
    process.communicate()
    psutil.wait_procs(workers, timeout=15)
    return process.returncode == 0


def _check_there(study: Study, output: Path, tally: Tally) -> None:
    """Every file that is there must be that of a good run."""
    there = read_images(output) if output.exists() else {}
    tally.files += len(there)
    for name, content in there.items():
        if "/.n4ax-" not in name and study.good.get(name) != content:
            tally.losses.append(f"{output.name}: {name} is half-written")


def _complete(study: Study, output: Path, tally: Tally) -> None:
    """Give the command again, and compare all files with those of a good run."""
    process = study.start(output)
    _, said = process.communicate(timeout=_PATIENCE)
    if process.returncode != 0:
        tally.losses.append(f"{output.name}: status {process.returncode}: {said[-200:]}")
    there = {name: content for name, content in read_images(output).items()
             if "/.n4ax-" not in name}  # fmt: skip
    tally.losses += [f"{output.name}: {name}" for name in find_differences(there, study.good)]
    tally.completed += 1


def try_runs_at_once(study: Study, number: int, tally: Tally) -> None:
    """Start two runs into one folder at the same time."""
    for _, output in zip(range(number), _name_folders(study, "both"), strict=False):
        both = [study.start(output) for _ in range(2)]
        said = [process.communicate(timeout=_PATIENCE)[1] for process in both]
        for process, words in zip(both, said, strict=True):
            if process.returncode != 0 or "Traceback" in words:
                tally.losses.append(f"{output.name}: status {process.returncode}: {words[-200:]}")
        _check_there(study, output, tally)
        _complete(study, output, tally)
        tally.at_once += 2


def try_disasters(study: Study, number: int, seed: int, tally: Tally) -> None:
    """Full disks, lost mounts and clocks that jump, for a run and all its workers."""
    source = random.Random(f"{seed} disasters")
    plan = Plan(study.folder / "plan")
    places = _name_folders(study, "disaster")
    faults: list[Fault] = []
    while len(faults) < number:
        size = sum(map(len, study.good.values()))
        faults += list_disasters(2000, size, source, 1)
    for fault, output in zip(faults[:number], places, strict=False):
        with plan.armed(output.resolve(), fault):
            process = study.start(output, plan.environment)
            try:
                _, said = process.communicate(timeout=_PATIENCE)
            except subprocess.TimeoutExpired:
                tally.losses.append(f"{fault}: it hangs")
                workers = find_workers(process.pid)
                process.kill()
                _, said = process.communicate()
                psutil.wait_procs(workers, timeout=15)
        if "Traceback" in said or (process.returncode == 0 and fault.error == "ESTALE"):
            tally.losses.append(f"{fault}: status {process.returncode}: {said[-300:]}")
        _check_there(study, output, tally)
        _complete(study, output, tally)
        tally.disasters += 1
