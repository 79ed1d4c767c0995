"""The command line: ``n4ax correct``, ``demo``, ``bids``, ``report``, ``ants`` and ``shim``.

Heavy packages are loaded inside the functions, after the arguments are known to be good.
"""

import logging
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from n4ax.cli import options
from n4ax.cli.bids import bids
from n4ax.cli.correct import correct, demo
from n4ax.cli.report import report
from n4ax.signals import exit_on_signals
from n4ax.version import __version__

BAD_INPUT = 2
"""Exit status for input that cannot be worked with."""

INTERRUPTED = 130
"""Exit status after Ctrl-C, as a shell gives it."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments
        What stands after the program's name; ``None`` for the arguments of this process.

    Returns
    -------
    int
        Exit status: 0, 2 after an error (one line on stderr), or 130 after an interrupt.
    """
    disabled = logging.root.manager.disable
    try:
        status = n4ax_command.main(arguments, prog_name="n4ax", standalone_mode=False)
        return status if isinstance(status, int) else 0
    except click.ClickException as error:
        return _fail(_usage(error))
    except click.Abort:
        return INTERRUPTED
    except ValueError as error:
        return _fail(str(error))
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        return _fail(f"{place}{error.strerror or error}")
    except MemoryError:
        return _fail("not enough memory; try --shrink 2")
    except RuntimeError as error:
        if not type(error).__module__.startswith("jax"):
            raise
        return _fail(f"JAX: {error}; try --engine cpu")
    finally:
        logging.disable(disabled)


def console() -> None:
    """The installed program."""
    exit_on_signals()
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # where it cannot keep its cache
    sys.exit(main())


def _fail(message: str) -> int:
    print(f"n4ax: error: {' '.join(message.split())}", file=sys.stderr)
    return BAD_INPUT


def _usage(error: click.ClickException) -> str:
    message = error.format_message()
    if isinstance(error, click.UsageError) and error.ctx is not None:
        return f"{message.rstrip('.')} (see {error.ctx.command_path} --help)"
    return message


class _Program(click.Group):
    """The commands, in the order in which they are added: most used first."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        options.write_examples(self.epilog, formatter)

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(self.commands)


@click.group(
    cls=_Program,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80},
    invoke_without_command=True,
    epilog="""
    Examples:
      n4ax correct head.nii.gz
      n4ax correct head.nii.gz -o corrected.nii.gz --figure check.png
      n4ax correct head.nii.gz --mask brain.nii.gz --shrink 4
      n4ax bids study study/derivatives/n4ax participant
      n4ax ants -d 3 -i t1w.nii.gz -x mask.nii.gz -o corrected.nii.gz
      n4ax shim ~/n4ax-bin
      n4ax demo

    n4ax COMMAND --help has the options and examples of a command.
    """,
)
@click.version_option(__version__, prog_name="n4ax")
@click.pass_context
def n4ax_command(context: click.Context) -> None:
    """N4 bias field correction with ITK's numbers."""
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
    """N4BiasFieldCorrection of ANTs: its options, numbers and outputs."""
    from n4ax.ants.program import main as run

    context.exit(run(arguments))


@click.command(
    cls=options.Command,
    epilog="""
    Examples:
      n4ax shim ~/n4ax-bin && export PATH=~/n4ax-bin:$PATH
      n4ax shim --remove ~/n4ax-bin
    """,
)
@click.argument("folder", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
@click.option("--remove", is_flag=True, help="Take the program away again.")
@options.QUIET
def shim(folder: Path, remove: bool, quiet: bool) -> None:
    """Write a program N4BiasFieldCorrection to DIR.

    With DIR first on PATH, pipelines that call ANTs' program run n4ax.
    """
    from n4ax.ants import shim as program

    target = program.remove(folder) if remove else program.install(folder)
    if not quiet:
        first = f"Put it first on PATH: export PATH={target.parent.resolve()}:$PATH"
        print(f"Removed {target}." if remove else f"Wrote {target}. {first}")


for command in (correct, bids, report, ants, shim, demo):
    n4ax_command.add_command(command)
