"""Bad input: the command line says what is wrong in one line, and writes nothing."""

import errno
import logging
import os
import subprocess
import sys
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from n4ax.cli import n4ax_command
from tests.cli.program import AFFINE, QUICK, expect_error, phantom, read_voxels, run, save


def test_unreadable_input_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "text.nii.gz").write_text("no image")
    for name in ("missing.nii.gz", "text.nii.gz"):
        assert name in expect_error(capsys, "correct", tmp_path / name)


@pytest.mark.parametrize("shape", [(50,), (4, 4, 4, 4, 4)])
def test_one_and_five_dimensions_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], shape: tuple[int, ...]
) -> None:
    image = np.random.default_rng(0).random(shape).astype(np.float32)
    scan = save(tmp_path / "scan.nii", image)
    words = "expected 2, 3 or 4" if len(shape) == 1 else "expected one at most"
    assert words in expect_error(capsys, "correct", scan)


def test_masks_and_weights_that_do_not_fit_are_named(
    scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    moved = AFFINE.copy()
    moved[0, 3] += 0.01
    empty = save(tmp_path / "empty.nii", np.zeros(phantom().shape, np.uint8))
    cut = save(tmp_path / "cut.nii", np.ones((24, 20, 15), np.uint8))
    shifted = save(tmp_path / "shifted.nii", np.ones(phantom().shape, np.uint8), moved)
    for option in ("--mask", "--weights"):
        for other in (cut, shifted):
            message = expect_error(capsys, "correct", scan, option, other)
            assert str(scan) in message
            assert str(other) in message
    message = expect_error(capsys, "correct", scan, "--mask", empty)
    assert "empty.nii has no voxel other than 0" in message
    assert "no positive voxel" in expect_error(capsys, "correct", scan, "--weights", empty)
    options = ["--mask", shifted.with_name("cut.nii"), "--mask-label", "3"]
    assert "shape" in expect_error(capsys, "correct", scan, *options)
    full = save(tmp_path / "full.nii", np.ones(phantom().shape, np.uint8))
    message = expect_error(capsys, "correct", scan, "--mask", full, "--mask-label", "3")
    assert f"--mask {full} has no value equal to 3" in message


def test_images_that_give_nothing_to_estimate_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    constant = save(tmp_path / "constant.nii", np.full((9, 9, 9), 7, np.int16))
    thin = save(tmp_path / "thin.nii", phantom((30, 30, 3)))
    assert "constant" in expect_error(capsys, "correct", constant, "--mask", "none")
    assert "a field needs 2" in expect_error(capsys, "correct", thin, "--shrink-factor", "2")
    small = save(tmp_path / "small.nii", phantom((12, 12, 12)))
    message = expect_error(capsys, "correct", small, "--shrink-factor", "8")
    assert "--shrink-factor" in message
    assert "shrink_factor" not in message


def test_output_may_not_be_the_input(
    scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "link.nii.gz").symlink_to(scan)
    monkeypatch.chdir(tmp_path)
    for spelled in (scan, "scan.nii.gz", "./scan.nii.gz", tmp_path / "link.nii.gz"):
        for option in ("-o", "--bias"):
            message = expect_error(capsys, "correct", scan, option, spelled)
            assert "would overwrite the input" in message
    mask = save(tmp_path / "mask.nii.gz", np.ones(phantom().shape, np.uint8))
    message = expect_error(capsys, "correct", scan, "--mask", mask, "-o", mask)
    assert "would overwrite the input" in message
    assert np.array_equal(read_voxels(scan), phantom())


@pytest.mark.parametrize("step", ["write", "fsync", "replace"])
@pytest.mark.parametrize(("name", "at"), [("out.nii", 1), ("bias.nii", 2), ("field.npz", 3)])
def test_failure_of_an_output_leaves_all_as_they_were(
    scan: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    step: str,
    name: str,
    at: int,
) -> None:
    calls = count(1)

    def fail_once(*arguments: Any, **keywords: Any) -> Any:
        is_counted = step != "write" or "wb" in (*arguments, keywords.get("mode"))
        if is_counted and next(calls) == at:
            raise OSError(errno.EDQUOT, "Disk quota exceeded")
        return real(*arguments, **keywords)

    (tmp_path / "out.nii").write_text("old")
    (tmp_path / "field.npz").write_text("old")
    place, call = (Path, "open") if step == "write" else (os, step)
    real = getattr(place, call)
    monkeypatch.setattr(place, call, fail_once)
    options = ["-o", tmp_path / "out.nii", "--bias", tmp_path / "bias.nii"]
    options += ["--field", tmp_path / "field.npz"]
    message = expect_error(capsys, "correct", scan, *options, *QUICK)
    assert f"{tmp_path / name}: Disk quota exceeded" in message
    assert (tmp_path / "out.nii").read_text() == "old"
    assert (tmp_path / "field.npz").read_text() == "old"


@pytest.mark.parametrize("error", [ImportError("no FT2Font"), RuntimeError("no font"), OSError(2)])
def test_images_are_written_although_the_figure_cannot_be_drawn(
    scan: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
) -> None:
    pytest.importorskip("matplotlib")

    def fail(*_: object) -> None:
        raise error

    assert run("correct", scan, "-o", tmp_path / "expected.nii", *QUICK, "-q") == 0
    monkeypatch.setattr("n4ax.figure.draw_figure", fail)
    figure, target = tmp_path / "figure.png", tmp_path / "out.nii"
    assert run("correct", scan, "-o", target, "--figure", figure, *QUICK) == 2
    out, err = capsys.readouterr()
    assert f"Wrote {target} in" in out
    assert err.startswith(f"n4ax: error: --figure {figure} could not be drawn")
    assert str(error) in err
    assert err.count("\n") == 1
    assert target.read_bytes() == (tmp_path / "expected.nii").read_bytes()
    assert not figure.exists()


def test_output_names_and_folders_are_checked_before_the_work(
    scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = tmp_path / "no" / "out.nii"
    assert "No such file" in expect_error(capsys, "correct", scan, "-o", missing)
    assert "ending in .nii" in expect_error(capsys, "correct", scan, "-o", tmp_path / "out.png")
    two = ["-o", tmp_path / "x.nii", "--bias", tmp_path / "x.nii"]
    assert "two outputs" in expect_error(capsys, "correct", scan, *two)
    assert "folder" in expect_error(capsys, "correct", scan, "--figure", tmp_path)


@pytest.mark.parametrize(("number", "words"), [(28, "No space left"), (30, "Read-only file")])
def test_full_and_read_only_disks_leave_nothing(
    scan: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    words: str,
) -> None:
    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "replace", fail)
    message = expect_error(capsys, "correct", scan, *QUICK)
    assert words in message
    assert "scan_n4.nii.gz" in message


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--iters", "fifty"], "--iters"),
        (["--iters", "10x-1"], "--iters"),
        (["--mesh", "1x1"], "mesh"),
        (["--spline-order", "7"], "--spline-order"),
        (["--spline-distance", "-3"], "--spline-distance"),
        (["--nbins", "1"], "--nbins"),
        (["--wiener", "-1"], "--wiener"),
        (["--num-threads", "0"], "--num-threads"),
        (["--preset", "fsl"], "--preset"),
        (["--mesh", "1", "--spline-distance", "100"], "give only one of them"),
        (["--engine", "gpu"], "'gpu' is not one of 'cpu', 'xla'"),
        (["--unknown"], "--unknown"),
        (["--mask", "nothing.nii"], "nothing.nii"),
    ],
)
def test_bad_options_are_named_as_options(
    scan: Path, capsys: pytest.CaptureFixture[str], options: list[str], words: str
) -> None:
    assert words in expect_error(capsys, "correct", scan, *options)


