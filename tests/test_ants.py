"""The ANTs door: command line, text, files, ANTsPy's functions, shim and nipype."""

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
import pytest

import n4ax.ants
from n4ax.ants import grammar, shim
from n4ax.ants.options import options_of
from n4ax.ants.program import main
from n4ax.cli import main as n4ax_main
from tests import ants

SPACING = (2.0, 2.0, 2.5)


def phantom(shape: tuple[int, ...] = (28, 26, 22), seed: int = 0) -> npt.NDArray[np.float32]:
    random = np.random.default_rng(seed)
    at = np.stack(np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij"))
    radius = np.sqrt((at[:3] ** 2).sum(axis=0))
    tissue = np.select([radius < 0.4, radius < 0.8], [300.0, 180.0], 40.0)
    return (tissue * np.exp(0.3 * at[0]) + random.normal(0, 2, shape)).astype(np.float32)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with an image, masks on its grid and on others, and a series."""
    affine = np.diag([*SPACING, 1.0])
    image = phantom()
    inside = np.zeros(image.shape, np.uint8)
    inside[3:-3, 3:-3, 2:-2] = 1
    shifted = affine.copy()
    shifted[0, 3] += 0.7
    nearly = affine.copy()
    nearly[0, 3] += 1e-4
    for name, voxels, where in (
        ("im.nii.gz", image, affine),
        ("neg.nii.gz", image - 60, affine),
        ("mask.nii.gz", inside, affine),
        ("empty.nii.gz", inside * 0, affine),
        ("shifted.nii.gz", inside, shifted),
        ("nearly.nii.gz", inside, nearly),
        ("smaller.nii.gz", inside[1:], affine),
        ("flat.nii.gz", image[:, :, 9], affine),
        ("series.nii.gz", np.stack([image, image * 1.1, image * 0.9], axis=-1), affine),
    ):
        nib.save(nib.Nifti1Image(voxels, where), tmp_path / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


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
    "-c [+2,-1]": {"iters": (2,), "conv_threshold": -1.0},
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
    "-c [2] stray": {"iters": (50,), "conv_threshold": 0.001},
    "-b 200": {"mesh": 1, "spline_distance": None},
    "-t 0.2": {"fwhm": 0.15},
}


@pytest.mark.parametrize("line", GOOD)
def test_options_are_read_as_ants_reads_them(line: str) -> None:
    settings = options_of(f"-d 3 -i im.nii -o out.nii {line}".split()).settings
    assert {name: getattr(settings, name) for name in GOOD[line]} == GOOD[line]


def test_files_and_switches() -> None:
    options = options_of(
        ["-i", "a.nii", "-x", "m.nii", "-w", "w.nii", "-o", "[", "c.nii", ",", "b.nii", "]", "-v"]
    )
    assert (options.image, options.mask, options.weights) == (
        *map(Path, ("a.nii", "m.nii", "w.nii")),
    )
    assert (options.corrected, options.bias) == (Path("c.nii"), Path("b.nii"))
    assert options.verbose
    assert options.rescale  # the default where there is a mask
    assert options.dimension is None
    assert not options_of(
        ["-i", "a.nii", "-x", "m.nii", "-r", "0", "-o", "c.nii", "-v", "0"]
    ).rescale
    assert not options_of(["-i", "a.nii", "-o", "c.nii", "-r"]).rescale
    assert options_of(["-i", "with (brackets) {2}.nii", "-o", "c.nii"]).image.name.startswith(
        "with"
    )


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("-c 2x2", "without brackets it runs one level of at most 50"),
        ("-b 200", r"-b \[200\] for what it seems to say"),
        ("-t 0.2", "-t 0.2 is ignored"),
        ("-r", "-r is ignored"),
        ("-c [2] stray", "takes its last value, 'stray'"),
    ],
)
def test_what_ants_ignores_is_ignored_with_a_warning(line: str, words: str) -> None:
    options = options_of(f"-d 3 -i im.nii -o out.nii {line}".split())
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
    "-x empty.nii.gz": "the mask (-x) is empty",
    "-o nowhere/out.nii.gz": "nowhere",
    "-o out.xyz": "expected a name ending in .nii or .nii.gz",
    "-i missing.nii.gz": "missing.nii.gz does not exist",
    "-d 4": "has 3 axes",
}
"""What ANTs refuses with status 1 (seen), and what it should say."""

SAFER = {
    "-c [2 -o out.nii.gz": "has no closing bracket",  # ANTs drops the rest of the line
    "-x missing.nii.gz": "missing.nii.gz does not exist",  # ANTs goes on without a mask
    "-o": "no output",  # ANTs writes nothing
    "-o [out.nii.gz,out.nii.gz]": "for both outputs",
    "-x mask.nii.gz -o mask.nii.gz": "would overwrite the mask",
    "-b [1x1x1,6]": "splines of order 6",
}
"""Where ANTs goes on, and a user would not have wanted it to."""


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


@pytest.mark.parametrize("line", ["-Q 3", "-c [2.5]", "-b [2x2,3]", "-x shifted.nii.gz", "-d 5"])
def test_ants_refuses_it_with_the_same_status(line: str, folder: Path) -> None:
    assert ants.once(*f"-d 3 -i im.nii.gz -o out.nii.gz -c [1] {line}".split()).returncode == 1


def test_no_arguments_print_the_options_with_status_1(capfd: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run("", capfd)
    assert status == 1
    assert all(flag in out for flag in ("-d", "-i", "-x", "-r", "-w", "-s", "-c", "-b", "-t", "-o"))
    assert run("--help", capfd)[0] == run("-h", capfd)[0] == run("--version", capfd)[0] == 0
    assert run("-v 1", capfd)[0] == 1


def test_brackets_of_a_file_name_are_its_own() -> None:
    assert grammar.Value.of("scan(1).nii") == ("scan(1).nii", None)


# ---- what it prints and writes ---------------------------------------------------------------


def test_it_prints_the_lines_of_ants(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    line = "-d 3 -i neg.nii.gz -b [30] -s 2 -c [3x2,1e-7] -o out.nii.gz -v 1"
    _, ours, _ = run(line, capfd)
    theirs = ants.once(*line.split()).stdout
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
        if mine != other:  # the last digit of a measure may differ
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


def test_headers_that_differ_by_rounding_are_worked_with(
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


def test_threads_are_those_of_itks_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    from n4ax.ants.program import _threads

    monkeypatch.setenv("NSLOTS", "3")
    assert _threads() == 3
    monkeypatch.setenv("ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS", "2")
    assert _threads() == 2


# ---- ANTsPy's functions ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def antspy() -> Any:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("ants")


KEYWORDS: list[dict[str, Any]] = [
    {"convergence": {"iters": [4, 4], "tol": 1e-7}},
    {"convergence": {"iters": [5], "tol": 0}, "spline_param": 40, "shrink_factor": 2},
    {
        "convergence": {"iters": [5], "tol": 0}, "spline_param": (2, 1, 2), "shrink_factor": 3,
        "rescale_intensities": True,
    },
]  # fmt: skip


@pytest.mark.parametrize("keywords", KEYWORDS)
@pytest.mark.parametrize("return_bias_field", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_function_gives_the_images_of_antspy(
    antspy: Any, keywords: dict[str, Any], return_bias_field: bool, masked: bool
) -> None:
    image = antspy.from_numpy(phantom(), spacing=SPACING, origin=(3.0, -20.0, 7.0))
    keywords = {**keywords, "return_bias_field": return_bias_field}
    if masked:
        inside = np.zeros(image.shape, np.float32)
        inside[3:-3, 3:-3, 2:-2] = 1
        keywords["mask"] = image.new_image_like(inside)
        keywords["weight_mask"] = image.new_image_like(inside * 0.5)
    expected = antspy.n4_bias_field_correction(image, **keywords)
    ours = n4ax.ants.n4_bias_field_correction(image, **keywords)
    assert isinstance(ours, type(image))
    assert antspy.image_physical_space_consistency(ours, image)
    np.testing.assert_allclose(ours.numpy(), expected.numpy(), rtol=2e-5)


def test_function_works_on_arrays_and_nibabel_images(capsys: pytest.CaptureFixture[str]) -> None:
    image = phantom()
    keywords: dict[str, Any] = {"convergence": {"iters": [3], "tol": 0}, "spline_param": 40}
    by_array = n4ax.ants.n4_bias_field_correction(image, spacing=SPACING, **keywords)
    scan = nib.Nifti1Image(image, np.diag([*SPACING, 1.0]))
    by_scan = n4ax.ants.n4_bias_field_correction(scan, verbose=True, **keywords)
    assert "Iteration 3 (of 3)" in capsys.readouterr().out
    assert isinstance(by_scan, nib.Nifti1Image)
    np.testing.assert_allclose(np.asarray(by_scan.dataobj), by_array, rtol=1e-4)
    assert by_array.dtype == np.float32


def test_signatures_are_antspys(antspy: Any) -> None:
    import inspect

    for name in ("n4_bias_field_correction", "abp_n4"):
        theirs = inspect.signature(getattr(antspy, name)).parameters
        ours = inspect.signature(getattr(n4ax.ants, name)).parameters
        for parameter in theirs.values():
            default = ours[parameter.name].default
            assert list(ours).index(parameter.name) == list(theirs).index(parameter.name)
            same = dict(default) if parameter.name == "convergence" else default
            assert same == parameter.default


def test_abp_n4_truncates_as_antspy_does(antspy: Any) -> None:
    voxels = phantom((72, 68, 60))
    voxels[:6] = 0
    image = antspy.from_numpy(voxels)
    inside = image.new_image_like((voxels > 0).astype(np.float32))
    ours = n4ax.ants.abp_n4(image, mask=inside).numpy()
    theirs = antspy.abp_n4(image, mask=inside).numpy()
    assert ours.min() == pytest.approx(theirs.min(), rel=1e-6)
    np.testing.assert_allclose(ours, theirs, rtol=2e-3)
    from n4ax.ants.functions import _quantiles

    for lower, upper, bins in ((0.01, 0.999, 256), (0.05, 0.6, 64)):
        cut = antspy.iMath(image, "TruncateIntensity", lower, upper, bins).numpy()
        found = _quantiles(voxels, lower, upper, bins)
        assert found == pytest.approx((cut.min(), cut.max()), rel=1e-6)
    with pytest.raises(ValueError, match="usen3"):
        n4ax.ants.abp_n4(image, usen3=True)


@pytest.mark.parametrize(
    ("keywords", "words"),
    [
        ({"mask": np.ones((3, 3, 3))}, "mask has shape"),
        ({"mask": np.zeros((28, 26, 22))}, "mask is empty"),
        ({"spline_param": (1, 2)}, "3 mesh elements"),
        ({"image": phantom() * 1j}, "image has dtype complex"),
        ({"shrink_factor": 30}, "a field needs 2"),
    ],
)
def test_functions_name_what_is_wrong(keywords: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        n4ax.ants.n4_bias_field_correction(**{"image": phantom(), **keywords})


# ---- shim, nipype, MRtrix --------------------------------------------------------------------


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
    assert n4ax_main(["shim", "bin", "-q"]) == 0  # again
    assert n4ax_main(["shim", "--remove", "bin"]) == 0
    assert not program.exists()
    assert n4ax_main(["shim", "--remove", "bin"]) == 2


def test_shim_leaves_other_programs_alone(tmp_path: Path) -> None:
    other = tmp_path / shim.NAME
    other.write_text("ANTs")
    for call in (shim.install, shim.remove):
        with pytest.raises(ValueError, match="not by n4ax"):
            call(tmp_path)
    assert other.read_text() == "ANTs"


@pytest.fixture
def shimmed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose program is first on PATH."""
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


@pytest.mark.parametrize("ours", [False, True])
@pytest.mark.parametrize("inputs", NIPYPE)
def test_nipype_runs_it(inputs: dict[str, Any], ours: bool, shimmed: Path) -> None:
    interfaces = pytest.importorskip("nipype.interfaces.ants", reason="nipype is not installed")
    if ours:
        from n4ax.nipype import N4BiasFieldCorrection
    else:
        N4BiasFieldCorrection = interfaces.N4BiasFieldCorrection
    node = N4BiasFieldCorrection(input_image="im.nii.gz", **inputs)
    outputs = node.run().outputs
    written = [outputs.output_image]
    if "save_bias" in inputs or "bias_image" in inputs:
        written.append(outputs.bias_image)
    mine = [nib.load(path).get_fdata() for path in written]
    words = node.cmdline.split()
    words = words[words.index("n4ax.ants") + 1 if ours else 1 :]
    done = ants.once(*words)
    assert done.returncode == 0, done.stderr
    for path, image in zip(written, mine, strict=True):
        np.testing.assert_allclose(image, nib.load(path).get_fdata(), rtol=2e-5)


def test_nipypes_interface_is_swapped_by_an_import() -> None:
    interfaces = pytest.importorskip("nipype.interfaces.ants", reason="nipype is not installed")
    from n4ax.nipype import N4BiasFieldCorrection

    theirs, ours = interfaces.N4BiasFieldCorrection(), N4BiasFieldCorrection()
    assert ours.inputs.get() == theirs.inputs.get()
    assert ours.output_spec is theirs.output_spec


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
            program = shimmed / "bin" / shim.NAME
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


# ---- series ----------------------------------------------------------------------------------


def correct_series(*options: str) -> int:
    settings = ["--mask", "none", "--iterations", "4x4", "--threshold", "0", "--shrink", "2", "-q"]
    return n4ax_main(["correct", "series.nii.gz", "-o", "out.nii.gz", *settings, *options])


@pytest.mark.parametrize("word", ["mean", "first", "2"])
def test_series_is_divided_by_the_field_of_one_volume(word: str, folder: Path) -> None:
    series = np.asarray(nib.load("series.nii.gz").dataobj, np.float32)
    volume = series.mean(axis=3) if word == "mean" else series[..., 0 if word == "first" else 2]
    assert correct_series("--series", word, "--bias", "bias.nii.gz") == 0
    _, log_bias = n4ax.n4(
        volume.astype(np.float32), "all", iters=(4, 4), conv_threshold=0, shrink_factor=2,
        spacing=SPACING, voxel_order="F", return_bias=True,
    )  # fmt: skip
    bias = np.asarray(nib.load("bias.nii.gz").dataobj)
    np.testing.assert_allclose(bias, np.exp(log_bias), rtol=1e-6)
    corrected = np.asarray(nib.load("out.nii.gz").dataobj)
    np.testing.assert_allclose(corrected, series / np.exp(log_bias)[..., None], rtol=1e-6)


def test_each_volume_of_a_series_has_a_field_of_its_own(folder: Path) -> None:
    assert correct_series("--series", "each", "--bias", "bias.nii.gz", "--figure", "a.png") == 0
    series = np.asarray(nib.load("series.nii.gz").dataobj, np.float32)
    corrected = np.asarray(nib.load("out.nii.gz").dataobj)
    assert nib.load("bias.nii.gz").shape == series.shape
    for t in range(3):
        alone = n4ax.n4(
            series[..., t], "all", iters=(4, 4), conv_threshold=0, shrink_factor=2,
            spacing=SPACING, voxel_order="F",
        )  # fmt: skip
        np.testing.assert_array_equal(corrected[..., t], alone)


@pytest.mark.parametrize("outside", ["keep", "zero"])
def test_series_outside_the_mask(outside: str, folder: Path) -> None:
    options = ["--series", "mean", "--mask", "mask.nii.gz", "--outside", outside]
    assert correct_series(*options) == 0
    series = np.asarray(nib.load("series.nii.gz").dataobj, np.float32)
    inside = np.asarray(nib.load("mask.nii.gz").dataobj) != 0
    expected = series[~inside] if outside == "keep" else 0
    assert np.all(np.asarray(nib.load("out.nii.gz").dataobj)[~inside] == expected)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("series.nii.gz --series 3", "volumes 0 to 2; there is no 3"),
        ("series.nii.gz --series median", "is not mean, first, each or a number"),
        ("series.nii.gz --series each --field f.npz", "--series each makes many"),
        ("im.nii.gz --series mean", "--series is for images of 4 axes"),
        ("series.nii.gz --series mean --mask smaller.nii.gz", "has shape (27, 26, 22)"),
    ],
)
def test_bad_series_are_named(
    line: str, words: str, folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert n4ax_main(["correct", *line.split(), "-o", "out.nii.gz"]) == 2
    assert words in capfd.readouterr().err
    assert not Path("out.nii.gz").exists()
