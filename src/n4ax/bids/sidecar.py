"""The JSON files that are written beside a corrected image, and the stamp of what it depends on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from n4ax import provenance
from n4ax.bids.companions import Companions, find_signs_of
from n4ax.bids.inputs import Source
from n4ax.bids.outputs import Outputs, make_uri
from n4ax.bids.recipe import Recipe
from n4ax.engines.choice import choose_engine
from n4ax.images import nifti
from n4ax.scan import CorrectedScan, Scan
from n4ax.series import Estimate
from n4ax.texts import read_json_file
from n4ax.verdict import Verdict
from n4ax.version import __version__

_LINKS = ("AssociatedEmptyRoom", "IntendedFor", "RawSources")
"""Metadata that name other images of the source dataset."""

_RESULT = 12
"""Hexadecimal digits of a stamp that tell two results of an image apart."""


@dataclass(frozen=True, eq=False)
class Correction:
    """A corrected image, and what it was made from.

    Attributes
    ----------
    recipe, source, companions
        How the image was corrected, which image it is, and the files that belong to it.
    scan
        The image as it was read.
    series
        What the field was estimated on if the image has several volumes, otherwise ``None``.
    done
        The result.
    others
        The other images that share the field, in their order, with the files that belong to them.
    """

    recipe: Recipe
    source: Source
    companions: Companions
    scan: Scan
    series: Estimate | None
    done: CorrectedScan
    others: Sequence[tuple[Source, Companions]] = ()

    @property
    def outputs(self) -> Outputs:
        """The paths of the files to write."""
        return Outputs.of(self.source)

    @property
    def engine(self) -> str:
        """The engine that corrected the image."""
        return choose_engine(self.recipe.engine, self.scan.voxels, settings=self.recipe.settings)

    @cached_property
    def verdict(self) -> Verdict:
        """What is to be said of the correction."""
        warns = self.recipe.already == "warn"
        signs = find_signs_of(self.recipe, self.source, self.companions) if warns else []
        return self.done.judge(signs)

    @property
    def remarks(self) -> dict[str, str]:
        """What is suspicious about the correction, by its kind, in the words of the user."""
        names = self.recipe.names
        return {message.code: message.with_options(names) for message in self.verdict.messages}


def hash_files(recipe: Recipe, source: Source, companions: Companions) -> dict[str, str]:
    """Hash the contents of an image and of the files that belong to it.

    Raises
    ------
    ValueError
        A file is a link to a file that is not here.
    """
    files = {"Image": recipe.dataset / source.path, **companions.gradients}
    if companions.mask_file is not None:
        files["Mask"] = companions.mask_file
    if companions.weights is not None:
        files["Weights"] = companions.weights
    files |= {f"Tissues{number}": path for number, path in enumerate(companions.tissues)}
    return {name: provenance.hash_file(path) for name, path in files.items()}


class Identity(NamedTuple):
    """Everything that the outputs of an image depend on, but no times.

    Attributes
    ----------
    version
        The version of n4ax.
    settings
        The hash of the settings.
    contents
        The metadata and the hashes of the files, as an object of JSON.
    """

    version: str
    settings: str
    contents: Mapping[str, Any]

    @property
    def stamp(self) -> str:
        """The hash of all of it, by which outputs are known to be up to date."""
        return provenance.make_stamp(self._asdict())


def identify(
    recipe: Recipe,
    source: Source,
    companions: Companions,
    group: Mapping[str, Mapping[str, str]] | None = None,
) -> Identity:
    """Find what the outputs of an image depend on.

    Parameters
    ----------
    recipe, source, companions
        How the image is corrected, which image it is, and the files that belong to it.
    group
        What :func:`hash_files` finds for each image that may share the field, in their order, by
        their paths. ``None`` for an image that is to share with no other.
    """
    hashes = hash_files(recipe, source, companions) if group is None else group[source.path]
    contents = {
        "Metadata": companions.metadata,
        "Files": dict(hashes),
        **({} if group is None else {"Group": [[path, dict(own)] for path, own in group.items()]}),
    }
    return Identity(__version__, provenance.hash_settings(_describe(recipe, source)), contents)


def _describe(recipe: Recipe, source: Source) -> dict[str, Any]:
    return recipe.describe(source.entities["suffix"])


def is_complete(recipe: Recipe, outputs: Outputs, identity: Identity) -> bool:
    """Whether all files of an image were made from the same things and still have their sizes.

    An image with settings of its own counts if it was made from the same files, by whatever
    version, unless the recipe is to replace such settings. It shares its field with no other.
    """
    try:
        made = _read_made(recipe.output, outputs)
        read_json_file(recipe.output / f"{outputs.figures}.json")
        if _keeps_own_settings(recipe, made):
            version, settings = made["SoftwareVersions"]["n4ax"], made["SettingsHash"]
            contents = {k: v for k, v in identity.contents.items() if k != "Group"}
            identity = Identity(version, settings, contents)
        elif made.get("Exception", False) is not recipe.own_settings:
            return False
        return made["Stamp"] == identity.stamp and all(
            (recipe.output / name).stat().st_size == size for name, size in made["Files"].items()
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def loses_own_settings(recipe: Recipe, outputs: Outputs) -> bool:
    """Whether an image had settings of its own and gets the folder's, as its files have changed."""
    try:
        return _keeps_own_settings(recipe, _read_made(recipe.output, outputs))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def _read_made(output: Path, outputs: Outputs) -> dict[str, Any]:
    return read_json_file(output / outputs.sidecar)["N4"]