def test_messages_keep_paths_as_they_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("bids2table")
    odd = tmp_path / "image  {mask} (bids_dir) [red]%s.."
    odd.mkdir()
    scan = save(odd / "scan.nii", phantom())
    for words in (
        ("correct", scan, "--mask", odd / "no  mask.nii"),
        ("correct", scan, "-o", odd / "no" / "mask  image.nii"),
        ("correct", odd / "shrink_factor  missing.nii"),
        ("bids", odd, odd / "out", "participant"),
        ("bids", odd, odd, "participant"),
        ("bids", odd, odd / "output_dir  x", "group"),
        ("report", odd / "output_dir  x"),
    ):
        assert run(*words) == 2
        message = capsys.readouterr().err
        assert str(odd) in message
        assert message.count("\n") == 1


@pytest.mark.parametrize(
    "words",
    [
        ("correct", "-o", ""),
        ("correct", "--bias", ""),
        ("correct", "--weights", ""),
        ("correct", "--mask", ""),
        ("correct", "--mask", "OTSU"),
    ],
)
def test_empty_names_and_words_in_capitals_are_refused(
    scan: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    message = expect_error(capsys, words[0], scan, *words[1:])
    assert words[1] in message
    known = ("the name is empty", "'' does not exist", "'OTSU' is written in small letters: otsu")
    assert any(reason in message for reason in known)


def test_empty_folders_are_not_the_working_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for words in (
        ("bids", str(tmp_path), "", "participant"),
        ("bids", str(tmp_path), "out", "participant", "-w", ""),
        ("shim", ""),
        ("shim", "--remove", ""),
        ("demo", "-o", ""),
        ("bids", "", "out", "participant"),
        ("report", ""),
    ):
        assert run(*words) == 2
        message = capsys.readouterr().err
        assert "the name is empty" in message or "Directory '' does not exist" in message
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("before", [logging.NOTSET, logging.CRITICAL])
def test_logging_is_left_as_it_was(before: int, scan: Path) -> None:
    logging.disable(before)
    try:
        for words in (("correct", str(scan), "-q", *QUICK), ("correct", "missing", "-q")):
            with suppress(ValueError):
                n4ax_command.main(words, prog_name="n4ax", standalone_mode=False)
            assert logging.root.manager.disable == before
    finally:
        logging.disable(logging.NOTSET)


def test_names_that_are_no_text_are_printed(tmp_path: Path) -> None:
    scan = save(tmp_path / "scan.nii", phantom())
    odd = Path(os.fsdecode(bytes(scan.with_name("a")) + b"\xff.nii"))
    scan.rename(odd)
    for program in (["n4ax", "correct", odd], ["n4ax.ants", "-i", odd, "-v", "1"]):
        options = ["-o", tmp_path / "out.nii", *(QUICK if program[0] == "n4ax" else ["-c", "[2]"])]
        command = [sys.executable, "-m", *program, *options]
        environment = {**os.environ, "PYTHONIOENCODING": "utf-8:strict"}
        done = subprocess.run(command, env=environment, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr


def test_an_error_of_jax_is_one_line(
    scan: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("jax")
    import jax

    def fail(*_: object, **__: object) -> None:
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory")

    monkeypatch.setattr("n4ax.scan.fit_image", fail)
    assert "out of memory; try --engine cpu" in expect_error(capsys, "correct", scan)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such pipes")
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".mgz", ".nrrd", ".dcm", ".hdr"])
def test_a_pipe_is_no_image_and_is_not_waited_for(
    suffix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pipe = tmp_path / f"pipe{suffix}"
    os.mkfifo(pipe)
    message = expect_error(capsys, "correct", pipe, "-o", tmp_path / "out.nii")
    assert f"{pipe} is a pipe or a device; expected a file" in message


def test_an_empty_suffix_needs_another_folder(
    scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in (("correct",), ("apply", scan)):
        message = expect_error(capsys, *command, scan, "--suffix", "")
        assert "--suffix is empty, so that the result would have the name of an image" in message
    folder = tmp_path / "out"
    folder.mkdir()
    assert run("correct", scan, "--suffix", "", "-o", f"{folder}/", "-q", *QUICK) == 0
    assert (folder / scan.name).exists()
