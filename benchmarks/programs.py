"""Whole programs from their start, as the section of goals looks at them.

The programs are run from a wheel of this checkout, unpacked into a folder that is made read-only,
as an image of a container would have it. All of it is imported instead of the checkout.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import pipelines
from benchmarks.calls import compare
from benchmarks.peers import ROOT, Peer, prepare_peer, run_process
from benchmarks.rounds import spread, take_turns
from benchmarks.volumes import PACKAGED, T1W, TITLES, volume_exists

CASE = next(case for case in pipelines.CASES if "niPreps anatomical" in case.title)
NOWHERE = "/proc/n4ax-nowhere"
"""Nobody can make a folder here."""

_CONSOLE = "import sys\nfrom n4ax.cli import console\nsys.exit(console())\n"
"""What pip writes as the program ``n4ax``."""

_DROP = ("setpriv", "--bounding-set=-dac_override", "--inh-caps=-dac_override")
"""The superuser may write into read-only folders; without this capability he may not."""


class Installed(NamedTuple):
    """n4ax as users have it."""

    peer: Peer
    folder: Path
    """The packages."""
    kind: str
    """What was unpacked."""
    read_only: bool


def measure(quick: bool, rounds: int) -> dict[str, Any]:
    """From file to file, the first run on a machine, and the start of Python beside ours."""
    name = PACKAGED if quick or not volume_exists(T1W) else T1W
    with tempfile.TemporaryDirectory() as place, install(Path(place)) as installed:
        images = Path(place) / "images"
        images.mkdir()
        files = pipelines.write_images(name, images)
        words = [str(files.get(word, word)) for word in CASE.options.split()]
        words = ["-m", "n4ax.ants", "-d", "3", *words]
        words += pipelines.output([images / "corrected.nii.gz", images / "field.nii.gz"])
        return {
            "volume": TITLES[name],
            "options": CASE.options,
            "kind": installed.kind,
            "read_only": installed.read_only,
            "first": compare_first_runs(installed, words, Path(place), min(rounds, 2)),
            "file to file": compare_with_imports(installed, words, Path(place), rounds),
            "start": time_starts(installed, Path(place), rounds),
        }


# ---- n4ax as users have it -----------------------------------------------------------------------


@contextmanager
def install(place: Path) -> Iterator[Installed]:
    """Unpack a wheel of the checkout into a read-only folder; without one, a copy of the source."""
    folder = place / "packages"
    try:
        unpack_wheel(place / "wheel", folder)
        kind = "a wheel of this checkout"
    except (subprocess.CalledProcessError, OSError) as error:
        print(f"  no wheel: {error}", flush=True)
        skip = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / "src" / "n4ax", folder / "n4ax", ignore=skip)
        kind = "a copy of the source, because no wheel could be built"
    subprocess.run([sys.executable, "-m", "compileall", "-q", str(folder)], check=True)
    peer = write_launcher(place)
    set_writable(folder, False)
    try:
        yield Installed(peer, folder, kind, not may_write(peer, folder / "n4ax"))
    finally:
        set_writable(folder, True)


def unpack_wheel(place: Path, folder: Path) -> None:
    """Build a wheel of the checkout in ``place``, and unpack it in ``folder``."""
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "-qq",
               "--disable-pip-version-check", "-w", str(place), str(ROOT)]  # fmt: skip
    subprocess.run(command, check=True)
    (wheel,) = place.glob("*.whl")
    with zipfile.ZipFile(wheel) as content:
        content.extractall(folder)


def write_launcher(place: Path) -> Peer:
    """The peer n4ax, by a Python that respects read-only folders even for the superuser."""
    peer = prepare_peer("n4ax")
    drop = " ".join(_DROP) if os.geteuid() == 0 and shutil.which("setpriv") else ""
    launcher = place / "python"
    launcher.write_text(f'#!/bin/sh\nexec {drop} "{peer.python}" "$@"\n')
    launcher.chmod(0o755)
    return peer._replace(python=launcher)


def set_writable(folder: Path, writable: bool) -> None:
    """Let files of a folder be written, or not."""
    for path in [folder, *folder.rglob("*")]:
        mode = path.stat().st_mode
        path.chmod(mode | 0o200 if writable else mode & ~0o222)


def may_write(peer: Peer, folder: Path) -> bool:
    """Whether a process of the peer can write a file into a folder."""
    program = f"open({str(folder / 'written')!r}, 'w')"
    try:
        run_process(peer, ["-c", program])
    except RuntimeError:
        return False
    return True


# ---- what is measured ----------------------------------------------------------------------------


def seconds_of(
    installed: Installed, words: list[str], variables: dict[str, str] | None = None
) -> float:
    """Seconds of a process of Python that finds the installed n4ax."""
    ours = {"PYTHONPATH": str(installed.folder), "N4AX_ENGINE": "cpu"}
    return run_process(installed.peer, words, environment=ours | (variables or {})).seconds


def compare_with_imports(
    installed: Installed, words: list[str], place: Path, rounds: int
) -> dict[str, Any]:
    """ANTs' program of n4ax beside a process that imports numpy and nibabel, in turn."""
    variables = private_folders(place / "kept")
    calls: dict[str, Callable[[], float]] = {
        "imports": lambda: seconds_of(installed, ["-c", "import numpy, nibabel"], variables),
        "program": lambda: seconds_of(installed, words, variables),
    }
    for call in calls.values():
        call()  # fills the caches
    return compare(take_turns(3 * rounds, calls), "program", "imports")


