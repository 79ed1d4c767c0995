"""A study of many scans from its first run to the last: killed, continued, judged, rated, and
corrected again where people said so. ``N4AX_LONG_TESTS=1`` makes it 200 scans."""

import csv
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.report.axe import find_barriers, set_colours
from tests.report.browser import Pages, open_browser
from tests.support.long import LONG_TESTS
from tests.support.many_scans import MASKS, ManyScans, make_many_scans

pytestmark = pytest.mark.slow

SCANS, VOXELS = (200, 160) if LONG_TESTS else (16, 64)
N4AX = [sys.executable, "-m", "n4ax"]


class Story:
    """The study, its output and what was measured on the way."""

    def __init__(self, study: ManyScans, output: Path) -> None:
        self.study, self.output = study, output
        self.command = ["bids", str(study.folder), str(output), "participant", "--mask", MASKS]

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*N4AX, *words], capture_output=True, text=True, check=False)

    def list_done(self) -> dict[str, float]:
        """When each corrected image was finished, by its sidecar."""
        sidecars = self.output.glob("sub-*/ses-*/anat/*_desc-n4_[TF]*.json")
        kept = [path for path in sidecars if "biasfield" not in path.name]
        return {str(path.relative_to(self.output)): path.stat().st_mtime for path in kept}

    def read_records(self) -> dict[str, dict[str, Any]]:
        paths = self.output.glob("sub-*/figures/*.json")
        records = [json.loads(path.read_text()) for path in paths]
        return {record["Source"]: record for record in records}

    def read_tables(self) -> dict[str, dict[str, str]]:
        """The rows of the tables of the group, by the path of the image."""
        rows: dict[str, dict[str, str]] = {}
        for path in self.output.glob("group_*.tsv"):
            with path.open(newline="") as file:
                rows |= {row["source"]: row for row in csv.DictReader(file, delimiter="\t")}
        return rows


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    """The study after a run that was killed and a run that finished."""
    folder = tmp_path_factory.mktemp("many")
    shared = ROOT.parent / "shared"
    given = shared if (shared / "data").is_dir() else None
    study = make_many_scans(folder / "study", given, SCANS, VOXELS)
    return Story(study, folder / "out")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pages]:
    with open_browser(tmp_path_factory.mktemp("browser")) as pages:
        yield pages


def test_a_killed_run_is_continued_and_tells_of_what_failed(
    story: Story, tell: Callable[[str], None]
) -> None:
    process = subprocess.Popen([*N4AX, *story.command, "-q"], start_new_session=True)
    while process.poll() is None and len(story.list_done()) < SCANS // 4:
        time.sleep(0.02)
    assert process.poll() is None, "the run ended before it was killed"
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    before = story.list_done()
    start = time.perf_counter()
    done = story.run(*story.command)
    seconds = time.perf_counter() - start
    failed = {*story.study.broken, story.study.wrong_mask}
    assert done.returncode == 1
    corrected = SCANS - len(failed) - len(before)
    assert f"{corrected} corrected, {len(before)} unchanged, 4 failed" in done.stdout
    assert before.items() <= story.list_done().items()
    assert "has a mask on another grid: " + story.study.wrong_mask in done.stderr
    errors = json.loads((story.output / "n4ax_errors.json").read_text())["Errors"]
    assert {error["Source"] for error in errors} == failed
    assert not any(str(story.study.folder) in error["Reason"] for error in errors)
    again = story.run(*story.command)
    assert again.returncode == 1
    assert "0 corrected" in again.stdout
    assert "a minute" not in again.stdout
    shares = Counter[str]()
    for record in story.read_records().values():
        shares.update(record["Seconds"])
    tell(
        f"{SCANS} scans: {len(before)} before the kill, {corrected} after it in {seconds:.0f} s; "
        f"report {shares['Report'] / shares['Total']:.0%} of the time of the images"
    )


