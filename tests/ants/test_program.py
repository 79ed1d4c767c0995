"""The program N4BiasFieldCorrection: its command line, what it prints, and its files."""

import errno
import os
import subprocess
import sys
from itertools import count
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

import n4ax
from n4ax.ants import program
from n4ax.ants.options import read_options
from n4ax.ants.program import ANTS_VERSION, main, read_thread_count
from n4ax.cli import main as n4ax_main
from n4ax.errors import InputError
from tests.support import ants


def run(line: str, capfd: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    status = main(line.split())
    out, err = capfd.readouterr()
    return status, out, err


# ---- the command line ------------------------------------------------------------------------

GOOD = {
    "-c [ 2x2 , 1e-3 ]": {"iters": (2, 2), "conv_threshold": 1e-3},
    "-c {2x2,1E-3}": {"iters": (2, 2), "conv_threshold": 1e-3},
    "-c (3)": {"iters": (3,), "conv_threshold": 0.0},
    "-c <2x2x>": {"iters": (2, 2)},
    "-c [+2,-1]": {"iters": (2,), "conv_threshold": 0.0},
    "-c [2,0,5]": {"iters": (2,), "conv_threshold": 0.0},
    "-c [2] -c [3]": {"iters": (3,)},
    "--convergence [2]": {"iters": (2,)},
    "": {"iters": (50,) * 4, "conv_threshold": 0.0, "mesh": 1, "shrink_factor": 4, "nbins": 200},
    "-b [40,2]": {"spline_distance": 40.0, "spline_order": 2, "mesh": None},
    "-b [40.5]": {"spline_distance": 40.5},
    "-b [1.5x2x3]": {"mesh": (1, 2, 3), "spline_distance": None},
    "-t [0.2]": {"fwhm": 0.2, "wiener": 0.01, "nbins": 200},
    "-t [ 0.2, 0.02, 100 ]": {"fwhm": 0.2, "wiener": 0.02, "nbins": 100},
    "-s 2": {"shrink_factor": 2},
    "-s 0": {"shrink_factor": 1},
    "-s": {"shrink_factor": 1},
    "-c 2x2": {"iters": (50,), "conv_threshold": 0.001},
    "-o [out.nii,]": {"mesh": 1},
    "-c [2] stray": {"iters": (50,), "conv_threshold": 0.001},
    "-b 200": {"mesh": 1, "spline_distance": None},
    "-t 0.2": {"fwhm": 0.15},
}


@pytest.mark.parametrize("line", GOOD)
def test_options_are_read_as_ants_reads_them(line: str) -> None:
    settings = read_options(f"-d 3 -i im.nii -o out.nii {line}".split()).settings
    assert {name: getattr(settings, name) for name in GOOD[line]} == GOOD[line]


def test_files_and_switches() -> None:
    options = read_options(
        ["-i", "a.nii", "-x", "m.nii", "-w", "w.nii", "-o", "[", "c.nii", ",", "b.nii", "]", "-v"]
    )
    assert (options.image, options.mask, options.weights) == (
        *map(Path, ("a.nii", "m.nii", "w.nii")),
    )
    assert (options.corrected, options.bias) == (Path("c.nii"), Path("b.nii"))
    assert options.verbose
    assert options.rescale  # the default where there is a mask
    assert options.dimension is None
    assert not read_options(
        ["-i", "a.nii", "-x", "m.nii", "-r", "0", "-o", "c.nii", "-v", "0"]
    ).rescale
    assert not read_options(["-i", "a.nii", "-o", "c.nii", "-r"]).rescale
    assert read_options(["-i", "with (brackets) {2}.nii", "-o", "c.nii"]).image.name.startswith(
        "with"
    )


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("-c 2x2", "runs one level of at most 50 .* if there are no brackets"),
        ("-b 200", r"If 200 is what you want, write -b \[200\]"),
        ("-t 0.2", "-t 0.2 is ignored"),
        ("-r", "-r is ignored"),
        ("-c [2] stray", "takes its last value, 'stray'"),
    ],
)
def test_what_ants_ignores_is_ignored_with_a_warning(line: str, words: str) -> None:
    options = read_options(f"-d 3 -i im.nii -o out.nii {line}".split())
    with pytest.raises(AssertionError, match=words):
        raise AssertionError(options.warnings)


