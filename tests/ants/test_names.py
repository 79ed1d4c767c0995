"""Names of files on ANTs' command line: brackets, commas, blanks, quotes, dashes and words."""

import logging
import os
import threading
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

import n4ax
from n4ax.ants.grammar import UsageError
from n4ax.ants.options import read_options
from n4ax.ants.program import main
from tests.support import ants

QUICK = ["-c", "[2,0]", "-s", "4"]

LIKE_ANTS: list[tuple[list[str], list[str]]] = [
    (["[a (1)/c.nii,a (1)/b.nii]"], ["a (1)/c.nii", "a (1)/b.nii"]),
    (["[(1)c.nii,(2)b.nii]"], ["(1)c.nii", "(2)b.nii"]),
    (["[c(1).nii,b{2}.nii]"], ["c(1).nii", "b{2}.nii"]),
    (["[c).nii,b.nii]"], ["c).nii", "b.nii"]),
    (["[c[.nii,b.nii]"], ["c[.nii", "b.nii"]),
    (["[-c.nii,b.nii]"], ["-c.nii", "b.nii"]),
    (["[", "-c.nii", ",", "b.nii]"], ["-c.nii", "b.nii"]),
    (["[c.nii,b.nii)"], ["c.nii", "b.nii"]),
    (["[c.nii]"], ["c.nii"]),
    (["a (1)/c.nii"], ["a (1)/c.nii"]),
    (["c,1.nii"], ["c,1.nii"]),
    (["[é ü.nii,b'.nii]"], ["é ü.nii", "b'.nii"]),
]
"""The words after -o, and the files that they name, in ANTs too."""

BEYOND_ANTS: list[tuple[list[str], list[str]]] = [
    (["(1)c.nii.gz"], ["(1)c.nii.gz"]),
    (["(t)/c.nii"], ["(t)/c.nii"]),
    (["[x]/c (1).nii"], ["[x]/c (1).nii"]),
    (["[[x]/c.nii,[x]/b.nii]"], ["[x]/c.nii", "[x]/b.nii"]),
    (["[c].nii,b.nii]"], ["c].nii", "b.nii"]),
    (["c[1].nii"], ["c[1].nii"]),
    (["[ (1)/c.nii , b.nii ]"], ["(1)/c.nii", "b.nii"]),
    (["[", "[x]/c.nii", ",", "b[1].nii", "]"], ["[x]/c.nii", "b[1].nii"]),
    (["[", "my", "c.nii", ",", "my", "b.nii", "]"], ["my c.nii", "my b.nii"]),
    (["[c,1.nii,b, 2.nii.gz]"], ["c,1.nii", "b, 2.nii.gz"]),
    (["[c.nii,b,2.nii]"], ["c.nii", "b,2.nii"]),
    (["-c.nii"], ["-c.nii"]),
    (['"c.nii"'], ['"c.nii"']),
]


@pytest.mark.parametrize(("words", "names"), [*LIKE_ANTS, *BEYOND_ANTS])
def test_names_of_outputs(words: list[str], names: list[str]) -> None:
    options = read_options(["-i", "im.nii", "-o", *words, "-v", "0"])
    found = [path for path in (options.corrected, options.bias) if path is not None]
    assert found == [Path(name) for name in names]
    assert options.warnings == ()


@pytest.mark.parametrize(("words", "names"), LIKE_ANTS)
def test_ants_writes_the_same_files(words: list[str], names: list[str], folder: Path) -> None:
    (folder / "a (1)").mkdir()
    assert ants.run_for_status("-i", "im.nii.gz", "-o", *words, *QUICK) == 0
    theirs = [nib.load(name).shape for name in names]
    for name in names:
        Path(name).unlink()
    assert main(["-i", "im.nii.gz", "-o", *words, *QUICK]) == 0
    assert [nib.load(name).shape for name in names] == theirs


