"""The output folder: the names of the files in it, and the files that make it a BIDS dataset.

References
----------
The Brain Imaging Data Structure specification, "BIDS Derivatives": derivatives keep the entities
and the suffix of their source, and get ``desc-<label>``. It has no suffix for a bias field.
"""

import os
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple
from urllib.parse import quote, unquote

from bids2table import get_arrow_schema

from n4ax.bids.derivatives import RAW, Derivative
from n4ax.bids.inputs import Source
from n4ax.bids.maker import describe_maker
from n4ax.bids.staging import PRIVATE, make_private, write_text
from n4ax.errors import InputError
from n4ax.paths import is_elsewhere, is_there, resolve_links
from n4ax.provenance import format_json
from n4ax.report.layout import ERRORS, FIGURES, GROUP_PAGE, RATINGS, STUDY
from n4ax.report.values import read_list
from n4ax.texts import read_json_file

_DESC = "n4"
_BIDS_VERSION = "1.10.0"
_IGNORED = (
    "*_biasfield.nii.gz", "*_biasfield.json", "*_desc-n4_dwi.bv*",
    "*.html", FIGURES, "logs", ERRORS, STUDY, RATINGS, "group_*.tsv", "group_*.json", PRIVATE,
)  # fmt: skip
_README = f"""\
# Images corrected with n4ax

The bias field (intensity inhomogeneity) was removed from the chosen images of the source dataset by
N4 (Tustison et al. 2010, doi:10.1109/TMI.2010.2046908).

- `*_desc-n4_<suffix>.nii.gz`: the corrected image. The JSON file beside it has the settings, the
  iterations, the convergence and the versions.
- `*_mod-<suffix>_desc-n4_biasfield.nii.gz`: the field that the source was divided by. BIDS has no
  suffix for it, so it is listed in `.bidsignore`.
- `*_desc-n4_dwi.bval` and `.bvec`: the gradients of the source. BIDS has no place for them beside
  a derivative, so they are listed in `.bidsignore` too.
- `sub-<label>.html`, `{GROUP_PAGE}`: reports with pictures, made from the folders `{FIGURES}/`.
- `group_<suffix>.tsv`: the numbers of all images with a suffix.
- `{RATINGS}`: what people think of the corrected images.
- `{STUDY}`: the settings of this folder, and the runs that wrote to it.
- `logs/`: what was done, for each participant, and `CITATION.md`, a text for papers.
- `{ERRORS}`: images that could not be corrected, with the reason.
"""


class Outputs(NamedTuple):
    """Paths of the files that are written for an image, relative to the output folder."""

    image: str
    sidecar: str
    field: str
    field_sidecar: str
    figures: str
    """Beginning of the paths of the pictures and of the record for the report."""
    gradients: dict[str, str]
    """By extension: the gradient files that belong to diffusion images."""

    @classmethod
    def of(cls, source: Source) -> "Outputs":
        """The outputs of ``source``."""
        suffix = source.entities["suffix"]
        parts = source.stem.split("_")[:-1]
        parts = [part for part in parts if not part.startswith("desc-")]
        described = _insert_entity(parts, f"desc-{_DESC}")
        stem = "_".join([*described, suffix])
        field = "_".join([*_insert_entity(described, f"mod-{suffix}"), "biasfield"])
        folder = PurePosixPath(source.folder)
        start = str(folder / stem)
        extensions = (".bval", ".bvec") if suffix == "dwi" else ()
        return cls(
            image=f"{start}.nii.gz",
            sidecar=f"{start}.json",
            field=str(folder / f"{field}.nii.gz"),
            field_sidecar=str(folder / f"{field}.json"),
            figures=str(PurePosixPath(folder.parts[0]) / FIGURES / stem),
            gradients={extension: f"{start}{extension}" for extension in extensions},
        )


def find_conflicts(sources: Sequence[Source]) -> dict[str, InputError]:
    """Find the images that cannot have outputs of their own.

    The name of such an image contradicts its folder, or differs from another image's name only in
    parts that the names of the outputs do not keep, such as the extension.

    Returns
    -------
    dict
        The reason, by the path of the image.
    """
    refused = {}
    seen: dict[str, Source] = {}
    for source in sources:
        named = source.entities.get("sub"), source.entities.get("ses")
        if named != (source.participant, source.session):
            refused[source.path] = InputError(
                "the participant or session in its name is not that of its folder"
            )
            continue
        outputs = Outputs.of(source)
        for name in (outputs.image, outputs.figures):
            other = seen.setdefault(name, source)
            if other is not source:
                refused[source.path] = _name_conflict(other, name)
                refused[other.path] = _name_conflict(source, name)
    return refused


def _name_conflict(other: Source, name: str) -> InputError:
    return InputError(
        "this image and {0} would both be written as {1}: choose one of them with {filters}",
        other.path,
        PurePosixPath(name).name,
    )


