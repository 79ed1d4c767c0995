"""The targets about studies, and the section about security, do what they say."""

import json
from pathlib import Path

import pytest

from benchmarks.peers import ROOT
from reliability.fuzz.listings import check_only_inside, list_folder
from reliability.fuzz.pages import check_page
from reliability.fuzz.refusals import check_refusal
from reliability.security.command import CHECKS


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.about)
def test_each_check_of_security_has_a_test(check: tuple[str, str]) -> None:
    path, name = check[1].split("::")
    assert f"def {name}(" in (ROOT / path).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "markup",
    ["<script src=x></script>", "<b>x</b>", "<p onclick=x>", '<a href="javascript:x">x</a>'],
)
def test_a_page_with_more_than_the_templates_is_found(markup: str, tmp_path: Path) -> None:
    page = tmp_path / "x.html"
    page.write_text(f'<html lang="en"><p>x</p>{markup}')
    if markup == "<b>x</b>":  # the templates have it
        assert check_page(page) == {}
        return
    with pytest.raises(AssertionError, match=r"x\.html (has|links to)"):
        check_page(page)


def test_the_data_of_a_page_are_read(tmp_path: Path) -> None:
    page = tmp_path / "x.html"
    page.write_text(f'<script type="application/json" id="data">{json.dumps({"a": 1})}</script>')
    assert check_page(page) == {"data": {"a": 1}}


def test_changes_outside_of_a_folder_are_found(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    before = list_folder(tmp_path)
    (tmp_path / "out" / "x").write_text("x")
    check_only_inside(before, list_folder(tmp_path), "out")
    (tmp_path / "outside").write_text("x")
    with pytest.raises(AssertionError, match="outside"):
        check_only_inside(before, list_folder(tmp_path), "out")


def test_a_refusal_names_what_it_is_about() -> None:
    assert check_refusal(ValueError("x.json is broken"), ["x.json"])
    for error in (ValueError("it is broken"), ValueError(""), OSError("")):
        with pytest.raises(AssertionError):
            check_refusal(error, ["x.json"])
