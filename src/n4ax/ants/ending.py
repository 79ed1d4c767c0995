"""How the programs end: with their status, or with an error in one line and the status 1."""

import sys
from collections.abc import Callable, Mapping

from n4ax.errors import InputError
from n4ax.messages import escape_what_cannot_be_printed, make_one_line
from n4ax.signals import exit_on_signals

FAILURE = 1


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
    except ImportError as error:  # of a library that a format needs
        if error.name is None or error.name.startswith("n4ax"):
            raise
        message = str(error)
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        message = f"{place}{error.strerror or error}"
    except MemoryError:
        message = "not enough memory: try a shrink factor above the default of 4, such as -s 6"
    except RuntimeError as error:
        if not type(error).__module__.startswith("jax"):
            raise
        message = f"JAX: {error}; set N4AX_ENGINE=cpu"
    print_message(name, f"error: {message}")
    return FAILURE


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