def _keeps_own_settings(recipe: Recipe, made: Mapping[str, Any]) -> bool:
    replaces = recipe.own_settings or recipe.output_settings == "replace"
    return bool(made.get("Exception")) and not replaces


def describe_image(
    correction: Correction, identity: Identity, sizes: Mapping[str, int]
) -> dict[str, Any]:
    """Content of the sidecar: the metadata of the source, and how the image was corrected.

    Parameters
    ----------
    correction
        The corrected image.
    identity
        What :func:`identify` finds.
    sizes
        Sizes in bytes of the files that were written for the image, by their paths.
    """
    recipe, metadata = correction.recipe, correction.companions.metadata
    series, results = correction.series, correction.done.results
    return _derive_metadata(metadata) | {
        "Description": "Corrected for intensity inhomogeneity by N4.",
        "Sources": _list_sources(correction),
        "SkullStripped": bool(metadata.get("SkullStripped", False)),
        "N4": {
            "Settings": provenance.list_settings(recipe.settings),
            **provenance.describe_choice(results[0]),
            "Mask": recipe.mask,
            **({} if recipe.mask_above is None else {"MaskAbove": recipe.mask_above}),
            **({} if recipe.weights is None else {"Weights": recipe.weights}),
            **_name_others(correction, uris=True),
            **({} if series is None else {"EstimatedOn": series}),
            "DType": recipe.dtype,
            **provenance.describe_levels(results, each=series == "each"),
            "Verdict": correction.verdict.describe(recipe.names),
            "Engine": correction.engine,
            "SoftwareVersions": provenance.list_versions(),
            "SettingsHash": identity.settings,
            **({"Exception": True} if recipe.own_settings else {}),
            "Stamp": identity.stamp,
            "Files": dict(sizes),
        },
    }


def describe_field(correction: Correction) -> dict[str, Any]:
    """Content of the sidecar of the bias field."""
    return {
        "Description": "Bias field: the corrected image is the source divided by it.",
        "Sources": _list_sources(correction),
    }


def describe_for_report(
    correction: Correction,
    identity: Identity,
    convergence: Sequence[Sequence[float]],
    measures: dict[str, Any],
    seconds: Mapping[str, float],
) -> dict[str, Any]:
    """Content of the record that the report is made from.

    Parameters
    ----------
    correction
        The corrected image.
    identity
        What :func:`identify` finds.
    convergence
        The convergence measures of iterations, NaN where one is not known.
    measures
        The measures of its quality.
    seconds
        How long each step took.
    """
    scan, source, result = correction.scan, correction.source, correction.done.results[0]
    times = {**seconds, "Total": sum(seconds.values())}
    return {
        "Source": source.path,
        "Output": correction.outputs.image,
        "Subject": source.participant,
        "Session": source.session,
        "Suffix": source.entities["suffix"],
        "Shape": list(scan.image.shape),
        "VoxelSize": list(nifti.read_voxel_sizes(scan.image)),
        "Directions": gives_directions(scan),
        "Mask": correction.recipe.mask,
        **({} if result.choice is None else {"Choice": result.choice.sentence}),
        **_name_others(correction, uris=False),
        "Engine": correction.engine,
        "Settings": _describe(correction.recipe, source),
        "SettingsHash": identity.settings,
        "Exception": correction.recipe.own_settings,
        "Result": identity.stamp.removeprefix("sha256:")[:_RESULT],
        "Date": datetime.now().astimezone().isoformat(timespec="seconds"),
        "Iterations": result.iterations,
        "Stopped": result.stopped,
        "Convergence": [
            [provenance.make_finite(value) for value in level] for level in convergence
        ],
        "Notes": list(correction.companions.notes),
        "Messages": correction.verdict.describe(correction.recipe.names)["Messages"],
        "Threshold": result.settings.conv_threshold,
        "Measures": measures,
        "Seconds": {name: round(value, 4) for name, value in times.items()},
        "Version": __version__,
    }


def gives_directions(scan: Scan) -> bool:
    """Whether the header says where left, right, front and back are."""
    header = scan.image.header
    return any(int(header[name]) > 0 for name in ("qform_code", "sform_code"))


def _list_sources(correction: Correction) -> list[str]:
    """BIDS URIs of the image, its mask, weights and tissues, and of those that share the field."""
    dataset = correction.recipe.dataset
    paths: list[Path] = []
    for source, companions in ((correction.source, correction.companions), *correction.others):
        beside = (companions.mask_file, companions.weights, *companions.tissues)
        paths += [dataset / source.path, *(path for path in beside if path is not None)]
    return [make_uri(dataset, path, correction.recipe.derivatives) for path in paths]


def _name_others(correction: Correction, uris: bool) -> dict[str, list[str]]:
    """Name the other images that share the field, by BIDS URIs or by paths, if there are any."""
    dataset, paths = correction.recipe.dataset, [source.path for source, _ in correction.others]
    names = [make_uri(dataset, dataset / path) for path in paths] if uris else paths
    return {"SharedFieldWith": names} if names else {}


def _derive_metadata(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """The metadata that are also true of a derivative.

    Links to other images are left out. URIs that begin with ``bids::`` mean the dataset that they
    stand in, so they become ``bids:raw:``, which is the source dataset.
    """

    def rename(value: Any) -> Any:
        if isinstance(value, str):
            return f"bids:raw:{value[6:]}" if value.startswith("bids::") else value
        if isinstance(value, list):
            return [rename(item) for item in value]
        if isinstance(value, dict):
            return {key: rename(item) for key, item in value.items()}
        return value

    return {name: rename(value) for name, value in metadata.items() if name not in _LINKS}