BAD = {
    "-Q 3": "unknown option -Q",
    "--conv [2]": "unknown option --conv",
    "-c [2.5]": "-c has '2.5'; expected a whole number",
    "-c [2,abc]": "-c has 'abc'; expected a number",
    "-c [2,]": "-c has ''; expected a number",
    "-c [2X2]": "-c has '2X2'",
    "-c [2xx2]": "-c has ''",
    "-c [1e1]": "-c has '1e1'",
    "-c [[2],1]": "opens a bracket inside a bracket",
    "-c [2]x": "goes on after its closing bracket",
    "-c 2]": "its brackets do not match",
    "-b [2x2,3]": "a mesh of 2 numbers for 3 axes",
    "-b []": "nothing in its brackets",
    "-b [0]": "expected mm, above 0",
    "-b [40,0]": "splines of order 0",
    "-s 2.5": "-s has '2.5'",
    "-s [2]": "-s has '[2]'",
    "-d 5": "-d is 5; expected 2, 3 or 4",
    "-v 2": "-v has '2'; expected 0 or 1",
    "-x mask.nii.gz -r abc": "-r has 'abc'",
    "-t [0.2,0.02,100.5]": "-t has '100.5'",
    "-x shifted.nii.gz": "do not occupy the same physical space: origins",
    "-x smaller.nii.gz": "has shape (27, 26, 22)",
    "-s -2": "-s is -2; expected a whole number",
    "-c [0]": "asks for no iteration",
    "-o nowhere/out.nii.gz": "nowhere",
    "-o out.xyz": "-o out.xyz: expected a name ending in .nii.gz, .nii, .mgz",
    "-i missing.nii.gz": "missing.nii.gz does not exist",
    "-d 4": "has 3 axes",
}
"""Command lines that ANTs itself refuses with status 1, and the message that we print."""

SAFER = {
    "-x empty.nii.gz": "-x empty.nii.gz is empty",
    "-c [2 -o out.nii.gz": "has no closing bracket",  # ANTs ignores the rest of the line
    "-x missing.nii.gz": "missing.nii.gz does not exist",  # ANTs goes on without a mask
    "-o": "no output",  # ANTs writes nothing
    "-o [out.nii.gz,out.nii.gz]": "for both outputs",
    "-x mask.nii.gz -o mask.nii.gz": "would overwrite the mask",
    "-b [1x1x1,6]": "splines of order 6",
}
"""Command lines with which ANTs goes on, though no user would want that, and our message."""


