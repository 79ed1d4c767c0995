"""The page of a participant in a browser, by pointer and by keyboard."""

from pathlib import Path
from typing import Any

import pytest

from n4ax.report.pages import write_all
from tests.report.axe import find_barriers, set_colours
from tests.report.browser import Pages
from tests.report.support import write_record

Keys = pytest.importorskip("selenium.webdriver").Keys

pytestmark = pytest.mark.slow

MESSAGES = [
    {"Code": "flat-field", "Serious": False, "Text": "the field spans 1 %"},
    {"Code": "otsu-mask", "Serious": True, "Text": "the mask is small: give a --mask"},
]


@pytest.fixture
def scans(tmp_path: Path, head: Any) -> Path:
    """Three participants; the middle one has two scans, one of them with serious messages."""
    pictures, measures = head
    for number in ("1", "2", "3"):
        more = {"Directions": True, "Result": f"00000000000{number}", "Messages": []}
        write_record(tmp_path, number, None, "T1w", measures, pictures, more=more)
    more = {"Directions": True, "Result": "abcdefabcdef", "Messages": MESSAGES}
    write_record(tmp_path, "2", None, "FLAIR", measures, pictures, more=more)
    write_all(tmp_path)
    return tmp_path


def is_shown(browser: Pages, selector: str) -> bool:
    return browser.find(selector).is_displayed()


def test_the_outline_of_the_mask_is_switched_by_its_button_and_by_key(
    browser: Pages, scans: Path
) -> None:
    browser.open(scans / "sub-1.html")
    for figure in (".compare", ".slices"):
        button, line = browser.find(f"{figure} .outlined"), f"{figure} .line"
        assert (button.get_attribute("aria-pressed"), is_shown(browser, line)) == ("false", False)
        button.send_keys(Keys.SPACE)
        assert (button.get_attribute("aria-pressed"), is_shown(browser, line)) == ("true", True)
        frame, drawn = (
            browser.find(name).rect
            for name in (f"{figure} .last, {figure} img:not([hidden])", line)
        )
        assert drawn == frame
    browser.press("o")
    assert not is_shown(browser, ".compare .line")
    assert not is_shown(browser, ".slices .line")
    browser.press("o")
    assert is_shown(browser, ".compare .line")
    browser.open(scans / "sub-2.html")  # its first scan has a suspicious mask
    assert is_shown(browser, ".compare .line")
    browser.check_quiet()


def test_slices_show_before_after_and_the_field(browser: Pages, scans: Path) -> None:
    browser.open(scans / "sub-1.html")

    def list_shown() -> list[str]:
        return [
            picture.get_attribute("data-view")
            for picture in browser.driver.find_elements("css selector", ".slices [data-view]")
            if picture.is_displayed()
        ]

    assert list_shown() == ["after"]
    size = browser.find(".slices .stack").size
    for name in ("field", "before", "after"):
        button = browser.find(f".slices [data-show={name}]")
        button.send_keys(Keys.ENTER)
        assert list_shown() == [name]
        assert button.get_attribute("aria-pressed") == "true"
        assert browser.find(".slices .stack").size == size
    browser.find(".slices .flip").send_keys(Keys.ENTER)
    assert list_shown() == ["before"]
    browser.find(".slices .flip").send_keys(Keys.ENTER)
    assert list_shown() == ["after"]
    browser.press("f")  # all pictures of the scan
    assert list_shown() == ["before"]
    assert browser.find("input[type=range]").get_attribute("value") == "100"
    browser.press("f")
    assert list_shown() == ["after"]
    assert browser.find("input[type=range]").get_attribute("value") == "0"
    browser.check_quiet()


