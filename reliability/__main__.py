"""All sections, each a command: ``python -m reliability SECTION --help``."""

from importlib import import_module

import click

SECTIONS = (
    "fuzz", "differential", "faults", "soak", "mutants", "stability", "security", "pages",
)  # fmt: skip


class Sections(click.Group):
    """The sections, each of which is imported when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Give the names of the sections in the order in which the page has them."""
        return list(SECTIONS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import the command of a section."""
        if cmd_name not in SECTIONS:
            return None
        command: click.Command = import_module(f"reliability.{cmd_name}.command").main
        return command


@click.command(cls=Sections)
def main() -> None:
    """Try what can go wrong, count what went wrong, and write it under reliability/results/."""


if __name__ == "__main__":
    main(prog_name="python -m reliability")
