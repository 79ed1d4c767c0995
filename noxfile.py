"""Environments that the package is tested in: ``nox``, or ``nox -s floors`` for one of them.

Each session makes an environment of its own in ``.nox``. Test modules that need a library which a
session does not have are left out, and named in the first lines of what pytest prints.
"""

import os
import shutil
import tomllib
from pathlib import Path

import nox

ROOT = Path(__file__).parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

PYTHONS = ["3.11", "3.12", "3.13", "3.14", "3.14t"]
TESTERS = ["pytest>=8", "pytest-xdist>=3.6", "hypothesis>=6.100", "beautifulsoup4>=4.12", "pyyaml"]
SHORT = [
    "tests/engines", "tests/cli", "tests/images", "tests/method", "tests/test_processors.py",
    "tests/test_result.py", "tests/test_startup.py",
]  # fmt: skip
"""The tests that show within a minute or two whether an environment can do the work."""

SHORTEST = [
    "tests/engines", "tests/cli/test_correct.py", "tests/cli/test_many.py", "tests/test_result.py",
    "tests/test_startup.py", "tests/test_processors.py",
]  # fmt: skip
"""The tests that show that a wheel was made and installed well."""

nox.options.sessions = ["floors", "wheel"]
nox.options.default_venv_backend = "venv"


def run_tests(session: nox.Session, *tests: str, folder: Path = ROOT) -> None:
    """Run the quick tests of some folders, or what the command line names after ``--``."""
    words = session.posargs or tests
    options = ["--numprocesses", "2", "--dist", "loadfile", "-m", "not slow"]
    with session.chdir(folder):
        session.run("python", "-m", "pytest", "-p", "no:cacheprovider", *options, *words)


@nox.session(python="3.11")
def floors(session: nox.Session) -> None:
    """The oldest versions of the dependencies that pyproject.toml names."""
    oldest = [word.replace(">=", "==") for word in PROJECT["dependencies"]]
    session.install("-e", ".", *oldest, *TESTERS)
    session.run("python", "-m", "pip", "freeze")
    run_tests(session, *SHORT)


@nox.session(python=PYTHONS)
def core(session: nox.Session) -> None:
    """The package without any extra."""
    session.install("-e", ".", *TESTERS)
    run_tests(session, "tests")


@nox.session(python="3.13")
def audit(session: nox.Session) -> None:
    """Known flaws of the dependencies, and the rules of bandit; this asks a database on the web."""
    session.install("-e", ".[all]", "pip-audit", "bandit[toml]")
    session.run("bandit", "--quiet", "-c", "pyproject.toml", "-r", "src")
    session.run("pip-audit", "--skip-editable", *session.posargs)


@nox.session(python=PYTHONS[:-1])
def everything(session: nox.Session) -> None:
    """The package with all that its tests can use."""
    session.install("-e", ".[test]")
    run_tests(session, "tests")


@nox.session(python="3.13")
def newest(session: nox.Session) -> None:
    """The newest versions of the dependencies, whether they are released or not."""
    session.install("--pre", "--upgrade", "-e", ".[cpu,numba]", *TESTERS)
    session.run("python", "-m", "pip", "freeze")
    run_tests(session, *SHORT)


@nox.session(python="3.11")
def wheel(session: nox.Session) -> None:
    """The wheel and the source distribution, checked, and tested as they are installed."""
    work = Path(session.create_tmp())
    session.install("build", "twine", "check-wheel-contents", "validate-pyproject")
    session.run("validate-pyproject", "pyproject.toml")
    paths = [str(path) for path in build(session, work / "built")]
    session.run("twine", "check", "--strict", *paths)
    session.run("check-wheel-contents", *(path for path in paths if path.endswith(".whl")))
    session.run("python", "-m", "pip", "uninstall", "-y", "-q", "n4ax")
    session.install(next(path for path in paths if path.endswith(".whl")), *TESTERS)
    session.run("python", str(ROOT / "scripts" / "time_calls.py"), str(work))
    elsewhere = work / "elsewhere"  # where the sources are not
    shutil.rmtree(elsewhere, ignore_errors=True)
    shutil.copytree(ROOT / "tests", elsewhere / "tests")
    shutil.copytree(ROOT / "scripts", elsewhere / "scripts")
    (elsewhere / "docs").mkdir()
    shutil.copy(ROOT / "docs" / "installation.md", elsewhere / "docs")  # it names the bits
    shutil.copy(ROOT / "pyproject.toml", elsewhere)
    run_tests(session, *SHORTEST, folder=elsewhere)


@nox.session(python="3.11")
def twice(session: nox.Session) -> None:
    """The wheel and the source distribution, built twice: they have the same bytes."""
    work = Path(session.create_tmp())
    session.install("build")
    built = [build(session, work / name) for name in ("first", "second")]
    for one, other in zip(*built, strict=True):
        if one.read_bytes() != other.read_bytes():
            session.error(f"{one} and {other} differ")


def build(session: nox.Session, folder: Path) -> list[Path]:
    """Build the distributions into a folder; their paths, sorted."""
    shutil.rmtree(folder, ignore_errors=True)
    moment = session.run("git", "log", "-1", "--format=%ct", external=True, silent=True)
    variables = os.environ | {"SOURCE_DATE_EPOCH": str(moment).strip()}
    session.run("python", "-m", "build", "--outdir", str(folder), str(ROOT), env=variables)
    return sorted(folder.iterdir())
