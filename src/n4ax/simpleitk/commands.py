"""The commands of a filter, and the events at which they are called."""

import weakref
from collections.abc import Callable
from typing import Any

import SimpleITK as sitk

# "sitkIterationEvent" is called "IterationEvent" in SimpleITK's own descriptions.
_EVENT_NAMES = {
    getattr(sitk, name): name.removeprefix("sitk") for name in dir(sitk) if name.endswith("Event")
}

Command = Callable[[], Any]


class Commands:
    """The commands of one filter, in the order in which they were added.

    SimpleITK could keep them itself, but it would never release a command that refers to its own
    filter, as most commands do, nor the images that the filter holds.
    """

    def __init__(self) -> None:
        # Each event comes with a function that returns its command, or None once it is deleted.
        self._entries: list[tuple[int, Callable[[], Command | None]]] = []

    def add(self, event: int, command: Any) -> None:
        """Call a command at an event.

        Raises
        ------
        TypeError
            ``command`` cannot be called.
        RuntimeError
            SimpleITK has no such event.
        """
        if event not in _EVENT_NAMES:
            raise RuntimeError(
                f"event is {event!r}, which is not an event of SimpleITK: give one such as "
                "SimpleITK.sitkIterationEvent"
            )
        if isinstance(command, sitk.Command):
            reference = weakref.ref(command)
            self._entries.append((event, lambda: getattr(reference(), "Execute", None)))
        elif callable(command):
            self._entries.append((event, lambda: command))
        else:
            raise TypeError(f"command is {command!r}; expected a callable or a SimpleITK.Command")

    def clear(self) -> None:
        """Remove all commands."""
        self._entries.clear()

    def __bool__(self) -> bool:
        return bool(self._entries)

    def has(self, event: int) -> bool:
        """Whether a command was added for an event and still exists."""
        return any(own == event for own, _ in self._list_existing())

    def call(self, event: int) -> None:
        """Call the commands for an event, and those for any event.

        Raises
        ------
        RuntimeError
            A command raised an exception.
        """
        for own, command in self._list_existing():
            if own not in (event, sitk.sitkAnyEvent):
                continue
            try:
                command()
            except Exception as error:
                name = _EVENT_NAMES[event]
                raise RuntimeError(
                    f"a command for {name} raised {type(error).__name__}: {error}"
                ) from error

    def describe(self) -> str:
        """The commands as ``str`` of SimpleITK's filter lists them."""
        return "".join(
            f"\n    Event: {_EVENT_NAMES[event]} Command: Command"
            for event, _ in self._list_existing()
        )

    def _list_existing(self) -> list[tuple[int, Command]]:
        return [(event, command) for event, get in self._entries if (command := get())]
