"""The parameters of N4 with values of any type and size."""

from pathlib import Path
from random import Random
from typing import Any

import n4ax
from reliability.fuzz.arguments import draw_thing
from reliability.fuzz.refusals import call_or_refuse, freeze
from reliability.fuzz.settings_values import NAMES, draw_setting

SHARE = 1.0
SECONDS = 10.0

_PRESETS = ("simpleitk", "ants", "antspy", "fast", "auto")


def try_input(random: Random, _folder: Path) -> str:
    """Make settings; they hold what was given, or an error names what cannot be used."""
    chosen = random.sample(NAMES, random.choice((1, 1, 1, 2, 3, 6, len(NAMES))))
    given: dict[str, Any] = {name: draw_setting(random, name) for name in chosen}
    before = {name: freeze(value) for name, value in given.items()}
    preset = random.choice((None, *_PRESETS))
    if random.random() < 0.02:
        given[random.choice(("bins", "shrink", "iterations", "", "é", "mesh "))] = draw_thing(
            random
        )
    settings, refusal = call_or_refuse(lambda: _make(preset, given))
    assert before == {name: freeze(given[name]) for name in before}
    if settings is None:
        assert any(name in refusal for name in NAMES) or " is not a parameter" in refusal, refusal
        return refusal
    _check(settings, given)
    return repr(settings)


def _make(preset: str | None, given: dict[str, Any]) -> n4ax.N4Settings:
    start = n4ax.N4Settings() if preset is None else getattr(n4ax.N4Settings, preset)()
    return start.override(**given)


def _check(settings: n4ax.N4Settings, given: dict[str, Any]) -> None:
    """Check that settings can be shown, compared and made again, and are what was given."""
    again = n4ax.N4Settings(**settings.keywords())
    assert again == settings, (again, settings)
    assert hash(again) == hash(settings)
    assert (
        eval(repr(settings), {"N4Settings": n4ax.N4Settings, "np": __import__("numpy")}) == settings
    )
    for name, value in given.items():
        if isinstance(value, int | float | str | None):
            kept = getattr(settings, name)
            assert kept in (value, (value,)), (name, value, kept)
    assert len(repr(settings)) < 3000, repr(settings)
