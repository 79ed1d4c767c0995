"""The pages in a browser."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from n4ax.report.pages import write_all
from tests.report.browser import Pages
from tests.report.support import read_pixels, write_record

pytestmark = pytest.mark.slow


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
            assert field.accessible_name or not field.is_displayed()
