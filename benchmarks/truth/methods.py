"""The corrections that are judged: everybody's settings of N4, and no correction at all.

A shrink factor stands for a resolution. Those of ANTs' pipelines were chosen for scans of 1 mm, so
that 4 means samples 4 mm apart; on a grid of 3 mm nothing is left to shrink.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

import n4ax
from benchmarks.truth.judge import error
from benchmarks.truth.phantoms import Case

Mask = Literal["brain", "otsu", "all"]
"""Where N4 works: in the brain, in what Otsu's threshold keeps of the image, or everywhere."""

Method = Callable[[Case, Mask], npt.ArrayLike]
"""A correction: from a case and the mask to the log field. It may look at the image, the tissues,
the spacing and, with ``"brain"``, the brain; nothing else."""


def choose_voxels(case: Case, mask: Mask) -> npt.NDArray[np.bool_] | str:
    """The mask of a case as :func:`n4ax.fit` takes it."""
    return case.brain if mask == "brain" else mask


def do_nothing(case: Case, mask: Mask) -> npt.ArrayLike:
    """The log field of no correction."""
    del case, mask
    return 0.0


def run_n4(case: Case, mask: Mask, **keywords: Any) -> npt.ArrayLike:
    """The log field of N4 with keywords of :func:`n4ax.fit`; the shrink factor is that at 1 mm."""
    given = {"spacing": case.spacing, "voxel_order": "F", **keywords}
    if "shrink_factor" in given:
        given["shrink_factor"] = max(1, round(given["shrink_factor"] / min(case.spacing)))
    voxels = choose_voxels(case, mask)
    return n4ax.fit(case.image, voxels, engine="cpu", num_threads=1, **given).log_bias


_ANTS: dict[str, Any] = {"conv_threshold": 1e-7, "shrink_factor": 4}

SETTINGS: dict[str, dict[str, Any]] = {
    "SimpleITK": {},
    "ANTs": {"conv_threshold": 0.0, "shrink_factor": 4, "mesh": 1},
    "niPreps": _ANTS | {"spline_distance": 200},
    "MRtrix3": {
        "conv_threshold": 0.0, "shrink_factor": 4, "spline_distance": 100, "iters": (1000,),
    },
    "QSIPrep": {
        "conv_threshold": 1e-6, "shrink_factor": 4, "spline_distance": 150, "iters": (200, 200),
    },
    "n4ax 0.1.1": {"conv_threshold": 0.0, "over_relax": 1.8, "iters": (8, 12, 12, 8)},
    "fast": {"conv_threshold": 0.0, "accelerate": True},
    "200 mm, 3 levels": _ANTS | {"spline_distance": 200, "iters": (50,) * 3},
    "150 mm, 2 levels": _ANTS | {"spline_distance": 150, "iters": (50,) * 2},
}  # fmt: skip
"""The defaults of SimpleITK's filter and of ANTs' program; niPreps' for T1w images (fMRIPrep and
others); what MRtrix3 and QSIPrep use on diffusion images; n4ax 0.1.1's; ``N4Settings.fast()``; and
two that hold the mesh coarse."""


def run_by_tissues(case: Case, mask: Mask) -> npt.ArrayLike:
    """The log field of N4 with settings that are chosen by the true tissues."""
    return run_n4(case, mask, preset="auto", tissues=list(case.tissues))


AUTO, AUTO_BY_TISSUES = "auto", "auto, tissues known"
"""The settings that n4ax chooses for each image, without and with maps of tissues."""

METHODS: dict[str, Method] = {
    "nothing": do_nothing,
    **{name: partial(run_n4, **keywords) for name, keywords in SETTINGS.items()},
    AUTO: partial(run_n4, preset="auto"),
    AUTO_BY_TISSUES: run_by_tissues,
}
"""What is judged, by name, in the order of the tables."""

_MESHES = [(distance, levels) for distance in (400, 300) for levels in (1, 2, 3, 4)]

SEARCHED: tuple[dict[str, Any], ...] = (
    *(
        {"spline_distance": distance, "iters": (50,) * levels, "fwhm": fwhm}
        for fwhm in (0.05, 0.15, 0.3)
        for distance, levels in _MESHES
    ),
    *(
        {"spline_distance": distance, "iters": (200,) * levels}
        for distance, levels in _MESHES
        if levels > 1
    ),
)
"""The settings of which the best is taken. Their finest mesh elements are 37 to 400 mm long, and
samples are 6 mm apart, which takes an eighth of the time and changes little."""

BEST = "best possible"
"""The least error of all methods and settings, which nobody can choose without the truth."""


def find_best(case: Case, mask: Mask, errors: dict[str, float]) -> float:
    """The least error of the settings that are searched, and of those that were judged already."""
    found = (
        error(run_n4(case, mask, conv_threshold=1e-7, shrink_factor=6, **keywords), case)
        for keywords in SEARCHED
    )
    return min(*errors.values(), *found)
