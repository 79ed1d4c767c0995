"""Runs commands with one fault after the other, and counts what became of the files."""

import random
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reliability.faults.cases import Case
from reliability.faults.judgement import Trees, count_files, find_losses
from reliability.faults.plan import ERRORS, Fault
from reliability.faults.workshop import Ran, Workshop, read_tree

_DISKS = ("ENOSPC", "EDQUOT")
_DAY = 86400


@dataclass
class Count:
    """What was tried on a command."""

    calls: int = 0
    faults: int = 0
    kills: int = 0
    files: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    losses: list[dict[str, str]] = field(default_factory=list)

    def add(self, other: "Count") -> None:
        """Add what was tried on another case of the command."""
        self.calls += other.calls
        self.faults += other.faults
        self.kills += other.kills
        self.files += other.files
        self.kinds += other.kinds
        self.losses += other.losses

    def describe(self) -> dict[str, Any]:
        """The counts as an object of JSON."""
        return {
            "calls": self.calls, "faults": self.faults, "kills": self.kills,
            "old": self.files["old"], "absent": self.files["absent"], "new": self.files["new"],
            "kinds": dict(sorted(self.kinds.items())), "losses": self.losses,
        }  # fmt: skip


class Bench:
    """A case in a workshop, with the folder that it starts from and the files of a good run."""

    def __init__(self, workshop: Workshop, case: Case, *, earlier: bool) -> None:
        self._workshop, self.case = workshop, case
        self._template = workshop.folder / "template"
        shutil.rmtree(self._template, ignore_errors=True)
        shutil.rmtree(workshop.box, ignore_errors=True)
        case.prepare(workshop.box, lambda *words: workshop.run(*words).status, earlier=earlier)
        shutil.move(workshop.box, self._template)
        self._before = read_tree(self._template)
        workshop.restore(self._template)
        done = self._run()
        assert done.status == 0, done.said
        self.calls = workshop.plan.list_calls()
        self._good = read_tree(workshop.box)

    def _run(self, fault: Fault | None = None) -> Ran:
        shop = self._workshop
        return shop.run(self.case.program, list(self.case.words), shop.box, fault)

    def try_fault(self, fault: Fault) -> tuple[Ran, Counter[str], list[str]]:
        """Run the command with a fault and again without; what failed, the files and the losses."""
        self._workshop.restore(self._template)
        ran = self._run(fault)
        after = read_tree(self._workshop.box)
        again = self._run()
        trees = Trees(self._before, after, read_tree(self._workshop.box), self._good)
        return ran, count_files(trees), find_losses(self.case, fault, ran, again, trees)


def list_faults(calls: Sequence[tuple[str, str]]) -> list[Fault]:
    """Every call of a good run with every error that is plausible for it, and a kill at each."""
    numbers = Counter[str]()
    faults: list[Fault] = []
    for kind, _ in calls:
        numbers[kind] += 1
        faults += [Fault(kind, numbers[kind], error) for error in ERRORS[kind]]
    return faults


def list_disasters(calls: int, size: int, source: random.Random, number: int) -> Iterator[Fault]:
    """Disks that are full (some have space again later), mounts that are lost, clocks that jump."""
    for _ in range(number):
        moment = source.randrange(1, calls + 1)
        yield Fault("any", 0, source.choice(_DISKS), space=source.randrange(size))
        yield Fault("any", 0, "ENOSPC", space=source.randrange(size), refill=source.randrange(1, 4))
        yield Fault("any", moment, "ESTALE", lasts=True)
        yield Fault("any", moment, "EIO", jump=source.choice((-_DAY, _DAY)))
        yield Fault("any", moment, "KILL")


def choose_faults(faults: Sequence[Fault], number: int, source: random.Random) -> list[Fault]:
    """Some of the faults: all kinds of calls get a share, and those that write most of it."""
    by_kind: dict[str, list[Fault]] = {}
    for fault in faults:
        by_kind.setdefault(fault.kind, []).append(fault)
    for own in by_kind.values():
        source.shuffle(own)
    chosen: list[Fault] = []
    while len(chosen) < number and by_kind:
        for kind in list(by_kind):
            chosen.append(by_kind[kind].pop())
            if not by_kind[kind]:
                del by_kind[kind]
    return chosen[:number]


def try_case(
    folder: Path, case: Case, number: int, seed: int, tell: Callable[[str], None]
) -> Count:
    """Try about so many faults on a case, half of them with earlier results."""
    count = Count()
    workshop = Workshop(folder)
    try:
        for earlier in (True, False):
            source = random.Random(f"{seed} {case.command} {case.name} {earlier}")
            bench = Bench(workshop, case, earlier=earlier)
            count.calls = max(count.calls, len(bench.calls))
            extra = max(1, number // 40)
            faults = choose_faults(list_faults(bench.calls), number // 2 - 5 * extra, source)
            faults += list_disasters(len(bench.calls), 20_000, source, extra)
            for fault in faults:
                _try_one(bench, fault, count, tell)
    finally:
        workshop.close()
    return count


def _try_one(bench: Bench, fault: Fault, count: Count, tell: Callable[[str], None]) -> None:
    ran, files, losses = bench.try_fault(fault)
    if fault.error == "KILL" and ran.status == -9:
        count.kills += 1
    elif ran.hit is None and not fault.jump:
        return  # the call was not made this time, as when a table is written less often
    count.faults += 1
    count.files += files
    kind = "clock" if fault.jump else "disk" if fault.space >= 0 else (
        "mount" if fault.lasts else "kill" if ran.hit is None else ran.hit.kind)  # fmt: skip
    count.kinds["kill" if fault.error == "KILL" else kind] += 1
    for loss in losses:
        told = " / ".join(ran.said.strip().splitlines()[-3:])[-400:]
        case = f"{bench.case.command}, {bench.case.name}"
        hit = "" if ran.hit is None else f"{ran.hit.kind} {ran.hit.paths[0].split('/box/')[-1]}"
        count.losses.append({"case": case, "fault": str(fault), "hit": hit, "loss": loss,
                             "said": told})  # fmt: skip
        tell(f"{case}: {fault.error} at {hit or fault}: {loss} [{told}]")
