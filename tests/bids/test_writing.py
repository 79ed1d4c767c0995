"""How studies are written: all files of an image together, and never through a link."""

import errno
import json
import os
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from n4ax.bids.image import correct_source
from n4ax.bids.inputs import Source
from n4ax.bids.outputs import read_object
from n4ax.bids.recipe import Recipe
from n4ax.bids.staging import append_text, hold_lock, put_in_place, stage_files
from n4ax.bids.study_file import add_run
from n4ax.settings import N4Settings
from tests.bids.runs import make_small_study, run_small_study
from tests.support.limits import limit_files

T1W = ("sub-01/anat/sub-01_T1w.nii.gz", "sub-02/anat/sub-02_T1w.nii.gz")


def write_all(folder: Path, content: str, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)


def read_all(folder: Path) -> dict[str, str]:
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_text() for path in files}


@pytest.mark.parametrize("at", [1, 2, 3, 4, None])
def test_the_files_of_an_image_are_all_old_or_all_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int | None
) -> None:
    staging, output = tmp_path / "staging", tmp_path / "out"
    names = ("anat/a.json", "anat/a.nii.gz", "anat/field.nii.gz", "figures/a.webp")
    write_all(staging, "new", *names)
    write_all(output, "old", *names[:3])
    before, calls, real = read_all(output), count(1), os.replace

    def replace(source: Path, place: Path) -> None:
        new = source.is_relative_to(staging) and place.is_relative_to(output)
        if new and source.read_text() == "new" and next(calls) == at:
            raise OSError(errno.EDQUOT, "Disk quota exceeded")
        real(source, place)

    monkeypatch.setattr(os, "replace", replace)
    if at is None:
        put_in_place(staging, output, "anat/a.json")
        assert read_all(output) == dict.fromkeys(names, "new")
        return
    with pytest.raises(OSError, match="quota") as caught:
        put_in_place(staging, output, "anat/a.json")
    last = [*names[1:], names[0]]  # the sidecar comes last
    assert caught.value.filename == str(output / last[at - 1])
    assert read_all(output) == before


@pytest.mark.parametrize("failing", ["anat/a.nii.gz", "figures/a.webp", None])
def test_files_get_their_names_only_when_all_are_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str | None
) -> None:
    contents = {"anat/a.nii.gz": b"image", "figures/a.webp": b"picture"}
    synced: list[bytes] = []

    def sync(descriptor: int) -> None:
        path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        if path.is_file():
            synced.append(path.read_bytes())
            if failing is not None and path.read_bytes() == contents[failing]:
                raise OSError(errno.EIO, "Input/output error")
        elif path.is_relative_to(tmp_path):
            assert set(contents.values()) <= set(synced)

    monkeypatch.setattr(os, "fsync", sync)
    if failing is None:
        stage_files(tmp_path, contents)
        assert {name: (tmp_path / name).read_bytes() for name in contents} == contents
        return
    with pytest.raises(OSError, match="Input/output") as caught:
        stage_files(tmp_path, contents)
    assert caught.value.filename == str(tmp_path / failing)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_saved_log_is_replaced_and_an_own_one_is_appended_to(tmp_path: Path) -> None:
    write_all(tmp_path, "saved\n", "object", "thin", "own", "protected")
    (tmp_path / "link").symlink_to("object")
    (tmp_path / "gone").symlink_to("dropped")
    os.link(tmp_path / "thin", tmp_path / "second")
    (tmp_path / "protected").chmod(0o444)
    own = (tmp_path / "own").lstat().st_ino
    for name in ("link", "gone", "second", "own", "protected", "missing"):
        append_text(tmp_path / name, "more\n")
        append_text(tmp_path / name, "ü\n")
    for name in ("link", "second", "own", "protected"):
        assert (tmp_path / name).read_text(encoding="utf-8") == "saved\nmore\nü\n", name
    for name in ("gone", "missing"):
        assert (tmp_path / name).read_text(encoding="utf-8") == "more\nü\n"
    assert (tmp_path / "object").read_text() == (tmp_path / "thin").read_text() == "saved\n"
    assert (tmp_path / "own").lstat().st_ino == own
    assert not (tmp_path / "dropped").exists()


def test_a_lock_that_git_annex_made_a_link_is_made_anew(tmp_path: Path) -> None:
    write_all(tmp_path, "", "object")
    (tmp_path / "object").chmod(0o444)
    (tmp_path / "a.lock").symlink_to("object")
    with hold_lock(tmp_path / "a.lock", timeout=0):
        assert not (tmp_path / "a.lock").is_symlink()


def lock_as_git_annex_does(output: Path) -> dict[Path, str]:
    """Turn all files into links to write-protected objects; return the objects' contents."""
    objects = output / ".git" / "annex" / "objects"
    objects.mkdir(parents=True)
    files = [path for path in output.rglob("*") if path.is_file() and objects not in path.parents]
    for number, path in enumerate(files):
        path.rename(objects / str(number))
        (objects / str(number)).chmod(0o444)
        path.symlink_to(os.path.relpath(objects / str(number), path.parent))
    return {path: path.read_bytes().hex() for path in objects.iterdir()}


