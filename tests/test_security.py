"""What files from elsewhere may not do, and what others on the machine may not read or change."""

import ast
import csv
import json
import os
import stat
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import n4ax
from n4ax.bids.staging import append_text
from n4ax.correction.table import Table
from n4ax.files import borrow_file, replace_file, write_file
from n4ax.report.tables import guard_text, read_cell, write_table

SOURCE = Path(n4ax.__file__).parent
UNSAFE = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "yaml", "xml"}
BUILDS = SOURCE / "kernels.py"
"""It runs when the package is built, and reads what it has just written."""

needs_posix = pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes and links")


def test_nothing_that_runs_code_from_files_is_used() -> None:
    found = []
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Import(names=names):
                    found += [(path, one.name) for one in names if one.name.split(".")[0] in UNSAFE]
                case ast.ImportFrom(module=str(module)) if module.split(".")[0] in UNSAFE:
                    found.append((path, module))
                case ast.Call(func=ast.Name(id=("eval" | "exec" | "compile") as name)):
                    found.append((path, name))
                case ast.keyword(arg=("shell" | "allow_pickle"), value=ast.Constant(value=True)):
                    found.append((path, node.arg))
    assert found == [(BUILDS, "pickle")]


def test_objects_in_a_field_are_not_unpickled(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "sprung",)

    np.savez(tmp_path / "x.npz", n4ax_bias_field=np.array([Trap()], dtype=object))
    with pytest.raises(ValueError, match="is not a bias field saved by n4ax"):
        n4ax.BiasField.load(tmp_path / "x.npz")
    assert not (tmp_path / "sprung").exists()


def test_a_field_that_would_fill_the_memory_is_refused(tmp_path: Path) -> None:
    block = bytes(1 << 24)
    with (
        zipfile.ZipFile(tmp_path / "x.npz", "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("control_points.npy", "w", force_zip64=True) as member,
    ):
        for _ in range(129):
            member.write(block)
    assert (tmp_path / "x.npz").stat().st_size < 1 << 22
    with pytest.raises(ValueError, match="its arrays have more than 2 GiB"):
        n4ax.BiasField.load(tmp_path / "x.npz")


@needs_posix
def test_new_files_have_the_mode_that_the_umask_leaves(tmp_path: Path) -> None:
    words = (
        "import os, sys; from pathlib import Path; from n4ax.files import *; "
        "os.umask(int(sys.argv[2], 8)); place = Path(sys.argv[1]);\n"
        "with replace_file(place) as new: print(oct(new.stat().st_mode & 0o777)); "
        "new.write_bytes(b'x')"
    )
    for mask, mode in (("077", 0o600), ("027", 0o640), ("002", 0o664)):
        path = tmp_path / f"file-{mask}"
        done = subprocess.run(
            [sys.executable, "-c", words, str(path), mask], capture_output=True, text=True,
            check=True,
        )  # fmt: skip
        assert done.stdout.strip() == oct(mode), done.stdout
        assert stat.S_IMODE(path.stat().st_mode) == mode


@needs_posix
def test_a_file_that_others_cannot_read_stays_so_all_the_time(tmp_path: Path) -> None:
    path = tmp_path / "private"
    path.write_bytes(b"old")
    path.chmod(0o600)
    with replace_file(path) as new:
        assert stat.S_IMODE(new.stat().st_mode) == 0o600
        new.write_bytes(b"new")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@needs_posix
def test_what_a_link_leads_to_is_never_written(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.write_bytes(b"kept")
    for name in ("written", "appended", "borrowed"):
        (tmp_path / name).symlink_to(kept)
    write_file(tmp_path / "written", b"new")
    append_text(tmp_path / "appended", " and more")
    with borrow_file(tmp_path / "borrowed", ".x") as other:
        assert not other.is_symlink()
        other.write_bytes(b"new")
    assert kept.read_bytes() == b"kept"
    assert (tmp_path / "appended").read_text() == "kept and more"


@pytest.mark.parametrize("text", ["=cmd()", "+1", "-1", "@SUM(A1)", "'=1", "\t=1", "\r=1"])
def test_no_cell_is_computed_by_a_spreadsheet(text: str) -> None:
    assert guard_text(text)[0] == "'"
    line = write_table([text], [{text: text}]).decode().splitlines()
    assert all(not cell.startswith(("=", "+", "-", "@", "\t", "\r")) for cell in line)
    assert read_cell(line[1]) == text.strip()


@needs_posix
def test_names_of_images_are_no_formulas_in_the_table(tmp_path: Path) -> None:
    entry = {"output": "=1+1.nii.gz", "image": "@a\rb.nii.gz", "state": "failed", "reason": "-x"}
    (tmp_path / "n4ax.json").write_text(json.dumps({"Images": [entry]}))
    Table(tmp_path / "n4ax.tsv").write()
    with (tmp_path / "n4ax.tsv").open(newline="") as file:
        _, line = csv.reader(file, dialect="excel-tab")
    assert line[:2] == ["'@a\\rb.nii.gz", "'=1+1.nii.gz"]
    assert line[-1] == "'-x"


@pytest.mark.parametrize(
    "entry",
    [
        3, {"output": 3, "image": "a"}, {"output": "a\0", "image": "a"},
        {"output": "a", "image": "a", "Files": [1]}, {"output": "a", "image": "a", "Record": 1},
        {"output": "a", "image": "a", "Record": {"Verdict": {"Messages": [1]}}},
    ],
)  # fmt: skip
def test_a_table_with_strange_entries_is_not_from_n4ax(entry: Any, tmp_path: Path) -> None:
    (tmp_path / "n4ax.json").write_text(json.dumps({"Images": [entry]}))
    with pytest.raises(ValueError, match=r"n4ax\.json is not from n4ax correct"):
        Table(tmp_path / "n4ax.tsv")
