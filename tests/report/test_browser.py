"""The pages in a browser."""

import json
import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from n4ax.report.pages import write_all, write_group
from tests.report.support import make_measures, read_pixels, write_record

pytestmark = pytest.mark.slow

CHROMIUM, DRIVER = Path("/usr/bin/chromium"), Path("/usr/bin/chromedriver")
SWITCHES = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


class Pages:
    """A browser that opens pages and evaluates scripts in them."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def open(self, page: Path, width: int = 1440, height: int = 900) -> None:
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        self.driver.get(page.as_uri())

    def ask(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(f"return {script}", *arguments)

    def find(self, selector: str) -> Any:
        return self.driver.find_element("css selector", selector)

    def column(self, number: int) -> list[str]:
        """The texts of a column of the table, in the rows that are shown."""
        return self.ask(
            "[...document.querySelectorAll('#scans tbody tr')].filter((row) => !row.hidden)"
            ".map((row) => row.cells[arguments[0]].innerText)",
            number,
        )

    def check_quiet(self) -> None:
        """Check that the console has no error, and that nothing was fetched."""
        assert [
            entry for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"
        ] == []
        fetched = self.ask("performance.getEntriesByType('resource').map((entry) => entry.name)")
        assert [name for name in fetched if not name.startswith("data:")] == []
        asked = [
            json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")
        ]
        urls = [
            event["params"]["request"]["url"]
            for event in asked
            if event["method"] == "Network.requestWillBeSent"
        ]
        assert [url for url in urls if not url.startswith(("file:", "data:"))] == []


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pages]:
    webdriver = pytest.importorskip("selenium.webdriver")
    if not (CHROMIUM.exists() and DRIVER.exists()):
        pytest.skip(f"{CHROMIUM} and {DRIVER} are not both here")
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    profile = tmp_path_factory.mktemp("profile")
    for switch in (*SWITCHES, f"--user-data-dir={profile}"):
        options.add_argument(switch)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(str(DRIVER)))
    driver.set_page_load_timeout(30)
    driver.get("about:blank")
    driver.get_log("performance")  # discards what the first page of the browser asked for
    try:
        yield Pages(driver)
    finally:
        driver.quit()
        shutil.rmtree(profile, ignore_errors=True)


def test_slider_moves_the_edge_by_key_and_by_pointer(browser: Pages, few: Path) -> None:
    from selenium.webdriver import ActionChains, Keys

    write_all(few)
    browser.open(few / "sub-2.html")
    look = "getComputedStyle(document.querySelector('.planes .first')).maskImage"
    split = "document.querySelector('.frame').style.getPropertyValue('--split')"
    start = browser.ask(look)
    assert "gradient" in start
    slider = browser.find("input[type=range]")
    slider.send_keys(Keys.END)
    assert browser.ask(split) == "1"
    assert browser.ask(look) != start
    slider.send_keys(Keys.ARROW_LEFT)
    assert float(browser.ask(split)) == pytest.approx(0.99)
    assert slider.get_attribute("aria-valuetext") == "99 % before"

    planes = browser.find(".planes")
    third = planes.size["width"] / 3
    mouse = ActionChains(browser.driver)
    # Drag from the middle of the middle plane to a quarter of it, and then beyond its edge.
    mouse.move_to_element(planes).click_and_hold().move_by_offset(-round(third / 4), 0).perform()
    assert float(browser.ask(split)) == pytest.approx(0.25, abs=0.01)
    mouse = ActionChains(browser.driver)
    mouse.move_by_offset(-round(third / 2), 0).release().perform()
    assert browser.ask(split) == "0"
    assert slider.get_attribute("value") == "0"
    ActionChains(browser.driver).move_to_element(planes).perform()
    assert browser.ask(split) == "0"  # the button is released

    browser.find(".flip").click()
    assert browser.ask(split) == "1"
    browser.find(".flip").click()
    assert browser.ask(split) == "0"
    browser.check_quiet()


def test_edge_shows_before_on_its_left_and_after_on_its_right(browser: Pages, few: Path) -> None:
    folder = few / "sub-2" / "ses-1" / "figures"
    for name, shade in (("before", 255), ("after", 80)):
        plain = Image.new("L", (900, 300), shade)
        plain.save(folder / f"sub-2_ses-1_desc-n4_T1w_{name}.webp", lossless=True)
    write_all(few)
    browser.open(few / "sub-2.html")
    browser.ask("document.querySelector('.frame').scrollIntoView()")
    shot = few / "shot.png"
    browser.find(".frame").screenshot(str(shot))
    row = read_pixels(shot.read_bytes())[20]
    places = (np.arange(3) / 3)[:, None] + np.array([0.25, 0.75]) / 3
    assert row[(places * len(row)).astype(int)].tolist() == [[255, 80]] * 3
    browser.find("[data-plane='2']").click()
    browser.find(".frame").screenshot(str(shot))
    row = read_pixels(shot.read_bytes())[20]
    assert row[[len(row) // 4, 3 * len(row) // 4]].tolist() == [255, 80]
    assert browser.find("[data-plane='2']").get_attribute("aria-pressed") == "true"


def test_pictures_are_dragged_by_touch(browser: Pages, few: Path) -> None:
    write_all(few)
    browser.open(few / "sub-2.html", 390, 844)
    box = browser.ask("document.querySelector('.planes').getBoundingClientRect().toJSON()")
    y = box["y"] + box["height"] / 2
    touch = "Input.dispatchTouchEvent"
    for kind, part in (("touchStart", 0.5), ("touchMove", 0.45), ("touchMove", 0.4)):
        points = [{"x": box["x"] + box["width"] * part, "y": y}]
        browser.driver.execute_cdp_cmd(touch, {"type": kind, "touchPoints": points})
    browser.driver.execute_cdp_cmd(touch, {"type": "touchEnd", "touchPoints": []})
    split = browser.ask("document.querySelector('.frame').style.getPropertyValue('--split')")
    assert float(split) == pytest.approx(0.2, abs=0.05)


def test_table_is_sorted_by_number_and_by_key(browser: Pages, many: Path) -> None:
    from selenium.webdriver import Keys

    browser.open(many / "group.html")
    names = [name.text for name in browser.driver.find_elements("css selector", "#scans th")]
    column = names.index(next(name for name in names if name.startswith("Field high")))
    head = browser.find(f"#scans th:nth-child({column + 1})")
    head.find_element("css selector", "button").click()
    shown = [float(text) for text in browser.column(column)]
    assert len(shown) == 200
    assert shown == sorted(shown)
    assert head.get_attribute("aria-sort") == "ascending"
    head.find_element("css selector", "button").send_keys(Keys.ENTER)
    assert [float(text) for text in browser.column(column)] == shown[::-1]
    assert head.get_attribute("aria-sort") == "descending"
    browser.find("#scans th:nth-child(2) button").click()
    assert browser.ask("document.querySelectorAll('[aria-sort]').length") == 1
    labels = [text.split()[0] for text in browser.column(1)]
    assert labels == sorted(labels)
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
    button = browser.find("#scans th:nth-child(10) button")
    for expected in (["9.500", "10.5", "100.0", "–"], ["100.0", "10.5", "9.500", "–"]):
        button.click()
        assert browser.column(9) == expected


def test_filter_and_outliers(browser: Pages, many: Path) -> None:
    browser.open(many / "group.html")
    words = browser.find("#words")
    words.send_keys("sub-04 t1W")
    assert len(browser.column(0)) == 10
    assert browser.find("#count").text == "10 of 200"
    words.clear()
    words.send_keys("042")
    assert len(browser.column(0)) == 2
    browser.find("#outliers").click()
    assert len(browser.column(0)) == 1
    row = browser.find("#scans tr.outlier:not([hidden])")
    assert "sub-042" in row.text
    reason = row.find_element("css selector", "td.out").get_attribute("title")
    assert re.fullmatch(
        r"Field high is 4\.000, \d+\.\d robust standard deviations above 1\.\d+, "
        r"the median of the FLAIR scans",
        reason,
    )
    assert reason in row.get_attribute("title")
    words.clear()
    words.send_keys("no such scan")
    assert browser.column(0) == []
    # A dot leads to its row, even if the filter hides the row.
    dot = browser.find("circle.out")
    browser.ask("arguments[0].dispatchEvent(new MouseEvent('click'))", dot)
    shown = browser.find("tr.shown")
    assert shown.get_attribute("id") == f"scan-{dot.get_attribute('data-scan')}"
    assert shown.is_displayed()
    browser.check_quiet()


def test_no_page_is_wider_than_a_phone(browser: Pages, few: Path, many: Path, head: Any) -> None:
    long = {"Source": "sub-3/" + "very_long_name" * 12, "Subject": "3", "Reason": "x" * 200}
    (few / "n4ax_errors.json").write_text(json.dumps({"Errors": [long]}))
    write_record(few, "3", "averylongsessionlabel" * 2, "inplaneT2", *head[::-1])
    write_all(few)
    for page in (*sorted(few.glob("*.html")), many / "group.html"):
        for width, height in ((390, 844), (1440, 900)):
            browser.open(page, width, height)
            assert browser.ask("innerWidth") == width
            assert browser.ask("document.documentElement.scrollWidth") <= width, page
        browser.check_quiet()


def test_everything_has_a_name_for_those_who_do_not_see_it(browser: Pages, few: Path) -> None:
    write_all(few)
    for name in ("sub-2.html", "group.html"):
        browser.open(few / name)
        for selector in ("img:not([alt])", "svg:not([aria-label])", "img[alt='']"):
            assert browser.driver.find_elements("css selector", selector) == []
        for field in browser.driver.find_elements("css selector", "input, button, a"):
            assert field.accessible_name


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
