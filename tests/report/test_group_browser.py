"""The page of the group in a browser: sorting, filters, the mosaic, and rating by keyboard."""

import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from n4ax.report.pages import write_all, write_group
from n4ax.report.ratings import merge_ratings, read_ratings
from tests.report.axe import find_barriers, set_colours
from tests.report.browser import Pages
from tests.report.support import STUDY, make_measures, write_record

pytestmark = pytest.mark.slow

FLAIR_42 = "sub-042/ses-1/anat/sub-042_ses-1_FLAIR.nii.gz"
NEWER, OLDER = "2999-01-01T00:00:00Z", "2001-01-01T00:00:00Z"


@pytest.fixture(autouse=True)
def forget(request: pytest.FixtureRequest) -> Iterator[None]:
    """What pages keep in the browser does not last from test to test."""
    yield
    if "browser" in request.fixturenames:
        request.getfixturevalue("browser").ask("localStorage.clear()")


@pytest.fixture
def rated(few: Path) -> Path:
    """Two participants and a failure, with the file of the study and results."""
    (few / "n4ax_study.json").write_text(json.dumps(STUDY))
    for path in few.rglob("figures/*.json"):
        entries = json.loads(path.read_text())
        path.write_text(json.dumps(entries | {"Result": "aaaaaaaaaaaa"}))
    write_all(few)
    return few


def read_column(browser: Pages, title: str) -> list[str]:
    """The texts of a column of the table, in the rows that are drawn."""
    return browser.ask(
        "(() => { const at = [...document.querySelectorAll('#scans th')]"
        ".findIndex((head) => head.textContent === arguments[0]);"
        "return [...document.querySelectorAll('#scans tbody')]"
        ".map((body) => body.rows[0].cells[at].innerText); })()",
        title,
    )


def find_head(browser: Pages, title: str) -> Any:
    heads = browser.driver.find_elements("css selector", "#scans th button")
    return next(head for head in heads if head.get_property("textContent") == title)


def choose(browser: Pages, title: str, value: str) -> None:
    from selenium.webdriver.support.select import Select

    labels = browser.driver.find_elements("css selector", "#filters label")
    label = next(label for label in labels if label.text.startswith(title))
    Select(label.find_element("css selector", "select")).select_by_value(value)


def count(browser: Pages) -> str:
    return browser.find("#count").text


def list_sources(browser: Pages, place: str = "#scans") -> list[str]:
    return browser.ask(
        "[...document.querySelectorAll(arguments[0] + ' [data-source]')]"
        ".map((element) => element.dataset.source)",
        place,
    )


def read_rated(browser: Pages, source: str) -> tuple[list[str], str]:
    """Which buttons of a scan are pressed, and what is said beside them."""
    row = next(
        row
        for row in browser.driver.find_elements("css selector", "[data-source]")
        if row.get_attribute("data-source") == source
    )
    pressed = row.find_elements("css selector", "[data-rate][aria-pressed=true]")
    text = row.find_element("css selector", ".rated").get_property("textContent")
    return [button.get_attribute("data-rate") for button in pressed], text


def test_table_is_sorted_by_number_and_by_key(browser: Pages, many: Path) -> None:
    from selenium.webdriver import Keys

    browser.open(many / "group.html")
    button = find_head(browser, "CJV after")
    head = button.find_element("xpath", "..")
    button.click()
    shown = [float(text) for text in read_column(browser, "CJV after")]
    assert len(shown) == 200
    assert shown == sorted(shown)
    assert head.get_attribute("aria-sort") == "ascending"
    button.send_keys(Keys.ENTER)
    assert [float(text) for text in read_column(browser, "CJV after")] == shown[::-1]
    assert head.get_attribute("aria-sort") == "descending"
    find_head(browser, "Participant").click()
    assert browser.ask("document.querySelectorAll('[aria-sort]').length") == 1
    labels = read_column(browser, "Participant")
    assert labels == sorted(labels)
    browser.find("#direction").click()
    assert read_column(browser, "Participant") == labels[::-1]
    browser.check_quiet()


