"""How the help lists options: under headings, with examples, and without their aliases."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from copy import copy
from functools import partial
from inspect import cleandoc
from typing import Any

import click

from n4ax.messages import hide_warnings


class Option(click.Option):
    """An option that the help lists under a heading.

    It has the name of the parameter in Python. Other names that were its own before, and those that
    other programs use, still work as ``aliases``, which the help and the messages do not show.
    """

    def __init__(
        self, names: Sequence[str], heading: str, aliases: tuple[str, ...] = (), **given: Any
    ) -> None:
        super().__init__((*names, *aliases), **given)
        self.heading = heading
        self.shown = [name for name in self.opts if name not in aliases]

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        """The line of the help, without the aliases."""
        return click.Option.get_help_record(self._without_aliases(), ctx)

    def get_error_hint(self, ctx: click.Context | None) -> str:
        """What errors call the option."""
        return super(Option, self._without_aliases()).get_error_hint(ctx)

    def _without_aliases(self) -> "Option":
        option = copy(self)
        option.opts = self.shown
        return option


class Command(click.Command):
    """A command whose help groups the options by heading, and ends with examples."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; with ``--quiet``, libraries do not print their warnings."""
        with hide_warnings() if ctx.params.get("quiet") else nullcontext():
            return super().invoke(ctx)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the examples."""
        write_examples(self.epilog, formatter)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options under their headings, in the order in which they were declared."""
        lists: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None and isinstance(parameter, click.Option):
                lists.setdefault(getattr(parameter, "heading", "Other"), []).append(record)
        for heading, records in lists.items():
            with formatter.section(heading if len(lists) > 1 else "Options"):
                formatter.write_dl(records, col_max=26)


def write_examples(text: str | None, formatter: click.HelpFormatter) -> None:
    """Write the examples line by line; click would join their lines to a paragraph."""
    formatter.write(f"\n{cleandoc(text or '')}\n")


def combine_options(*decorators: Callable[..., Any]) -> Callable[..., Any]:
    """Combine several options into one decorator; the help lists them in the order given."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return decorate


def under_heading(heading: str) -> Callable[..., Any]:
    """``click.option`` for options that the help lists under ``heading``."""
    return partial(click.option, cls=Option, heading=heading)
