"""Requests for memory that fail, one after the other, each in a process of its own."""

import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from reliability.soak.doors import DOORS, Door
from reliability.soak.hook import ANY_CODE, arm, find_code, load_hook
from reliability.soak.trials import End, Shortage, run_child, summarise, warm_up

KERNELS = "engines/compiled/kernels-"

LARGE = 65_537
"""Bytes of a large request. NumPy before 2.4 crashes if it cannot have one of the buffers of
exactly 64 KiB with which it converts arrays piece by piece, whoever calls it."""


class Case(NamedTuple):
    """Which requests fail.

    Attributes
    ----------
    above
        The smallest size of a request that counts, in bytes.
    onwards
        Whether all requests after the first that fails do so too.
    kernels
        Whether only those of the library of kernels count.
    most
        At most so many of the requests are tried, evenly spread.
    """

    above: int
    onwards: bool
    kernels: bool
    most: int

    def fail(self, n: int) -> Shortage:
        """Fail the n-th request, or all from then on; 0 fails none and counts them."""
        code = find_code(KERNELS) if self.kernels else ANY_CODE
        return Shortage(
            lambda: arm(n, onwards=self.onwards, above=self.above, code=code),
            lambda: load_hook().soak_disarm(),
        )


def try_case(door: Door, case: Case) -> End:
    """Let each request of a door fail, and count how the door ends."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        warm_up(door, folder)
        good = run_child(door, folder, case.fail(0))
        requests = good["number"]
        steps = np.unique(np.linspace(1, requests, min(case.most, requests)).astype(int))
        ends = {int(n): run_child(door, folder, case.fail(int(n))) for n in steps if requests}
    return {"requests": requests, **summarise(ends, good["digest"])}


def main(words: Sequence[str]) -> None:
    """Try a case of a door, and print what came of it."""
    name, above, onwards, kernels, most = words
    case = Case(int(above), onwards == "1", kernels == "1", int(most))
    print(json.dumps(try_case(DOORS[name], case)))


if __name__ == "__main__":
    main(sys.argv[1:])
