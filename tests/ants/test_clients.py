"""The shim, nipype and MRtrix3, which call N4BiasFieldCorrection, are run for real."""

import errno
import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from n4ax.ants import shim
from n4ax.cli import main as n4ax_main
from tests.support import ants
from tests.support.ants import SPACING, phantom


def test_shim_is_written_and_removed(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert n4ax_main(["shim", "bin"]) == 0
    assert "export PATH=" in capfd.readouterr().out
    program = folder / "bin" / "N4BiasFieldCorrection"
    assert program.stat().st_mode & stat.S_IXUSR
    done = subprocess.run(
        [program, *["-i", "im.nii.gz", "-c", "[2]", "-o", "out.nii.gz"]],
        capture_output=True,
        check=True,
    )
    assert done.stdout == done.stderr == b""
    assert nib.load("out.nii.gz").shape == (28, 26, 22)
    assert n4ax_main(["shim", "bin", "-q"]) == 0  # over the one that is there
    assert n4ax_main(["shim", "--remove", "bin"]) == 0
    assert list((folder / "bin").iterdir()) == []
    assert n4ax_main(["shim", "--remove", "bin"]) == 2


def test_shim_can_be_written_where_files_have_no_modes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "chmod", refuse)
    with pytest.raises(OSError, match="cannot be run: choose another folder"):
        shim.install(tmp_path)
    monkeypatch.setattr(os, "access", lambda *_: True)  # as on CIFS, where all files can be run
    assert all(path.exists() for path in shim.install(tmp_path))


def test_modules_of_the_working_folder_are_not_run(shimmed: Path) -> None:
    (shimmed / "copy.py").write_text("raise SystemExit('a file of the user was run')")
    (shimmed / "n4ax").mkdir()
    (shimmed / "n4ax" / "__init__.py").touch()
    command = ["N4BiasFieldCorrection", "-i", "im.nii.gz", "-c", "[2]", "-o", "out.nii.gz"]
    assert subprocess.run(command, check=False).returncode == 0
    pytest.importorskip("nipype", reason="nipype is not installed")
    from n4ax.nipype import N4BiasFieldCorrection

    assert " -P -m n4ax.ants" in N4BiasFieldCorrection(input_image="im.nii.gz").cmdline


@pytest.mark.parametrize("name", shim.PROGRAMS)
def test_shim_leaves_other_programs_alone(name: str, tmp_path: Path) -> None:
    other = tmp_path / name
    other.write_text("another program")
    for call in (shim.install, shim.remove):
        with pytest.raises(ValueError, match=f"{name}.* not written by n4ax"):
            call(tmp_path)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["another program"]
    other.unlink()
    ours = shim.install(tmp_path)
    other.write_text("another program")
    assert shim.remove(tmp_path) == [path for path in ours if path != other]
    assert [path.read_text() for path in tmp_path.iterdir()] == ["another program"]


@pytest.fixture
def shimmed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of small images, with the shim first on PATH."""
    shim.install(folder / "bin")
    monkeypatch.setenv("PATH", f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}")
    return folder


NIPYPE: list[dict[str, Any]] = [
    {"save_bias": True, "dimension": 3, "n_iterations": [6, 5], "shrink_factor": 1},
    {
        "mask_image": "mask.nii.gz", "rescale_intensities": True, "copy_header": True,
        "n_iterations": [6], "shrink_factor": 2,
    },
    {
        "weight_image": "mask.nii.gz", "bspline_fitting_distance": 40.0, "bspline_order": 3,
        "n_iterations": [5, 4], "convergence_threshold": 1e-7, "shrink_factor": 2,
        "bias_image": "b.nii.gz", "copy_header": True, "histogram_sharpening": (0.14, 0.02, 150),
    },
]  # fmt: skip


@pytest.mark.parametrize(
    ("inputs", "ours"),
    [
        (NIPYPE[0], True),
        *[pytest.param(inputs, True, marks=pytest.mark.slow) for inputs in NIPYPE[1:]],
        *[pytest.param(inputs, False, marks=pytest.mark.slow) for inputs in NIPYPE],
    ],
)
def test_nipype_runs_it(inputs: dict[str, Any], ours: bool, shimmed: Path) -> None:
    interfaces = pytest.importorskip("nipype.interfaces.ants", reason="nipype is not installed")
    if ours:
        from n4ax.nipype import N4BiasFieldCorrection
    else:
        N4BiasFieldCorrection = interfaces.N4BiasFieldCorrection
    made = nib.load("im.nii.gz")
    integers = nib.Nifti1Image((made.get_fdata() * 10).astype(np.int16), made.affine)
    integers.header.set_slope_inter(0.1, 0)
    integers.header["descrip"] = b"as the scanner wrote it"
    nib.save(integers, "im.nii.gz")
    node = N4BiasFieldCorrection(input_image="im.nii.gz", **inputs)
    outputs = node.run().outputs
    written = [outputs.output_image]
    if "save_bias" in inputs or "bias_image" in inputs:
        written.append(outputs.bias_image)
    mine = [nib.load(path).get_fdata() for path in written]
    first = nib.load(written[0])
    copied = first.get_data_dtype() == np.int16
    assert copied == inputs.get("copy_header", False)
    if copied:
        assert bytes(first.header["descrip"]).startswith(b"as the scanner wrote it")
    words = node.cmdline.split()
    words = words[words.index("n4ax.ants") + 1 if ours else 1 :]
    ants.run(*words)
    for path, image in zip(written, mine, strict=True):
        # copy_header converts our image to integers after the run, where a half may round
        # the other way.
        step = 0.1 if copied and path == written[0] else 0.0
        np.testing.assert_allclose(image, nib.load(path).get_fdata(), rtol=2e-5, atol=step)


def test_nipype_runs_it_on_files_with_odd_names(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("nipype", reason="nipype is not installed")
    from n4ax.nipype import N4BiasFieldCorrection

    place = folder / "a study (t-test)"
    place.mkdir()
    image = place / "t'1 (2).nii.gz"
    image.write_bytes(Path("im.nii.gz").read_bytes())
    monkeypatch.chdir(place)
    quick: dict[str, Any] = {"n_iterations": [2], "shrink_factor": 4, "mask_image": str(image)}
    for names, written in (
        ({"save_bias": True}, ("output_image", "bias_image")),
        (
            {"output_image": "c d, e.nii.gz", "bias_image": str(place / "[b] 1.nii.gz")},
            ("output_image", "bias_image"),
        ),
        ({"output_image": "(c) 'd'.nii"}, ("output_image",)),
    ):
        outputs = N4BiasFieldCorrection(input_image=str(image), **names, **quick).run().outputs
        for name in written:
            path = Path(getattr(outputs, name))
            assert path.parent == place
            assert nib.load(path).shape == (28, 26, 22)


def test_nipypes_interface_is_swapped_by_an_import() -> None:
    interfaces = pytest.importorskip("nipype.interfaces.ants", reason="nipype is not installed")
    from n4ax.nipype import N4BiasFieldCorrection

    theirs, ours = interfaces.N4BiasFieldCorrection(), N4BiasFieldCorrection()
    assert ours.inputs.get() == theirs.inputs.get()
    assert ours.output_spec is theirs.output_spec


READ = """
import json, os, shutil, sys
from n4ax.ants.options import read_options
options = read_options(sys.argv[1:])
shutil.copy(options.image, options.corrected)
print(json.dumps([options.settings.arithmetic, options.settings.itk_threads]))
"""
"""A program that takes ANTs' options, and tells in which arithmetic it would compute."""


