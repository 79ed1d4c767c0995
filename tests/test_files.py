"""Files that appear whole or not at all, and the picture of a correction."""

import os
import stat
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from n4ax.figure import save_figure
from n4ax.files import check_writable, replace_file


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


def test_symbolic_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "real.txt").write_text("old")
    (tmp_path / "link.txt").symlink_to(tmp_path / "real.txt")
    with replace_file(tmp_path / "link.txt") as temporary:
        temporary.write_text("new")
    assert (tmp_path / "link.txt").is_symlink()
    assert (tmp_path / "real.txt").read_text() == "new"


def test_folders_that_cannot_take_a_file_are_named(tmp_path: Path) -> None:
    check_writable(tmp_path / "a.txt")
    for target in (tmp_path, tmp_path / "no" / "a.txt", Path("/dev/null")):
        with pytest.raises(OSError, match=str(target.parent if "no" in target.parts else target)):
            check_writable(target)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("shape", [(20, 24, 18), (20, 24), (20, 24, 1), (10, 12, 9, 3), (30, 2, 9)])
def test_picture_is_drawn_for_every_shape(tmp_path: Path, shape: tuple[int, ...]) -> None:
    random = np.random.default_rng(0)
    before = random.gamma(3, 50, shape).astype(np.float32)
    before.flat[0] = np.nan
    log_bias = random.normal(0, 0.1, shape).astype(np.float32)
    mask = before > 30
    path = tmp_path / "a.png"
    save_figure(path, before, log_bias, before / np.exp(log_bias), mask, np.eye(4), "a $title 头")
    picture = imread(path)
    assert picture.shape[2] == 4
    assert picture.std() > 0.05  # not a blank page
    assert list(tmp_path.iterdir()) == [path]
