"""Programs end at once on a signal, and leave nothing behind."""

import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numba.core import event

from n4ax.engines.cpu.compiled import compile_kernel

SWALLOWS_EXCEPTIONS = """
import os, signal, sys, threading
from pathlib import Path
from n4ax.files import replace_file
from n4ax.signals import exit_on_signals

number = int(sys.argv[1])
signal.signal(number, signal.SIG_IGN if "ignored" in sys.argv else signal.SIG_DFL)
exit_on_signals()
print("printed before")
threading.Thread(target=threading.Event().wait).start()  # waits forever
with replace_file(Path("scan.nii.gz")) as temporary:
    temporary.write_text("half")
    try:
        os.kill(os.getpid(), number)
    except BaseException:
        pass
    print("went on")
    sys.stdout.flush()
os._exit(0)
"""


def run_program(
    folder: Path, number: signal.Signals, *words: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", SWALLOWS_EXCEPTIONS, str(int(number)), *words],
        cwd=folder, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_program_ends_at_once_and_leaves_nothing(tmp_path: Path, number: signal.Signals) -> None:
    done = run_program(tmp_path, number)
    assert done.returncode == 128 + number
    assert done.stdout == "printed before\n"
    assert list(tmp_path.iterdir()) == []


def test_ignored_signals_stay_ignored(tmp_path: Path) -> None:
    done = run_program(tmp_path, signal.SIGHUP, "ignored")
    assert done.returncode == 0
    assert done.stdout == "printed before\nwent on\n"
    assert [path.name for path in tmp_path.iterdir()] == ["scan.nii.gz"]


class Listener(event.Listener):
    """Remembers in which threads numba has compiled."""

    def __init__(self) -> None:
        self.threads: list[threading.Thread] = []

    def on_start(self, _: object) -> None:
        self.threads.append(threading.current_thread())

    def on_end(self, _: object) -> None:
        pass


def test_interrupts_do_not_reach_the_compiler() -> None:
    names: dict[str, Any] = {}
    exec("def add_one(value): return value + 1", names)  # of no file, so that it is not kept
    kernel = compile_kernel()(names["add_one"])
    listener = Listener()
    with event.install_listener("numba:compile", listener):
        for value in (1, 1.5, np.float32(2), np.ones(3), 2.5, 3):
            np.testing.assert_array_equal(kernel(value), value + 1)
    assert len(kernel.signatures) == 4
    assert len(listener.threads) >= 4
    assert threading.main_thread() not in listener.threads
