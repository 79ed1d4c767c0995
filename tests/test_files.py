"""Files that appear whole or not at all, and the picture of a correction."""

import errno
import fcntl
import io
import os
import re
import stat
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from n4ax.figure import draw_figure
from n4ax.files import (
    borrow_file,
    check_writable,
    discard_unfinished,
    replace_file,
    replace_files,
    write_file,
)


def test_file_appears_only_when_the_block_ends_well(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    with replace_file(target) as temporary:
        temporary.write_text("new")
        assert not target.exists()
        assert temporary.parent == tmp_path
    assert target.read_text() == "new"

    def interrupted() -> None:
        with replace_file(target) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert target.read_text() == "new"
    assert list(tmp_path.iterdir()) == [target]


def test_mode_is_that_of_a_file_opened_in_place(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    before = os.umask(0o027)
    try:
        with replace_file(target) as temporary:
            temporary.write_text("x")
    finally:
        os.umask(before)
    assert stat.S_IMODE(target.stat().st_mode) == 0o640
    target.chmod(0o604)
    with replace_file(target) as temporary:
        temporary.write_text("y")
    assert stat.S_IMODE(target.stat().st_mode) == 0o604


def test_a_link_is_replaced_and_its_file_is_kept(tmp_path: Path) -> None:
    store = tmp_path / ".git" / "annex" / "objects"
    store.mkdir(parents=True)
    (store / "key").write_text("saved")
    (store / "key").chmod(0o444)
    for name, aim in (("link.txt", store / "key"), ("dangling.txt", store / "dropped")):
        target = tmp_path / name
        target.symlink_to(aim)
        with replace_file(target) as temporary:
            assert temporary.parent == tmp_path
            temporary.write_text("new")
        assert not target.is_symlink()
        assert target.read_text() == "new"
        assert stat.S_IMODE(target.stat().st_mode) == 0o666 & ~read_umask()
    assert [path.read_text() for path in store.iterdir()] == ["saved"]


def test_a_file_with_a_second_name_or_without_write_permission_is_replaced(tmp_path: Path) -> None:
    target, second = tmp_path / "a.txt", tmp_path / "b.txt"
    target.write_text("saved")
    target.chmod(0o444)
    os.link(target, second)
    write_file(target, b"new")
    assert target.read_text() == "new"
    assert second.read_text() == "saved"
    assert stat.S_IMODE(target.stat().st_mode) == 0o444


def test_a_device_or_a_folder_is_not_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path, target_is_directory=True)
    for target in (tmp_path / "pipe", tmp_path / "link"):
        before = target.lstat()
        with pytest.raises(OSError, match=re.escape(str(target))):
            write_file(target, b"new")
        assert target.lstat() == before


def read_umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_the_umask_of_the_process_is_never_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = os.umask(0o077)
    try:
        with monkeypatch.context() as patch:
            # Another thread would write files that everybody may change.
            patch.setattr(os, "umask", lambda _: pytest.fail("the umask was changed"))
            write_file(tmp_path / "a.txt", b"x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) == 0o600


def test_windows_syncs_only_files_that_are_open_for_writing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []

    def sync_as_windows_does(descriptor: int) -> None:
        if fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        synced.append(os.readlink(f"/proc/self/fd/{descriptor}"))

    monkeypatch.setattr(os, "fsync", sync_as_windows_does)
    write_file(tmp_path / "a.nii.gz", b"x")
    assert (tmp_path / "a.nii.gz").read_bytes() == b"x"
    assert [Path(name).suffixes for name in synced] == [[".nii", ".gz"]]


@pytest.mark.parametrize("call", ["fsync", "chmod"])
@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EPERM])
def test_file_systems_that_cannot_sync_or_have_no_modes_are_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int
) -> None:
    (tmp_path / "a.txt").write_text("old")
    monkeypatch.setattr(os, call, make_failing(number))
    with replace_files([tmp_path / "a.txt", tmp_path / "b.txt"]) as (first, second):
        first.write_text("new")
        second.write_text("new")
    assert read_all(tmp_path) == {"a.txt": "new", "b.txt": "new"}


def make_failing(number: int, *, at: int = 1) -> Callable[..., None]:
    """A function of the system that fails at its n-th call and later ones."""
    calls = count(1)

    def call(*_: object, **__: object) -> None:
        if next(calls) >= at:
            raise OSError(number, os.strerror(number))

    return call


def read_all(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in sorted(folder.iterdir())}


def fill(temporary: list[Path]) -> None:
    for path in temporary:
        path.write_text("new")


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("at", [1, 2, 3])
def test_an_error_of_syncing_leaves_all_files_old_and_names_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, at: int
) -> None:
    targets = [tmp_path / name for name in ("a.txt", "b.txt", "c.txt")]
    targets[0].write_text("old")
    monkeypatch.setattr(os, "fsync", make_failing(number, at=at))
    with pytest.raises(OSError, match=os.strerror(number)) as caught, replace_files(targets) as new:
        fill(new)
    assert (caught.value.errno, caught.value.filename) == (number, str(targets[at - 1]))
    assert read_all(tmp_path) == {"a.txt": "old"}


