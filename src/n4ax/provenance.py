"""How a result was made: settings, versions, digests of files, and text for a methods section."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from n4ax.images.names import DICOM, find_files, find_suffix
from n4ax.paths import check_here, is_elsewhere, is_there, name_errors, read_bytes
from n4ax.result import N4Result
from n4ax.settings import CHOSEN, N4Settings
from n4ax.version import __version__

_HEADER = 1 << 16
"""So many bytes hold every header of ITK that has its voxels in another file."""

_SHORT = 12
"""Hexadecimal digits of a hash that people compare."""

_REFERENCES = (
    "Tustison NJ, Avants BB, Cook PA, Zheng Y, Egan A, Yushkevich PA, Gee JC. N4ITK: improved N3 "
    "bias correction. IEEE Transactions on Medical Imaging 29(6):1310-1320, 2010. "
    "doi:10.1109/TMI.2010.2046908",
    "Sled JG, Zijdenbos AP, Evans AC. A nonparametric method for automatic correction of intensity "
    "nonuniformity in MRI data. IEEE Transactions on Medical Imaging 17(1):87-97, 1998. "
    "doi:10.1109/42.668698",
)
_OTSU = (
    "Otsu N. A threshold selection method from gray-level histograms. IEEE Transactions on "
    "Systems, Man, and Cybernetics 9(1):62-66, 1979. doi:10.1109/TSMC.1979.4310076"
)


def hash_file(path: Path) -> str:
    """The SHA-256 digest of the content of an image: of a file, of several, or of a folder.

    Raises
    ------
    ValueError
        git-annex has the content of a file elsewhere.
    """
    check_here(path)
    digests = []
    for part in _list_parts(path):
        check_here(part)
        with name_errors(part), part.open("rb") as file:
            digests.append(hashlib.file_digest(file, "sha256").hexdigest())
    if len(digests) == 1:
        return digests[0]
    return hashlib.sha256("".join(digests).encode()).hexdigest()


def _list_parts(path: Path) -> list[Path]:
    """All files that an image consists of. A series of DICOM is its whole folder."""
    suffix = find_suffix(path)
    if path.is_dir() or suffix in DICOM:
        folder = path if path.is_dir() else path.parent
        return sorted(part for part in folder.iterdir() if part.is_file() or is_elsewhere(part))
    if suffix in (".mhd", ".nhdr"):
        return [path, *_find_voxels(path)]
    return [part for part in find_files(path) if is_there(part) or part == path]


def _find_voxels(header: Path) -> list[Path]:
    """The files that a header of ITK names; all files beside it if it has a list of them."""
    text = read_bytes(header)[:_HEADER].decode("latin-1")
    found = re.search(r"^(?:ElementDataFile\s*=|data ?file:)\s*(\S.*?)\s*$", text, re.M | re.I)
    named = None if found is None else header.parent / found[1]
    if named is not None and is_there(named):
        return [named]
    return sorted(part for part in header.parent.iterdir() if part.is_file() and part != header)


def make_stamp(content: Mapping[str, Any]) -> str:
    """Hash everything that a result depends on, which is given as an object of JSON."""
    text = json.dumps(content, sort_keys=True, default=str)
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def hash_settings(settings: Mapping[str, Any]) -> str:
    """A short hash by which people can see whether two results have the same settings."""
    return make_stamp(settings).removeprefix("sha256:")[:_SHORT]


def format_json(content: Any) -> str:
    """JSON with line breaks and indents, which people can read.

    What is no character, such as half of a surrogate pair, stays the escape that it was in JSON.
    """
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    return text.encode(errors="backslashreplace").decode()


def list_settings(settings: N4Settings) -> dict[str, Any]:
    """The settings that say how an image was corrected, by their names in Python."""
    without_effect = CHOSEN if settings.adapt else ("adapt",)
    without_effect += () if settings.arithmetic == "itk" else ("itk_tool",)
    return {
        name: value
        for name, value in settings.keywords().items()
        if value is not None and name not in without_effect
    }


def list_versions() -> dict[str, str]:
    """The versions of n4ax and of NumPy."""
    return {"n4ax": __version__, "numpy": np.__version__}


def describe_levels(results: list[N4Result[Any]], each: bool = False) -> dict[str, Any]:
    """How the iterations went: for the first result, or for each of them."""
    found = {
        "Iterations": [result.iterations for result in results],
        "Stopped": [result.stopped for result in results],
        "Convergence": [
            [None if last is None else make_finite(last) for last in result.last_measures]
            for result in results
        ],
    }
    return found if each else {name: values[0] for name, values in found.items()}


def describe_choice(result: N4Result[Any]) -> dict[str, Any]:
    """Which settings were chosen for the image, and why; nothing if they were given."""
    choice = result.choice
    if choice is None:
        return {}
    return {"Settings": list_settings(choice.settings), "Choice": choice.describe()}


def make_finite(value: float) -> float | None:
    """A number for JSON; ``None`` for NaN and infinity, which JSON does not have."""
    return float(value) if np.isfinite(value) else None


def list_iterations(result: N4Result[Any]) -> str:
    """How many iterations each level took and why it ended, in words."""
    pairs = zip(result.iterations, result.stopped, strict=True)
    return ", ".join(f"{count} ({why})" for count, why in pairs)


def write_methods(settings: N4Settings, described: Mapping[str, Any]) -> str:
    """Text for the methods section of a paper, with its references.

    Parameters
    ----------
    settings
        The parameters of N4.
    described
        What is described besides the settings, as an object of JSON: ``Mask``, and what
        :meth:`n4ax.correction.recipe.Recipe.describe` gives if it was asked for.
    """
    text, references = compose_methods(settings, described)
    return "\n".join([text, "", *references])


def compose_methods(
    settings: N4Settings, described: Mapping[str, Any]
) -> tuple[str, tuple[str, ...]]:
    """The text that :func:`write_methods` writes, in one paragraph, and its references."""
    followed = (
        f"It computed in the arithmetic of ITK {settings.itk_version}, to the last bit."
        if settings.arithmetic == "itk"
        else "It follows the implementation in ITK."
    )
    text = (
        "Intensity nonuniformity was corrected with N4 (Tustison et al. 2010), which builds on N3 "
        f"(Sled et al. 1998), as implemented in n4ax {__version__}. {followed} "
        f"The field was estimated {_describe_mask(described)}"
        f"{_describe_choice(described) if settings.adapt else _describe_run(settings)} The "
        f"histogram was sharpened with {settings.nbins} bins{_describe_fwhm(settings)} and a "
        f"Wiener noise of {settings.wiener:g}."
    )
    sentences = [text, *(words for name, words in _FURTHER.items() if described.get(name))]
    if described.get("SharedBy"):
        sentences.append(_describe_sharing(described["SharedBy"]))
    if settings.over_relax != 1:
        sentences.append(f"Every increment of the field was multiplied by {settings.over_relax:g}.")
    if settings.outside != "divide":
        what = "kept as it was" if settings.outside == "keep" else "set to 0"
        sentences.append(f"The image outside the mask was {what}.")
    sentences += [_SCALES[settings.scale]] if settings.scale in _SCALES else []
    sentences += [_NON_POSITIVE[name] for name in [settings.non_positive] if name in _NON_POSITIVE]
    series = described.get("EstimatedOn")
    if series is not None:
        what = _SERIES.get(series, f"One field was estimated on volume {series} of the series")
        sentences.append(f"{what}.")
    by_otsu = "otsu" in str(described["Mask"]) or bool(described.get("WeightsFrom"))
    return " ".join(sentences), (*_REFERENCES, *([_OTSU] if by_otsu else []))


_FURTHER = {
    "Slicewise": "Each slice had a field of its own.",
    "SharedField": "All images of a person shared one field.",
    "WeightsFrom": "N4 was run in stages, with classes of intensity by Otsu's method (Otsu 1979) "
    "as weights: the dark ones, the bright ones, and then all but the darkest.",
    "Weights": "Each voxel had a weight of its own.",
    "Init": "N4 started from a field that had been estimated before.",
}
_SCALES = {
    "mean": "The mean in the mask was kept.",
    "unit-field": "The field was scaled to a geometric mean of 1 in the mask.",
    "minmax": "The intensities were stretched to the range of the input.",
}
_NON_POSITIVE = {
    "exclude": "Voxels that are not above 0 were left out.",
    "offset": "The image was raised above 0 for the estimation.",
}
_SERIES = {
    "mean": "One field was estimated on the mean of the series",
    "first": "One field was estimated on the first volume of the series",
    "each": "Each volume of the series had a field of its own",
    "b0": "One field was estimated on the mean of the volumes without diffusion weighting",
    "4d": "One field varied in space and time",
}


def _describe_mask(described: Mapping[str, Any]) -> str:
    mask = str(described["Mask"])
    where = {
        "all": "on the whole image",
        "otsu": "in the voxels above Otsu's threshold (Otsu 1979)",
    }.get(mask, f"in a mask ({mask})")
    if described.get("MaskLabels"):
        where += f", of which the labels {', '.join(map(str, described['MaskLabels']))} were used"
    if described.get("MaskAbove") is not None:
        where += f", above {described['MaskAbove']:g}"
    if described.get("MaskDilate"):
        grown = described["MaskDilate"]
        where += f", {'dilated' if grown > 0 else 'eroded'} by {abs(grown):g} mm"
    return where


def _describe_run(settings: N4Settings) -> str:
    """The mesh and the iterations, in words."""
    levels = len(settings.iters)
    most = ", ".join(map(str, settings.iters))
    ends = (
        "whose outcome was extrapolated from fewer"
        if settings.accelerate
        else "and all iterations were run"
        if settings.conv_threshold == 0
        else f"and a level ended early once the convergence measure was no longer above "
        f"{settings.conv_threshold:g}"
    )
    return (
        f"{_describe_shrinking(settings)}, as a B-spline of order {settings.spline_order} "
        f"{_describe_mesh(settings)}. There were {levels} fitting level{'s' * (levels > 1)} of at "
        f"most {most} iterations, {ends}."
    )


def _describe_choice(described: Mapping[str, Any]) -> str:
    """How the settings of each image were chosen, in words."""
    how = (
        "as those with the smallest coefficient of joint variation of the two largest tissues"
        if described.get("Tissues")
        else "by how much a first estimate of the field varied"
    )
    whom = "person, on all images" if described.get("Longitudinal") else "image"
    return (
        ". The spline distance, the levels, the iterations, the full width at half maximum and the "
        f"shrink factor were chosen for each {whom}, {how}. An image in which nothing was to be "
        "corrected was left as it was."
    )


def _describe_sharing(entities: Sequence[str]) -> str:
    """Which images shared a field: those of a session, or those that differ in some entities."""
    alike = "" if "session" in entities else f" that differ in {' and '.join(entities)} alone"
    return f"All images of a session on one grid{alike} shared one field."


def _describe_fwhm(settings: N4Settings) -> str:
    if settings.adapt:
        return ""
    return f", a full width at half maximum of {settings.fwhm:g} in log intensity"


def _describe_shrinking(settings: N4Settings) -> str:
    if settings.shrink_factor in (None, 1, (1,)):
        return ""
    factors = settings.shrink_factor
    written = factors if isinstance(factors, int) else " x ".join(map(str, factors))
    return f", shrunk by a factor of {written}"


def _describe_mesh(settings: N4Settings) -> str:
    if settings.spline_distance is not None:
        return f"with a spline distance of {settings.spline_distance:g} mm at the first level"
    mesh = settings.keywords().get("mesh")
    if mesh is None:
        return "with control points for one mesh element at the first level"
    written = mesh if isinstance(mesh, int) else " x ".join(map(str, mesh))
    return f"with a mesh of {written} elements at the first level"