@pytest.mark.parametrize(
    "name",
    ["(1)t1.nii.gz", "[t]1.nii.gz", "-t1.nii.gz", "{2}t1.nii.gz", "[t1.nii.gz", "a, b.nii.gz"],
)
def test_names_of_inputs(name: str, folder: Path) -> None:
    Path(name).write_bytes(Path("im.nii.gz").read_bytes())
    for words in (["-i", name], ["-i", "im.nii.gz", "-x", name, "-w", name]):
        assert main([*words, "-o", "out.nii.gz", *QUICK]) == 0
        Path("out.nii.gz").unlink()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-o", "[c.nii"], r"no closing bracket; .* or write \./\[c\.nii for a file of this name"),
        (["-o", "[c.nii", "-v", "1"], "no closing bracket"),
        (["-o", "[c,b.nii,d.nii.gz,e.nii]"], r"expected one file, or \[corrected,bias\]"),
        (["-o", "[c,b,1.nii]"], "expected one file"),
        (["-o", "[,b.nii]"], "expected one file"),
        (["-o", ""], "expected one file"),
        (["-o", "c.nii", "-x", ""], "-x has no file: give its name after -x"),
        (["-o", "c.nii", "-x"], "-x has no file"),
        (["-o", "c.nii", "-x", "[m.nii]"], r"'\[m\.nii\]'; expected one file, without brackets"),
        (["-o", "c.nii", "-x", "[", "m.nii", "]"], "expected one file, without brackets"),
        (["-o", "c.nii", "-x", "OTSU"], "-x is 'OTSU'; the words for masks are otsu, all and none"),
    ],
)
def test_what_is_ambiguous_is_refused(words: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read_options(["-i", "im.nii", *words])


def test_a_bracket_that_is_left_open_takes_no_option_with_it() -> None:
    with pytest.raises(UsageError, match=r"'\[2' has no closing bracket"):
        read_options(["-i", "im.nii", "-c", "[2", "-o", "[c.nii,b.nii]"])
    with pytest.raises(UsageError, match=r"unknown option --output=c\.nii"):
        read_options(["-i", "im.nii", "--output=c.nii"])


def test_messages_keep_names_as_they_are(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    name = "two  blanks {image} %s shrink_factor.nii"
    assert main(["-i", name, "-o", "out.nii"]) == 1
    assert f"error: {name} does not exist, or is not a file\n" in capfd.readouterr().err
    assert main(["-i", "a\x1b[31m.nii\nb.nii", "-o", "out.nii"]) == 1
    assert r"error: a\x1b[31m.nii b.nii does not exist" in capfd.readouterr().err


def test_words_for_masks(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    def correct(*words: str) -> Any:
        assert main(["-i", "im.nii.gz", *words, "-o", "out.nii.gz", *QUICK]) == 0
        assert capfd.readouterr().err == ""
        return np.asarray(nib.load("out.nii.gz").dataobj)

    whole = correct()
    for word in ("all", "none"):
        np.testing.assert_array_equal(correct("-x", word), whole)
    image = nib.load("im.nii.gz")
    inside = n4ax.otsu_mask(np.asarray(image.dataobj))
    nib.save(nib.Nifti1Image(inside, image.affine), "made.nii.gz")
    np.testing.assert_array_equal(correct("-x", "otsu"), correct("-x", "made.nii.gz"))
    assert not np.array_equal(correct("-x", "otsu"), whole)


def test_a_mask_of_probabilities_is_inside_where_it_is_not_0(folder: Path) -> None:
    mask = nib.load("mask.nii.gz")
    half = np.asarray(mask.dataobj, np.float32) / 2
    nib.save(nib.Nifti1Image(half, mask.affine), "half.nii.gz")
    made = []
    for name in ("mask.nii.gz", "half.nii.gz"):
        words = ["-i", "im.nii.gz", "-x", name, "-r", "0", "-o", "out.nii.gz", *QUICK]
        assert main(words) == 0
        made.append(np.asarray(nib.load("out.nii.gz").dataobj))
    np.testing.assert_array_equal(*made)


@pytest.mark.parametrize("before", [logging.NOTSET, logging.CRITICAL])
@pytest.mark.parametrize("image", ["im.nii.gz", "missing.nii.gz", "text.nii.gz"])
def test_logging_is_left_as_it_was(before: int, image: str, folder: Path) -> None:
    Path("text.nii.gz").write_text("no image")
    logging.disable(before)
    try:
        main(["-i", image, "-o", "out.nii.gz", *QUICK])
        assert logging.root.manager.disable == before
    finally:
        logging.disable(logging.NOTSET)


def test_logging_is_left_as_it_was_by_threads(folder: Path) -> None:
    def correct(number: int) -> None:
        main(["-i", "im.nii.gz", "-o", f"out{number}.nii.gz", *QUICK])

    threads = [threading.Thread(target=correct, args=[number]) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert logging.root.manager.disable == logging.NOTSET
    assert len([name for name in os.listdir() if name.startswith("out")]) == 3
