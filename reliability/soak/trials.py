"""A piece of work in a process of its own, how it ends, and what is wrong with that.

The processes fork from one that has done the work once, so that each of them starts alike.
"""

import json
import os
import signal
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from reliability.soak.doors import CommandError, Door, digest, make_image, use_size, write_image

LONGEST = 60
"""Seconds after which a process counts as hanging."""

SMALL = (20, 18, 16)

End = dict[str, Any]


class Shortage:
    """What takes memory away from a process, and gives it back.

    Parameters
    ----------
    begin, end
        What is done before and after the work; the latter returns a number for the report.
    """

    def __init__(self, begin: Callable[[], None], end: Callable[[], int]) -> None:
        self.begin, self.end = begin, end


def judge(end: End, good: str) -> str | None:
    """What is wrong with an end; ``None`` if nothing is.

    Parameters
    ----------
    end
        What :func:`run_child` returned.
    good
        The digest of the right results.
    """
    if end["state"] not in ("done", "told"):
        return f"{end['state']}: {end.get('line', '')}"
    if end["left"]:
        return f"left files behind: {end['left']}"
    if end["state"] == "done" and end["digest"] != good:
        return "went on with other bits"
    if end["again"] != good:
        return f"the next run: {end['again']}"
    if end["state"] == "told" and not _names_cause(end["line"]):
        return f"does not name memory: {end['line']}"
    return None


def _names_cause(line: str) -> bool:
    return "not enough memory" in line or "no further thread" in line


def warm_up(door: Door, folder: Path, *, loads: bool = True) -> None:
    """Get a process ready for its children, and the image of its folder.

    Parameters
    ----------
    door, folder
        The work.
    loads
        Whether the work is done once, on a small image and so by one thread, which loads the
        modules that it needs. Otherwise the doors themselves are loaded.
    """
    import n4ax
    import n4ax.ants.program
    import n4ax.cli

    assert n4ax.fit  # it is loaded when it is asked for
    os.environ["TMPDIR"] = str(folder)
    if loads:
        with use_size(SMALL):
            write_image(folder)
            run_quietly(door, folder)
    write_image(folder)
    for seed in (0, 1):
        make_image(seed)  # what a door is given is there before


def run_child(door: Door, folder: Path, shortage: Shortage) -> End:
    """Do the work with too little memory in a new process, and then once more with all of it."""
    report = folder / "report.json"
    report.unlink(missing_ok=True)
    process = os.fork()
    if process == 0:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(LONGEST)
        try:
            report.write_text(json.dumps(_fail_once(door, folder, shortage)))
        finally:
            os._exit(0)
    _, status = os.waitpid(process, 0)
    if report.exists():
        return json.loads(report.read_text())
    number = os.waitstatus_to_exitcode(status)
    return {"state": "hung" if number == -signal.SIGALRM else f"ended with {number}"}


def _fail_once(door: Door, folder: Path, shortage: Shortage) -> End:
    end = run_quietly(door, folder, shortage)
    end["left"] = [] if end["state"] == "done" else list_files(folder)
    end["again"] = run_quietly(door, folder)["digest"] or "failed"
    return end


def list_files(folder: Path) -> list[str]:
    """What lies in the folder besides the image and what this process writes."""
    known = {"image.nii.gz", "report.json", "stderr.txt", "out"}
    found = (path.relative_to(folder) for path in folder.rglob("*") if path.name not in known)
    return sorted(map(str, found))


def run_quietly(door: Door, folder: Path, shortage: Shortage | None = None) -> End:
    """Run a door; say how it ended, and what it told in how many lines."""
    out = folder / "out"
    out.mkdir(exist_ok=True)
    for path in out.iterdir():
        path.unlink()
    state, line, results = "done", "", []
    with _catch_errors(folder / "stderr.txt"):
        if shortage is not None:
            shortage.begin()
        try:
            results = door(folder)
        except CommandError:
            state = "told"
        except MemoryError as error:
            state, line = "told", str(error) or "(nothing)"
        except BaseException as error:
            state, line = "raised", "".join(traceback.format_exception(error))[-1500:]
        number = 0 if shortage is None else shortage.end()
    lines = (folder / "stderr.txt").read_text().splitlines()
    if state == "told" and not line:
        state, line = ("told", lines[0]) if len(lines) == 1 else ("vague", "\n".join(lines)[-1500:])
    elif lines:
        state, line = "noisy", "\n".join(lines)[-1500:]
    found = digest(results) if state == "done" else None
    return {"state": state, "line": line, "digest": found, "number": number}


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


def summarise(ends: dict[int, End], good: str) -> End:
    """Count the ends, and list what is wrong and what was said."""
    problems = {n: problem for n, end in ends.items() if (problem := judge(end, good))}
    return {
        "tried": len(ends),
        "told": sum(end["state"] == "told" for end in ends.values()),
        "survived": sum(end["state"] == "done" for end in ends.values()),
        "problems": problems,
        "lines": sorted({end["line"] for end in ends.values() if end.get("line")}),
    }
