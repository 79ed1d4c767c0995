"""Ten thousand problems: each has a number, and a line of a file once it has been compared.

A campaign that was stopped goes on after the lines that its file has. The file lies under
``build/``, and its name has the seed.
"""

import json
import os
import shutil
import tempfile
import time
import traceback
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from importlib import import_module
from multiprocessing import get_context
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.peers import ROOT
from reliability.fuzz.trial import HangError, bound_time

AGAINST = ("doors", "simpleitk", "ants")
SHARES = {"doors": 5, "simpleitk": 4, "ants": 1}
"""How many of ten problems go each way. A problem takes ANTs the longest."""

TARGETS = {"doors": "doors", "simpleitk": "reference_itk", "ants": "reference_ants"}
"""The fuzzer's names, from which problems are made, so that both have the same ones."""

SECONDS = 300.0

Line = dict[str, Any]
Case = tuple[str, int]
"""What a problem is compared with, and its number."""


def find_file(seed: int) -> Path:
    """The file of a campaign."""
    return ROOT / "build" / "differential" / f"seed-{seed}.jsonl"


def plan(cases: int, against: Sequence[str]) -> Iterator[Case]:
    """The problems in their order: each kind is about its share behind at any time."""
    chosen = {name: SHARES[name] for name in AGAINST if name in against}
    numbers = dict.fromkeys(chosen, 0)
    for _ in range(cases):
        name = min(chosen, key=lambda one: (numbers[one] + 1) / chosen[one])
        yield name, numbers[name]
        numbers[name] += 1


def read_lines(path: Path) -> list[Line]:
    """The lines that a campaign has written; what is left of a torn one is cut off."""
    if not path.exists():
        return []
    text = path.read_bytes()
    whole = text[: text.rfind(b"\n") + 1]
    if whole != text:
        os.truncate(path, len(whole))
    return [json.loads(line) for line in whole.splitlines()]


def compare_case(name: str, seed: int, number: int) -> Line:
    """Compare one problem; whatever exception leaves it is a finding."""
    compare = import_module(f"reliability.differential.{name}").compare
    folder, start = Path(tempfile.mkdtemp(prefix="differential-")), time.perf_counter()
    try:
        with bound_time(SECONDS), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            said = compare(Random(f"{seed} {TARGETS[name]} {number}"), folder)
    except (Exception, HangError) as error:
        said = {"found": [f"{type(error).__name__}: {error}"], "trace": traceback.format_exc()}
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    seconds = round(time.perf_counter() - start, 3)
    return {"against": name, "number": number, "seconds": seconds, **said}


def run(
    path: Path, seed: int, cases: Sequence[Case], processes: int, seconds: float
) -> Iterator[Line]:
    """Compare the problems that have no line yet, write their lines, and give them.

    Parameters
    ----------
    path
        The file of the campaign.
    seed, cases
        Its seed, and its problems.
    processes
        How many are compared at a time, each in a process.
    seconds
        No problem is begun after this time.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    done = {(line["against"], line["number"]) for line in read_lines(path)}
    left, end = iter([case for case in cases if case not in done]), time.monotonic() + seconds
    with path.open("a") as file, ProcessPoolExecutor(processes, get_context("spawn")) as pool:

        def submit() -> set[Any]:
            case = next(left, None) if time.monotonic() < end else None
            return set() if case is None else {pool.submit(compare_case, case[0], seed, case[1])}

        running: set[Any] = set()
        for _ in range(processes):
            running |= submit()
        while running:
            finished, running = wait(running, return_when=FIRST_COMPLETED)
            for future in finished:
                running |= submit()
                line: Line = future.result()
                file.write(json.dumps(line) + "\n")
                file.flush()
                yield line
