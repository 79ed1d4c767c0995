"""The library ``memory.c``, which counts a process's requests for memory and fails some."""

import ctypes
import json
import os
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.peers import ROOT

SOURCE = Path(__file__).with_name("memory.c")
FIGURES = ("soak_disarm", "soak_failed", "soak_live", "soak_pieces", "soak_peak")


class HookError(Exception):
    """A process with the library did not do its work; the message says what it wrote."""


def can_hook() -> bool:
    """Whether this machine has a C compiler, and lets a library be loaded before all others."""
    return sys.platform == "linux" and shutil.which("cc") is not None


@cache
def compile_hook() -> Path:
    """Compile the library, once per process."""
    path = Path(tempfile.mkdtemp(prefix="n4ax-soak-")) / "memory.so"
    options = ["-O2", "-Wall", "-Werror", "-shared", "-fPIC", "-o", str(path)]
    subprocess.run(["cc", *options, str(SOURCE), "-ldl"], check=True)
    return path


def run_hooked(module: str, *words: str, limit: float = 3600, echo: bool = False) -> Any:
    """Run a module of this folder in a process with the library; what it prints last is JSON."""
    paths = os.pathsep.join([str(ROOT / "src"), str(ROOT)])
    environment = os.environ | {"LD_PRELOAD": str(compile_hook()), "PYTHONPATH": paths}
    command = [sys.executable, "-m", f"reliability.soak.{module}", *words]
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=None if echo else subprocess.PIPE
    )
    try:
        printed, errors = process.communicate(timeout=limit)
    except BaseException:
        process.kill()
        process.wait()
        raise
    if process.returncode:
        raise HookError(f"{module} ended with {process.returncode}: {errors or b''!r}")
    return json.loads(printed.splitlines()[-1])


class Code(NamedTuple):
    """The addresses that the code of a library takes."""

    start: int = 0
    stop: int = 0


ANY_CODE = Code()


@cache
def load_hook() -> ctypes.CDLL:
    """The library, if this process was started with it; otherwise what stands for the process."""
    hook = ctypes.CDLL(None)
    if hasattr(hook, "soak_live"):
        for name in FIGURES:
            getattr(hook, name).restype = ctypes.c_long
        hook.soak_arm.argtypes = [ctypes.c_long, ctypes.c_int, *[ctypes.c_size_t] * 3]
    return hook


def is_hooked() -> bool:
    """Whether this process was started with the library."""
    return hasattr(load_hook(), "soak_live")


def find_code(name: str) -> Code:
    """Find the code of a library that is loaded, by a part of its name."""
    lines = Path("/proc/self/maps").read_text().splitlines()
    spans = [line.split()[0].split("-") for line in lines if name in line]
    return Code(min(int(span[0], 16) for span in spans), max(int(span[1], 16) for span in spans))


def arm(n: int, *, onwards: bool = False, above: int = 1, code: Code = ANY_CODE) -> None:
    """Fail the n-th request from now on, or all from the n-th; 0 fails none and counts them."""
    load_hook().soak_arm(n, onwards, above, *code)
