"""The command line: ``n4ax correct``, ``apply``, ``tune``, ``bids``, ``ants`` and others.

Functions import heavy packages only when they need them, so that help texts and errors in the
arguments appear at once.
"""

import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from n4ax.cli import layout, options
from n4ax.cli.apply import apply
from n4ax.cli.bids import bids
from n4ax.cli.correct import correct, demo
from n4ax.cli.report import report
from n4ax.cli.tune import tune
from n4ax.errors import describe_shortage
from n4ax.images.names import find_suffix
from n4ax.messages import escape_what_cannot_be_printed, make_one_line
from n4ax.signals import exit_on_signals
from n4ax.version import __version__

BAD_INPUT = 2
"""Exit status after an error in the input."""

_OF_ANTS = ("-d", "-i", "-x", "-w", "-s", "-b", "-c", "-t", "-r", "-v")

INTERRUPTED = 130
"""Exit status after Ctrl-C, the same that a shell reports."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments
        The words that follow the program's name; ``None`` takes them from this process.

    Returns
    -------
    int
        The exit status: 0, 1 if some of several images could not be corrected, 2 after an error
        (which is told in one line on stderr), or 130 after an interrupt.
    """
    try:
        status = n4ax_command.main(arguments, prog_name="n4ax", standalone_mode=False)
        return status if isinstance(status, int) else 0
    except click.ClickException as error:
        return _fail(_describe_usage(error))
    except click.Abort:
        return INTERRUPTED
    except ValueError as error:
        return _fail(str(error))
    except (OSError, MemoryError, ImportError, RuntimeError) as error:
        message = _describe(error)
        if message is None:
            raise
        return _fail(message)


def _describe(error: Exception) -> str | None:
    """What to say about an error of the system or of JAX; ``None`` if it is of another kind."""
    shortage = describe_shortage(error, {"shrink_factor": "--shrink-factor"})
    if shortage is not None:
        return shortage
    if isinstance(error, OSError):
        place = f"{error.filename}: " if error.filename else ""
        return f"{place}{error.strerror or error}"
    return f"JAX: {error}; try --engine cpu" if type(error).__module__.startswith("jax") else None


def console() -> None:
    """Run the installed program ``n4ax``, and exit with its status."""
    exit_on_signals()
    escape_what_cannot_be_printed()
    # matplotlib warns if it has no folder for its cache, which does not concern the user.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    sys.exit(main())


def _fail(message: str) -> int:
    """Print an error in one line on stderr, and return the exit status."""
    print(f"n4ax: error: {make_one_line(message)}", file=sys.stderr)
    return BAD_INPUT


def _describe_usage(error: click.ClickException) -> str:
    """The message of an error that click found in the arguments, and where to find the help."""
    message = error.format_message()
    if isinstance(error, click.NoSuchOption) and error.option_name in _OF_ANTS:
        return f"No such option {error.option_name!r}: n4ax ants takes the options of ANTs"
    if isinstance(error, click.UsageError) and error.ctx is not None:
        return f"{message.removesuffix('.')} (see {error.ctx.command_path} --help)"
    return message


class _Program(click.Group):
    """A group whose help lists the commands in the order in which they were added."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the examples."""
        layout.write_examples(self.epilog, formatter)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """Find the command; say what was meant if an image stands in its place."""
        if self.get_command(ctx, args[0]) is None and find_suffix(Path(args[0])):
            images = " ".join(args)
            ctx.fail(f"{args[0]!r} is no command; to correct images: n4ax correct {images}")
        return super().resolve_command(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """The names of the commands; click would sort them."""
        return list(self.commands)


@click.group(
    cls=_Program,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80},
    invoke_without_command=True,
    epilog="""
    Examples:
      n4ax correct head.nii.gz
      n4ax correct head.nii.gz -o corrected.nii.gz --figure check.png
      n4ax correct head.nii.gz --mask brain.nii.gz --shrink-factor 4
      n4ax apply t1w_field.npz t2w.nii.gz flair.nii.gz
      n4ax tune scans --mask '{stem}_mask.nii.gz'
      n4ax bids study study/derivatives/n4ax participant
      n4ax ants -d 3 -i t1w.nii.gz -x mask.nii.gz -o corrected.nii.gz
      n4ax shim ~/n4ax-bin
      n4ax demo

    Run n4ax COMMAND --help for the options of a command and more examples.
    """,
)
@click.version_option(__version__, prog_name="n4ax")
@click.pass_context
def n4ax_command(context: click.Context) -> None:
    """N4 bias field correction that gives the same numbers as ITK."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help(), err=True)
        context.exit(BAD_INPUT)


@click.command(
    context_settings={"ignore_unknown_options": True, "help_option_names": []},
    add_help_option=False,
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def ants(context: click.Context, arguments: tuple[str, ...]) -> None:
    """N4BiasFieldCorrection with ANTs' options, numbers and outputs."""
    from n4ax.ants.program import main as run

    context.exit(run(arguments))


@click.command(
    cls=layout.Command,
    epilog="""
    Examples:
      n4ax shim ~/n4ax-bin && export PATH=~/n4ax-bin:$PATH
      n4ax shim --remove ~/n4ax-bin
    """,
)
@click.argument("folder", metavar="DIR", type=options.FOLDER)
@click.option("--remove", is_flag=True, help="Remove the programs from DIR again.")
@options.QUIET
def shim(folder: Path, remove: bool, quiet: bool) -> None:
    """Install programs that stand in for those of ANTs and FreeSurfer in DIR.

    They are N4BiasFieldCorrection (ANTs) and AntsN4BiasFieldCorrectionFs (FreeSurfer). If DIR comes
    first on PATH, pipelines that call these programs run n4ax instead.
    """
    from n4ax.ants import shim as programs

    targets = programs.remove(folder) if remove else programs.install(folder)
    if quiet:
        return
    named = " and ".join(map(str, targets))
    if remove:
        print(f"Removed {named}.")
    else:
        place = folder.resolve()
        print(f"Wrote {named}. Put their folder first on PATH: export PATH={place}:$PATH")


for command in (correct, apply, tune, bids, report, ants, shim, demo):
    n4ax_command.add_command(command)
