"""Which settings of a scan are not those of its study."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from n4ax.settings import CHOSEN


class Difference(NamedTuple):
    """A setting that a scan has otherwise than the study, in words."""

    name: str
    study: str
    here: str


def list_differences(own: Mapping[str, Any], common: Mapping[str, Any]) -> list[Difference]:
    """The settings that differ, in the order of the study; none if either is not known."""
    if not own or not common:
        return []
    names = dict.fromkeys([*common, *own])
    return [
        Difference(name, _describe(common, name), _describe(own, name))
        for name in names
        if own.get(name) != common.get(name)
    ]


def _describe(settings: Mapping[str, Any], name: str) -> str:
    if settings.get("adapt") and name in CHOSEN:
        return "chosen for the image"
    return describe_setting(settings.get(name))


def describe_setting(value: Any) -> str:
    """The value of a setting in words."""
    match value:
        case None:
            return "not given"
        case bool():
            return "yes" if value else "no"
        case list():
            return ", ".join(map(describe_setting, value)) or "none"
        case _:
            return str(value)