def check_output(dataset: Path, output: Path, derivatives: Sequence[Derivative] = ()) -> None:
    """Refuse an output folder that must not be written to.

    Raises
    ------
    InputError
        The folder is the source dataset or inside one of its participants, it holds another
        dataset or images of another source, it calls another derivative dataset by a name, or
        git-annex has its description elsewhere.
    """
    place, source = resolve_links(output), resolve_links(dataset)
    proposed = dataset / "derivatives" / "n4ax"
    if place == source:
        raise InputError(
            "{output} {0} is the source dataset: give another folder, such as {1}", output, proposed
        )
    if place.is_relative_to(source) and place.relative_to(source).parts[0].startswith("sub-"):
        raise InputError(
            "{output} {0} is among the images of a participant: give another folder, such as {1}",
            output,
            proposed,
        )
    description = output / "dataset_description.json"
    ours = is_there(output / ERRORS)  # no other program writes a file of this name
    if is_elsewhere(description) and not ours:
        raise InputError("{output} has {0}, which is not here: fetch it (datalad get)", description)
    if is_elsewhere(description) or not description.exists():
        return
    content = read_object(description)
    makers = read_list(content.get("GeneratedBy"))
    if not any(maker.get("Name") == "n4ax" for maker in makers if isinstance(maker, dict)):
        raise InputError("{output} {0} holds another dataset: choose an empty folder", output)
    before = unquote(_read_links(output).get(RAW, ""))
    if before and (output / before).is_dir() and resolve_links(output / before) != source:
        raise InputError(
            "{output} {0} holds images of {1}: choose a folder of its own for each dataset",
            output,
            output / before,
        )
    _check_names(output, derivatives)


def _check_names(output: Path, derivatives: Sequence[Derivative]) -> None:
    """Refuse a name that stands for another dataset in the sidecars that are there."""
    links = _read_links(output)
    for name, folder in derivatives:
        known = output / unquote(links[name]) if name in links else folder
        if known.is_dir() and resolve_links(known) != resolve_links(folder):
            raise InputError(
                "{derivatives} {0} is {1}, and in {output} {2} this name stands for {3}: give "
                "another name, as NAME=DIR",
                name,
                folder,
                output,
                known,
            )


def prepare_output(
    dataset: Path,
    output: Path,
    derivatives: Sequence[Derivative] = (),
    command: str = "n4ax bids",
) -> None:
    """Make the output folder a BIDS derivative dataset.

    Raises
    ------
    InputError
        As for :func:`check_output`.
    OSError
        The folder cannot be written to.
    """
    check_output(dataset, output, derivatives)
    make_private(output)
    description = {
        "Name": f"{read_name(dataset)} (n4ax)",
        "BIDSVersion": _BIDS_VERSION,
        "DatasetType": "derivative",
        "GeneratedBy": [describe_maker(command)],
        "SourceDatasets": [{"URL": _make_link(dataset, output)}],
        "DatasetLinks": _make_links(dataset, output, derivatives),
    }
    write_text(output / "dataset_description.json", format_json(description))
    write_text(output / ".bidsignore", "\n".join(_IGNORED) + "\n")
    if not is_there(output / "README.md"):  # it may be a link to a file that is not here
        write_text(output / "README.md", _README)


def read_name(dataset: Path) -> str:
    """The name of a dataset, or that of its folder."""
    name = read_object(dataset / "dataset_description.json").get("Name")
    return str(name or resolve_links(dataset).name)


def make_uri(dataset: Path, path: Path, derivatives: Sequence[Derivative] = ()) -> str:
    """The BIDS URI of a file of a derivative or the source dataset; the file URI of another."""
    # A derivative dataset may lie inside the source dataset, or inside another one.
    nested = sorted(derivatives, key=lambda one: -len(one.folder.parts))
    for name, folder in (*nested, (RAW, dataset)):
        try:
            inner = Path(os.path.abspath(path)).relative_to(os.path.abspath(folder))
        except ValueError:
            continue
        return f"bids:{name}:{quote(inner.as_posix())}"
    return path.absolute().as_uri()


@cache
def _rank_entities() -> dict[str, int]:
    """The place of each entity in a file name."""
    return {name: rank for rank, name in enumerate(get_arrow_schema().names)}


def _insert_entity(parts: list[str], new: str) -> list[str]:
    """Insert an entity at its place in the order that BIDS prescribes."""
    ranks = _rank_entities()
    rank = ranks[new.split("-")[0]]
    for place, part in enumerate(parts):
        if ranks.get(part.split("-")[0], -1) > rank:
            return [*parts[:place], new, *parts[place:]]
    return [*parts, new]


def _make_links(dataset: Path, output: Path, derivatives: Sequence[Derivative]) -> dict[str, str]:
    """The places of all datasets that images of the output were made from, by name."""
    folders = {RAW: dataset, **dict(derivatives)}
    made = {name: _make_link(folder, output) for name, folder in folders.items()}
    return _read_links(output) | made  # earlier sidecars use earlier names


def _make_link(dataset: Path, output: Path) -> str:
    place = os.path.relpath(resolve_links(dataset), resolve_links(output))
    return quote(Path(place).as_posix())


def _read_links(output: Path) -> dict[str, str]:
    """The links to the places that the output's names of datasets stand for."""
    links = read_object(output / "dataset_description.json").get("DatasetLinks")
    return {k: str(v) for k, v in links.items()} if isinstance(links, dict) else {}


def read_object(path: Path) -> Mapping[str, Any]:
    """Read an object from a JSON file; it is empty if there is no file, or no object in it.

    Raises
    ------
    OSError
        The file cannot be read. What is in it must not be taken for nothing, and replaced.
    """
    try:
        content = read_json_file(path)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