@pytest.mark.parametrize(
    ("inputs", "variables", "expected"),
    [
        ({"num_threads": 4}, {}, ["limit", None]),
        ({"num_threads": 4}, {"N4AX_ARITHMETIC": "itk"}, ["itk", 4]),
        ({"num_threads": 4, "environ": {"N4AX_ARITHMETIC": "itk"}}, {}, ["itk", 4]),
        ({}, {"N4AX_ARITHMETIC": "itk"}, ["itk", 1]),  # nipype's default
        (
            {"num_threads": 4},
            {"N4AX_ARITHMETIC": "itk", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": "2"},
            ["itk", 2],  # ITK itself looks at nipype's number first, and then at this one
        ),
        (
            {"num_threads": -1},
            {"N4AX_ARITHMETIC": "itk", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": "2"},
            ["itk", 2],
        ),
    ],
)
def test_threads_of_nipype_are_those_of_itk(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    inputs: dict[str, Any],
    variables: dict[str, str],
    expected: list[Any],
) -> None:
    pytest.importorskip("nipype", reason="nipype is not installed")
    from n4ax.nipype import N4BiasFieldCorrection

    for name in ("N4AX_ARITHMETIC", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS", "NSLOTS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    (folder / "read.py").write_text(READ)

    class Reader(N4BiasFieldCorrection):
        _cmd = N4BiasFieldCorrection._cmd.replace("-P -m n4ax.ants", "read.py")

    done = Reader(input_image="im.nii.gz", terminal_output="allatonce", **inputs).run()
    assert json.loads(done.runtime.stdout) == expected


@pytest.mark.slow
def test_dwibiascorrect_of_mrtrix_runs_it(shimmed: Path) -> None:
    if shutil.which("dwibiascorrect") is None:
        pytest.skip("MRtrix3 is not installed (Debian: apt-get install mrtrix3)")
    affine = np.diag([*SPACING, 1.0])
    b0 = phantom((40, 38, 30))
    series = np.stack([b0, b0 * 0.5, b0 * 0.45, b0 * 0.55, b0 * 0.4, b0 * 0.5, b0 * 0.6], axis=-1)
    nib.save(nib.Nifti1Image(series, affine), "dwi.nii")
    directions = np.vstack([np.zeros(3), np.eye(3), -np.eye(3)])
    np.savetxt("bvecs", directions.T)
    np.savetxt("bvals", [[0] + [1000] * 6])
    inside = np.zeros(b0.shape, np.uint8)
    inside[4:-4, 4:-4, 3:-3] = 1
    nib.save(nib.Nifti1Image(inside, affine), "inside.nii")
    command = (
        "dwibiascorrect ants dwi.nii out.nii -bias field.nii -mask inside.nii "
        "-fslgrad bvecs bvals -force"
    )
    found = {}
    for name in ("n4ax", "ants"):
        if name == "ants":
            program = shimmed / "bin" / "N4BiasFieldCorrection"
            program.write_text(f"#!/bin/sh\nexec '{sys.executable}' '{ants.PROGRAM}' \"$@\"\n")
        done = subprocess.run(
            [*command.split(), "-scratch", name],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        found[name] = [nib.load(path).get_fdata() for path in ("out.nii", "field.nii")]
    for ours, theirs in zip(*found.values(), strict=True):
        difference = np.abs(ours / theirs - 1)[inside != 0]
        assert difference.mean() <= 1e-5
        assert difference.max() <= 5e-5
