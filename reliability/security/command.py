"""``python -m reliability security``: the tests and the linters that are about security."""

import subprocess
import sys
import time
from typing import Any, NamedTuple

import click

from benchmarks.peers import ROOT
from reliability.records import write_record


class Check(NamedTuple):
    """Something that must not happen, and the test that shows that it does not."""

    about: str
    test: str


_HERE = "tests/test_security.py::"
_DATA = "tests/bids/test_hostile.py::"
_REPORT = "tests/report/test_hostile.py::"
_TLS = "tests/bids/test_certificates.py::"
CHECKS = (
    Check(
        "nothing unpickles, evaluates or hands text to a shell",
        f"{_HERE}test_nothing_that_runs_code_from_files_is_used",
    ),
    Check(
        "a field file holds no objects",
        f"{_HERE}test_objects_in_a_field_are_not_unpickled",
    ),
    Check(
        "a field file that unpacks to more than 2 GiB is refused",
        f"{_HERE}test_a_field_that_would_fill_the_memory_is_refused",
    ),
    Check(
        "JSON and tables up to a size and a depth",
        "tests/test_texts.py::test_json_may_not_be_deeper_than_any_metadata",
    ),
    Check(
        "a pipe in a dataset is not waited for",
        "tests/test_texts.py::test_a_pipe_is_not_waited_for",
    ),
    Check(
        "loops of links in a dataset are not followed",
        f"{_DATA}test_links_that_lead_upwards_are_not_followed_for_ever",
    ),
    Check(
        "records name no file outside of the output folder",
        f"{_DATA}test_records_of_failures_name_nothing_outside",
    ),
    Check(
        "labels name no page outside of it",
        f"{_REPORT}test_labels_of_failures_name_no_page_outside",
    ),
    Check(
        "markup in records stays text in pages",
        f"{_REPORT}test_markup_in_records_stays_text",
    ),
    Check(
        "no cell of a table is a formula",
        f"{_HERE}test_no_cell_is_computed_by_a_spreadsheet",
    ),
    Check(
        "what a link leads to is never written",
        f"{_HERE}test_what_a_link_leads_to_is_never_written",
    ),
    Check(
        "new files have the mode that the umask leaves",
        f"{_HERE}test_new_files_have_the_mode_that_the_umask_leaves",
    ),
    Check(
        "strangers cannot connect to workers of this machine",
        f"{_TLS}test_strangers_cannot_connect_to_processes_of_this_machine",
    ),
    Check(
        "strangers cannot connect to jobs, whose key only the user can read",
        f"{_TLS}test_strangers_cannot_connect_to_jobs",
    ),
)
"""In the order of the page."""


@click.command()
@click.option("--record", is_flag=True, help="Write reliability/results/security.json.")
def main(record: bool) -> None:
    """Run the checks; end with status 1 if one fails."""
    start = time.monotonic()
    result = {"checks": [try_check(check) for check in CHECKS], "linter": run_linter()}
    if record:
        write_record("security", result, seconds=time.monotonic() - start)
    sys.exit(not (result["linter"] and all(check["passed"] for check in result["checks"])))


def try_check(check: Check) -> dict[str, Any]:
    """Run the test of a check, and print how it ended."""
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", check.test]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    passed = done.returncode == 0 and " passed" in done.stdout
    click.echo(f"{'passed' if passed else 'FAILED'}: {check.about}")
    if not passed:
        click.echo(done.stdout)
    return {**check._asdict(), "passed": passed}


def run_linter() -> bool:
    """Whether ruff's rules of security find nothing in the package."""
    rules = ["--select", "S", "--ignore", "S101"]  # asserts tell the type checker what is known
    words = [sys.executable, "-m", "ruff", "check", "--quiet", *rules, "src"]
    passed = subprocess.run(words, cwd=ROOT, check=False).returncode == 0
    click.echo(f"{'passed' if passed else 'FAILED'}: ruff's rules of security")
    return passed
