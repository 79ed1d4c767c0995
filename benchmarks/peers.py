"""The peers: an environment for each, made when it is missing, and processes in it.

Environments are folders in ``.peers/`` in the checkout. Every process is pinned to as many
processors as it may use threads, because some peers (XLA) have no option for the number of threads.
"""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple, Self

ROOT = Path(__file__).parents[1]
PEERS = ROOT / ".peers"
WORKER = Path(__file__).with_name("worker.py")


class Peer(NamedTuple):
    """A program to compare, with the Python of its environment."""

    name: str
    python: Path
    engine: str | None
    """For n4ax: "cpu" or "xla"."""


class _Recipe(NamedTuple):
    folder: str
    installs: tuple[tuple[str, ...], ...]
    """The arguments of one or more calls of pip."""
    engine: str | None = None


def _pin(library: str) -> str:
    """The version of a library that is installed here, or any if there is none."""
    try:
        return f"{library}=={version(library)}"
    except PackageNotFoundError:
        return library


_OURS = (("--editable", f"{ROOT}[bids,cpu,figure,numba]"),)
_RECIPES = {
    "SimpleITK": _Recipe("simpleitk", (("numpy>=2", "SimpleITK==2.5.7"),)),
    "ANTsPy": _Recipe("antspy", (("antspyx==0.6.3",),)),
    # The metadata of 0.1.1 requires Python 3.12, but its two files run on 3.11 as well.
    "n4ax 0.1.1": _Recipe(
        "n4ax-0.1.1",
        (
            (_pin("jax"), _pin("numpy")),
            ("--no-deps", "--ignore-requires-python", "n4ax==0.1.1"),
        ),
    ),
    "DIPY": _Recipe("dipy", (("dipy==1.12.1",),)),
    "niimath": _Recipe("niimath", (("niimath==1.0.20261016", "nibabel>=5.2"),)),
    "n4ax": _Recipe("n4ax", _OURS, "cpu"),
    "n4ax by XLA": _Recipe("n4ax", _OURS, "xla"),
}


def prepare_peer(name: str) -> Peer:
    """A peer by its name; its environment is made first if it is missing or out of date."""
    recipe = _RECIPES[name]
    folder = PEERS / recipe.folder
    python = folder / "bin" / "python"
    wanted = json.dumps([sys.version, recipe.installs])
    made = folder / "installed.json"
    if not made.exists() or made.read_text() != wanted:
        print(f"environment of {name}: {folder}", flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        for arguments in recipe.installs:
            command = [str(python), "-m", "pip", "install", "-qq",
                       "--disable-pip-version-check", *arguments]  # fmt: skip
            subprocess.run(command, check=True)
        made.write_text(wanted)
    return Peer(name, python, recipe.engine)


def list_peers() -> list[Peer]:
    """One peer for each environment that has been made."""
    return [
        Peer(name, PEERS / recipe.folder / "bin" / "python", recipe.engine)
        for name, recipe in _RECIPES.items()
        if recipe.engine != "xla" and (PEERS / recipe.folder / "installed.json").exists()
    ]


def _variables(threads: int, more: dict[str, str] | None) -> dict[str, str]:
    """The variables of a peer's process: its threads, and where n4ax keeps compiled code."""
    ours = {
        "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": str(threads),
        "NUMBA_CACHE_DIR": str(PEERS / "kernels"),
        "N4AX_CACHE_DIR": str(PEERS / "xla"),
        "PYTHONPATH": "",
    }
    return os.environ | ours | (more or {})


def empty_caches(folder: Path) -> dict[str, str]:
    """Variables that hide all code that was compiled before; ``folder`` must be empty."""
    return {"N4AX_CACHE_DIR": "", "NUMBA_CACHE_DIR": str(folder)}


def pin_command(threads: int, command: Sequence[str]) -> list[str]:
    """The command, pinned to the first ``threads`` processors that this process may use."""
    processors = sorted(os.sched_getaffinity(0))[:threads]
    return ["taskset", "--cpu-list", ",".join(map(str, processors)), *command]


class Finished(NamedTuple):
    """A process that has ended."""

    seconds: float
    peak_bytes: int
    printed: str


def run_process(
    peer: Peer,
    arguments: Sequence[str],
    threads: int = 2,
    environment: dict[str, str] | None = None,
) -> Finished:
    """Run a process of a peer's Python, and return its time, peak memory and standard output.

    Raises
    ------
    RuntimeError
        The process failed; the message is what it wrote to standard error.
    """
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        start = time.perf_counter()
        process = subprocess.Popen(
            pin_command(threads, [str(peer.python), "-P", *arguments]),
            env=_variables(threads, environment),
            stdout=output,
            stderr=errors,
        )
        peaks = [0]
        recorder = threading.Thread(target=_record_peaks, args=(process, peaks))
        recorder.start()
        status = process.wait()
        seconds = time.perf_counter() - start
        recorder.join()
        output.seek(0)
        errors.seek(0)
        if status != 0:
            raise RuntimeError(f"{peer.name} {arguments} ended with {status}:\n{errors.read()}")
        return Finished(seconds, max(peaks), output.read())


def _record_peaks(process: subprocess.Popen[bytes], peaks: list[int]) -> None:
    """Append the VmHWM of a process to ``peaks`` every 10 ms until the process has ended."""
    path = Path(f"/proc/{process.pid}/status")
    while process.poll() is None:
        with suppress(OSError):  # the process may end at any moment
            lines = path.read_text().splitlines()
            peaks += [int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")]
        time.sleep(0.01)


class Worker:
    """A process of ``worker.py`` in a peer's environment that answers requests.

    It may use as many processors as threads, unless their number is given.
    """

    def __init__(
        self,
        peer: Peer,
        threads: int = 2,
        environment: dict[str, str] | None = None,
        processors: int | None = None,
    ) -> None:
        self.peer = peer
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115
        # With -P, the peer does not import the modules of this folder.
        command = [str(peer.python), "-P", str(WORKER), peer.name, str(threads)]
        self._process = subprocess.Popen(
            pin_command(processors or threads, command),
            env=_variables(threads, environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )

    def ask(self, **request: Any) -> dict[str, Any]:
        """Send a request and return the answer; see ``worker.py``.

        Raises
        ------
        RuntimeError
            The process has died; the message is what it wrote to standard error.
        """
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        answer = ""
        try:
            stdin.write(json.dumps(request) + "\n")
            stdin.flush()
            answer = stdout.readline()
        except BrokenPipeError:
            pass
        if not answer:
            self._process.wait()
            self._errors.seek(0)
            raise RuntimeError(f"{self.peer.name} died on {request}:\n{self._errors.read()}")
        return json.loads(answer)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.communicate()
        self._errors.close()
