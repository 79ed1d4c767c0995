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


def test_live_progress_is_shown_on_a_terminal(scan: Path) -> None:
    pytest.importorskip("rich")
    import pty

    lead, follow = pty.openpty()
    command = [sys.executable, "-m", "n4ax", "correct", str(scan), "--iters", "300x300",
               "--conv-threshold", "0"]  # fmt: skip
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "100"}
    process = subprocess.Popen(command, stderr=follow, stdout=subprocess.DEVNULL, env=environment)
    os.close(follow)
    shown = b""
    try:
        while piece := os.read(lead, 4096):
            shown += piece
    except OSError:  # the other end has closed
        pass
    os.close(lead)
    assert process.wait() == 0
    assert re.search(rb"level [12] of 2 +\d+/300 +0\.\d{6}", shown)


def test_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--version") == 0
    assert n4ax.__version__ in capsys.readouterr().out
