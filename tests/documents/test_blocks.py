"""Every code block of the pages runs, in the order in which a reader meets them.

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
    """Run a block, one command after the other; one that fails is told with page and line."""
    page, language = name_of(example.path), example.region.lexemes["arguments"]
    steps = [
        STEP.format(place=f"{page}:{example.line + line}", command=shlex.quote(command))
        for line, command in commands_of(example.parsed, language)
    ]
    script = SESSION.format(steps="\n".join(steps))
    done = subprocess.run(["bash", "-c", script, page], capture_output=True, text=True)
    missing = re.search(r"(\S+): command not found", done.stderr)
    if missing and missing[1] in NOT_EVERYWHERE:
        pytest.skip(f"{missing[1]} is not installed")
    if done.returncode:
        pytest.fail(f"{done.stdout[-1000:]}\n{done.stderr[-3000:]}", pytrace=False)


def commands_of(text: str, language: str) -> Iterator[tuple[int, str]]:
    """Whole commands, each with the line that it begins in, counted from 1."""
    start, command = 0, ""
    for number, line in enumerate(text.splitlines(), 1):
        if language == "console":
            prompt = "> " if command else "$ "
            if not line.startswith(prompt):  # what the command prints
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


def name_of(path: str | Path) -> str:
    return os.path.relpath(path, ROOT)


EXAMPLES = [
    pytest.param(example, id=f"{name_of(page)}:{example.line}")
    for page in PAGES
    for example in Document.parse(str(page), *PARSERS)
]


@pytest.fixture(scope="module")
def folder_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], Path]:
    """The folder of a page, which is the home of its reader as well."""
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
        monkeypatch.delenv(name)  # of the tests around, and of the make that started them
    for name, value in documents.environment(page).items():
        monkeypatch.setenv(name, value)
    if not example.namespace:
        example.namespace.update(documents.names(page))
    if "sitk" in example.parsed:
        example.namespace.update(documents.simpleitk_names(page))
    example.evaluate()


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_block_has_a_language_that_is_run_or_known(page: Path) -> None:
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


def test_commands_are_whole_and_what_they_print_is_none() -> None:
    text = "a \\\n  b\n\nfor i in 1 2; do\n  c\ndone\n"
    assert list(commands_of(text, "sh")) == [
        (1, "a \\\n  b"), (3, ""), (4, "for i in 1 2; do\n  c\ndone"),
    ]  # fmt: skip
    assert list(commands_of("$ a \\\n> b\nprinted\n$ c\n", "console")) == [
        (1, "a \\\nb"), (4, "c"),
    ]  # fmt: skip
