"""Memory that runs out at one request after the other, each time in a process of its own.

The processes fork from one that has done the work once, so that each of them starts alike.
"""

import json
import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from reliability.soak.doors import DOORS, CommandError, Door, digest, write_image
from reliability.soak.hook import Code, arm, find_code, load_hook

LONGEST = 60
"""Seconds after which a process counts as hanging."""

KERNELS = "engines/compiled/kernels-"


End = dict[str, Any]


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

    def find_code(self) -> Code:
        """The code whose requests count."""
        return find_code(KERNELS) if self.kernels else Code()


def try_case(door: Door, case: Case) -> End:
    """Let each request of a door fail, and count how the door ends."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_image(folder)
        os.environ["TMPDIR"] = name
        _run_quietly(door, folder)  # loads modules and fills caches
        good = _run_child(door, folder, case, 0)
        requests = good["requests"]
        steps = np.unique(np.linspace(1, requests, min(case.most, requests)).astype(int))
        ends = {int(n): _run_child(door, folder, case, int(n)) for n in steps if requests}
    problems = {n: problem for n, end in ends.items() if (problem := _judge(end, good))}
    told = sum(end["state"] == "told" for end in ends.values())
    return {
        "requests": requests, "tried": len(ends), "told": told,
        "survived": sum(end["state"] == "done" for end in ends.values()), "problems": problems,
        "lines": sorted({end["line"] for end in ends.values() if end.get("line")}),
    }  # fmt: skip


def _judge(end: End, good: End) -> str | None:
    """What is wrong with an end; ``None`` if nothing is."""
    if end["state"] not in ("done", "told"):
        return f"{end['state']}: {end.get('line', '')}"
    if end["left"]:
        return f"left files behind: {end['left']}"
    if end["state"] == "done" and end["digest"] != good["digest"]:
        return "went on with other bits"
    if end["again"] != good["digest"]:
        return f"the next run: {end['again']}"
    if end["state"] == "told" and "memory" not in end["line"].lower():
        return f"does not name memory: {end['line']}"
    return None


def _run_child(door: Door, folder: Path, case: Case, n: int) -> End:
    report = folder / "report.json"
    report.unlink(missing_ok=True)
    process = os.fork()
    if process == 0:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(LONGEST)
        try:
            report.write_text(json.dumps(_fail_once(door, folder, case, n)))
        finally:
            os._exit(0)
    _, status = os.waitpid(process, 0)
    if report.exists():
        return json.loads(report.read_text())
    number = os.waitstatus_to_exitcode(status)
    return {"state": "hung" if number == -signal.SIGALRM else f"ended with {number}"}


def _fail_once(door: Door, folder: Path, case: Case, n: int) -> End:
    """Run a door with a request that fails, and then once more with all memory."""
    code = case.find_code()
    end = _run_quietly(door, folder, lambda: arm(n, onwards=case.onwards, above=case.above, code=code))
    end["requests"] = load_hook().soak_disarm()
    end["left"] = [] if end["state"] == "done" else list_files(folder)
    end["again"] = _run_quietly(door, folder).get("digest", "failed")
    return end


def list_files(folder: Path) -> list[str]:
    """What lies in the folder besides the image and what this process writes."""
    known = {"image.nii.gz", "report.json", "stderr.txt", "out"}
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.name not in known)


def _run_quietly(door: Door, folder: Path, begin: Callable[[], None] | None = None) -> End:
    """Run a door; say how it ended, and what it told in how many lines."""
    out = folder / "out"
    out.mkdir(exist_ok=True)
    for path in out.iterdir():
        path.unlink()
    state, line, found = "done", "", None
    with _catch_errors(folder / "stderr.txt"):
        try:
            if begin is not None:
                begin()
            results = door(folder)
            load_hook().soak_disarm()
            found = digest(results)
        except CommandError:
            state = "told"
        except MemoryError as error:
            state, line = "told", str(error) or "(nothing)"
        except BaseException as error:
            state, line = "raised", "".join(traceback.format_exception(error))[-1500:]
    lines = (folder / "stderr.txt").read_text().splitlines()
    if state == "told" and not line:
        state, line = ("told", lines[0]) if len(lines) == 1 else ("vague", "\n".join(lines)[-1500:])
    elif lines:
        state, line = "noisy", "\n".join(lines)[-1500:]
    return {"state": state, "line": line, "digest": found}


@contextmanager
def _catch_errors(path: Path) -> Iterator[None]:
    """Have what is written to standard error in a file."""
    errors = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    kept = os.dup(2)
    os.dup2(errors, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(errors)


def main(words: Sequence[str]) -> None:
    """Try a case of a door, and print what came of it."""
    name, above, onwards, kernels, most = words
    case = Case(int(above), onwards == "1", kernels == "1", int(most))
    print(json.dumps(try_case(DOORS[name], case)))


if __name__ == "__main__":
    main(sys.argv[1:])
