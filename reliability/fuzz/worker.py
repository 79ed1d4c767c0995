"""A process that tries inputs until its time is over: ``python -m reliability.fuzz.worker``.

It says in JSON lines on standard output what it begins with, what it counted, and what it found.
"""

import faulthandler
import json
import os
import resource
import sys
import time
from collections.abc import Iterator
from typing import Any

from reliability.fuzz.trial import load_target, try_index

MEMORY = 8 * 2**30
"""How many bytes a process may address; a header that lies about its size must not take more."""

TELL_EVERY = 0.5
"""Seconds between two counts that are told."""


def take_turns(shares: dict[str, float]) -> Iterator[str]:
    """The name of the target that is furthest behind its share, again and again."""
    used = dict.fromkeys(shares, 0.0)
    while True:
        name = min(used, key=lambda one: used[one] / shares[one])
        start = time.perf_counter()
        yield name
        used[name] += time.perf_counter() - start + 1e-6


def tell(**words: Any) -> None:
    """Write a line for the parent."""
    print(json.dumps(words), file=_PARENT, flush=True)


def run(plan: dict[str, Any]) -> None:
    """Try inputs in turns until the time is over, or until every target has had its number."""
    tries = dict.fromkeys(plan["targets"], 0)
    next_index: dict[str, int] = plan["next"]
    end, told = time.monotonic() + plan["seconds"], 0.0
    shares = {name: float(load_target(name).SHARE) for name in plan["targets"]}
    for name in take_turns(shares):
        if time.monotonic() > end or sum(tries.values()) >= plan["inputs"]:
            break
        index = next_index[name]
        next_index[name] = index + plan["step"]
        os.pwrite(plan["place"], f"{name} {index}".encode().ljust(80), 0)  # known if this dies
        faulthandler.dump_traceback_later(4 * load_target(name).SECONDS, exit=True)
        found = try_index(name, plan["seed"], index)
        faulthandler.cancel_dump_traceback_later()
        tries[name] += 1
        if found:
            tell(finding=found.as_dict())
        if time.monotonic() - told > TELL_EVERY:
            tell(tries=tries, next=next_index)
            told = time.monotonic()
    tell(tries=tries, next=next_index, done=True)


if __name__ == "__main__":
    _PARENT = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the inputs print is not for the parent
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    run(json.loads(sys.argv[1]))