def test_numbers_are_not_sorted_as_text_and_unknown_ones_come_last(
    browser: Pages, few: Path
) -> None:
    for subject, value in (("20", 9.5), ("21", 10.5), ("22", None), ("23", 100.0)):
        measures = make_measures(int(subject), "T1w")
        measures["cjv_after"] = value
        write_record(few, subject, None, "bold", measures)
    write_group(few)
    browser.open(few / "group.html")
    browser.find("#words").send_keys("bold")
    for expected in (["9.500", "10.5", "100.0", "–"], ["100.0", "10.5", "9.500", "–"]):
        find_head(browser, "CJV after").click()
        assert read_column(browser, "CJV after") == expected


def test_words_outliers_and_dots_find_scans(browser: Pages, many: Path) -> None:
    browser.open(many / "group.html")
    words = browser.find("#words")
    words.send_keys("sub-04 t1W")
    assert len(read_column(browser, "Suffix")) == 10
    assert count(browser) == "10 of 200"
    words.clear()
    words.send_keys("042")
    assert len(read_column(browser, "Suffix")) == 2
    browser.find("#outliers").click()
    assert list_sources(browser) == [FLAIR_42]
    row = browser.find("#scans tbody")
    assert "sub-042" in row.text
    assert re.search(
        r"Field high is 4\.000, \d+\.\d robust standard deviations above 1\.\d+, "
        r"the median of the FLAIR scans",
        row.text,
    )
    assert row.find_element("css selector", "td.out").text.endswith("to 4.000")
    assert browser.ask("document.querySelectorAll('.dot.away').length") > 500
    words.clear()
    words.send_keys("no such scan")
    assert list_sources(browser) == []
    # A dot leads to its scan, even if the filters hide it.
    dot = browser.find("circle.out")
    browser.ask("arguments[0].dispatchEvent(new MouseEvent('click'))", dot)
    current = browser.find("tbody.current")
    assert current.get_attribute("id") == f"scan-{dot.get_attribute('data-scan')}"
    assert current.is_displayed()
    assert count(browser) == "200 of 200"
    browser.check_quiet()


def test_filters_offer_what_there_is(browser: Pages, rated: Path) -> None:
    path = next((rated / "sub-2" / "ses-1").rglob("figures/*.json"))
    message = {"Code": "fine-mesh", "Serious": True, "Text": "the mesh is fine"}
    more = {"SettingsHash": "00000000", "Messages": [message]}
    path.write_text(json.dumps(json.loads(path.read_text()) | more))
    write_group(rated)
    browser.open(rated / "group.html")
    first = "sub-2/ses-1/anat/sub-2_ses-1_T1w.nii.gz"
    for title, value, expected in (
        ("Suffix", "FLAIR", ["sub-10/anat/sub-10_FLAIR.nii.gz"]),
        ("Session", "1", [first]),
        ("Verdict", "fine-mesh", [first]),
        ("Verdict", "serious", [first]),
        ("State", "failed", ["sub-3/anat/sub-3_T1w.nii.gz"]),
        ("State", "earlier settings", [first]),
    ):
        choose(browser, title, value)
        assert list_sources(browser) == expected, (title, value)
        assert count(browser) == "1 of 4"
        browser.find("#reset").click()
        assert count(browser) == "4 of 4"
    titles = browser.ask("[...document.querySelectorAll('#filters label')].map((e) => e.innerText)")
    assert not [title for title in titles if title.startswith("Run")]  # no scan has one
    assert "the mesh is fine" in browser.find("#scans tbody.serious").text
    browser.check_quiet()


def test_failures_are_rows_with_their_reason(browser: Pages, rated: Path) -> None:
    browser.open(rated / "group.html")
    choose(browser, "State", "failed")
    row = browser.find("#scans tbody")
    assert "Not corrected: too short" in row.text
    assert row.find_elements("css selector", "[data-rate]") == []
    assert row.find_element("css selector", "a").get_attribute("href").endswith("/sub-3.html")
    browser.press("\ue00c", "j", "a")
    assert "no result to rate" in browser.find("#rating-status").text