@pytest.mark.parametrize("links", [True, False])
@pytest.mark.parametrize("at", [1, 2, 3])
@pytest.mark.parametrize("error", [OSError(errno.EIO, "failed"), KeyboardInterrupt(), SystemExit()])
def test_an_error_between_two_names_leaves_all_files_old(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    links: bool,
    at: int,
    error: BaseException,
) -> None:
    (tmp_path / "store").write_text("saved")
    targets = [tmp_path / name for name in ("a.txt", "b.txt", "c.txt")]
    targets[0].symlink_to("store")
    targets[2].write_text("old")
    renamed: list[Path] = []

    def rename(source: Path, place: Path) -> None:
        if place in targets and source not in returned:
            renamed.append(place)
            if len(renamed) == at:
                raise error
        elif place not in targets:
            returned.append(place)  # the old file, on a file system without hard links
        real(source, place)

    real, returned = os.replace, list[Path]()
    if not links:
        monkeypatch.setattr(os, "link", make_failing(errno.EPERM))
    monkeypatch.setattr(os, "replace", rename)

    def write() -> None:
        with replace_files(targets) as new:
            fill(new)

    with pytest.raises(type(error)) as caught:
        write()
    if isinstance(caught.value, OSError):
        assert caught.value.filename == str(targets[at - 1])
    assert targets[0].is_symlink()
    assert read_all(tmp_path) == {"a.txt": "saved", "c.txt": "old", "store": "saved"}


def test_an_error_names_the_file_that_failed_and_not_the_last_one(tmp_path: Path) -> None:
    first, second = tmp_path / "a.txt", tmp_path / "b.txt"

    def write(failing: int) -> None:
        with replace_files([first, second]) as new, replace_file(new[failing]) as inner:
            assert inner == new[failing]
            raise OSError(errno.EDQUOT, "Disk quota exceeded")

    for failing, target in enumerate((first, second)):
        with pytest.raises(OSError, match="quota") as caught:
            write(failing)
        assert caught.value.filename == str(target)

    def read() -> None:
        with replace_file(first):
            (tmp_path / "input.txt").read_text()

    with pytest.raises(FileNotFoundError) as missing:
        read()
    assert missing.value.filename == str(tmp_path / "input.txt")
    assert list(tmp_path.iterdir()) == []


def test_a_borrowed_file_is_removed(tmp_path: Path) -> None:
    with borrow_file(tmp_path / "a.mhd", ".mha") as path:
        assert path.parent == tmp_path
        assert path.suffix == ".mha"
        path.write_bytes(b"x")
        discard_unfinished()  # as when a signal ends the program
        assert list(tmp_path.iterdir()) == []
        path.write_bytes(b"x")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(OSError, match=r"a\.mhd"), borrow_file(tmp_path / "a.mhd", ".mha") as path:
        raise OSError(28, "No space left on device", str(path))
    assert list(tmp_path.iterdir()) == []


def test_folders_that_cannot_take_a_file_are_named(tmp_path: Path) -> None:
    check_writable(tmp_path / "a.txt")
    for target in (tmp_path, tmp_path / "no" / "a.txt", Path("/dev/null")):
        with pytest.raises(OSError, match=str(target.parent if "no" in target.parts else target)):
            check_writable(target)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("shape", [(20, 24, 18), (20, 24), (20, 24, 1), (10, 12, 9, 3), (30, 2, 9)])
def test_picture_is_drawn_for_every_shape(shape: tuple[int, ...]) -> None:
    random = np.random.default_rng(0)
    before = random.gamma(3, 50, shape).astype(np.float32)
    before.flat[0] = np.nan
    log_bias = random.normal(0, 0.1, shape).astype(np.float32)
    mask = before > 30
    content = draw_figure(
        before, log_bias, before / np.exp(log_bias), mask, np.eye(4), "a $title 头"
    )
    picture = imread(io.BytesIO(content))
    assert picture.shape[2] == 4
    assert picture.std() > 0.05  # not a blank page


@pytest.mark.parametrize("at", range(1, 12))
def test_an_old_file_is_kept_if_nobody_can_say_whether_it_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    targets = [tmp_path / "a.txt", tmp_path / "b.txt"]
    for target in targets:
        target.write_text("old")
    calls, real = count(1), Path.lstat

    def lstat(path: Path) -> os.stat_result:
        if next(calls) == at:
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))
        return real(path)

    def replace_both() -> None:
        with replace_files(targets) as temporary:
            for path in temporary:
                path.write_text("new")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "lstat", lstat)
        with suppress(OSError):
            replace_both()
    contents = {target.read_text() for target in targets}
    assert contents in ({"old"}, {"new"})
