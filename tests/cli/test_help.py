"""The help texts and the examples in them."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import nibabel as nib
import pytest

from n4ax.ants import freesurfer
from n4ax.ants.options import read_options
from n4ax.cli import n4ax_command
from tests.cli.program import run
from tests.support import documents

COMMANDS = tuple(n4ax_command.commands)


def read_help(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert run(*words, "--help") == 0
    return capsys.readouterr().out


def read_examples(text: str) -> list[list[str]]:
    """The examples of a help text, each as the list of arguments of ``n4ax``."""
    lines = text.split("\nExamples:\n")[1].split("\n\n")[0].replace("\\\n", " ").splitlines()
    commands = [shlex.split(line.split(" && ")[0]) for line in lines]
    names = {"n4ax": [], "N4BiasFieldCorrection": ["ants"]}
    return [names[program] + [os.path.expanduser(word) for word in words]
            for program, *words in commands]  # fmt: skip


@pytest.fixture(scope="module")
def documented(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds the files named in the examples."""
    folder = tmp_path_factory.mktemp("documented")
    documents.write_files(folder)
    return folder


def test_help_loads_nothing_heavy() -> None:
    program = (
        "import sys; from n4ax.cli import main; status = main(sys.argv[1:]);"
        "heavy = {'numba', 'jax', 'nibabel', 'matplotlib', 'rich'} & set(sys.modules);"
        "assert not heavy, heavy; sys.exit(status)"
    )
    for words in ([], ["correct"], ["tune"], ["bids"], ["ants"]):
        subprocess.run([sys.executable, "-c", program, *words, "--help"], check=True)


@pytest.mark.parametrize("words", [(), *((name,) for name in COMMANDS)], ids=" ".join)
def test_help_fits_80_columns_and_has_examples_that_parse(
    documented: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(documented)
    (documented / "study" / "derivatives" / "n4ax").mkdir(exist_ok=True)
    text = read_help(capsys, *words)
    assert max(map(len, text.splitlines())) <= 80
    examples = read_examples(text)
    assert examples
    program = n4ax_command.make_context("n4ax", ["correct"])
    for name, *rest in examples:
        assert not words or name == words[0]
        if name == "ants":
            read_options(rest)
        else:
            n4ax_command.commands[name].make_context(name, rest, parent=program)


@pytest.mark.parametrize("name", ["correct", "apply", "ants", "shim", "demo"])
def test_examples_in_the_help_run(
    documented: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    monkeypatch.setenv("HOME", str(documented))
    monkeypatch.chdir(documented)
    for words in read_examples(read_help(capsys, name)):
        assert run(*words) == 0, capsys.readouterr().err


@pytest.mark.slow
def test_examples_in_the_help_of_studies_run(
    documented: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(documented)
    for name in ("bids", "report", "tune"):
        for words in read_examples(read_help(capsys, name)):
            # There is no cluster, so that its jobs are only printed.
            given = [*words, "--dry-run"] if "--cluster" in words else words
            assert run(*given) == 0, capsys.readouterr().err


def test_examples_in_the_help_of_freesurfers_program_run(
    documented: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(documented)
    head = nib.load("head.nii.gz")
    for name in ("orig", "defaced"):
        nib.save(nib.MGHImage(head.get_fdata(dtype="f4"), head.affine), f"{name}.mgz")
    assert freesurfer.main(["--help"]) == 0
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 80
    examples = text.split("\nExamples:\n")[1].splitlines()
    assert examples
    for line in examples:
        assert freesurfer.main(shlex.split(line)[1:]) == 0, capsys.readouterr().err


def test_help_lists_every_option_under_a_heading(capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("correct", "apply", "tune", "bids"):
        text = read_help(capsys, name)
        for parameter in n4ax_command.commands[name].params:
            if isinstance(parameter, click.Option):
                assert re.search(
                    rf"^  .*{getattr(parameter, 'shown', parameter.opts)[-1]}\b", text, re.M
                ), parameter
        unsorted = text.split("\nOther:\n")[1].split("\n\n")[0].splitlines()
        assert {line.split()[0] for line in unsorted} <= {"-q,", "-h,", "--version"}
