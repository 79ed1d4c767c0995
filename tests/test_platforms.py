"""What other systems do differently, stood in for here."""

import os
import subprocess
import sys
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

import n4ax
from n4ax.ants import shim
from n4ax.cli import main
from n4ax.engines.compiled import library
from n4ax.kernels import BuildError, build

linux = pytest.mark.skipif(sys.platform != "linux", reason="it looks into /proc")

QUICK = ["--shrink-factor", "4", "--iters", "2", "-q"]


def make_image(shape: tuple[int, ...] = (24, 20, 16)) -> np.ndarray:
    y, x = np.indices(shape)[:2]
    return (np.random.default_rng(5).random(shape) * 30 + 400 + 5 * x + y).astype(np.float32)


def save_image(path: Path) -> Path:
    nib.save(nib.Nifti1Image(make_image(), np.eye(4)), path)
    return path


def refuse_what_is_open(change: Callable[..., Any]) -> Callable[..., Any]:
    """A function that renames or removes files, but as on Windows not those that are in use."""

    def refuse(*paths: Any, **keywords: Any) -> Any:
        links = [os.path.join("/proc/self/fd", name) for name in os.listdir("/proc/self/fd")]
        used = {os.readlink(link) for link in links if os.path.islink(link)}
        mapped = Path("/proc/self/maps").read_text()
        for path in paths:
            place = str(Path(path).absolute())
            if place in used or f" {place}\n" in mapped:
                raise PermissionError(13, "the file is in use", place)
        return change(*paths, **keywords)

    return refuse


@pytest.fixture
def windows_files(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("replace", "rename", "unlink", "remove"):
        monkeypatch.setattr(os, name, refuse_what_is_open(getattr(os, name)))


@linux
@pytest.mark.parametrize("name", ["head.nii", "head.nii.gz"])
@pytest.mark.usefixtures("windows_files")
def test_an_image_is_replaced_by_its_correction(name: str, tmp_path: Path) -> None:
    place = str(save_image(tmp_path / name))
    before = nib.load(place).get_fdata()
    assert main(["ants", "-d", "3", "-i", place, "-o", place, "-s", "4", "-c", "[2,0]"]) == 0
    assert not np.array_equal(nib.load(place).get_fdata(), before)
    assert [path.name for path in tmp_path.iterdir()] == [name]


@linux
@pytest.mark.usefixtures("windows_files")
def test_outputs_are_replaced_by_those_of_another_run(tmp_path: Path) -> None:
    place = save_image(tmp_path / "head.hdr")
    outputs = {f"--{name}": tmp_path / f"{name}.nii" for name in ("output", "bias")}
    words = [str(word) for option in outputs.items() for word in option]
    for _ in range(2):
        assert main(["correct", str(place), *words, *QUICK]) == 0
    assert len(list(tmp_path.iterdir())) == 4


@linux
@pytest.mark.usefixtures("windows_files")
def test_the_stand_in_refuses_what_windows_refuses(tmp_path: Path) -> None:
    place = save_image(tmp_path / "head.nii")
    mapped = np.memmap(place, mode="r")
    with pytest.raises(PermissionError, match="in use"):
        os.replace(place, tmp_path / "other.nii")
    del mapped
    with place.open("rb"), pytest.raises(PermissionError, match="in use"):
        place.unlink()
    place.unlink()


@linux
@pytest.mark.usefixtures("windows_files")
def test_a_file_that_another_program_holds_is_kept_and_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = save_image(tmp_path / "head.nii")
    target = tmp_path / "held.nii"
    target.write_bytes(b"old")
    with target.open("rb"):
        assert main(["correct", str(place), "-o", str(target), *QUICK]) == 2
    assert target.read_bytes() == b"old"
    assert f"{target}: the file is in use" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["head.nii", "held.nii"]


def test_the_program_of_ants_on_windows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(sys, "executable", r"C:\Program Files\Python\python.exe")
    written = shim.install(tmp_path)
    modules = {
        "N4BiasFieldCorrection.bat": "n4ax.ants",
        "AntsN4BiasFieldCorrectionFs.bat": "n4ax.ants.freesurfer",
    }
    assert [path.name for path in written] == list(modules)
    for path in written:
        *_, command = path.read_text().splitlines()
        assert command == rf'@"C:\Program Files\Python\python.exe" -P -m {modules[path.name]} %*'
    assert shim.remove(tmp_path) == written
    assert not any(path.exists() for path in written)


@pytest.mark.parametrize(("system", "machine"), [("darwin", "arm64"), ("win32", "AMD64")])
def test_systems_without_a_library_of_kernels(
    system: str, machine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr("platform.machine", lambda: machine)
    with pytest.raises(BuildError, match=f"no library for {system} on {machine}"):
        build(tmp_path)
    library.load_library.cache_clear()
    try:
        assert library.load_library() is None
    finally:
        library.load_library.cache_clear()


CALLS = """
import sys
from pathlib import Path
from n4ax.cli import console
sys.argv[1:] = {words!r}
console()
"""

WORDS = [
    ["correct", "head.nii", "--bias", "bias.nii", "--field", "field.npz", *QUICK],
    ["correct", "--help"],
    ["ants", "-d", "3", "-i", "head.nii", "-o", "n4.nii", "-s", "4", "-c", "[2,0]", "-v", "1"],
]


@pytest.mark.parametrize("words", WORDS, ids=lambda words: " ".join(words[:2]))
def test_texts_are_read_and_written_in_an_encoding_that_is_named(
    words: list[str], tmp_path: Path
) -> None:
    """Elsewhere the encoding that Python takes by itself is not UTF-8."""
    save_image(tmp_path / "head.nii")
    strict = ["-X", "warn_default_encoding", "-W", "error::EncodingWarning"]
    command = [sys.executable, *strict, "-c", CALLS.format(words=words)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("encoding", ["cp1252", "cp932", "ascii"])
@pytest.mark.parametrize("words", WORDS, ids=lambda words: " ".join(words[:2]))
def test_consoles_that_have_few_letters(words: list[str], encoding: str, tmp_path: Path) -> None:
    save_image(tmp_path / "head.nii")
    command = [sys.executable, "-c", CALLS.format(words=words)]
    environment = os.environ | {"PYTHONIOENCODING": encoding}
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, env=environment)
    assert (done.returncode, done.stderr) == (0, b"")


def correct(_number: int) -> bytes:
    return n4ax.n4(make_image(), mask=None, iters=(3,)).tobytes()


def test_processes_that_start_afresh() -> None:
    """Windows and macOS start processes so, and do not fork."""
    with get_context("spawn").Pool(2) as pool:
        assert set(pool.map(correct, range(2))) == {correct(0)}