def test_mosaic_has_the_same_scans_in_the_same_order(browser: Pages, many: Path) -> None:
    browser.open(many / "group.html")
    find_head(browser, "CJV after").click()
    order = list_sources(browser)
    browser.press("v")
    assert list_sources(browser, "#mosaic") == order
    assert list_sources(browser) == []
    assert browser.find("[data-view=mosaic]").get_attribute("aria-pressed") == "true"
    [tile] = browser.driver.find_elements("css selector", ".tile.unusual")
    assert "outlier: Field high ↑" in tile.text
    picture = tile.find_element("css selector", "img")
    assert picture.get_property("naturalWidth") > 100
    browser.find("#words").send_keys("sub-04 t1W")
    assert len(list_sources(browser, "#mosaic")) == 10
    browser.check_quiet()


def test_more_scans_are_drawn_as_the_reader_scrolls(browser: Pages, tmp_path: Path) -> None:
    for number in range(450):
        write_record(tmp_path, f"{number:03}", None, "T1w", make_measures(number, "T1w"))
    write_group(tmp_path)
    browser.open(tmp_path / "group.html")
    for place, view in (("#scans", "table"), ("#mosaic", "mosaic")):
        browser.find(f"[data-view={view}]").click()
        assert len(list_sources(browser, place)) == 200
        for expected in (400, 450):
            browser.ask("window.scrollTo({ top: 1e6, behavior: 'instant' })")
            deadline = time.monotonic() + 10
            while len(list_sources(browser, place)) < expected:
                assert time.monotonic() < deadline
        assert list_sources(browser, place)[-1] == "sub-449/anat/sub-449_T1w.nii.gz"
        browser.ask("window.scrollTo({ top: 0, behavior: 'instant' })")


def test_20000_scans_are_sorted(
    browser: Pages, tmp_path: Path, tell: Callable[[str], None]
) -> None:
    write_record(tmp_path, "1", None, "T1w", make_measures(1, "T1w"))
    page = write_group(tmp_path)
    # The page with 20,000 rows is made of the page with one, since so many records take minutes.
    text = page.read_text()
    start = text.index('id="data">') + len('id="data">')
    end = text.index("</script>", start)
    data = json.loads(text[start:end])
    at = {name: place for place, name in enumerate(data["Columns"])}
    [cells] = data["Rows"]
    data["Rows"] = []
    for number in range(20000):
        row = list(cells)
        row[at["source"]] = f"sub-{number}/anat/sub-{number}_T1w.nii.gz"
        row[at["bids_name"]], row[at["subject_id"]] = f"sub-{number}_T1w", str(number)
        row[at["cjv"]] = (number * 7919 % 20000) / 1000
        data["Rows"].append(row)
    page.write_text(text[:start] + json.dumps(data) + text[end:])
    browser.open(page)
    assert count(browser) == "20000 of 20000"
    script = "const from = performance.now(); arguments[0].click(); document.body.offsetHeight;"
    took = {}
    for title in ("CJV after", "Participant"):
        button = find_head(browser, title)
        took[title] = browser.driver.execute_script(
            f"{script} return performance.now() - from", button
        )
        if title == "CJV after":
            assert read_column(browser, title)[:3] == ["0.000", "0.001", "0.002"]
        else:
            assert read_column(browser, title)[:3] == ["sub-0", "sub-1", "sub-2"]
    tell("20,000 rows sorted: " + ", ".join(f"{k} {v / 1e3:.2f} s" for k, v in took.items()))
    browser.check_quiet()


