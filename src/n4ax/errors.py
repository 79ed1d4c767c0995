"""Input that cannot be used: one error, told in the words of whichever door the user came by."""

from __future__ import annotations

from collections.abc import Mapping
from string import Formatter
from typing import Any

_Reduced = tuple[type["InputError"], tuple[str, *tuple[Any, ...]], dict[str, Any]]


class InputError(ValueError):
    """An argument that cannot be used.

    The message names parameters, and a parameter has another name on the command line than in
    Python. So the message is kept as a template: ``{name}`` stands for the name of a parameter,
    ``{name:{0}}`` for a parameter set to a value (``shrink_factor=4`` in Python, ``--shrink 4`` on
    the command line), and ``{0}``, ``{1!r}`` for the values.

    Parameters
    ----------
    template
        The message.
    *values
        What ``{0}``, ``{1}`` and so on stand for. Text from a user belongs here, since braces in
        it would otherwise be read as names.

    Examples
    --------
    >>> error = InputError("{shrink_factor} is {0!r}; expected whole numbers", "four")
    >>> str(error)
    "shrink_factor is 'four'; expected whole numbers"
    >>> error.with_options({"shrink_factor": "--shrink"})
    "--shrink is 'four'; expected whole numbers"
    """

    def __init__(self, template: str, *values: Any) -> None:
        self._template = template
        self._values = values
        self._subject = ""
        super().__init__(str(self))

    def __str__(self) -> str:
        return self._subject + self._fill_in(_PythonNames())

    def __reduce__(self) -> _Reduced:
        # Copies of exceptions are made from what __init__ takes.
        return type(self), (self._template, *self._values), {"_subject": self._subject}

    def with_options(self, options: Mapping[str, str]) -> str:
        """The message in the words of a command line.

        Parameters
        ----------
        options
            What each parameter is called there; a parameter that is missing keeps its name.
        """
        return self._subject + self._fill_in(_OptionNames(options))

    def about(self, subject: str) -> InputError:
        """The same error, with what it is about in front: ``"image 2: mask has shape ..."``."""
        error = InputError(self._template, *self._values)
        error._subject = f"{subject}: {self._subject}"
        return error

    def _fill_in(self, names: Mapping[str, Any]) -> str:
        try:
            return Formatter().vformat(self._template, self._values, names)
        except (LookupError, ValueError, TypeError, AttributeError):
            if self._values:
                raise
            # torch makes a copy of the error of a worker from a whole traceback, braces and all.
            return self._template


class _PythonNames(dict[str, Any]):
    def __missing__(self, name: str) -> _PythonName:
        return _PythonName(name)


class _PythonName(str):
    def __format__(self, value: str) -> str:
        return f"{self}={value}" if value else str(self)


class _OptionNames(dict[str, Any]):
    def __init__(self, options: Mapping[str, str]) -> None:
        super().__init__({name: _OptionName(option) for name, option in options.items()})

    def __missing__(self, name: str) -> _OptionName:
        return _OptionName(name)


class _OptionName(str):
    def __format__(self, value: str) -> str:
        # A tuple such as (4, 4, 3) is written 4x4x3 on the command line.
        value = value.strip("()'\"").rstrip(",").replace(", ", "x")
        return f"{self} {value}" if value else str(self)
