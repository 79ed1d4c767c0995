"""Programs end at once on a signal, and leave nothing behind."""

import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from n4ax.engines.cpu.compiled import call_compiled
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


def test_interrupts_do_not_reach_the_compiler() -> None:
    class Kernel:
        def __init__(self) -> None:
            self.overloads: dict[str, object] = {}

        def __call__(self, value: int) -> tuple[int, threading.Thread]:
            return value + 1, threading.current_thread()

    kernel = Kernel()
    value, where = call_compiled(kernel, 1)
    assert value == 2
    assert where is not threading.main_thread()
    kernel.overloads = {"int64": object()}
    assert call_compiled(kernel, 2) == (3, threading.main_thread())


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
