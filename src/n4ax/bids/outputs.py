"""What a corrected image is called, what is written beside it, and how all of it appears at once.

References
----------
The Brain Imaging Data Structure specification, "BIDS Derivatives": derivatives keep the entities
and the suffix of their source, and get ``desc-<label>``. It has no suffix for a bias field.
"""

import errno
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple
from urllib.parse import quote, unquote

from bids2table import get_arrow_schema
from filelock import FileLock, Timeout

from n4ax.bids.inputs import Source
from n4ax.files import replace_file
from n4ax.report.records import ERRORS
from n4ax.version import __version__

PRIVATE = ".n4ax"
"""Folder in the output for what is not finished, locks and records of failures."""
FULL = (errno.ENOSPC, errno.EDQUOT)

_DESC = "n4"
_BIDS_VERSION = "1.10.0"
_IGNORED = (
    "*_biasfield.nii.gz", "*_biasfield.json", "*_desc-n4_dwi.bv*",
    "*.html", "figures", "logs", ERRORS, PRIVATE,
)  # fmt: skip
_README = """\
# Images corrected with n4ax

Every image of the source dataset that was chosen has its bias field (intensity inhomogeneity)
removed by N4 (Tustison et al. 2010, doi:10.1109/TMI.2010.2046908).

- `*_desc-n4_<suffix>.nii.gz`: the corrected image; settings, iterations, convergence and versions
  are in the JSON file beside it.
- `*_mod-<suffix>_desc-n4_biasfield.nii.gz`: the field that it was divided by. BIDS has no suffix
  for it, so `.bidsignore` lists it.
- `*_desc-n4_dwi.bval` and `.bvec`: the gradients of the source. BIDS has no place for them beside
  a derivative, so they are in `.bidsignore` too.
- `sub-<label>.html`, `group.html`: reports with pictures, made from the folders `figures/`.
- `logs/`: what was done, for each participant.
- `n4ax_errors.json`: images that could not be corrected, with the reason.
"""


class Outputs(NamedTuple):
    """Paths of what comes of an image, from the output folder."""

    image: str
    sidecar: str
    field: str
    field_sidecar: str
    figures: str
    """Folder and stem of the pictures and of the record for the report."""
    beside: dict[str, str]
    """By extension: files of gradients, which go with diffusion images."""

    @classmethod
    def of(cls, source: Source) -> "Outputs":
        """What comes of ``source``."""
        suffix = source.entities["suffix"]
        parts = source.stem.split("_")[:-1]
        parts = [part for part in parts if not part.startswith("desc-")]
        described = _inserted(parts, f"desc-{_DESC}")
        stem = "_".join([*described, suffix])
        field = "_".join([*_inserted(described, f"mod-{suffix}"), "biasfield"])
        folder = PurePosixPath(source.folder)
        start = str(folder / stem)
        gradients = (".bval", ".bvec") if suffix == "dwi" else ()
        return cls(
            image=f"{start}.nii.gz",
            sidecar=f"{start}.json",
            field=str(folder / f"{field}.nii.gz"),
            field_sidecar=str(folder / f"{field}.json"),
            figures=str(PurePosixPath(folder.parts[0]) / "figures" / stem),
            beside={ext: f"{start}{ext}" for ext in gradients},
        )


def refusals(sources: Sequence[Source]) -> dict[str, str]:
    """Images that cannot have an output of their own, by path, with the reason.

    Their names do not agree with their folders, or they differ from another image in nothing but
    what the outputs are not called after, such as the extension.
    """
    refused = {}
    seen: dict[str, Source] = {}
    for source in sources:
        named = source.entities.get("sub"), source.entities.get("ses")
        if named != (source.participant, source.session):
            refused[source.path] = (
                "the participant or session of its name is not that of its folder"
            )
            continue
        outputs = Outputs.of(source)
        for name in (outputs.image, outputs.figures):
            other = seen.setdefault(name, source)
            if other is not source:
                for one, two in ((source, other), (other, source)):
                    refused[one.path] = (
                        f"it and {two.path} would both become {PurePosixPath(name).name}: choose "
                        "one with --bids-filter-file"
                    )
    return refused


def check_output(dataset: Path, output: Path) -> None:
    """Refuse a folder that must not be written to.

    Raises
    ------
    ValueError
        It is the source dataset or among its participants, or holds another dataset or images of
        another source.
    """
    place, source = output.resolve(), dataset.resolve()
    proposed = dataset / "derivatives" / "n4ax"
    if place == source:
        raise ValueError(
            f"OUTPUT_DIR {output} is the source dataset: give a folder of its own, such as "
            f"{proposed}"
        )
    if place.is_relative_to(source) and place.relative_to(source).parts[0].startswith("sub-"):
        raise ValueError(
            f"OUTPUT_DIR {output} is among the images of a participant: give another folder, such "
            f"as {proposed}"
        )
    description = output / "dataset_description.json"
    if not description.exists():
        return
    content = _json(description)
    makers = content.get("GeneratedBy") or [{}]
    if not any(maker.get("Name") == "n4ax" for maker in makers if isinstance(maker, dict)):
        raise ValueError(f"OUTPUT_DIR {output} holds another dataset: choose an empty folder")
    links = content.get("DatasetLinks")
    before = unquote(str(links.get("raw", ""))) if isinstance(links, dict) else ""
    if before and (output / before).is_dir() and (output / before).resolve() != source:
        raise ValueError(
            f"OUTPUT_DIR {output} holds images of {output / before}: choose a folder for each "
            "dataset"
        )


