"""Checks of pages by axe-core, which finds what people with disabilities cannot use."""

from importlib.resources import files

import pytest

from tests.report.browser import Pages

_RUN = """
const done = arguments[arguments.length - 1];
axe.run(document, { resultTypes: ["violations"] })
  .then((found) => done(found.violations), (error) => done(String(error)));
"""


def find_barriers(browser: Pages) -> list[str]:
    """What axe-core finds on the page that is open, if it is serious or critical.

    Each is a rule with the elements that break it. The test is skipped where axe-core is missing.
    """
    pytest.importorskip("axe_core_python")
    script = (files("axe_core_python") / "axe.min.js").read_text(encoding="utf-8")
    browser.driver.set_script_timeout(120)
    browser.driver.execute_script(script)
    found = browser.driver.execute_async_script(_RUN)
    assert isinstance(found, list), found
    return [
        f"{rule['id']}: {rule['help']}: {[node['target'] for node in rule['nodes']]}"
        for rule in found
        if rule["impact"] in ("serious", "critical")
    ]


def set_colours(browser: Pages, scheme: str) -> None:
    """Let pages be ``"light"`` or ``"dark"``."""
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