def test_scans_are_rated_by_keyboard(browser: Pages, rated: Path) -> None:
    from selenium.webdriver import Keys

    sources = [
        "sub-2/ses-1/anat/sub-2_ses-1_T1w.nii.gz", "sub-2/ses-2/anat/sub-2_ses-2_T1w.nii.gz",
        "sub-3/anat/sub-3_T1w.nii.gz", "sub-10/anat/sub-10_FLAIR.nii.gz",
    ]  # fmt: skip
    browser.open(rated / "group.html")
    assert list_sources(browser) == sources
    browser.press("j", "a")
    assert browser.ask("document.activeElement.id") == "rater"  # the name is asked for once
    browser.press("a", "r", "n", Keys.ENTER)  # it is typed, and rates nothing
    assert read_rated(browser, sources[0]) == (["accept"], "accept by arn")
    browser.press("j", "u", Keys.ARROW_DOWN, Keys.ARROW_DOWN, "r", "n")
    browser.press("=<b>bad</b>", Keys.ENTER)
    assert read_rated(browser, sources[1]) == (["unsure"], "unsure by arn")
    assert read_rated(browser, sources[3]) == (["reject"], "reject by arn “=<b>bad</b>”")
    assert browser.find("#rating-status").text == "sub-10 FLAIR: reject"
    assert "3 rated: 1 accept, 1 unsure, 1 reject" in browser.find(".numbers").text
    assert browser.find("#unsaved").text.startswith("3 ratings are not in the folder yet.")

    words = browser.find("#words")
    words.send_keys("aur?v")  # words, and no keys
    assert browser.find("#keys-dialog").get_attribute("open") is None
    words.send_keys(Keys.BACKSPACE * 5, Keys.ESCAPE)
    browser.press("?")
    assert browser.find("#keys-dialog").is_displayed()
    browser.press(Keys.ESCAPE)
    # The browser closes a dialog after it has handled the key, and keys inside it rate nothing.
    browser.wait_for(
        "!document.activeElement.closest('dialog') && !document.querySelector('dialog[open]')"
    )
    browser.press("k", "k", "c")
    assert read_rated(browser, sources[1]) == ([], "")

    browser.open(rated / "group.html")  # the browser keeps them, and the name
    assert browser.find("#rater").get_property("value") == "arn"
    assert read_rated(browser, sources[3])[0] == ["reject"]
    assert read_rated(browser, sources[1])[0] == []
    choose(browser, "Rating", "reject")
    assert list_sources(browser) == sources[3:]
    choose(browser, "Rating", "not rated")
    assert list_sources(browser) == [sources[1]]
    browser.check_quiet()


def test_buttons_rate_and_take_back(browser: Pages, rated: Path) -> None:
    browser.open(rated / "group.html")
    browser.find("#rater").send_keys("Ann\t")
    source = list_sources(browser)[0]
    reject = browser.find("#scans [data-rate=reject]")
    reject.click()
    assert read_rated(browser, source) == (["reject"], "reject by Ann")
    steps = browser.find("#next-steps").text
    assert "1 scan is rejected." in steps
    assert "n4ax report out --ratings ratings.tsv" in steps
    assert (
        "n4ax bids study out participant --mask otsu --rated reject --output-settings exception "
        "--preset auto" in steps
    )
    reject.click()
    assert read_rated(browser, source) == ([], "")
    assert not browser.find("#next-steps").is_displayed()


def test_ratings_come_back_from_a_file(browser: Pages, rated: Path) -> None:
    browser.open(rated / "group.html")
    browser.find("#rater").send_keys("Ann\t")
    notes = {
        "sub-2/ses-1/anat/sub-2_ses-1_T1w.nii.gz": '=1 "quoted"',
        "sub-10/anat/sub-10_FLAIR.nii.gz": "'tis",
    }
    first, second = notes
    for key, (source, note) in zip("ar", notes.items(), strict=True):
        element = browser.find(f'[data-source="{source}"]')
        browser.ask("arguments[0].focus()", element)
        browser.press(key, "n", note, "\ue007")
    saved = browser.downloads / "ratings.tsv"
    saved.unlink(missing_ok=True)
    browser.find("#export").click()
    deadline = time.monotonic() + 10
    while not saved.exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    found = {row.source: row for row in read_ratings(saved)}
    assert {source: row.note for source, row in found.items()} == notes
    assert {row.result for row in found.values()} == {"aaaaaaaaaaaa"}

    browser.ask("localStorage.clear()")
    browser.open(rated / "group.html")
    assert read_rated(browser, first) == ([], "")
    saved.write_text(saved.read_text() + f"sub-9/x\treject\tn/a\tAnn\t{NEWER}\tn/a\n")
    browser.find("#import-file").send_keys(str(saved))
    expected = "2 ratings read; 1 of scans that are not here left out."
    wait_for_status(browser, expected)
    assert read_rated(browser, first) == (["accept"], 'accept by Ann “=1 "quoted"”')
    assert read_rated(browser, second) == (["reject"], "reject by Ann “'tis”")

    assert merge_ratings(rated, [saved], found) == (2, 1)
    write_all(rated)
    browser.ask("localStorage.clear()")
    browser.open(rated / "group.html")
    assert read_rated(browser, first) == (["accept"], 'accept by Ann “=1 "quoted"”')
    assert not browser.find("#unsaved").is_displayed()
    browser.check_quiet()


