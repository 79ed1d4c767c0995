"""FreeSurfer's program: its command line, its numbers beside those of ITK, and its files."""

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from n4ax.ants import shim
from n4ax.ants.drand48 import draw
from n4ax.ants.freesurfer import NAME, Options, convert_voxels, main, read_options
from n4ax.engines.itk import libm
from n4ax.errors import InputError
from tests.support.ants import phantom

AFFINE = np.array([[-0.9, 0, 0, 20.3], [0, 0, 1.1, -18.7], [0, -1.3, 0, 19.1], [0, 0, 0, 1]])
SIZES = (0.9, 1.3, 1.1)
QUICK = ["-t", "3", "2"]
DONE = f"{NAME} done\n"


@pytest.fixture
def orig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """An image of 8 bits with a dark corner in the file ``orig.mgz`` of the working folder."""
    for name in ("N4AX_ARITHMETIC", "N4AX_ITK_VERSION", "N4AX_ENGINE"):
        monkeypatch.delenv(name, raising=False)
    voxels = np.clip(phantom() * 0.7, 0, 255).astype(np.uint8)
    voxels[:4, :5, :6] = 0
    nib.save(nib.MGHImage(voxels, AFFINE), tmp_path / "orig.mgz")
    monkeypatch.chdir(tmp_path)
    return voxels


def replay(voxels: Any, iterations: list[int], shrink: int = 4, threads: int = 1) -> Any:
    """What SimpleITK computes from the voxels and their size alone, as float32."""
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)
    image, mask = (
        sitk.GetImageFromArray(np.ascontiguousarray(array.T, np.float32))
        for array in (voxels, np.ones(voxels.shape))
    )
    mask = sitk.Cast(mask, sitk.sitkUInt8)
    for one in (image, mask):
        one.SetSpacing([float(np.float32(size)) for size in SIZES])
    n4 = sitk.N4BiasFieldCorrectionImageFilter()
    n4.SetMaximumNumberOfIterations(iterations)
    n4.SetConvergenceThreshold(0)
    n4.Execute(*(sitk.Shrink(one, [shrink] * 3) for one in (image, mask)))
    field = n4.GetLogBiasFieldAsImage(image)
    return sitk.GetArrayFromImage(sitk.Divide(image, sitk.Exp(field))).T


def read(name: str) -> Any:
    return np.asarray(nib.load(name).dataobj)


def test_the_command_line_of_recon_all_has_the_bits_of_itk(
    orig: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["-i", "orig.mgz", "-o", "nu0.mgz", "--dtype", "uchar"]) == 0
    assert capfd.readouterr() == (DONE, "")
    expected = np.floor(np.clip(replay(orig, [50] * 4), 0, 255).astype(np.float64) + 0.5)
    made = nib.load("nu0.mgz")
    assert made.get_data_dtype() == np.uint8
    np.testing.assert_array_equal(np.asarray(made.dataobj), expected)
    np.testing.assert_allclose(made.affine, AFFINE, atol=1e-5)
    assert not np.array_equal(expected, orig)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("-t 4 3 2", {"iterations": [4, 3, 2]}),
        ("-t 5 --shrink 1", {"iterations": [5], "shrink": 1}),
        ("--iters 6 4 -s 2 -e 3", {"iterations": [6, 4], "shrink": 2, "threads": 3}),
    ],
)
def test_options_reach_itk(words: str, expected: dict[str, Any], orig: Any) -> None:
    assert main(["-i", "orig.mgz", *words.split(), "-o", "nu0.mgz"]) == 0
    made = read("nu0.mgz")
    assert made.dtype.newbyteorder("=") == np.float32
    np.testing.assert_array_equal(made, replay(orig, **expected))


def test_words_and_defaults_of_the_command_line() -> None:
    least = read_options(["-i", "a.mgz", "-o", "b.nii"])
    assert least == Options(
        Path("a.mgz"), Path("b.nii"), 4, (50, 50, 50, 50), "float32", zeros=None, threads=1
    )
    words = "--input a --output b --shrink 2 --iters 9 8 --dtype UChar"
    words += " --replace-zeros 0 1.5 1 --threads-nondetermistic 200"
    assert read_options(words.split()) == Options(
        Path("a"), Path("b"), 2, (9, 8), "uint8", zeros=(0, 1.5, 1), threads=128
    )
    short = "-i a -o b -d INT -r -1 2 0 -e 4 -t 7 -s 3"
    assert read_options(short.split()) == Options(
        Path("a"), Path("b"), 3, (7,), "int32", zeros=(-1, 2, 0), threads=4
    )


