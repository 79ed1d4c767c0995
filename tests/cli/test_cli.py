"""The program as a process: interrupts, live progress, and its version."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import n4ax
from tests.cli.program import phantom, run, save


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_run_leaves_no_file(tmp_path: Path, number: signal.Signals) -> None:
    scan = save(tmp_path / "scan.nii.gz", phantom((60, 60, 60)))
    command = [sys.executable, "-m", "n4ax", "ants", "-i", str(scan), "-s", "1",
               "-c", "[9000x9000]", "-v", "1", "-o", str(tmp_path / "out.nii.gz")]  # fmt: skip
    pipe = subprocess.PIPE
    # A shell that runs the tests in the background ignores the signal, and children inherit that.
    inherited = signal.signal(number, lambda *_: None)
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True) as process:
        signal.signal(number, inherited)
        assert process.stdout is not None
        assert any(line.startswith("  Iteration 2 ") for line in process.stdout)
        process.send_signal(number)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 128 + number
    assert "Traceback" not in err
    assert [path.name for path in tmp_path.iterdir()] == ["scan.nii.gz"]


def test_an_interrupt_says_that_nothing_was_written(tmp_path: Path) -> None:
    scan = save(tmp_path / "scan.nii.gz", phantom((60, 60, 60)))
    command = [sys.executable, "-m", "n4ax", "correct", str(scan), "--iters", "9000x9000",
               "--conv-threshold", "0", "--json", str(tmp_path / "x.json")]  # fmt: skip
    code = (
        "import os, signal, sys; import n4ax.cli as cli, n4ax.correction.work as work;"
        "real = work.correct_scan;"
        "work.correct_scan = lambda *given: (os.kill(os.getpid(), signal.SIGINT), real(*given));"
        "cli.console()"
    )
    command[1:3] = ["-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 130
    assert done.stderr == f"n4ax: {scan} was not corrected; no file was changed\n"
    assert [path.name for path in tmp_path.iterdir()] == ["scan.nii.gz"]


def run_on_terminal(*words: object, **variables: str) -> tuple[str, int]:
    """Run n4ax on a terminal of 80 columns; what it shows there, and its exit status."""
    import fcntl
    import pty
    import struct
    import termios

    lead, follow = pty.openpty()
    fcntl.ioctl(follow, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    command = [sys.executable, "-m", "n4ax", *map(str, words)]
    environment = {name: text for name, text in os.environ.items() if name != "COLUMNS"}
    environment |= {"TERM": "xterm", **variables}
    process = subprocess.Popen(command, stderr=follow, stdout=subprocess.DEVNULL, env=environment)
    os.close(follow)
    shown = b""
    try:
        while piece := os.read(lead, 4096):
            shown += piece
    except OSError:  # the other end has closed
        pass
    os.close(lead)
    return shown.decode(), process.wait()


def read_lines(shown: str) -> list[str]:
    """The lines of a terminal, without its control sequences."""
    return re.split(r"[\r\n]+", re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown))


def test_live_progress_fits_a_terminal_of_80_columns(tmp_path: Path) -> None:
    pytest.importorskip("rich")
    name = "sub-0123456789_ses-baseline_acq-mprage_run-01_T1w.nii.gz"
    scan = save(tmp_path / name, phantom())
    words = ["correct", scan, "--iters", "300x300", "--conv-threshold", "0"]
    shown, status = run_on_terminal(*words)
    assert status == 0
    lines = [line for line in read_lines(shown) if "iteration" in line]
    assert lines
    for line in lines:
        assert re.search(
            r"^sub-\S+…\S+z .* level [12]/2, iteration \d+/300, \d\.\de-\d\d 0:00:0\d ?$", line
        ), line
        assert len(line) <= 80


def test_a_run_that_compiles_says_so_in_the_bar(tmp_path: Path) -> None:
    pytest.importorskip("rich")
    pytest.importorskip("jax")
    scan = save(tmp_path / "scan.nii.gz", phantom())
    words = ["correct", scan, "--iters", "2", "--conv-threshold", "0", "--engine", "xla"]
    shown, status = run_on_terminal(*words)
    assert status == 0
    assert [line for line in read_lines(shown) if "JAX loads or compiles its program" in line]


def test_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--version") == 0
    assert n4ax.__version__ in capsys.readouterr().out


def test_notices_stand_in_the_bar(scan: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rich = pytest.importorskip("rich.progress")
    import logging

    from n4ax.cli import progress
    from n4ax.settings import N4Settings

    states: list[str] = []
    monkeypatch.setattr(progress, "is_live", lambda quiet: True)
    update = rich.Progress.update

    def note(line: object, task: int, **given: object) -> None:
        states.append(str(given.get("state")))
        update(line, task, **given)

    monkeypatch.setattr(rich.Progress, "update", note)
    logger = logging.getLogger("n4ax")
    with progress.show_iterations("scan.nii", N4Settings(), quiet=False):
        logger.warning("n4ax: compiling its kernels, once on this machine (about 10 s)")
    assert states == ["compiling its kernels, once on this machine (about 10 s)"]
    assert logger.handlers == []
    assert logger.propagate
