"""What made an output folder, as ``GeneratedBy`` of BIDS describes it."""

import os
from importlib import metadata
from typing import Any

from n4ax.bids.container import describe_container
from n4ax.version import __version__

_PLACES = ("source", "source code", "repository", "homepage")
"""What the address of the sources is called in the metadata of a package, the best first."""


def describe_maker(command: str) -> dict[str, Any]:
    """Describe n4ax, the container that it runs in, if any, and the command that was given.

    Parameters
    ----------
    command
        The full command.
    """
    container = describe_container(os.environ)
    return {
        "Name": "n4ax",
        "Version": __version__,
        "Description": "N4 bias field correction (Tustison et al. 2010)",
        "CodeURL": _find_sources(),
        **({} if container is None else {"Container": container}),
        "Command": command,
    }


def _find_sources() -> str:
    """Where the sources are: an address if the package has one, otherwise its package URL."""
    try:
        listed = metadata.metadata("n4ax").get_all("Project-URL") or []
    except metadata.PackageNotFoundError:  # it runs from its sources
        listed = []
    pairs = (entry.split(",", 1) for entry in listed)
    known = {name.strip().lower(): url.strip() for name, url in pairs}
    return next((known[name] for name in _PLACES if name in known), f"pkg:pypi/n4ax@{__version__}")