def test_the_environment_chooses_the_arithmetic(
    orig: Any, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["-i", "orig.mgz", "-o", "nu0.mgz", *QUICK]
    found = []
    for arithmetic in ("itk", "", "limit"):
        monkeypatch.setenv("N4AX_ARITHMETIC", arithmetic)
        assert main(words) == 0
        found.append(read("nu0.mgz"))
    np.testing.assert_array_equal(found[0], found[1])
    assert not np.array_equal(found[0], found[2])
    np.testing.assert_allclose(found[0], found[2], rtol=1e-4)

    def refuse() -> None:
        raise InputError("{arithmetic} is 'itk', but this is another system")

    monkeypatch.setattr(libm, "check_platform", refuse)
    monkeypatch.setattr("n4ax.engines.itk.estimation.check_platform", refuse)
    monkeypatch.setenv("N4AX_ARITHMETIC", "")
    capfd.readouterr()
    assert main(words) == 0
    np.testing.assert_array_equal(read("nu0.mgz"), found[2])
    out, err = capfd.readouterr()
    assert out == DONE
    assert err.startswith(f"{NAME} (n4ax): warning: the last digits of FreeSurfer's result")
    assert len(err.splitlines()) == 1
    monkeypatch.setenv("N4AX_ARITHMETIC", "itk")
    assert main(words) == 1
    assert "error: N4AX_ARITHMETIC is 'itk', but" in capfd.readouterr().err


# ---- zeros and types -------------------------------------------------------------------------


def draw_one_by_one(seed: int, count: int) -> list[float]:
    state, found = (seed << 16) + 0x330E, []
    for _ in range(count):
        state = (0x5DEECE66D * state + 0xB) % 2**48
        found.append(state / 2**48)
    return found


@pytest.mark.parametrize("count", [0, 1, 2, 3, 1000])
def test_random_numbers_are_those_of_posix(count: int) -> None:
    assert draw(53, count).tolist() == draw_one_by_one(53, count)
    # The first numbers after srand48(0), as printed by the C library of GNU.
    assert draw(0, 3).tolist() == pytest.approx([0.170828, 0.749902, 0.096372], abs=1e-6)


@pytest.mark.parametrize("remask", ["0", "1"])
def test_zeros_are_replaced_by_the_numbers_of_freesurfer(
    remask: str, orig: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    voxels = orig.astype(np.float32)
    voxels[10, 10, 10], voxels[11, 10, 10], voxels[12, 10, 10] = -3, 5e-7, 2e-6
    nib.save(nib.MGHImage(voxels, AFFINE), "dark.mgz")
    zeros = [at for at in np.ndindex(voxels.shape) if voxels[at] < 1e-6]  # the last axis is fastest
    numbers = iter(draw_one_by_one(53, len(zeros)))
    for at in zeros:
        voxels[at] = float(np.float32(0.1)) + float(np.float32(1.7)) * next(numbers)
    words = ["-i", "dark.mgz", "-o", "nu0.mgz", *QUICK, "--replace-zeros", "0.1", "1.7", remask]
    assert main(words) == 0
    assert capfd.readouterr().out == f"Zeros replaced: {len(zeros)}\n{DONE}"
    expected = replay(voxels, [3, 2])
    if remask == "1":
        expected[tuple(np.transpose(zeros))] = 0
    np.testing.assert_array_equal(read("nu0.mgz"), expected)
    np.testing.assert_array_equal(read("dark.mgz")[10, 10, 10], -3)


def test_whole_numbers_are_rounded_and_clipped() -> None:
    values = np.array([-0.6, 0.5, 1.5, 2.49999, 0.49999997, 254.5, 255.4, 300], np.float32)
    assert convert_voxels(values, "uint8").tolist() == [0, 1, 2, 2, 0, 255, 255, 255]
    values = np.array([-2.5, -1.4, 1.5, 8388607.5, 3e9, -3e9], np.float32)
    assert convert_voxels(values, "int32").tolist() == [-3, -1, 2, 8388608, 2**31 - 1, -(2**31)]


@pytest.mark.parametrize(("word", "kind"), [("int", np.int32), ("UCHAR", np.uint8)])
@pytest.mark.parametrize("output", ["nu0.nii.gz", "nu0.mgz", "nu0.mha"])
def test_formats_and_types(word: str, kind: Any, output: str, orig: Any) -> None:
    assert main(["-i", "orig.mgz", "-o", output, *QUICK, "-d", word]) == 0
    whole = np.floor(replay(orig, [3, 2]).astype(np.float64) + 0.5)
    if kind is np.uint8:
        whole = np.clip(whole, 0, 255)
    if output.endswith(".mha"):
        image = sitk.ReadImage(output)
        found = sitk.GetArrayFromImage(image).T
        np.testing.assert_allclose(image.GetSpacing(), SIZES, rtol=1e-6)
    else:
        found = read(output)
        np.testing.assert_allclose(nib.load(output).affine, AFFINE, atol=1e-5)
    assert found.dtype.newbyteorder("=") == kind
    np.testing.assert_array_equal(found, whole)


def test_a_series_of_one_volume_keeps_its_shape(orig: Any) -> None:
    nib.save(nib.Nifti1Image(orig[..., None], AFFINE), "one.nii")
    for name in ("one.nii", "orig.mgz"):
        assert main(["-i", name, "-o", f"nu0_{name}", *QUICK]) == 0
    assert read("nu0_one.nii").shape == (*orig.shape, 1)
    np.testing.assert_array_equal(read("nu0_one.nii")[..., 0], read("nu0_orig.mgz"))


# ---- errors ----------------------------------------------------------------------------------

REFUSED = {
    "-i orig.mgz": "the following arguments are required: -o/--output",
    "-o nu0.mgz": "the following arguments are required: -i/--input",
    "-i missing.mgz -o nu0.mgz": "missing.mgz does not exist",
    "-i missing.mgz -o nu0.xyz": "missing.mgz does not exist",
    "-i series.mgz -o nu0.mgz": "-i series.mgz is a series of 3 volumes; expected one",
    "-i text.mgz -o nu0.mgz": "text.mgz cannot be read",
    "-i text.mif -o nu0.mgz": "convert it first: mrconvert text.mif text.nii.gz",
    "-i orig.mgz -o nu0.xyz": "-o nu0.xyz: expected a name ending in .nii.gz",
    "-i orig.mgz -o nowhere/nu0.mgz": "nowhere",
    "-i orig.mgz -o nu0.mgz -d double": "argument -d/--dtype: invalid choice: 'double'",
    "-i orig.mgz -o nu0.mgz -s 2.5": "argument -s/--shrink: invalid int value: '2.5'",
    "-i orig.mgz -o nu0.mgz -s 0": "-s is 0",
    "-i orig.mgz -o nu0.mgz -t": "argument -t/--iters: expected at least one argument",
    "-i orig.mgz -o nu0.mgz -e 0": "-e is 0; expected a whole number of at least 1 and at most",
    "-i orig.mgz -o nu0.mgz -r 0 1": "argument -r/--replace-zeros: expected 3 arguments",
    "-i orig.mgz -o nu0.mgz --dty uchar": "unrecognized arguments: --dty uchar",
    "-i orig.mgz -o nu0.mgz -x m.mgz": "-x is not taken, since this program corrects the "
    "whole image: for a mask call n4ax correct --mask",
    "-i orig.mgz -o nu0.mgz --mask m.mgz": "--mask is not taken",
    "-i orig.mgz -o nu0.mgz --rescale 110 seg.mgz 2": "--rescale is not taken",
}


@pytest.mark.parametrize("line", REFUSED)
def test_bad_input_ends_with_status_1_and_one_line(
    line: str, orig: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    Path("text.mgz").write_text("no image")
    Path("text.mif").write_text("no image")
    series = np.stack([orig] * 3, axis=-1)
    nib.save(nib.MGHImage(series, AFFINE), "series.mgz")
    before = sorted(os.listdir())
    assert main(line.split()) == 1
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith(f"{NAME} (n4ax): error: ")
    assert REFUSED[line] in err
    assert len(err.splitlines()) == 1
    assert sorted(os.listdir()) == before


def test_nothing_is_half_written(
    orig: Any, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EDQUOT, "Disk quota exceeded")

    Path("nu0.mgz").write_text("old")
    monkeypatch.setattr(os, "fsync", fail)
    assert main(["-i", "orig.mgz", "-o", "nu0.mgz", *QUICK]) == 1
    out, err = capfd.readouterr()
    assert (out, err) == ("", f"{NAME} (n4ax): error: nu0.mgz: Disk quota exceeded\n")
    assert Path("nu0.mgz").read_text() == "old"
    assert sorted(os.listdir()) == ["nu0.mgz", "orig.mgz"]


def test_help_and_version(capfd: pytest.CaptureFixture[str]) -> None:
    assert (main([]), main(["-h"]), main(["--help"]), main(["--version"])) == (1, 0, 0, 0)
    out = capfd.readouterr().out
    assert "--threads-nondetermistic N" in out
    assert f"{NAME} by n4ax" in out
    assert max(map(len, out.splitlines())) <= 80


# ---- the installed programs ------------------------------------------------------------------


def test_the_shim_is_found_on_path(orig: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    shim.install(Path("bin"))
    monkeypatch.setenv("PATH", f"{Path('bin').resolve()}{os.pathsep}{os.environ['PATH']}")
    Path("n4ax").mkdir()  # a folder of the user, which is not imported
    Path("n4ax", "__init__.py").touch()
    check_program(NAME, orig)
    done = subprocess.run([NAME, "-i", "a.mgz", "-o", "b.mgz"], capture_output=True, check=False)
    assert done.returncode == 1
    assert b"a.mgz does not exist" in done.stderr


def test_the_program_is_installed(orig: Any) -> None:
    program = Path(sys.executable).parent / f"n4ax-{NAME}"
    if not program.exists():
        pytest.skip("the package was installed before it had this program")
    check_program(str(program), orig)


def check_program(program: str, voxels: Any) -> None:
    words = ["-i", "orig.mgz", "-o", "nu0.mgz", *QUICK, "--dtype", "uchar"]
    done = subprocess.run([program, *words], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == (DONE, "")
    expected = np.floor(np.clip(replay(voxels, [3, 2]), 0, 255).astype(np.float64) + 0.5)
    np.testing.assert_array_equal(read("nu0.mgz"), expected)


@pytest.mark.parametrize("number", ["nan", "inf", "1e300"])
def test_a_number_that_no_voxel_can_hold_replaces_no_zeros(
    number: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["-i", "i.nii", "-o", "o.nii", "-r", number, "1", "1"]
    assert main(words) == 1
    assert "-r has " in capsys.readouterr().err
