"""How a run of ``n4ax bids`` was called, in words for a shell."""

import shlex
from collections.abc import Iterator
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from n4ax.settings import N4Settings

if TYPE_CHECKING:
    from n4ax.bids.study_file import Call

WORDS = "n4ax.words"
"""Where the context keeps the words of the command, as they were typed."""

_LEFT_OUT = {
    "preset", "participants", "sessions", "rated", "output_settings", "shared_field",
    "longitudinal", "dry_run", "quiet", "stop_at_failure",
}  # fmt: skip
"""What :attr:`Call.rerun` leaves out besides the parameters of N4. It is for images that are chosen
by their ratings, and that share nothing with others."""


def write_call(context: click.Context) -> "Call":
    """Write the command, and the command without the parameters of N4."""
    from n4ax.bids.study_file import Call

    left_out = _LEFT_OUT | {field.name for field in fields(N4Settings)}
    given = [
        parameter
        for parameter in context.command.params
        if parameter.name is not None
        and parameter.name not in left_out
        and context.get_parameter_source(parameter.name) is ParameterSource.COMMANDLINE
    ]
    places = [str(context.params[str(p.name)]) for p in given if isinstance(p, click.Argument)]
    options = [p for p in given if isinstance(p, click.Option)]
    words = [word for option in options for word in _write_option(context, option)]
    start = ["n4ax", "bids"]
    typed = context.meta.get(WORDS, [])
    return Call(shlex.join([*start, *typed]), shlex.join([*start, *places, *words]))


def _write_option(context: click.Context, option: click.Option) -> Iterator[str]:
    """The words of an option that was given."""
    value = context.params[str(option.name)]
    if option.is_flag:
        yield option.opts[0]
        return
    for one in value if option.multiple else [value]:
        yield option.opts[0]
        yield _write_value(one)


def _write_value(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