def test_the_pages_and_the_tables_say_the_same(story: Story, tell: Callable[[str], None]) -> None:
    start = time.perf_counter()
    done = story.run("bids", str(story.study.folder), str(story.output), "group")
    seconds = time.perf_counter() - start
    assert done.returncode == 0
    names = ("group.html", "group_FLAIR.tsv", "group_T1w.tsv", "logs/CITATION.md")
    assert done.stdout == "".join(f"Wrote {story.output / name}\n" for name in names)
    records, rows = story.read_records(), story.read_tables()
    failed = {*story.study.broken, story.study.wrong_mask}
    assert rows.keys() == set(story.study.images)
    assert {source for source, row in rows.items() if row["state"] == "failed"} == failed
    assert rows[story.study.normalised]["verdict"].split(",").count("already-corrected") == 1
    page = (story.output / "group.html").read_text()
    start_of_data = page.index('id="data">') + len('id="data">')
    data = json.loads(page[start_of_data : page.index("</script>", start_of_data)])
    text = json.dumps(data)
    for source, record in records.items():
        row, measures = rows[source], record["Measures"]
        assert float(row["cjv"]) == pytest.approx(measures["cjv_after"], rel=1e-9)
        assert float(row["field_max"]) == pytest.approx(measures["FieldRange"][1], rel=1e-9)
        assert int(row["iterations"]) == sum(record["Iterations"])
        assert json.dumps(source) in text
        assert json.dumps(measures["cjv_after"]) in text
    tell(f"the report of the group takes {seconds:.1f} s")


def test_the_output_is_valid(story: Story) -> None:
    validator = Path(sys.executable).with_name("bids-validator-deno")
    if not validator.exists():
        pytest.skip("bids-validator-deno is not installed")
    done = subprocess.run(
        [validator, str(story.output), "--format", "json"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    issues = json.loads(done.stdout)["issues"]["issues"]
    assert [issue for issue in issues if issue["severity"] == "error"] == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390])
def test_nothing_on_the_pages_is_out_of_reach(
    story: Story, browser: Pages, scheme: str, width: int
) -> None:
    set_colours(browser, scheme)
    for name in ("group.html", "sub-001.html", "sub-003.html"):
        browser.open(story.output / name, width)
        assert find_barriers(browser) == [], name
        assert browser.ask("document.documentElement.scrollWidth") <= width, name
    browser.check_quiet()


def test_rejected_scans_are_rated_saved_merged_and_corrected_again(
    story: Story, browser: Pages
) -> None:
    page = story.output / "group.html"
    browser.open(page)
    browser.forget()
    browser.open(page)
    browser.find("#rater").send_keys("Ada\ue00c")
    rejected = sorted(story.read_records())[:2]
    for source in rejected:
        browser.ask(
            "document.querySelector(`#scans [data-source='${arguments[0]}']`).focus()", source
        )
        browser.press("r")
    browser.find("#export").click()
    saved = browser.downloads / "ratings.tsv"
    deadline = time.monotonic() + 20
    while not saved.exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    again = browser.find("#next-steps").text
    command = next(line for line in again.splitlines() if "--rated reject" in line)
    assert story.run("report", str(story.output), "--ratings", str(saved)).returncode == 0
    rows = story.read_tables()
    assert {source for source, row in rows.items() if row["rating"] == "reject"} == set(rejected)

    before = story.list_done()
    words = shlex.split(command.removesuffix(" Copy"))
    done = story.run(*words[1:])
    assert done.returncode == 0, done.stderr
    assert "2 corrected, 0 unchanged, 0 failed" in done.stdout
    changed = {name for name, when in story.list_done().items() if before[name] != when}
    assert len(changed) == 2
    records = story.read_records()
    assert {source for source, one in records.items() if one["Exception"]} == set(rejected)
    assert all(records[source]["Settings"]["adapt"] for source in rejected)
    browser.open(page)
    assert "2 scans have settings of their own" in browser.find("main").text

    done = story.run(*story.command)
    assert f"0 corrected, {SCANS - 4} unchanged, 4 failed" in done.stdout
    assert {s for s, one in story.read_records().items() if one["Exception"]} == set(rejected)
