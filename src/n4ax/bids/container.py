"""The container that a study is corrected in, as a BIDS dataset describes it."""

import re
from collections.abc import Mapping
from pathlib import Path

_APPTAINER = {"apptainer": "APPTAINER", "singularity": "SINGULARITY"}
"""The beginnings of the variables that are set in a container. Apptainer sets both."""

_IMAGE = "N4AX_IMAGE"
"""The variable that packaging/Containerfile and packaging/apptainer.def set to the image's name."""


def describe_container(
    environment: Mapping[str, str], root: Path = Path("/")
) -> dict[str, str] | None:
    """Describe the container that this process runs in, for ``GeneratedBy`` of BIDS.

    Parameters
    ----------
    environment
        The environment variables.
    root
        The root of the file system, where engines leave marks.

    Returns
    -------
    dict or None
        ``Type`` (``"docker"``, ``"podman"``, ``"apptainer"`` or ``"singularity"``), ``Tag`` (the
        name of the image) and ``URI`` (where anybody finds it), as far as they are known; ``None``
        outside of containers.
    """
    named = environment.get(_IMAGE, "")
    for kind, start in _APPTAINER.items():
        place = environment.get(f"{start}_CONTAINER")
        if place:
            uri = place if "://" in place else ""  # a path is of use on this machine alone
            return _keep_known(kind, named or environment.get(f"{start}_NAME", ""), uri)
    kind, used = _find_engine(root)
    tag = used or named
    return _keep_known(kind, tag, f"docker://{tag}" if _names_registry(tag) else "") or None


def _keep_known(kind: str, tag: str, uri: str) -> dict[str, str]:
    found = {"Type": kind, "Tag": tag, "URI": uri}
    return {name: value for name, value in found.items() if value}


def _find_engine(root: Path) -> tuple[str, str]:
    """The engine by the marks that it leaves, and the image if it says which; else empty texts."""
    try:
        mark = (root / "run" / ".containerenv").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ("docker" if (root / ".dockerenv").exists() else "", "")
    image = re.search(r'^image="?([^"\n]+)"?$', mark, re.MULTILINE)  # not in every container
    return "podman", image[1] if image else ""


def _names_registry(image: str) -> bool:
    """Whether the name of an image begins with a host that others reach."""
    host, slash, _ = image.partition("/")
    return bool(slash) and "." in host and not host[0].isdigit()
