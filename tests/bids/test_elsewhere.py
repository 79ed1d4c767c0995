"""Files whose content git-annex has elsewhere: broken links, and pointers in unlocked datasets."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from n4ax.bids.companions import find_companions
from n4ax.bids.image import Outcome
from n4ax.bids.inputs import Source
from n4ax.bids.journal import Journal
from n4ax.bids.outputs import check_output
from n4ax.bids.recipe import Recipe
from n4ax.bids.staging import append_text
from n4ax.correction.table import Table
from n4ax.errors import InputError
from n4ax.paths import check_here, is_elsewhere
from n4ax.provenance import hash_file
from n4ax.report.pages import write_all
from n4ax.settings import N4Settings
from tests.bids.runs import make_empty_tree, make_small_study, read_errors, run_small_study

T1W, DWI = "sub-01/anat/sub-01_T1w.nii.gz", "sub-01/dwi/sub-01_dwi.nii.gz"
KEY = "MD5E-s1234--0123456789abcdef0123456789abcdef.nii.gz"

Drop = Callable[[Path], None]


def leave_a_link(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(f".git/annex/objects/Xx/Yy/{KEY}/{KEY}")


def leave_a_pointer(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"/annex/objects/{KEY}\n")


@pytest.fixture(params=[leave_a_link, leave_a_pointer])
def drop(request: pytest.FixtureRequest) -> Drop:
    return request.param


def test_what_is_elsewhere_is_known_and_how_to_fetch_it(tmp_path: Path, drop: Drop) -> None:
    drop(tmp_path / "dropped.json")
    (tmp_path / "here.json").write_text('{"path": "/annex/objects/"}')
    (tmp_path / "link.json").symlink_to("here.json")
    (tmp_path / "long.txt").write_bytes(b"/annex/objects/" + bytes(40_000))
    for name in ("here.json", "link.json", "long.txt", "missing.json", "."):
        assert not is_elsewhere(tmp_path / name), name
        check_here(tmp_path / name)
    assert is_elsewhere(tmp_path / "dropped.json")
    with pytest.raises(ValueError, match=r"dropped\.json .*datalad get"):
        check_here(tmp_path / "dropped.json")


def test_images_and_what_belongs_to_them_are_asked_for(tmp_path: Path, drop: Drop) -> None:
    make_empty_tree(tmp_path, T1W, "masks/sub-01_mask.nii.gz", "sub-01/anat/sub-01_T1w.json")
    for name in ("sub-01/anat/sub-01_T1w.json", "masks/sub-01_mask.nii.gz"):
        drop(tmp_path / name)
    recipe = Recipe(tmp_path, tmp_path / "out", N4Settings(), mask="masks/sub-{sub}_mask.nii.gz")
    found = find_companions(recipe, Source.of(T1W))
    assert "sub-01_T1w.json" in found.notes[0]
    assert "datalad get" in found.notes[0]
    assert found.mask_file is not None
    with pytest.raises(ValueError, match=r"sub-01_mask\.nii\.gz .*datalad get"):
        hash_file(found.mask_file)


@pytest.mark.parametrize("given", ["dicom", "dicom/0.dcm", "a.mhd", "b.hdr"])
def test_no_part_of_an_image_is_overlooked(tmp_path: Path, drop: Drop, given: str) -> None:
    make_empty_tree(tmp_path, "dicom/0.dcm", "b.hdr")
    (tmp_path / "a.mhd").write_text("ElementDataFile = a.raw\n")
    for name in ("dicom/1.dcm", "a.raw", "b.img"):
        drop(tmp_path / name)
    with pytest.raises(ValueError, match="datalad get"):
        hash_file(tmp_path / given)


def test_a_log_begins_anew(tmp_path: Path, drop: Drop) -> None:
    drop(tmp_path / "sub-01.log")
    append_text(tmp_path / "sub-01.log", "new\n")
    append_text(tmp_path / "sub-01.log", "newer\n")
    assert (tmp_path / "sub-01.log").read_text() == "new\nnewer\n"


def test_a_failure_is_not_forgotten(tmp_path: Path, drop: Drop) -> None:
    dataset, output = make_empty_tree(tmp_path / "study", T1W), tmp_path / "out"
    output.mkdir()
    failure = output / ".n4ax" / "failed" / f"{T1W}.json"
    drop(failure)
    journal = Journal(dataset, output)
    journal.write_errors()
    assert "datalad get" in read_errors(output)[T1W]
    journal.add(Outcome(T1W, "01", "corrected"))
    journal.write_errors()
    assert read_errors(output) == {}
    assert not failure.is_symlink()


def test_an_unknown_dataset_is_not_written_to(tmp_path: Path, drop: Drop) -> None:
    dataset, output = make_empty_tree(tmp_path / "study", T1W), tmp_path / "out"
    drop(output / "dataset_description.json")
    with pytest.raises(InputError, match=r"dataset_description\.json.*datalad get"):
        check_output(dataset, output)
    drop(output / "n4ax_errors.json")  # only n4ax writes such a file
    check_output(dataset, output)


def test_pages_lose_no_pictures(tmp_path: Path, drop: Drop, scheduler: str) -> None:
    dataset, output = make_small_study(tmp_path / "study", T1W), tmp_path / "out"
    assert run_small_study(dataset, output, "--scheduler", scheduler) == 0
    figures = output / "sub-01" / "figures"
    pages = {path: path.read_bytes() for path in output.glob("*.html")}
    for name in ("sub-01_desc-n4_T1w_after.webp", "sub-01_desc-n4_T1w.json"):
        shutil.copy(figures / name, tmp_path / name)
        drop(figures / name)
        with pytest.raises(ValueError, match=rf"{name} .*datalad get"):
            write_all(output)
        (figures / name).unlink()
        shutil.copy(tmp_path / name, figures / name)
    write_all(output)
    assert {path: path.read_bytes() for path in pages} == pages


def test_a_study_is_made_again_where_all_of_it_is_elsewhere(
    tmp_path: Path, drop: Drop, scheduler: str
) -> None:
    dataset, output = make_small_study(tmp_path / "study", T1W), tmp_path / "out"
    assert run_small_study(dataset, output, "--scheduler", scheduler) == 0
    files = [path for path in output.rglob("*") if path.is_file() and ".n4ax" not in path.parts]
    before = {path: path.read_bytes() for path in files}
    for path in files:
        drop(path)
    assert run_small_study(dataset, output, "--scheduler", scheduler) == 0
    kept = {path for path in files if is_elsewhere(path)}
    assert kept == {output / "README.md"}  # its reader may have changed it
    same = {path for path in files if path.suffix in (".gz", ".webp") or path.parent.name == "anat"}
    assert len(same) == 13
    assert {path: path.read_bytes() for path in same} == {path: before[path] for path in same}


@pytest.mark.parametrize("name", ["n4ax.tsv", "n4ax.json"])
def test_a_table_is_not_begun_anew(tmp_path: Path, drop: Drop, name: str) -> None:
    (tmp_path / "n4ax.json").write_text(json.dumps({"Images": []}))
    (tmp_path / "n4ax.tsv").write_text("image\n")
    drop(tmp_path / name)
    with pytest.raises(ValueError, match=rf"{name} .*datalad get"):
        Table(tmp_path / "n4ax.tsv")
