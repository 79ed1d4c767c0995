"""The same bits as ITK: the options and the variables that ask for them."""

from pathlib import Path
from typing import Any

import pytest

from n4ax import N4Settings
from n4ax.cli import n4ax_command
from n4ax.correction import work
from tests.cli.program import QUICK, expect_error, run

PLAIN = {"iters": (3, 2), "conv_threshold": 0.0, "voxel_order": "F"}


@pytest.fixture
def used(monkeypatch: pytest.MonkeyPatch) -> list[N4Settings]:
    """The settings of each image that is corrected."""
    seen: list[N4Settings] = []
    real = work.correct_scan

    def note(settings: N4Settings, *inputs: Any, **further: Any) -> Any:
        seen.append(settings)
        return real(settings, *inputs, **further)

    monkeypatch.setattr(work, "correct_scan", note)
    return seen


@pytest.mark.parametrize(
    ("options", "variables", "expected"),
    [
        ("", {}, {}),
        (
            "--arithmetic itk --itk-version 6 --itk-threads 4 --itk-tool ants",
            {},
            {"arithmetic": "itk", "itk_version": 6, "itk_threads": 4, "itk_tool": "ants"},
        ),
        (
            "--arithmetic itk --itk-work-units 99",
            {},
            {"arithmetic": "itk", "itk_work_units": 99},
        ),
        ("--itk-version 6", {}, {"itk_version": 6}),
        ("", {"N4AX_ARITHMETIC": "itk"}, {"arithmetic": "itk"}),
        ("--itk-threads 2", {"N4AX_ARITHMETIC": "itk"}, {"arithmetic": "itk", "itk_threads": 2}),
        ("--arithmetic limit", {"N4AX_ARITHMETIC": "itk"}, {}),
        ("--arithmetic limit", {"N4AX_ARITHMETIC": "ITK"}, {}),
        ("--arithmetic itk", {"N4AX_ARITHMETIC": "limit"}, {"arithmetic": "itk"}),
        ("", {"N4AX_ITK_VERSION": "6"}, {"itk_version": 6}),
        ("--itk-version 5", {"N4AX_ITK_VERSION": "6"}, {}),
        ("", {"N4AX_ARITHMETIC": "", "N4AX_ITK_VERSION": ""}, {}),
    ],
)
def test_options_go_before_variables(
    scan: Path,
    used: list[N4Settings],
    monkeypatch: pytest.MonkeyPatch,
    options: str,
    variables: dict[str, str],
    expected: dict[str, Any],
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert run("correct", scan, "-q", *QUICK, *options.split()) == 0
    assert used == [N4Settings(**PLAIN, **expected)]


def test_the_demo_follows_the_variables(
    tmp_path: Path, used: list[N4Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("N4AX_ARITHMETIC", "itk")
    monkeypatch.setenv("N4AX_ITK_VERSION", "6")
    assert run("demo", "-o", tmp_path / "demo", "-q") == 0
    assert [(one.arithmetic, one.itk_version) for one in used] == [("itk", 6)]


@pytest.mark.parametrize(
    ("options", "variables", "words"),
    [
        ("--itk-threads 4", {}, "--itk-threads is 4, which matters in the arithmetic of ITK alone: "
         "give --arithmetic itk too"),
        ("--itk-tool ants", {}, "--itk-tool is 'ants', which matters"),
        ("--itk-work-units 99", {"N4AX_ARITHMETIC": "limit"}, "give --arithmetic itk too"),
        ("--arithmetic itk --itk-threads 0", {}, "--itk-threads is 0; expected a whole number"),
        ("--arithmetic itk --itk-threads 2 --itk-work-units 2", {},
         "--itk-threads and --itk-work-units say the same thing"),
        ("--itk-version 4", {}, "--itk-version is 4; expected one of 5, 6"),
        ("--arithmetic ITK", {}, "'--arithmetic': 'ITK' is not one of 'limit', 'itk'"),
        ("--arithmetic itk --preset fast", {}, "--arithmetic is 'itk' and --accelerate is True"),
        ("--preset fast", {"N4AX_ARITHMETIC": "itk"}, "N4AX_ARITHMETIC is 'itk' and --accelerate"),
        ("", {"N4AX_ARITHMETIC": "ants"}, "N4AX_ARITHMETIC is 'ants'; expected limit or itk"),
        ("", {"N4AX_ITK_VERSION": "4"}, "N4AX_ITK_VERSION is '4'; expected 5 or 6"),
    ],
)  # fmt: skip
def test_errors_name_the_option_or_the_variable(
    scan: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    options: str,
    variables: dict[str, str],
    words: str,
) -> None:
    pytest.importorskip("bids2table")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert words in expect_error(capsys, "correct", scan, *options.split())
    study = scan.parent / "study" / "sub-01" / "anat"
    study.mkdir(parents=True)
    (study / "sub-01_T1w.nii.gz").write_bytes(scan.read_bytes())
    folders = [scan.parent / "study", scan.parent / "out"]
    assert words in expect_error(capsys, "bids", *folders, "participant", *options.split())


@pytest.mark.parametrize("name", ["correct", "bids"])
def test_the_help_tells_of_the_variables(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(name, "--help") == 0
    text = capsys.readouterr().out
    section = " ".join(text.split("\nSame bits as ITK:\n")[1].split("\n\n")[0].split())
    for words in ("N4AX_ARITHMETIC, else limit]", "N4AX_ITK_VERSION, else 5]"):
        assert words in section
    options = {option for one in n4ax_command.commands[name].params for option in one.opts}
    for parameter in N4Settings().keywords():
        if parameter.startswith(("arithmetic", "itk_")):
            option = f"--{parameter.replace('_', '-')}"
            assert option in options
            assert option in section