def test_saved_outputs_are_replaced_and_their_objects_stay(tmp_path: Path, scheduler: str) -> None:
    dataset, output = make_small_study(tmp_path / "study", *T1W), tmp_path / "out"
    words = ("--scheduler", scheduler)
    assert run_small_study(dataset, output, *words) == 0
    objects = lock_as_git_annex_does(output)
    assert (
        run_small_study(dataset, output, *words, "--iters", "3", "--output-settings", "replace")
        == 0
    )
    assert {path: path.read_bytes().hex() for path in objects} == objects
    for label in ("01", "02"):
        image = output / f"sub-{label}" / "anat" / f"sub-{label}_desc-n4_T1w.nii.gz"
        log = output / "logs" / f"sub-{label}.log"
        assert not image.is_symlink()
        assert not log.is_symlink()
        assert log.read_text().count(" corrected (") == 2
        assert not (output / f"sub-{label}.html").is_symlink()
    assert (output / "README.md").is_symlink()  # what stays the same stays saved


def test_a_log_or_a_page_that_cannot_be_written_does_not_end_the_run(
    tmp_path: Path, scheduler: str, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset, output = make_small_study(tmp_path / "study", *T1W), tmp_path / "out"
    (output / "logs" / "sub-01.log").mkdir(parents=True)
    (output / "sub-01.html").mkdir()
    (output / "group.html").mkdir()
    measures = dict.fromkeys(("FieldRange", "FieldWindow", "Histogram", "cjv_after"), 3)
    strange = {"Source": 5, "Subject": "02", "Suffix": [], "Measures": measures}
    write_all(output, json.dumps(strange), "sub-02/figures/old.json")
    assert run_small_study(dataset, output, "--scheduler", scheduler) == 1
    errors = capsys.readouterr().err
    assert "Traceback" not in errors
    for name in ("logs/sub-01.log", "sub-01.html", "group.html"):
        assert errors.count(f"{output / name}") == 1, errors
    assert (output / "sub-02.html").is_file()  # although one of its records is strange
    for label in ("01", "02"):
        assert (output / f"sub-{label}" / "anat" / f"sub-{label}_desc-n4_T1w.json").exists()


@pytest.mark.parametrize("full", [True, False])
def test_an_image_is_kept_although_its_pictures_cannot_be_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, full: bool
) -> None:
    dataset, output = make_small_study(tmp_path / "study", T1W[0]), tmp_path / "out"

    def fail(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device") if full else RuntimeError("no font")

    monkeypatch.setattr("n4ax.bids.image.draw", fail)
    recipe = Recipe(dataset, output, N4Settings(iters=(3,)))
    outcome = correct_source(recipe, Source.of(T1W[0]))
    image = output / "sub-01" / "anat" / "sub-01_desc-n4_T1w.nii.gz"
    assert image.exists() is not full
    if full:
        assert (outcome.state, outcome.disk_full) == ("failed", True)
    else:
        assert (outcome.state, outcome.reason) == ("corrected", "")
        assert "its pictures could not be drawn (RuntimeError: no font)" in outcome.problem


def test_a_file_that_cannot_be_read_is_not_taken_for_an_empty_one(tmp_path: Path) -> None:
    study = tmp_path / "n4ax_study.json"
    study.mkdir()  # reading it fails, for the administrator too
    with pytest.raises(OSError, match=r"n4ax_study\.json"):
        add_run(tmp_path, "n4ax bids", 1.0, {})
    assert study.is_dir()
    assert read_object(tmp_path / "none.json") == {}
    with pytest.raises(OSError, match=r"n4ax_study\.json"):
        read_object(study)


def test_a_log_that_cannot_be_written_ends_where_it_ended(tmp_path: Path) -> None:
    log = tmp_path / "sub-01.log"
    append_text(log, "one\n")
    with limit_files(10), pytest.raises(OSError, match="too large") as caught:
        append_text(log, "a line that is longer than the disk\n")
    assert caught.value.filename == str(log)
    assert log.read_text() == "one\n"


@pytest.mark.skipif(os.name != "posix", reason="Windows locks otherwise")
@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ESTALE])
def test_a_lock_that_cannot_be_had_names_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(_descriptor: int, _how: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.flock", refuse)
    with (
        pytest.raises(OSError, match=r"a\.lock") as caught,
        hold_lock(tmp_path / "a.lock", timeout=1),
    ):
        pass
    assert (caught.value.errno, caught.value.filename) == (number, str(tmp_path / "a.lock"))


@pytest.mark.skipif(os.name != "posix", reason="Windows locks otherwise")
def test_a_lock_that_cannot_be_given_back_names_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fcntl

    lock = fcntl.flock

    def refuse(descriptor: int, how: int) -> None:
        if how == fcntl.LOCK_UN:
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        lock(descriptor, how)

    with monkeypatch.context() as patch:
        patch.setattr("fcntl.flock", refuse)
        with pytest.raises(OSError, match=r"a\.lock"), hold_lock(tmp_path / "a.lock"):
            pass
