"""How the programs end: with their status, or with an error in one line and the status 1."""

import sys
from collections.abc import Callable, Mapping

from n4ax.errors import InputError, describe_shortage
from n4ax.messages import escape_what_cannot_be_printed, make_one_line
from n4ax.signals import exit_on_signals

FAILURE = 1

NO_MEMORY = (
    "not enough memory: run fewer programs at a time, or allow this one more (about 20 bytes for "
    "each voxel of the image)"
)
"""Neither shrink factor nor format change what these programs need."""


def run_program(name: str, run: Callable[[], int], parameters: Mapping[str, str]) -> int:
    """Run a program.

    Parameters
    ----------
    name
        The name of the program, for messages.
    run
        Does the work, and returns the exit status.
    parameters
        What the parameters of :func:`n4ax.fit` are called on the command line.

    Returns
    -------
    int
        The exit status; 1 after an error, which is told in one line on standard error.
    """
    try:
        return run()
    except ValueError as error:
        message = describe(error, parameters)
    except (OSError, MemoryError, ImportError, RuntimeError) as error:
        found = describe_shortage(error, parameters, NO_MEMORY) or _describe_other(error)
        if found is None:
            raise
        message = found
    print_message(name, f"error: {message}")
    return FAILURE


def _describe_other(error: Exception) -> str | None:
    """What to say about an error of the system or a library; ``None`` if it is of another kind."""
    if isinstance(error, OSError):
        place = f"{error.filename}: " if error.filename else ""
        return f"{place}{error.strerror or error}"
    if isinstance(error, ImportError):  # of a library that a format needs
        is_own = error.name is None or error.name.startswith("n4ax")
        return None if is_own else str(error)
    of_jax = type(error).__module__.startswith("jax")
    return f"JAX: {error}; set N4AX_ENGINE=cpu" if of_jax else None


def describe(error: ValueError, parameters: Mapping[str, str]) -> str:
    """The message of an error, with the names that the parameters have on the command line."""
    return error.with_options(parameters) if isinstance(error, InputError) else str(error)


def print_message(name: str, message: str) -> None:
    """Print a message of a program in one line on standard error."""
    print(f"{name} (n4ax): {make_one_line(message)}", file=sys.stderr)


def exit_with(main: Callable[[], int]) -> None:
    """Run the main function of an installed program, and exit with its status."""
    exit_on_signals()
    escape_what_cannot_be_printed()
    sys.exit(main())
