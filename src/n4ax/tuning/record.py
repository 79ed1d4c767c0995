"""The files of ``n4ax tune``: a table, all that was tried, and a picture."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from n4ax.auto import Trial
from n4ax.auto.choice import write_factors
from n4ax.correction.recipe import Recipe, Task
from n4ax.extras import need_extra
from n4ax.files import check_writable
from n4ax.images.writing import write_images
from n4ax.provenance import format_json, hash_file, list_settings, list_versions, make_finite
from n4ax.report.tables import guard_text
from n4ax.tuning.choice import Tried, Tuning

TABLE, RECORD, PICTURE = "tune.tsv", "tune.json", "tune.png"

_COLUMNS = (
    "image", "reach_mm", "spline_distance_mm", "iterations", "fwhm", "spread_percent", "cjv",
    "criterion", "chosen",
)  # fmt: skip
_MISSING = "n/a"


def check_folder(folder: Path) -> None:
    """Check that the files can be written, before the work; the folder need not be there yet.

    Raises
    ------
    OSError
        The folder cannot be made or written to.
    """
    near = folder
    while not near.exists() and near != near.parent:
        near = near.parent
    for name in (TABLE, RECORD, PICTURE):
        check_writable(near / name)


def write_results(
    folder: Path, tuning: Tuning, described: Mapping[str, Any]
) -> tuple[list[Path], str]:
    """Write the files: all of them or none.

    Parameters
    ----------
    folder
        Where to write; it is made if it is missing.
    tuning
        What was found.
    described
        What :func:`describe` gives.

    Returns
    -------
    tuple of list of Path and str
        The files, and why there is no picture; empty if there is one.

    Raises
    ------
    OSError
        A file cannot be written. All files are as they were before.
    """
    picture, problem = _draw(tuning)
    files: dict[Path, Any] = {
        folder / TABLE: write_rows(tuning).encode(errors="backslashreplace"),
        folder / RECORD: format_json(described).encode(),
        **({} if problem else {folder / PICTURE: picture}),
    }
    folder.mkdir(parents=True, exist_ok=True)
    write_images({}, others=files)
    return list(files), problem


def describe(
    tuning: Tuning, recipe: Recipe, tasks: Sequence[Task], commands: Mapping[str, str]
) -> dict[str, Any]:
    """What was tried and found, as an object of JSON.

    Parameters
    ----------
    tuning
        What was found.
    recipe, tasks
        What it was found on.
    commands
        The command lines to use afterwards, by the program.
    """
    general = recipe.describe()
    named = ("Mask", "MaskLabels", "MaskAbove", "MaskDilate", "EstimatedOn", "B0Threshold")
    return {
        "Description": "One setting of N4 for several images.",
        "Sentence": tuning.sentence,
        "LeftAsTheyAre": tuning.leaves,
        "Settings": list_settings(tuning.settings),
        **({"Notes": list(tuning.notes)} if tuning.notes else {}),
        "Commands": dict(commands),
        **{name: general[name] for name in named if name in general},
        "MedianReach": round(tuning.reach, 3),
        **(_describe_candidates(tuning) if tuning.candidates else
           {"MedianSpreadPercent": round(tuning.spread, 2)}),
        "Images": [
            _describe_image(recipe, one, task)
            for one, task in zip(tuning.images, tasks, strict=True)
        ],
        "SoftwareVersions": list_versions(),
    }  # fmt: skip


def _describe_candidates(tuning: Tuning) -> dict[str, Any]:
    pairs = zip(tuning.candidates, tuning.criteria, strict=True)
    tried = [
        {name: value for name, value in Trial(one, 0.0).describe().items()
         if name != "SpreadPercent"} | {"Criterion": make_finite(round(criterion, 4))}
        for one, criterion in pairs
    ]  # fmt: skip
    return {"Tried": tried}


def _describe_image(recipe: Recipe, one: Tried, task: Task) -> dict[str, Any]:
    inputs = task.list_inputs(recipe)
    return {
        "Inputs": {name: list(map(str, paths)) for name, paths in inputs.items()},
        "Digests": {str(path): hash_file(path) for paths in inputs.values() for path in paths},
        "Reach": round(one.reach, 3),
        "TissueShareOfMask": round(one.fullness, 4),
        "Tried": [trial.describe() for trial in one.trials],
    }


def write_rows(tuning: Tuning) -> str:
    """The table: a line for each image and each setting that was tried on it."""
    text = io.StringIO()
    writer = csv.writer(text, dialect="excel-tab", lineterminator="\n")
    writer.writerow(_COLUMNS)
    for one in tuning.images:
        for number, trial in enumerate(one.trials):
            values = _list_values(tuning, number, trial)
            writer.writerow([guard_text(one.name), f"{one.reach:.1f}", *values])
    return text.getvalue()


def _list_values(tuning: Tuning, number: int, trial: Trial) -> Iterator[str]:
    settings = trial.settings
    distance = _MISSING if trial.leaves else f"{settings.spline_distance:g}"
    yield from (distance, write_factors(settings.iters))
    yield _MISSING if trial.leaves else f"{settings.fwhm:g}"
    yield f"{trial.spread:.2f}"
    if trial.cjv is None:
        yield from (_MISSING,) * 3
        return
    yield from (f"{trial.cjv:.4f}", f"{tuning.criteria[number]:.4f}")
    yield "yes" if number == tuning.chosen else "no"


def _draw(tuning: Tuning) -> tuple[bytes, str]:
    """Draw the picture; return its content, and why it could not be drawn."""
    try:
        with need_extra("figure", "it"):
            from n4ax.tuning.plot import draw
        return draw(tuning), ""
    except ImportError as error:
        return b"", f"{PICTURE} was not drawn: {error}"
