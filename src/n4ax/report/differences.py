"""Which settings of a scan are not those of its study."""

from collections.abc import Mapping
from typing import Any, NamedTuple


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
        Difference(name, describe_setting(common.get(name)), describe_setting(own.get(name)))
        for name in names
        if own.get(name) != common.get(name)
    ]


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
