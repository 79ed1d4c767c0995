"""Every code block of the pages runs, in the order of the page.

A page is one session: its blocks share a folder, the names of Python and the shell's variables.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest
from sybil import Document, Example
from sybil.evaluators.python import PythonEvaluator
from sybil.parsers.markdown import CodeBlockParser

from tests.support import documents
from tests.support.documents import NOT_EVERYWHERE, PAGES, ROOT

SHELLS = ("sh", "bash", "console")
READ_ONLY = ("text", "html")
SESSION = """\
if [ -f ~/.session ]; then . ~/.session; fi
{steps}
{{ export -p; printf 'cd %q\\n' "$PWD"; }} > ~/.session
"""
STEP = "eval {command} || {{ printf '%s: status %s: %s\\n' {place} $? {command} >&2; exit 1; }}"


def run_python(example: Example) -> None:
    try:
        PythonEvaluator()(example)
    except ImportError as error:
        missing = set(re.findall(r"\w+", str(error))) & NOT_EVERYWHERE
        if not missing:
            raise
        pytest.skip(f"{', '.join(missing)} is not installed")


def run_shell(example: Example) -> None:
    """Run the commands of a block in turn; a failure is reported with the page and the line."""
    page, language = make_name(example.path), example.region.lexemes["arguments"]
    steps = [
        STEP.format(place=f"{page}:{example.line + line}", command=shlex.quote(command))
        for line, command in split_commands(example.parsed, language)
    ]
    script = SESSION.format(steps="\n".join(steps))
    done = subprocess.run(["bash", "-c", script, page], capture_output=True, text=True)
    missing = re.search(r"(\S+): command not found", done.stderr)
    if missing and missing[1] in NOT_EVERYWHERE:
        pytest.skip(f"{missing[1]} is not installed")
    if done.returncode:
        pytest.fail(f"{done.stdout[-1000:]}\n{done.stderr[-3000:]}", pytrace=False)


def split_commands(text: str, language: str) -> Iterator[tuple[int, str]]:
    """Whole commands, each with the number of its first line, from 1."""
    start, command = 0, ""
    for number, line in enumerate(text.splitlines(), 1):
        if language == "console":
            prompt = "> " if command else "$ "
            if not line.startswith(prompt):  # the output of a command
                continue
            line = line.removeprefix(prompt)
        start = start if command else number
        command += f"{line}\n"
        read = subprocess.run(["bash", "-n", "-c", command], stderr=subprocess.DEVNULL)
        if read.returncode == 0 and not line.endswith("\\"):
            yield start, command.strip()
            command = ""
    if command:
        yield start, command


def run_json(example: Example) -> None:
    json.loads(example.parsed)


PARSERS = [
    CodeBlockParser("python", run_python),
    CodeBlockParser("json", run_json),
    *(CodeBlockParser(shell, run_shell) for shell in SHELLS),
]


def make_name(path: str | Path) -> str:
    return os.path.relpath(path, ROOT)


EXAMPLES = [
    pytest.param(example, id=f"{make_name(page)}:{example.line}")
    for page in PAGES
    for example in Document.parse(str(page), *PARSERS)
]


@pytest.fixture(scope="module")
def folder_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], Path]:
    """A function that gives the folder of a page, which is its reader's home folder too."""
    files = tmp_path_factory.mktemp("files")
    documents.write_programs(files / "bin")
    documents.write_files(files)

    @cache
    def folder(page: Path) -> Path:
        return shutil.copytree(files, tmp_path_factory.mktemp(page.stem), dirs_exist_ok=True)

    return folder


@pytest.mark.parametrize("example", EXAMPLES)
@pytest.mark.slow
def test_block_runs(
    folder_of: Callable[[Path], Path], example: Example, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = folder_of(Path(example.path))
    monkeypatch.chdir(page)
    for name in [name for name in os.environ if name.startswith(("PYTEST_", "MAKE"))]:
        monkeypatch.delenv(name)  # set by pytest, and by make if that started it
    for name, value in documents.make_environment(page).items():
        monkeypatch.setenv(name, value)
    if not example.namespace:
        example.namespace.update(documents.make_names(page))
    if "sitk" in example.parsed:
        example.namespace.update(documents.make_simpleitk_names(page))
    example.evaluate()


@pytest.mark.parametrize("page", PAGES, ids=make_name)
def test_every_block_has_a_known_language(page: Path) -> None:
    fences = re.findall(r"^[ >]*(`{3,}|~{3,})(.*)$", page.read_text(), re.MULTILINE)
    known = {"python", "json", *SHELLS, *READ_ONLY}
    assert {language.strip() for _, language in fences[::2]} <= known
    assert len(fences) % 2 == 0


def test_a_wrong_block_fails_with_page_and_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "page.md"
    page.write_text("# Page\n\n```sh\ntrue \\\n  --x\nfalse && true\ntrue\n```\n"
                    "\n```python\nx = 1\ny = z\n```\n")  # fmt: skip
    monkeypatch.setenv("HOME", str(tmp_path))
    shell, python = Document.parse(str(page), *PARSERS)
    with pytest.raises(pytest.fail.Exception, match=r"page\.md:6: status 1: false && true"):
        shell.evaluate()
    with pytest.raises(NameError) as caught:
        python.evaluate()
    assert (caught.traceback[-1].path, caught.traceback[-1].lineno + 1) == (page, 12)


def test_commands_are_whole_and_their_output_is_left_out() -> None:
    text = "a \\\n  b\n\nfor i in 1 2; do\n  c\ndone\n"
    assert list(split_commands(text, "sh")) == [
        (1, "a \\\n  b"), (3, ""), (4, "for i in 1 2; do\n  c\ndone"),
    ]  # fmt: skip
    assert list(split_commands("$ a \\\n> b\nprinted\n$ c\n", "console")) == [
        (1, "a \\\nb"), (4, "c"),
    ]  # fmt: skip