def prepare_output(dataset: Path, output: Path) -> None:
    """Make the output folder a BIDS derivative dataset; errors as :func:`check_output`.

    Raises
    ------
    OSError
        It cannot be written to.
    """
    check_output(dataset, output)
    output.mkdir(parents=True, exist_ok=True)
    name = _json(dataset / "dataset_description.json").get("Name") or dataset.resolve().name
    description = {
        "Name": f"{name} (n4ax)",
        "BIDSVersion": _BIDS_VERSION,
        "DatasetType": "derivative",
        "GeneratedBy": [
            {
                "Name": "n4ax",
                "Version": __version__,
                "Description": "N4 bias field correction (Tustison et al. 2010)",
            }
        ],
        "SourceDatasets": [{"URL": _link(dataset, output)}],
        "DatasetLinks": {"raw": _link(dataset, output)},
    }
    write_text(output / "dataset_description.json", as_json(description))
    write_text(output / ".bidsignore", "\n".join(_IGNORED) + "\n")
    if not (output / "README.md").exists():
        write_text(output / "README.md", _README)


def uri(dataset: Path, path: Path) -> str:
    """The BIDS URI of a file of the source dataset; of another file its path."""
    try:
        inner = Path(os.path.abspath(path)).relative_to(os.path.abspath(dataset))
    except ValueError:
        return path.absolute().as_uri()
    return f"bids:raw:{quote(inner.as_posix())}"


def as_json(content: Any) -> str:
    """JSON as a person would read it."""
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def write_text(path: Path, text: str) -> None:
    """Write a small file, whole or not at all; one that is the same already stays."""
    if not (path.is_file() and path.read_bytes() == text.encode()):
        with replace_file(path) as temporary:
            temporary.write_text(text, encoding="utf-8")


class BusyError(Exception):
    """Another run works on it."""


@contextmanager
def alone_with(output: Path, name: str, *, wait: bool) -> Iterator[Path]:
    """Keep other processes, of this machine or of others, from working on the same.

    Parameters
    ----------
    output
        The output folder.
    name
        What is worked on, as a file name.
    wait
        Wait until others are done with it.

    Yields
    ------
    Path
        An empty folder in the output, removed at the end.

    Raises
    ------
    BusyError
        Others work on it, and this is not to wait.
    """
    with _locked(output, name, wait=wait):
        staging = output / PRIVATE / "unfinished" / name
        shutil.rmtree(staging, ignore_errors=True)  # of a run that was killed
        staging.mkdir(parents=True)
        try:
            yield staging
        finally:
            shutil.rmtree(staging, ignore_errors=True)


def discard_leftovers(output: Path) -> None:
    """Remove what runs that were killed have left, but not what another run is working on."""
    for staging in (output / PRIVATE / "unfinished").glob("*"):
        with suppress(BusyError, OSError), alone_with(output, staging.name, wait=False):
            pass


@contextmanager
def _locked(output: Path, name: str, *, wait: bool) -> Iterator[None]:
    """Hold the lock of a name, whose file stays: to remove it would let two hold it at once."""
    place = output / PRIVATE / "locks"
    place.mkdir(parents=True, exist_ok=True)
    holder = FileLock(place / f"{name}.lock", timeout=-1 if wait else 0)
    try:
        holder.acquire()
    except Timeout:
        raise BusyError(name) from None
    try:
        yield
    finally:
        holder.release()


def put_in_place(staging: Path, output: Path, sidecar: str) -> None:
    """Give finished files their names: what lies in ``staging``, at the same path in ``output``.

    The sidecar tells that its image is complete. So the old one goes first and the new one comes
    last: whenever this is cut short, the image counts as not done.
    """
    files = sorted(path for path in staging.rglob("*") if path.is_file())
    targets = {path: output / path.relative_to(staging) for path in files}
    for target in targets.values():
        target.parent.mkdir(parents=True, exist_ok=True)
    last = output / sidecar
    last.unlink(missing_ok=True)
    for path, target in sorted(targets.items(), key=lambda pair: pair[1] == last):
        os.replace(path, target)


@cache
def _order() -> dict[str, int]:
    """Where in a name each entity comes."""
    return {name: rank for rank, name in enumerate(get_arrow_schema().names)}


def _inserted(parts: list[str], new: str) -> list[str]:
    """Entities with another one where BIDS wants it."""
    order = _order()
    rank = order[new.split("-")[0]]
    for place, part in enumerate(parts):
        if order.get(part.split("-")[0], -1) > rank:
            return [*parts[:place], new, *parts[place:]]
    return [*parts, new]


def _link(dataset: Path, output: Path) -> str:
    return quote(Path(os.path.relpath(dataset.resolve(), output.resolve())).as_posix())


def _json(path: Path) -> Mapping[str, Any]:
    """An object of a JSON file; empty where there is none to be read."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