def wait_for_status(browser: Pages, expected: str) -> None:
    deadline = time.monotonic() + 10
    while browser.find("#rating-status").text != expected:
        assert time.monotonic() < deadline, browser.find("#rating-status").text
        time.sleep(0.05)


def test_files_that_are_wrong_are_refused_with_the_line(browser: Pages, rated: Path) -> None:
    browser.open(rated / "group.html")
    bad = rated / "bad.tsv"
    head = "source\trating\tnote\trater\tdate\tresult\n"
    for text, said in (
        ("source\trating\n", "bad.tsv, line 1: there is no column rater"),
        (f"{head}\nx\tgood\t\tA\t{NEWER}\t\n", 'line 3: rating is "good"; expected accept'),
        (f"{head}x\taccept\t\tA\tsoon\t\n", 'line 2: date is "soon"; expected one'),
        (f'{head}x\taccept\t"a\tA\t{NEWER}\t\n', "line 2: a quotation mark is not closed"),
    ):
        bad.write_text(text)
        browser.find("#import-file").send_keys(str(bad))
        deadline = time.monotonic() + 10
        while said not in browser.find("#rating-status").text:
            assert time.monotonic() < deadline, browser.find("#rating-status").text
        assert "bad" in browser.find("#rating-status").get_attribute("class")


def test_the_newer_rating_wins_and_an_outdated_one_is_shown_as_such(
    browser: Pages, rated: Path
) -> None:
    one, other = "sub-2/ses-1/anat/sub-2_ses-1_T1w.nii.gz", "sub-10/anat/sub-10_FLAIR.nii.gz"
    rows = (
        (one, "reject", "n/a", "Ann", NEWER, "bbbbbbbbbbbb"),
        (one, "accept", "n/a", "Bob", OLDER, "aaaaaaaaaaaa"),
        (other, "accept", "n/a", "Ann", OLDER, "aaaaaaaaaaaa"),
    )
    head = "source\trating\tnote\trater\tdate\tresult\n"
    (rated / "ratings.tsv").write_text(head + "".join("\t".join(row) + "\n" for row in rows))
    write_all(rated)
    browser.open(rated / "group.html")
    outdated = "reject by Ann (outdated: of an earlier result); accept by Bob"
    assert read_rated(browser, one) == (["reject"], outdated)
    assert not browser.find("#next-steps").is_displayed()  # the rejected result is gone already
    choose(browser, "Rating", "outdated")
    assert list_sources(browser) == [one]
    browser.find("#reset").click()
    browser.find("#rater").send_keys("Ann\t")
    for source, expected in ((one, ["reject"]), (other, ["unsure"])):
        browser.ask("arguments[0].focus()", browser.find(f'[data-source="{source}"]'))
        browser.press("u")
        assert read_rated(browser, source)[0] == expected


def test_a_page_that_may_store_nothing_says_so(browser: Pages, rated: Path) -> None:
    command = "Page.addScriptToEvaluateOnNewDocument"
    broken = "Object.defineProperty(window, 'localStorage', { get() { throw new Error('no'); } })"
    made = browser.driver.execute_cdp_cmd(command, {"source": broken})
    try:
        browser.open(rated / "group.html")
        assert "does not let the page keep them" in browser.find("#unsaved").text
        browser.find("#rater").send_keys("Ann\t")
        browser.press("j", "a")
        assert read_rated(browser, list_sources(browser)[0]) == (["accept"], "accept by Ann")
    finally:
        browser.driver.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", made)
        browser.open(rated / "group.html")


