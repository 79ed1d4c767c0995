"""A folder, a plan and a server: everything that running a command with a fault takes."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from benchmarks.peers import ROOT
from reliability.faults.plan import Fault, Hit, Plan

SECONDS = 40.0
"""A command that takes longer than this hangs."""

_HIDDEN = re.compile(r"(^|/)\.n4ax-[0-9a-f]{32}[^/]*$")
_VARIES = re.compile(
    rb'"(Date|Seconds|seconds|Created|Runs)": ?("[^"]*"|[-0-9.e]+|\[[^\]]*\]|\{[^}]*\})'
)


class Ran(NamedTuple):
    """A command that was run: its status, what it printed, and what failed in it."""

    status: int
    said: str
    hit: Hit | None


class Workshop:
    """A server with its plan, working in one folder.

    Parameters
    ----------
    folder
        An empty folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.box = self.folder / "box"
        self._said = self.folder / "said.txt"
        self.plan = Plan(self.folder / "plan")
        self._server = subprocess.Popen(
            [sys.executable, "-m", "reliability.faults.server"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
            env=make_environment() | self.plan.environment,
        )  # fmt: skip
        assert self._server.stdout is not None
        assert self._server.stdout.readline() == "ready\n"

    def close(self) -> None:
        """End the server."""
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.close()
        self._server.wait()
        self._server.stdout.close()

    def run(self, program: str, words: list[str], box: Path, fault: Fault | None = None) -> Ran:
        """Run a program in a folder, with a fault or while its calls are listed."""
        job = {"program": program, "words": words, "said": str(self._said), "folder": str(box)}
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        with self.plan.armed(box, fault):
            self._server.stdin.write(json.dumps(job | {"seconds": SECONDS}) + "\n")
            self._server.stdin.flush()
            status = int(self._server.stdout.readline())
        return Ran(status, self._said.read_text(errors="replace"), self.plan.hit)

    def restore(self, template: Path) -> None:
        """Make the box what the template is."""
        shutil.rmtree(self.box, ignore_errors=True)
        shutil.copytree(template, self.box, symlinks=True)


def make_environment() -> dict[str, str]:
    """The variables of programs that are tried: one thread, and the sources of this checkout."""
    paths = [str(ROOT / "src"), str(ROOT), os.environ.get("PYTHONPATH", "")]
    return os.environ | {
        "PYTHONPATH": os.pathsep.join(path for path in paths if path),
        "PYTHONDONTWRITEBYTECODE": "1",
        "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": "1",
        "MPLBACKEND": "agg",
    }


def read_tree(folder: Path) -> dict[str, bytes]:
    """The content of all files in a folder, without what differs between two good runs."""
    return {
        str(path.relative_to(folder)): _read(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() or path.is_symlink()
    }


def is_temporary(name: str) -> bool:
    """Whether a name is that of a file that is not finished."""
    return bool(_HIDDEN.search(name))


def _read(path: Path) -> bytes:
    content = path.read_bytes()
    if path.suffix in (".json", ".html"):
        content = _VARIES.sub(rb'"\1": 0', content)
    if path.name == "n4ax_study.json":  # a run that could not be recorded is told
        content = re.sub(rb',?\s*"Runs": 0', b"", content)
    if path.name == "group.html" and b'id="data"' in content:  # the rest tells of the runs
        content = b"<html>" + content[content.index(b'id="data"') :]
    if path.suffix == ".html":
        content = re.sub(rb"\d+(\.\d+)? (ms|s|min|h)\b", b"0 s", content)
        content = re.sub(rb'[\d.]+,(null|"[^"]*"),"corrected"', rb'0,\1,"corrected"', content)
        content = re.sub(rb"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\+\d\d:\d\d)?)?", b"0", content)
    if path.suffix == ".tsv":
        content = _drop_seconds(content)
    return content


def _drop_seconds(content: bytes) -> bytes:
    """A table without its column of times."""
    rows = [line.split(b"\t") for line in content.split(b"\n")]
    if b"seconds" not in rows[0]:
        return content
    place = rows[0].index(b"seconds")
    return b"\n".join(b"\t".join(row[:place] + row[place + 1 :]) for row in rows)


def find_differences(one: Mapping[str, bytes], other: Mapping[str, bytes]) -> list[str]:
    """The names of files that are not the same in two folders."""
    return [name for name in sorted({*one, *other}) if one.get(name) != other.get(name)]
