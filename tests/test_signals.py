"""Programs end at once on a signal, and leave nothing behind."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numba.core import event

from n4ax.engines.compiled.kernel import compile_kernel
from n4ax.files import discard_unfinished, replace_files
from n4ax.signals import clean_up_on_signals

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


IN_THE_MIDDLE = """
import os, signal, sys
from pathlib import Path
from n4ax import files
from n4ax.signals import exit_on_signals

exit_on_signals()
number, at, real = int(sys.argv[1]), int(sys.argv[2]), os.replace

def rename(source, place):
    global at
    if at == 0:
        os.replace = real
        os.kill(os.getpid(), number)
    at -= 1
    real(source, place)
    if at == 0 and place.name == "c.txt":
        os.kill(os.getpid(), number)  # after the last of them

os.replace = rename
with files.replace_files([Path(name) for name in ("a.txt", "b.txt", "c.txt")]) as new:
    for path in new:
        path.write_text("new")
"""


def run_program(
    folder: Path, number: signal.Signals, *words: str, code: str = SWALLOWS_EXCEPTIONS
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, str(int(number)), *words],
        cwd=folder, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_program_ends_at_once_and_leaves_nothing(tmp_path: Path, number: signal.Signals) -> None:
    done = run_program(tmp_path, number)
    assert done.returncode == 128 + number
    assert done.stdout == "printed before\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("at", [0, 1, 2, 3])
def test_a_signal_between_two_names_leaves_all_files_old_or_all_new(
    tmp_path: Path, at: int
) -> None:
    (tmp_path / "a.txt").write_text("old")
    (tmp_path / "c.txt").write_text("old")
    assert run_program(tmp_path, signal.SIGTERM, str(at), code=IN_THE_MIDDLE).returncode == 143
    found = {path.name: path.read_text() for path in tmp_path.iterdir()}
    new = {"a.txt": "new", "b.txt": "new", "c.txt": "new"}
    assert found == (new if at == 3 else {"a.txt": "old", "c.txt": "old"})


def test_a_program_that_ends_waits_for_the_names_that_another_thread_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    targets = [tmp_path / "a.txt", tmp_path / "b.txt"]
    between, ending = threading.Event(), threading.Event()
    real = os.replace

    def rename(source: Path, place: Path) -> None:
        if place == targets[1]:
            between.set()
            ending.wait(0.5)  # the other thread must not go on before this one has
        real(source, place)

    def write() -> None:
        with replace_files(targets) as temporary:
            for path in temporary:
                path.write_text("new")

    monkeypatch.setattr(os, "replace", rename)
    thread = threading.Thread(target=write)
    thread.start()
    assert between.wait(10)
    discard_unfinished()
    ending.set()
    thread.join()
    assert [path.read_text() for path in targets] == ["new", "new"]
    assert sorted(tmp_path.iterdir()) == targets


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
    assert len(kernel.dispatcher.signatures) == 4
    assert len(listener.threads) >= 4
    assert threading.main_thread() not in listener.threads


def test_threads_leave_signals_alone() -> None:
    before = signal.getsignal(signal.SIGTERM)
    seen: list[object] = []

    def work() -> None:
        with clean_up_on_signals():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]