def test_names_reasons_and_notes_are_no_markup(browser: Pages, rated: Path) -> None:
    evil = "</script><img src=x onerror=document.title=1>"
    path = next((rated / "sub-2" / "ses-1").rglob("figures/*.json"))
    message = {"Code": evil, "Serious": True, "Text": evil}
    source = f"sub-2/{evil}_T1w.nii.gz"
    more = {"Source": source, "Subject": evil, "Suffix": evil, "Session": evil}
    more |= {"SettingsHash": evil, "Messages": [message]}
    path.write_text(json.dumps(json.loads(path.read_text()) | more))
    study = {**STUDY, "Dataset": evil, "Rerun": evil, "Settings": {evil: {evil: evil}}}
    (rated / "n4ax_study.json").write_text(json.dumps(study))
    label = evil.replace("/", "")  # a label with a slash is refused
    errors = [{"Source": evil, "Subject": label, "Reason": evil}]
    (rated / "n4ax_errors.json").write_text(json.dumps({"Errors": errors}))
    head = "source\trating\tnote\trater\tdate\tresult\n"
    row = f"{source}\treject\t{evil}\t{evil}\t{OLDER}\t{evil}\n"
    (rated / "ratings.tsv").write_text(head + row)
    write_group(rated)
    browser.open(rated / "group.html")
    mine = rated / "mine.tsv"
    mine.write_text(head + row.replace(OLDER, NEWER))
    browser.find("#import-file").send_keys(str(mine))
    wait_for_status(browser, "1 rating read.")
    for view in ("table", "mosaic"):
        browser.find(f"[data-view={view}]").click()
        assert evil in read_rated(browser, source)[1]
        assert browser.driver.find_elements("css selector", "img[src=x]") == []
        assert browser.driver.title.startswith(evil)
    browser.check_quiet()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_one_is_kept_out(browser: Pages, rated: Path, scheme: str) -> None:
    message = {"Code": "fine-mesh", "Serious": True, "Text": "the mesh is fine"}
    path = next((rated / "sub-2" / "ses-1").rglob("figures/*.json"))
    more = {"SettingsHash": "00000000", "Messages": [message]}
    path.write_text(json.dumps(json.loads(path.read_text()) | more))
    write_group(rated)
    set_colours(browser, scheme)
    try:
        browser.open(rated / "group.html")
        browser.find("#rater").send_keys("Ann\t")
        for word in ("reject", "unsure", "accept"):
            browser.ask(f"document.querySelector('#scans [data-rate={word}]').click()")
            browser.press("j")
        browser.ask("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
        for view in ("table", "mosaic"):
            browser.find(f"[data-view={view}]").click()
            assert find_barriers(browser) == []
            for key in ("?", "n"):
                browser.press(key)
                assert browser.find("dialog[open]").is_displayed()
                assert find_barriers(browser) == []
                browser.press("\ue00c")
    finally:
        set_colours(browser, "light")


def test_group_page_of_100_participants_loads(
    browser: Pages, many: Path, tell: Callable[[str], None]
) -> None:
    start = time.perf_counter()
    page = write_group(many)
    written = time.perf_counter() - start
    browser.open(page)
    took = {"loadEventEnd": 0}
    while not took["loadEventEnd"]:  # the browser may still be loading
        took = browser.ask("performance.getEntriesByType('navigation')[0].toJSON()")
    tell(
        f"group page of 200 scans: {page.stat().st_size / 1e6:.2f} MB, written in "
        f"{written:.2f} s, loaded in {took['loadEventEnd'] / 1e3:.2f} s"
    )
    drawings = re.findall(r"<svg.*?</svg>", page.read_text(), re.DOTALL)
    assert drawings
    assert all(len(svg) < 25_000 for svg in drawings)