@pytest.mark.parametrize("width", [1440, 390])
def test_letters_stand_at_the_edges_of_their_planes_and_keep_their_size(
    browser: Pages, scans: Path, width: int
) -> None:
    browser.open(scans / "sub-1.html", width)
    for plane in (None, 2):
        if plane is not None:
            browser.find(f".compare [data-plane='{plane}']").click()
        frame = browser.find(".frame").rect
        boxes = browser.ask(
            "[...document.querySelectorAll('.compare .side, .compare .plane')].map((each) => "
            "({ ...each.getBoundingClientRect().toJSON(), text: each.innerText }))"
        )
        inside = [
            box
            for box in boxes
            if frame["x"] - 1 <= box["left"] and box["right"] <= frame["x"] + frame["width"] + 1
        ]
        shown = [box["text"] for box in inside]
        words = (
            "axial L R A P coronal L R S I sagittal P A S I" if plane is None else "coronal L R S I"
        )
        assert shown == words.split()
        assert all(12 <= box["height"] <= 20 for box in inside)
        cells = 3 if plane is None else 1
        left, right = inside[1], inside[2]
        cell = frame["width"] / cells
        assert left["left"] - frame["x"] < cell * 0.1
        assert right["right"] - frame["x"] > cell * 0.9


def test_a_scan_is_rated_by_key_while_it_is_looked_at(browser: Pages, scans: Path) -> None:
    browser.open(scans / "sub-2.html")
    browser.forget()
    browser.open(scans / "sub-2.html")
    browser.find("#rater").send_keys("Ada\n")
    second = browser.driver.find_elements("css selector", "[data-source]")[1]
    browser.press("j")
    assert browser.ask("document.activeElement.id") == second.get_attribute("id")
    assert abs(browser.ask("arguments[0].getBoundingClientRect().top", second)) < 60
    browser.press("a")
    pressed = (
        "return [...document.querySelectorAll('[data-rate=accept]')].map((b) => b.ariaPressed)"
    )
    assert browser.driver.execute_script(pressed) == ["false", "true"]
    browser.open(scans / "sub-2.html")  # it is kept
    assert browser.driver.execute_script(pressed) == ["false", "true"]
    browser.ask("scrollTo(0, document.querySelectorAll('[data-source]')[1].offsetTop)")
    browser.driver.execute_async_script("requestAnimationFrame(() => setTimeout(arguments[0], 50))")
    browser.press("r")  # the scan in view, without a click on it
    assert browser.driver.execute_script(pressed.replace("accept", "reject")) == ["false", "true"]
    browser.forget()
    browser.check_quiet()


def test_participants_follow_each_other_by_key(browser: Pages, scans: Path) -> None:
    browser.open(scans / "sub-2.html")
    browser.press("l")
    assert browser.driver.current_url.endswith("sub-3.html")
    browser.press("l")  # the last
    assert browser.driver.current_url.endswith("sub-3.html")
    browser.press("h")
    assert browser.driver.current_url.endswith("sub-2.html")
    browser.find("#rater").send_keys("hl")
    assert browser.driver.current_url.endswith("sub-2.html")
    browser.ask("document.activeElement.blur()")
    browser.press("g")
    assert browser.driver.current_url.endswith("group.html")


def test_a_link_to_an_explanation_opens_it(browser: Pages, scans: Path) -> None:
    browser.open(scans / "sub-1.html")
    assert not is_shown(browser, "#checks")
    browser.find(".verdict a").send_keys(Keys.ENTER)
    assert is_shown(browser, "#checks")
    browser.find("details.help summary").send_keys(Keys.ENTER)
    assert not is_shown(browser, "#checks")
    browser.find("a[href='#cjv']").send_keys(Keys.ENTER)
    assert is_shown(browser, "#cjv")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390])
def test_the_page_has_no_barriers(browser: Pages, scans: Path, scheme: str, width: int) -> None:
    set_colours(browser, scheme)
    try:
        browser.open(scans / "sub-2.html", width)
        browser.find("details.help summary").send_keys(Keys.ENTER)
        assert find_barriers(browser) == []
        assert browser.ask("document.documentElement.scrollWidth") <= width
    finally:
        set_colours(browser, "light")


def test_everything_can_be_reached_and_is_seen_by_keyboard_alone(
    browser: Pages, scans: Path
) -> None:
    browser.open(scans / "sub-2.html")
    wanted = browser.ask(
        "[...document.querySelectorAll('a, button, input, summary')].filter((each) => "
        "each.checkVisibility() && !each.disabled).length"
    )
    seen = []
    for _ in range(wanted):
        browser.press(Keys.TAB)
        seen.append(browser.ask("document.activeElement"))
        style = "getComputedStyle(document.activeElement)"
        assert browser.ask(f"{style}.outlineStyle") != "none"
    assert len({element.id for element in seen}) == wanted
    assert all(element.accessible_name for element in seen)
