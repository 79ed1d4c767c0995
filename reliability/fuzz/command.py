"""``python -m reliability fuzz``: inputs by the thousand, on all processors."""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import click

from benchmarks.peers import ROOT
from reliability.fuzz.trial import REPEAT_EVERY, Finding, list_targets, load_target, try_index
from reliability.fuzz.worker import MEMORY
from reliability.records import write_record

LISTED = 3
"""How many inputs of a kind of finding are listed."""


@dataclass
class Tally:
    """What all processes have counted and found."""

    tries: Counter[str] = field(default_factory=Counter[str])
    kinds: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])
    findings: list[Finding] = field(default_factory=list[Finding])

    def add(self, found: Finding) -> None:
        """Count a finding, and print the first ones of its kind."""
        key = found.target, found.kind
        self.kinds[key] += 1
        if self.kinds[key] <= LISTED:
            self.findings.append(found)
            click.echo(f"\nFOUND {found.target}:{found.index} (seed {found.seed}): {found.kind}")
            if self.kinds[key] == 1:
                click.echo(found.details)


@click.command()
@click.option("--seed", type=int, default=1, show_default=True)
@click.option("--minutes", type=float, default=30.0, show_default=True)
@click.option("--inputs", type=int, default=10**9, help="The most inputs in all.")
@click.option("--processes", type=int, default=os.cpu_count() or 1, show_default=True)
@click.option("--replay", type=int, multiple=True, help="Try only this number of one TARGET.")
@click.option("--record", is_flag=True, help="Write reliability/results/fuzz.json.")
@click.argument("targets", nargs=-1, type=click.Choice(list_targets()), metavar="[TARGET]…")
def main(
    seed: int, minutes: float, inputs: int, processes: int, replay: tuple[int, ...],
    record: bool, targets: tuple[str, ...],
) -> None:  # fmt: skip
    """Give random inputs to TARGETs (all by default); end with status 1 if anything is found."""
    names = list(targets) or list_targets()
    if replay:
        found = [try_index(names[0], seed, index) for index in replay]
        for one in filter(None, found):
            click.echo(f"{one.target}:{one.index}: {one.kind}\n{one.details}")
        sys.exit(any(found))
    start, tally = time.monotonic(), Tally()
    watchers = [
        threading.Thread(
            target=watch,
            args=(tally, names, seed, minutes * 60, inputs // processes + 1, (number, processes)),
        )
        for number in range(processes)
    ]
    for watcher in watchers:
        watcher.start()
    for watcher in watchers:
        while watcher.is_alive():
            watcher.join(5)
            show(tally, time.monotonic() - start)
    click.echo()
    seconds = time.monotonic() - start
    tell(tally)
    if record:
        write_record("fuzz", describe(tally, seed), seconds=seconds)
    sys.exit(bool(tally.kinds))


def watch(
    tally: Tally, names: list[str], seed: int, seconds: float, inputs: int, turn: tuple[int, int]
) -> None:
    """Run a worker to its end; note the input that it died of, and start another one after it."""
    end, upcoming, left = time.monotonic() + seconds, dict.fromkeys(names, turn[0]), inputs
    with tempfile.TemporaryFile() as place:
        while left > 0 and time.monotonic() < end:
            plan = {
                "targets": names, "seed": seed, "inputs": left, "step": turn[1],
                "seconds": end - time.monotonic(), "next": upcoming, "place": place.fileno(),
            }  # fmt: skip
            words = [sys.executable, "-m", "reliability.fuzz.worker", json.dumps(plan)]
            with subprocess.Popen(
                words, cwd=ROOT, stdout=subprocess.PIPE, text=True, pass_fds=[place.fileno()],
                stderr=subprocess.DEVNULL,
            ) as worker:  # fmt: skip
                assert worker.stdout is not None
                done, tries = read_lines(tally, map(json.loads, worker.stdout), upcoming)
            left -= tries
            if done:
                return
            name, index = os.pread(place.fileno(), 80, 0).decode().split()
            tally.add(Finding(name, seed, int(index), f"died: {worker.returncode}", ""))
            upcoming[name] = int(index) + turn[1]


def read_lines(tally: Tally, lines: Any, upcoming: dict[str, int]) -> tuple[bool, int]:
    """Follow a worker; return whether it came to its end, and how many inputs it tried."""
    tries: Counter[str] = Counter()
    done = False
    for line in lines:
        if "finding" in line:
            tally.add(Finding(**line["finding"]))
        else:
            tally.tries.update(Counter(line["tries"]) - tries)
            tries = Counter(line["tries"])
            upcoming.update(line["next"])
            done = line.get("done", False)
    return done, tries.total()


def show(tally: Tally, seconds: float) -> None:
    """Print a line of progress."""
    tried = tally.tries.total()
    click.echo(
        f"\r{seconds:5.0f} s: {tried:,} inputs, {tried / max(seconds, 1):,.0f} a second, "
        f"{len(tally.kinds)} kinds of findings",
        nl=not sys.stdout.isatty(),
    )


def describe(tally: Tally, seed: int) -> dict[str, Any]:
    """What the page shows."""
    kinds = [{"target": key[0], "kind": key[1], "times": n} for key, n in tally.kinds.items()]
    return {
        "seed": seed,
        "tries": dict(sorted(tally.tries.items())),
        "about": {name: load_target(name).__doc__.splitlines()[0] for name in tally.tries},
        "kinds": kinds,
        "repeat_every": REPEAT_EVERY,
        "memory_gib": MEMORY // 2**30,
    }


def tell(tally: Tally) -> None:
    """Print the table."""
    for name, tried in sorted(tally.tries.items()):
        own = sum(times for (target, _), times in tally.kinds.items() if target == name)
        click.echo(f"{name:24} {tried:>10,} inputs {own:>6} findings")
    click.echo(f"{'all':24} {tally.tries.total():>10,} inputs {tally.kinds.total():>6} findings")
