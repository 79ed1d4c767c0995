"""The command line: good paths, bad input, interrupts, and what it prints."""

import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import nibabel as nib
import numpy as np
import numpy.typing as npt
import pytest

import n4ax
from n4ax.ants.options import read_options
from n4ax.cli import main, n4ax_command
from tests.support import documents

AFFINE = np.diag([2.0, 2.0, 2.5, 1.0])
AFFINE[:3, 3] = -20, -18, -15
QUICK = ["--iterations", "3x2", "--threshold", "0"]


def phantom(shape: tuple[int, ...] = (24, 20, 16)) -> npt.NDArray[np.int16]:
    at = np.stack(np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij"))
    radius = np.sqrt((at**2).sum(axis=0))
    tissue = np.select([radius < 0.5, radius < 0.9], [800.0, 400.0], 20.0)
    noise = np.random.default_rng(0).normal(0, 8, shape)
    return np.rint(np.maximum(tissue * np.exp(0.3 * at[0]) + noise, 1)).astype(np.int16)


def save(path: Path, voxels: npt.NDArray[Any], affine: npt.NDArray[Any] = AFFINE) -> Path:
    nib.save(nib.Nifti1Image(voxels, affine), path)
    return path


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    return save(tmp_path / "scan.nii.gz", phantom())


def run(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """Run with bad input; the one line on standard error."""
    before = sorted(Path(str(arguments[1])).parent.glob("*")) if len(arguments) > 1 else []
    assert run(*arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(r"n4ax: error: [^\n]+\n", err), err
    if before:
        assert sorted(Path(str(arguments[1])).parent.glob("*")) == before
    return err


def voxels_of(path: Path) -> npt.NDArray[Any]:
    return np.asarray(nib.load(path).dataobj)


# ---- good paths ------------------------------------------------------------------------------


def test_correct_writes_what_the_library_finds(scan: Path, tmp_path: Path) -> None:
    target, bias, field = tmp_path / "out.nii", tmp_path / "bias.nii.gz", tmp_path / "field.npz"
    assert run("correct", scan, "-o", target, "--bias", bias, "--field", field, *QUICK) == 0
    image = phantom().astype(np.float32)
    expected = n4ax.fit(image, iters=(3, 2), conv_threshold=0, voxel_order="F")
    assert np.array_equal(voxels_of(target), expected.corrected)
    assert nib.load(target).get_data_dtype() == np.float32
    np.testing.assert_allclose(voxels_of(bias), np.exp(expected.log_bias), rtol=1e-6)
    np.testing.assert_allclose(image / voxels_of(bias), voxels_of(target), rtol=1e-6)
    loaded = n4ax.BiasField.load(field)
    assert np.array_equal(loaded.evaluate(), expected.log_bias)
    np.testing.assert_allclose(loaded.affine, AFFINE)


def test_default_output_lies_beside_the_input(scan: Path, tmp_path: Path) -> None:
    assert run("correct", scan, "-q", *QUICK) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["scan.nii.gz", "scan_n4.nii.gz"]


def test_summary_is_one_paragraph_and_quiet_prints_nothing(
    scan: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("correct", scan, *QUICK) == 0
    out, err = capsys.readouterr()
    assert out.count("\n") == 1
    assert "24 x 20 x 16" in out
    assert "3 (iteration limit), 2 (iteration limit)" in out
    assert err == ""
    assert run("correct", scan, "-q", *QUICK) == 0
    assert capsys.readouterr() == ("", "")


def test_options_reach_the_solver(scan: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.nii.gz"
    options = ["--spline-distance", "30", "--shrink", "2", "--bins", "100", "--fwhm", "0.2",
               "--noise", "0.02", "--over-relax", "1.2", "--outside", "zero", "--mask", "otsu",
               "--threads", "1", "--spline-order", "2", "--engine", "cpu"]  # fmt: skip
    assert run("correct", scan, "-o", target, *QUICK, *options) == 0
    expected = n4ax.n4(
        phantom().astype(np.float32), "otsu", iters=(3, 2), conv_threshold=0, voxel_order="F",
        spline_distance=30, spacing=(2, 2, 2.5), shrink_factor=2, nbins=100, fwhm=0.2,
        wiener=0.02, over_relax=1.2, outside="zero", spline_order=2,
    )  # fmt: skip
    assert np.array_equal(voxels_of(target), expected)


def test_mesh_and_shrink_per_axis_follow_the_files_axes(scan: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.nii.gz"
    assert run("correct", scan, "-o", target, "--mesh", "1x2x3", "--shrink", "2x1x1", *QUICK) == 0
    expected = n4ax.n4(
        phantom().astype(np.float32), iters=(3, 2), conv_threshold=0, voxel_order="F",
        mesh=(1, 2, 3), shrink_factor=(2, 1, 1),
    )  # fmt: skip
    assert np.array_equal(voxels_of(target), expected)


def test_presets_start_from_other_programs_defaults(scan: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.nii.gz"
    assert run("correct", scan, "-o", target, "--preset", "ants", "--iterations", "4") == 0
    expected = n4ax.n4(
        phantom().astype(np.float32), "all", iters=(4,), conv_threshold=0, shrink_factor=4,
        mesh=1, voxel_order="F",
    )  # fmt: skip
    assert np.array_equal(voxels_of(target), expected)


def test_the_fast_preset_accelerates(
    scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target, image = tmp_path / "out.nii.gz", phantom().astype(np.float32)
    assert run("correct", scan, "-o", target, "--preset", "fast") == 0
    fast = {**n4ax.N4Settings.fast().keywords(), "voxel_order": "F"}
    assert np.array_equal(voxels_of(target), n4ax.n4(image, **fast))
    assert run("correct", scan, "-o", target, "--preset", "fast", "--no-accelerate") == 0
    assert np.array_equal(voxels_of(target), n4ax.n4(image, **fast | {"accelerate": False}))
    capsys.readouterr()
    message = refused(capsys, "correct", scan, "--accelerate")
    assert "--threshold 0, or do not accelerate" in message


def test_a_distance_takes_the_place_of_a_presets_mesh(scan: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.nii.gz"
    options = ["--preset", "ants", "--iterations", "4", "--spline-distance", "30", "--shrink", "2"]
    assert run("correct", scan, "-o", target, *options) == 0
    expected = n4ax.n4(
        phantom().astype(np.float32), "all", iters=(4,), conv_threshold=0, shrink_factor=2,
        spline_distance=30, spacing=(2, 2, 2.5), voxel_order="F",
    )  # fmt: skip
    assert np.array_equal(voxels_of(target), expected)


@pytest.mark.parametrize("with_mask", [False, True])
def test_shrinking_takes_the_voxels_that_the_library_takes_on_oblique_images(
    tmp_path: Path, with_mask: bool
) -> None:
    path = Path(n4ax.__file__).parent / "data" / "head.nii.gz"
    head, target, mask = nib.load(path), tmp_path / "out.nii.gz", tmp_path / "mask.nii.gz"
    nib.save(nib.Nifti1Image(n4ax.otsu_mask(np.asarray(head.dataobj)), head.affine), mask)
    words = ["--mask", mask] if with_mask else []
    assert run("correct", path, "-o", target, "--shrink", "4", *words) == 0
    given = nib.load(mask) if with_mask else None
    expected = n4ax.n4(head, given, shrink_factor=4)
    assert np.array_equal(voxels_of(target), np.asarray(expected.dataobj))
    plain = n4ax.n4(np.asarray(head.dataobj), shrink_factor=4, voxel_order="F")
    assert not np.array_equal(voxels_of(target), plain)  # samples lie midway between voxels


def test_mask_file_label_and_weights(scan: Path, tmp_path: Path) -> None:
    image = phantom().astype(np.float32)
    labels = (image > 300).astype(np.uint8) + (image > 700)
    weights = np.linspace(0, 1, image.size).reshape(image.shape).astype(np.float32)
    mask = save(tmp_path / "mask.nii.gz", labels[..., None])
    trust = save(tmp_path / "weights.nii.gz", weights)
    target = tmp_path / "out.nii.gz"
    options = ["--mask", mask, "--mask-label", "2", "--weights", trust]
    assert run("correct", scan, "-o", target, *options, *QUICK) == 0
    expected = n4ax.n4(
        image, labels == 2, weights=weights, iters=(3, 2), conv_threshold=0, voxel_order="F"
    )
    assert np.array_equal(voxels_of(target), expected)


@pytest.mark.parametrize("shape", [(40, 36), (40, 36, 1), (24, 20, 16, 1), (12, 10, 8, 6)])
def test_two_to_four_dimensions_keep_their_shape(tmp_path: Path, shape: tuple[int, ...]) -> None:
    long = tuple(n for n in shape if n > 1)
    scan = save(tmp_path / "scan.nii.gz", phantom(long).reshape(shape))
    figure = tmp_path / "figure.png"
    target = tmp_path / "out.nii.gz"
    assert run("correct", scan, "-o", target, "--mask", "none", "--figure", figure, *QUICK) == 0
    assert nib.load(target).shape == nib.load(scan).shape
    assert figure.read_bytes().startswith(b"\x89PNG")
    expected = n4ax.n4(
        phantom(long).astype(np.float32), "all", iters=(3, 2), conv_threshold=0, voxel_order="F"
    )
    assert np.array_equal(voxels_of(target).reshape(long), expected)


def test_same_dtype_rounds_and_keeps_the_scaling(tmp_path: Path) -> None:
    made = nib.Nifti1Image(phantom(), AFFINE)
    made.header.set_slope_inter(0.5, 0)
    nib.save(made, tmp_path / "scan.nii.gz")
    target = tmp_path / "out.nii.gz"
    assert run("correct", tmp_path / "scan.nii.gz", "-o", target, "--dtype", "same", *QUICK) == 0
    exact = n4ax.n4(
        phantom().astype(np.float32) / 2, iters=(3, 2), conv_threshold=0, voxel_order="F"
    )
    result = nib.load(target)
    assert result.get_data_dtype() == np.int16
    assert np.abs(np.asarray(result.dataobj) - exact).max() <= 0.25 + 1e-4


def test_nonfinite_voxels_can_be_excluded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = phantom().astype(np.float32)
    image[12, 10, 8], image[12, 10, 9] = np.nan, np.inf
    scan = save(tmp_path / "scan.nii.gz", image)
    message = refused(capsys, "correct", scan, "--mask", "none", *QUICK)
    assert "2 NaN or infinite" in message
    assert "--nonfinite exclude" in message
    assert run("correct", scan, "--mask", "none", "--nonfinite", "exclude", "-q", *QUICK) == 0
    corrected = voxels_of(tmp_path / "scan_n4.nii.gz")
    assert np.isfinite(corrected).sum() == image.size - 2


def test_demo_writes_its_three_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("demo", "-o", tmp_path / "a" / "b") == 0
    names = sorted(path.name for path in (tmp_path / "a" / "b").iterdir())
    assert names == ["head_field.nii.gz", "head_n4.nii.gz", "head_n4.png"]
    assert "converged" in capsys.readouterr().out


# ---- bad input -------------------------------------------------------------------------------


def test_unreadable_input_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "text.nii.gz").write_text("no image")
    for name in ("missing.nii.gz", "text.nii.gz"):
        assert name in refused(capsys, "correct", tmp_path / name)


@pytest.mark.parametrize("shape", [(50,), (4, 4, 4, 4, 4)])
def test_one_and_five_dimensions_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], shape: tuple[int, ...]
) -> None:
    image = np.random.default_rng(0).random(shape).astype(np.float32)
    scan = save(tmp_path / "scan.nii", image)
    assert "expected 2, 3 or 4" in refused(capsys, "correct", scan)


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
            message = refused(capsys, "correct", scan, option, other)
            assert str(scan) in message
            assert str(other) in message
    assert "mask has no voxel other than 0" in refused(capsys, "correct", scan, "--mask", empty)
    assert "no positive voxel" in refused(capsys, "correct", scan, "--weights", empty)
    options = ["--mask", shifted.with_name("cut.nii"), "--mask-label", "3"]
    assert "shape" in refused(capsys, "correct", scan, *options)
    full = save(tmp_path / "full.nii", np.ones(phantom().shape, np.uint8))
    message = refused(capsys, "correct", scan, "--mask", full, "--mask-label", "3")
    assert "--mask-label 3" in message


def test_images_that_give_nothing_to_estimate_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    constant = save(tmp_path / "constant.nii", np.full((9, 9, 9), 7, np.int16))
    thin = save(tmp_path / "thin.nii", phantom((30, 30, 3)))
    assert "constant" in refused(capsys, "correct", constant, "--mask", "none")
    assert "a field needs 2" in refused(capsys, "correct", thin, "--shrink", "2")
    small = save(tmp_path / "small.nii", phantom((12, 12, 12)))
    message = refused(capsys, "correct", small, "--shrink", "8")
    assert "--shrink" in message
    assert "shrink_factor" not in message


def test_output_may_not_be_the_input(
    scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "link.nii.gz").symlink_to(scan)
    monkeypatch.chdir(tmp_path)
    for spelled in (scan, "scan.nii.gz", "./scan.nii.gz", tmp_path / "link.nii.gz"):
        for option in ("-o", "--bias"):
            assert "would overwrite the input" in refused(capsys, "correct", scan, option, spelled)
    mask = save(tmp_path / "mask.nii.gz", np.ones(phantom().shape, np.uint8))
    message = refused(capsys, "correct", scan, "--mask", mask, "-o", mask)
    assert "would overwrite the input" in message
    assert np.array_equal(voxels_of(scan), phantom())


def test_failure_of_a_later_output_leaves_none(
    scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(n4ax.BiasField, "save", fail)
    options = ["-o", tmp_path / "out.nii", "--field", tmp_path / "field.npz"]
    assert "No space left" in refused(capsys, "correct", scan, *options, *QUICK)


def test_output_names_and_folders_are_checked_before_the_work(
    scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "No such file" in refused(capsys, "correct", scan, "-o", tmp_path / "no" / "out.nii")
    assert "ending in .nii" in refused(capsys, "correct", scan, "-o", tmp_path / "out.png")
    two = ["-o", tmp_path / "x.nii", "--bias", tmp_path / "x.nii"]
    assert "two outputs" in refused(capsys, "correct", scan, *two)
    assert "folder" in refused(capsys, "correct", scan, "--figure", tmp_path)


@pytest.mark.parametrize(("number", "words"), [(28, "No space left"), (30, "Read-only file")])
def test_full_and_read_only_disks_leave_nothing(
    scan: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    words: str,
) -> None:
    import os

    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "replace", fail)
    message = refused(capsys, "correct", scan, *QUICK)
    assert words in message
    assert "scan_n4.nii.gz" in message


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--iterations", "fifty"], "--iterations"),
        (["--iterations", "10x-1"], "--iterations"),
        (["--mesh", "1x1"], "mesh"),
        (["--spline-order", "7"], "--spline-order"),
        (["--spline-distance", "-3"], "--spline-distance"),
        (["--bins", "1"], "--bins"),
        (["--noise", "-1"], "--noise"),
        (["--threads", "0"], "--threads"),
        (["--preset", "fsl"], "--preset"),
        (["--mesh", "1", "--spline-distance", "100"], "give one of them"),
        (["--engine", "gpu"], "'gpu' is not one of 'cpu', 'xla'"),
        (["--unknown"], "--unknown"),
        (["--mask", "nothing.nii"], "nothing.nii"),
    ],
)
def test_bad_options_are_named_as_options(
    scan: Path, capsys: pytest.CaptureFixture[str], options: list[str], words: str
) -> None:
    assert words in refused(capsys, "correct", scan, *options)


# ---- processes -------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_run_leaves_no_file(tmp_path: Path, number: signal.Signals) -> None:
    scan = save(tmp_path / "scan.nii.gz", phantom((60, 60, 60)))
    command = [sys.executable, "-m", "n4ax", "ants", "-i", str(scan), "-s", "1",
               "-c", "[9000x9000]", "-v", "1", "-o", str(tmp_path / "out.nii.gz")]  # fmt: skip
    pipe = subprocess.PIPE
    # A run in the background of a shell hands on that the signal is ignored.
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
    import os
    import pty

    lead, follow = pty.openpty()
    command = [sys.executable, "-m", "n4ax", "correct", str(scan), "--iterations", "300x300",
               "--threshold", "0"]  # fmt: skip
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


# ---- help ------------------------------------------------------------------------------------

COMMANDS = tuple(n4ax_command.commands)


def help_of(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert run(*words, "--help") == 0
    return capsys.readouterr().out


def examples_in(text: str) -> list[list[str]]:
    """The commands of a help, in words, as ``n4ax`` takes them."""
    lines = text.split("\nExamples:\n")[1].split("\n\n")[0].replace("\\\n", " ").splitlines()
    commands = [shlex.split(line.split(" && ")[0]) for line in lines]
    names = {"n4ax": [], "N4BiasFieldCorrection": ["ants"]}
    return [names[program] + [os.path.expanduser(word) for word in words]
            for program, *words in commands]  # fmt: skip


@pytest.fixture(scope="module")
def documented(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files that the examples name."""
    folder = tmp_path_factory.mktemp("documented")
    documents.write_files(folder)
    return folder


def test_help_loads_nothing_heavy() -> None:
    program = (
        "import sys; from n4ax.cli import main; status = main(sys.argv[1:]);"
        "heavy = {'numba', 'jax', 'nibabel', 'matplotlib', 'rich'} & set(sys.modules);"
        "assert not heavy, heavy; sys.exit(status)"
    )
    for words in ([], ["correct"], ["bids"], ["ants"]):
        subprocess.run([sys.executable, "-c", program, *words, "--help"], check=True)


@pytest.mark.parametrize("words", [(), *((name,) for name in COMMANDS)], ids=" ".join)
def test_help_fits_80_columns_and_has_examples_that_parse(
    documented: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(documented)
    (documented / "study" / "derivatives" / "n4ax").mkdir(exist_ok=True)
    text = help_of(capsys, *words)
    assert max(map(len, text.splitlines())) <= 80
    examples = examples_in(text)
    assert examples
    program = n4ax_command.make_context("n4ax", ["correct"])
    for name, *rest in examples:
        assert not words or name == words[0]
        if name == "ants":
            read_options(rest)
        else:
            n4ax_command.commands[name].make_context(name, rest, parent=program)


@pytest.mark.parametrize("name", ["correct", "ants", "shim", "demo"])
def test_examples_in_the_help_run(
    documented: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    monkeypatch.setenv("HOME", str(documented))
    monkeypatch.chdir(documented)
    for words in examples_in(help_of(capsys, name)):
        assert run(*words) == 0, capsys.readouterr().err


def test_help_lists_every_option_under_a_heading(capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("correct", "bids"):
        text = help_of(capsys, name)
        for parameter in n4ax_command.commands[name].params:
            if isinstance(parameter, click.Option):
                assert re.search(rf"^  .*{parameter.opts[-1]}\b", text, re.M), parameter
        unsorted = text.split("\nOther:\n")[1].split("\n\n")[0].splitlines()
        assert {line.split()[0] for line in unsorted} <= {"-q,", "-h,", "--version"}


def test_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--version") == 0
    assert n4ax.__version__ in capsys.readouterr().out


def test_both_engines_write_the_same_image(scan: Path, tmp_path: Path) -> None:
    written = []
    for engine in ("cpu", "xla"):
        output = tmp_path / f"{engine}.nii"
        assert run("correct", scan, "-o", output, "--engine", engine, "--iterations", "4x3") == 0
        written.append(np.asarray(nib.load(output).dataobj))
    np.testing.assert_allclose(written[1], written[0], rtol=1e-5)


def test_an_error_of_jax_is_one_line(
    scan: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import jax

    def fail(*_: object, **__: object) -> None:
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory")

    monkeypatch.setattr("n4ax.scan.fit_image", fail)
    assert "out of memory; try --engine cpu" in refused(capsys, "correct", scan)