def compare_first_runs(
    installed: Installed, words: list[str], place: Path, rounds: int
) -> dict[str, Any]:
    """The first run on a machine and one where nothing can be written, beside a second run."""
    found: dict[str, list[float]] = {"first": [], "second": [], "unwritable": []}
    written = 0
    for number in range(rounds):
        home = place / f"home-{number}"
        variables = private_folders(home)
        calls: dict[str, Callable[[], float]] = {
            "first": lambda v=variables: seconds_of(installed, words, v),
            "second": lambda v=variables: seconds_of(installed, words, v),
            "unwritable": lambda: seconds_of(installed, words, _UNWRITABLE),
        }
        for name, times in take_turns(1, calls).items():
            found[name] += times
        written = sum(path.is_file() for path in home.rglob("*"))
    return {
        "first": compare(found, "first", "second"),
        "unwritable": compare(found, "unwritable", "second"),
        "files": written,
    }


def private_folders(home: Path) -> dict[str, str]:
    """Variables that give a process its own folders for all that it may keep."""
    home.mkdir()
    names = ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "MPLCONFIGDIR")
    return {name: str(home) for name in names} | {"NUMBA_CACHE_DIR": "", "N4AX_CACHE_DIR": ""}


_UNWRITABLE = {
    "HOME": NOWHERE, "XDG_CACHE_HOME": NOWHERE, "XDG_CONFIG_HOME": NOWHERE,
    "NUMBA_CACHE_DIR": "", "N4AX_CACHE_DIR": "",
}  # fmt: skip
"""Variables of a process that can keep nothing, as in a read-only container."""


def time_starts(installed: Installed, place: Path, rounds: int) -> dict[str, Any]:
    """Processes that do nothing, that import n4ax, and ``n4ax --help``, in turn."""
    console = place / "n4ax"
    console.write_text(_CONSOLE)
    calls: dict[str, Callable[[], float]] = {
        "python": lambda: seconds_of(installed, ["-c", "pass"]),
        "import n4ax": lambda: seconds_of(installed, ["-c", "import n4ax"]),
        "n4ax --help": lambda: seconds_of(installed, [str(console), "--help"]),
    }
    for call in calls.values():
        call()
    times = take_turns(5 * rounds, calls)
    names = ("import n4ax", "n4ax --help")
    ratios = {name: compare(times, name, "python") for name in names}
    return ratios | {"python": spread(times["python"])}
