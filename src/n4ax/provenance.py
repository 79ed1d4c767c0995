"""How a result was made: settings, versions, digests of files, and text for a methods section."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from n4ax.images.names import find_stem, find_suffix
from n4ax.result import N4Result
from n4ax.settings import N4Settings
from n4ax.version import __version__

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
    """The SHA-256 digest of the content of an image: of a file, of a pair, or of a folder of DICOM.

    Raises
    ------
    ValueError
        The file is a link to a file that is not here.
    """
    if path.is_symlink() and not path.exists():
        raise ValueError(f"{path} is a link to a file that is not here: fetch it (datalad get)")
    digests = []
    for part in _list_parts(path):
        with part.open("rb") as file:
            digests.append(hashlib.file_digest(file, "sha256").hexdigest())
    if len(digests) == 1:
        return digests[0]
    return hashlib.sha256("".join(digests).encode()).hexdigest()


def _list_parts(path: Path) -> list[Path]:
    """All files that an image consists of."""
    if path.is_dir():
        return sorted(part for part in path.iterdir() if part.is_file())
    if find_suffix(path) in (".hdr", ".img", ".mhd", ".nhdr"):
        stem = find_stem(path)
        beside = sorted(path.parent.iterdir())
        return [part for part in beside if part.is_file() and part.name.split(".")[0] == stem]
    return [path]


def make_stamp(content: Mapping[str, Any]) -> str:
    """Hash everything that a result depends on, which is given as an object of JSON."""
    text = json.dumps(content, sort_keys=True, default=str)
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def format_json(content: Any) -> str:
    """JSON with line breaks and indents, which people can read.

    What is no character, such as half of a surrogate pair, stays the escape that it was in JSON.
    """
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    return text.encode(errors="backslashreplace").decode()


def list_settings(settings: N4Settings) -> dict[str, Any]:
    """The settings that say how an image was corrected, by their names in Python."""
    without_effect = () if settings.arithmetic == "itk" else ("itk_tool",)
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
        "Convergence": [[_last(level) for level in result.convergence] for result in results],
    }
    return found if each else {name: values[0] for name, values in found.items()}


def _last(measures: list[float]) -> float | None:
    return make_finite(measures[-1]) if measures else None


def make_finite(value: float) -> float | None:
    """A number for JSON; ``None`` for NaN and infinity, which JSON does not have."""
    return float(value) if np.isfinite(value) else None


def write_methods(settings: N4Settings, mask: str) -> str:
    """Text for the methods section of a paper, with its references.

    Parameters
    ----------
    settings
        The parameters of N4.
    mask
        The mask as it was asked for.
    """
    levels = len(settings.iters)
    most = ", ".join(map(str, settings.iters))
    ends = (
        "and all iterations were run"
        if settings.conv_threshold == 0
        else f"and a level ended early once the convergence measure was no longer above "
        f"{settings.conv_threshold:g}"
    )
    followed = (
        f"It computed in the arithmetic of ITK {settings.itk_version}, to the last bit."
        if settings.arithmetic == "itk"
        else "It follows the implementation in ITK."
    )
    by_otsu = mask == "otsu"
    text = (
        "Intensity nonuniformity was corrected with N4 (Tustison et al. 2010), which builds on N3 "
        f"(Sled et al. 1998), as implemented in n4ax {__version__}. {followed} "
        f"The field was estimated {_describe_mask(mask)}{_describe_shrinking(settings)}, as a "
        f"B-spline of order {settings.spline_order} {_describe_mesh(settings)}. There were "
        f"{levels} fitting level{'s' * (levels > 1)} of at most {most} iterations, {ends}. The "
        f"histogram was sharpened with {settings.nbins} bins, a full width at half maximum of "
        f"{settings.fwhm:g} in log intensity and a Wiener noise of {settings.wiener:g}."
    )
    return "\n".join([text, "", *_REFERENCES, *([_OTSU] if by_otsu else [])])


def _describe_mask(mask: str) -> str:
    if mask == "all":
        return "on the whole image"
    if mask == "otsu":
        return "in the voxels above Otsu's threshold (Otsu 1979)"
    return f"in a mask ({mask})"


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
