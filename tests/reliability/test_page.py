"""The page of the reliability, the tests that it names, and the commands that repeat it."""

import re
from pathlib import Path

import pytest

from reliability.__main__ import Sections
from reliability.pages.command import PAGE, render_page
from reliability.records import read_findings

ROOT = Path(__file__).parents[2]
FOUND = [(area, one) for area, found in read_findings().items() for one in found]


def test_the_page_agrees_with_the_records() -> None:
    assert PAGE.read_text() == render_page()


@pytest.mark.parametrize(
    ("area", "finding"), FOUND, ids=[f"{area}-{number}" for number, (area, _) in enumerate(FOUND)]
)
def test_what_was_found_has_a_test(area: str, finding: dict[str, str]) -> None:
    assert set(finding) == {"found", "done", "test"}
    file, *_, name = finding["test"].split("::")
    assert f"def {name.partition('[')[0]}(" in (ROOT / file).read_text()


@pytest.mark.parametrize("target", ["fuzz", "faults", "soak", "mutants"])
def test_make_gives_no_option_that_a_section_does_not_have(target: str) -> None:
    text = (ROOT / "Makefile").read_text()
    (line,) = re.findall(rf"^\t.*python -m reliability {target}\b(.*)$", text, re.MULTILINE)
    command = Sections().get_command(None, target)  # type: ignore[arg-type]
    assert command is not None
    known = {option for parameter in command.params for option in parameter.opts}
    assert set(re.findall(r"--[a-z-]+", line)) <= known