@pytest.mark.parametrize("line", [*BAD, *SAFER])
def test_bad_input_ends_with_status_1_and_one_line(
    line: str, folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    before = sorted(path.name for path in folder.iterdir())
    status, out, err = run(f"-d 3 -i im.nii.gz -o out.nii.gz {line}", capfd)
    assert status == 1
    assert out == ""
    message = err.splitlines()[-1]
    assert message.startswith("N4BiasFieldCorrection (n4ax): error: ")
    assert ({**BAD, **SAFER})[line] in message
    assert sorted(path.name for path in folder.iterdir()) == before


@pytest.mark.parametrize("line", BAD)
def test_ants_refuses_it_too(line: str, folder: Path) -> None:
    status = ants.run_for_status(*f"-d 3 -i im.nii.gz -o out.nii.gz {line}".split())
    assert status == 1 or (status < 0 and "missing" in line)  # a missing file crashes ANTs


def test_errors_name_the_options_of_ants(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: list[str]) -> None:
        raise InputError("{fwhm} is {0}, and {shrink_factor:{1}} is too much", 0.0, 9)

    monkeypatch.setattr(program, "read_options", refuse)
    status, _, err = run("-i im.nii", capfd)
    assert status == 1
    assert "error: the width of -t is 0.0, and -s 9 is too much" in err


def test_no_arguments_print_the_options_with_status_1(capfd: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run("", capfd)
    assert status == 1
    assert all(flag in out for flag in ("-d", "-i", "-x", "-r", "-w", "-s", "-c", "-b", "-t", "-o"))
    assert run("--help", capfd)[0] == run("-h", capfd)[0] == run("--version", capfd)[0] == 0
    assert run("-v 1", capfd)[0] == 1


def test_version_is_found_by_programs_that_look_for_that_of_ants(
    capfd: pytest.CaptureFixture[str],
) -> None:
    _, out, _ = run("--version", capfd)
    # Modules of nf-core and nf-neuro filter the output with this.
    words = ["sed", "-n", r"s/ANTs Version: v\([0-9.]\+\)/\1/p"]
    found = subprocess.run(words, input=out, capture_output=True, text=True, check=True).stdout
    assert found == f"{ANTS_VERSION}\n"
    assert out.splitlines()[1] == f"N4BiasFieldCorrection by n4ax {n4ax.__version__}"


# ---- what it prints and writes ---------------------------------------------------------------


def test_it_prints_the_lines_of_ants(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    line = "-d 3 -i neg.nii.gz -b [30] -s 2 -c [3x2,1e-7] -o out.nii.gz -v 1"
    _, ours, _ = run(line, capfd)
    theirs = ants.run_process(*line.split()).stdout
    starts = ("Running N4", "Mask not read", "Original intensity", "Specified", "  original image",
              "  padded image", "  number of control", "Current level", "  Iteration", "*****",
              "     Number of histogram", "     Maximum number", "     Convergence threshold",
              "     Spline order", "     Number of fitting", "     ElapsedIterations")  # fmt: skip
    kept_ours, kept_theirs = (
        [text for text in printed.splitlines() if text.startswith(starts)]
        for printed in (ours, theirs)
    )
    assert len(kept_ours) == len(kept_theirs) >= 20
    for mine, other in zip(kept_ours, kept_theirs, strict=True):
        if mine != other:  # only the last digits of a measure may differ
            a, b = (text.split("value = ") for text in (mine, other))
            assert a[0] == b[0]
            assert float(a[1].split()[0]) == pytest.approx(float(b[1].split()[0]), rel=1e-3)
    assert "Elapsed time: " in ours


def test_it_is_silent_unless_asked(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run("-i im.nii.gz -c [2] -o out.nii.gz", capfd) == (0, "", "")
    status, out, err = run("-i neg.nii.gz -c [2] -o out.nii.gz", capfd)
    assert (status, out) == (0, "")
    assert "negative intensities" in err
    assert "10 to 100" in err


def test_headers_that_differ_by_rounding_are_accepted(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    status, _, err = run("-i im.nii.gz -x nearly.nii.gz -c [2] -o out.nii.gz", capfd)
    assert status == 0
    assert "differ slightly" in err


def test_dimensions(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for line, shape in (
        ("-i flat.nii.gz", (28, 26)),
        ("-d 2 -i flat.nii.gz", (28, 26)),
        ("-d 2 -i im.nii.gz", (28, 26)),
        ("-i series.nii.gz", (28, 26, 22)),
        ("-d 4 -i series.nii.gz -s 2", (28, 26, 22, 3)),
    ):
        assert run(f"{line} -c [2] -o out.nii.gz", capfd)[::2] == (0, "")
        assert nib.load("out.nii.gz").shape == shape


def test_outputs_are_float32_with_the_images_header(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    line = "-i im.nii.gz -x mask.nii.gz -r 0 -s 2 -c [5] -o [ out.nii.gz , bias.nii.gz ]"
    assert run(line, capfd)[0] == 0
    image, out, bias = (nib.load(name) for name in ("im.nii.gz", "out.nii.gz", "bias.nii.gz"))
    inside = np.asarray(nib.load("mask.nii.gz").dataobj) != 0
    assert out.get_data_dtype() == bias.get_data_dtype() == np.float32
    np.testing.assert_array_equal(out.affine, image.affine)
    before, after, field = (np.asarray(scan.dataobj) for scan in (image, out, bias))
    np.testing.assert_array_equal(after[~inside], before[~inside])
    np.testing.assert_allclose(after[inside], (before / field)[inside], rtol=1e-6)
    assert run(line.replace("-r 0", "-r 1"), capfd)[0] == 0
    rescaled = np.asarray(nib.load("out.nii.gz").dataobj)[inside]
    assert (rescaled.min(), rescaled.max()) == pytest.approx(
        (before[inside].min(), before[inside].max()), abs=1e-4
    )


@pytest.mark.parametrize("call", ["fsync", "replace"])
@pytest.mark.parametrize(("at", "name"), [(1, "out.nii"), (2, "bias.nii")])
def test_the_files_are_written_both_or_neither(
    folder: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    call: str,
    at: int,
    name: str,
) -> None:
    calls, real = count(1), getattr(os, call)

    def fail_once(*arguments: Any) -> Any:
        if next(calls) == at:
            raise OSError(errno.EDQUOT, "Disk quota exceeded")
        return real(*arguments)

    (folder / "out.nii").write_text("old")
    before = sorted(folder.iterdir())
    monkeypatch.setattr(os, call, fail_once)
    status, _, err = run("-i im.nii.gz -s 2 -c [2] -o [out.nii,bias.nii]", capfd)
    assert status == 1
    assert f"error: {name}: Disk quota exceeded" in err
    assert (folder / "out.nii").read_text() == "old"
    assert sorted(folder.iterdir()) == before


def test_the_programs_are_installed(folder: Path) -> None:
    options = ["-i", "im.nii.gz", "-c", "[2]", "-o", "out.nii.gz"]
    python = str(Path(sys.executable).parent)
    for command in (
        [f"{python}/n4ax-N4BiasFieldCorrection"],
        [f"{python}/n4ax", "ants"],
        [sys.executable, "-m", "n4ax.ants"],
    ):
        done = subprocess.run([*command, *options], capture_output=True, text=True, check=True)
        assert (done.stdout, done.stderr) == ("", "")
        Path("out.nii.gz").unlink()
    assert n4ax_main(["ants", "-Q"]) == 1


def test_number_of_threads_comes_from_the_environment_of_itk(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS", raising=False)
    monkeypatch.setenv("NSLOTS", "3")
    assert read_thread_count() == 3
    monkeypatch.setenv("ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS", "2")
    assert read_thread_count() == 2


@pytest.mark.parametrize(
    "line",
    [
        "-i holes.nii.gz -x mask.nii.gz -r 1",
        "-i holes.nii.gz -x mask.nii.gz -r 0",
        "-i im.nii.gz -x spm.nii.gz -r 0",
        "-i im.nii.gz -w spm.nii.gz",
    ],
)
def test_nan_voxels_are_zeros_as_for_ants(
    line: str, folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for source, name, values in (
        ("im.nii.gz", "holes.nii.gz", (np.nan, np.inf)),  # one is on the shrunk grid, one is not
        ("mask.nii.gz", "spm.nii.gz", (np.nan, np.nan)),
    ):
        scan = nib.load(source)
        voxels = np.asarray(scan.dataobj, np.float32)
        voxels[14, 13, 11], voxels[13, 12, 10], voxels[0, 0, :5] = *values, np.nan
        nib.save(nib.Nifti1Image(voxels, scan.affine), name)
    line = f"-d 3 {line} -c [3x3,0] -s 2"
    ants.run(*line.split(), "-o", "theirs.nii.gz")
    status, _, err = run(f"{line} -o ours.nii.gz", capfd)
    assert status == 0
    assert "NaN or infinite voxels, which are read as 0" in err
    ours, theirs = (np.asarray(nib.load(f"{of}.nii.gz").dataobj) for of in ("ours", "theirs"))
    np.testing.assert_allclose(ours, theirs, rtol=2e-5)


def test_one_slice_and_one_volume_are_accepted(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    scan = nib.load("im.nii.gz")
    voxels = np.asarray(scan.dataobj)
    nib.save(nib.Nifti1Image(voxels[:, :, 9:10], scan.affine), "slice.nii.gz")
    nib.save(nib.Nifti1Image(voxels[..., None], scan.affine), "one.nii.gz")
    for line, shape in (
        ("-d 3 -i slice.nii.gz -b [2x1x1]", (28, 26, 1)),
        ("-d 3 -i one.nii.gz -x mask.nii.gz -b [1x1x1]", (28, 26, 22)),
        ("-d 4 -i series.nii.gz -b [1x1x1x1]", (28, 26, 22, 3)),
    ):
        assert run(f"{line} -c [2] -o out.nii.gz", capfd)[0] == 0
        assert nib.load("out.nii.gz").shape == shape


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["-s", "9" * 5000], "-s has a number of 5000 digits"),
        (["-c", f"[{'9' * 5000}]"], "-c has a number of 5000 digits"),
        (["-c", "[99999999]"], "the iterations of -c is (99999999,); expected whole numbers of at"),
        (["-b", "[1e400x1x1]"], "-b has '1e400'; expected a number below 1.8e308"),
        (["-t", "[1e400]"], "-t has '1e400'; expected a number below 1.8e308"),
        (["-s", "２"], "-s has '２'; expected a whole number"),
        (["-b", "[１]"], "-b has '１'; expected a number"),
    ],
)
def test_numbers_that_no_program_of_ants_could_read_are_refused(
    words: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["-i", "i.nii", "-o", "o.nii", *words]) == 1
    assert expected in capsys.readouterr().err
