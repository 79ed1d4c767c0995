"""Correct one image and write all its files, which appear together or not at all."""

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from math import isfinite
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from n4ax import provenance
from n4ax.correction.origin import find_signs_beside
from n4ax.correction.outcome import Outcome
from n4ax.correction.recipe import Outputs, Recipe, Task
from n4ax.errors import NO_MEMORY, InputError, describe_shortage
from n4ax.extras import need_extra
from n4ax.images.expressions import spell
from n4ax.images.writing import write_images
from n4ax.inputs import Run
from n4ax.level import find_field_range
from n4ax.mask_files import MaskChoice
from n4ax.messages import make_one_line
from n4ax.method.solver import Progress
from n4ax.processors import choose_thread_count
from n4ax.scan import (
    CorrectedScan,
    How,
    Scan,
    correct_scan,
    make_bias_image,
    make_corrected_image,
    make_mask_image,
    read_scan,
)
from n4ax.series import Estimate, find_unweighted_volumes
from n4ax.shared_scans import correct_scans
from n4ax.staged import STAGES
from n4ax.verdict import Verdict
from n4ax.version import __version__


class Correction(NamedTuple):
    """An image with its correction."""

    task: Task
    scan: Scan
    done: CorrectedScan


def correct_task(
    recipe: Recipe, task: Task, progress: Progress | None = None, *, recorded: bool = False
) -> Outcome:
    """Correct an image and write all its files.

    Parameters
    ----------
    recipe
        How to correct it.
    task
        The image.
    progress
        Called after every iteration, as for :func:`n4ax.n4`.
    recorded
        Whether the outcome is to have a record. It takes time: files are read again for their
        digests, and all convergence measures are computed.

    Raises
    ------
    ValueError
        N4 cannot work with the image. The message says why.
    OSError
        A file cannot be written. All files are as they were before.
    """
    start = time.perf_counter()
    scan = read_scan(task.image)
    how = How(
        find_volumes(recipe, task, scan),
        recipe.slicewise,
        task.weights,
        recipe.in_stages,
        None if recipe.init is None else recipe.init.spline,
        task.tissues,
    )
    run = Run(recipe.engine, recipe.threads, progress)
    done = correct_scan(recipe.settings, scan, task.mask, how, run)
    return write_correction(recipe, Correction(task, scan, done), start, recorded=recorded)


def correct_together(recipe: Recipe, tasks: Sequence[Task]) -> list[Correction]:
    """Correct images by one field that they share.

    Raises
    ------
    ValueError
        N4 cannot work with an image, or the images do not have one grid. The message names it.
    """
    scans = [read_scan(task.image) for task in tasks]
    done = correct_scans(
        recipe.settings,
        scans,
        [task.mask for task in tasks],
        weights=[task.weights for task in tasks],
        run=Run(recipe.engine, recipe.threads),
    )
    return [Correction(*one) for one in zip(tasks, scans, done, strict=True)]


def write_correction(
    recipe: Recipe, correction: Correction, start: float, *, recorded: bool
) -> Outcome:
    """Write all files of a corrected image: all or none.

    Parameters
    ----------
    recipe
        How it was corrected.
    correction
        The image.
    start
        When the work began, by :func:`time.perf_counter`.
    recorded
        Whether the outcome is to have a record.
    """
    task = correction.task
    figure, problem = _draw_figure(task.outputs, correction)
    outputs = task.outputs._replace(figure=None) if problem else task.outputs
    written = _list_written(outputs)
    signs = find_signs_beside(task.image) if recipe.already == "warn" else []
    verdict = correction.done.judge(signs)
    record: dict[str, Any] = {}
    if recorded or outputs.json is not None:
        record = describe(recipe, correction, outputs, verdict)
    _write_files(recipe, correction, outputs, figure, record)
    seconds = time.perf_counter() - start
    return Outcome(
        str(task.image),
        task.outputs.output,
        "corrected",
        problem=problem,
        summary=_summarise(recipe, correction, written, seconds),
        notes=verdict.messages,
        suspicious=verdict.is_suspicious,
        seconds=seconds,
        record=record,
        files={path: path.stat().st_size for path in outputs.files},
    )


def make_stamp(recipe: Recipe, task: Task) -> str:
    """Hash everything that the results of an image depend on: files, settings and versions.

    The names of the files do not count, only their content.

    Raises
    ------
    ValueError
        A file is a link to a file that is not here.
    """
    digests = {
        name: [provenance.hash_file(path) for path in paths]
        for name, paths in task.list_inputs(recipe).items()
    }
    described = recipe.describe()
    described.pop("Init", None)
    mask = spell(task.mask.parse(), lambda path: digests["Mask"][task.masks.index(path)])
    return provenance.make_stamp(
        described
        | {
            "Mask": mask,
            "Version": __version__,
            "Outputs": [name for name, _ in task.outputs.items()],
            "Files": digests,
        }
    )


def describe(
    recipe: Recipe, correction: Correction, outputs: Outputs, verdict: Verdict
) -> dict[str, Any]:
    """How an image was corrected, and which files were written, as an object of JSON."""
    task, scan, done = correction
    inputs = task.list_inputs(recipe)
    inside = done.log_bias[_spread(done)]
    return {
        "Description": "Corrected for intensity nonuniformity by N4.",
        "Inputs": {name: list(map(str, paths)) for name, paths in inputs.items()},
        "Digests": {
            str(path): provenance.hash_file(path) for paths in inputs.values() for path in paths
        },
        "Outputs": {name: str(path) for name, path in outputs.items()},
        **recipe.describe(),
        "Mask": task.mask.text,
        **provenance.describe_choice(done.results[0]),
        **provenance.describe_levels(done.results, each=recipe.has_many_fields),
        "Shape": list(scan.image.shape),
        "MaskVoxels": int(np.count_nonzero(done.mask)),
        "FieldRange": _list_range(done.log_bias),
        "FieldRangeInMask": _list_range(inside),
        "Verdict": verdict.describe(recipe.names),
        "SoftwareVersions": provenance.list_versions(),
    }


def _spread(done: CorrectedScan) -> Any:
    """The mask as an index of the log field, which may have more axes."""
    return done.mask if done.log_bias.ndim == done.mask.ndim else np.nonzero(done.mask)


def _list_range(log_bias: Any) -> list[float | None]:
    """The smallest and the largest value of a field; JSON has no number that is not finite."""
    return [end if isfinite(end) else None for end in find_field_range(log_bias)]


def find_volumes(recipe: Recipe, task: Task, scan: Scan) -> "Estimate | Literal['4d'] | None":
    """What to estimate the field on; ``b0`` is looked up in the file of b-values."""
    if recipe.series != "b0":
        return recipe.series
    assert task.gradients is not None
    return find_unweighted_volumes(task.gradients, scan.volumes, recipe.b0_threshold)


def _draw_figure(outputs: Outputs, correction: Correction) -> tuple[bytes, str]:
    """Draw the figure if it was asked for; return its content, and why it could not be drawn."""
    if outputs.figure is None:
        return b"", ""
    task, scan, done = correction
    result = done.results[0]
    # A series is shown by the volume that its field is from.
    shown = done if result.field.shape != done.scan.voxels.shape else result
    count = sum(result.iterations)
    plural = "s" * (count != 1)
    name = make_one_line(scan.path.name)
    title = f"{name}  ·  n4ax {__version__}  ·  {count} iteration{plural}"
    try:
        with need_extra("figure", "it"):
            from n4ax.figure import draw_figure

        shape = done.scan.voxels.shape
        volumes = (
            done.scan.voxels,
            shown.log_bias.reshape(shape),
            shown.corrected.reshape(shape),
        )
        return draw_figure(*volumes, done.mask, scan.affine, title, _describe_mask(task.mask)), ""
    except Exception as error:  # whatever is wrong with matplotlib, the images are worth keeping
        is_missing = isinstance(error, ImportError)
        reason = str(error) if is_missing else f"{type(error).__name__}: {error}"
        return b"", (
            f"--figure {outputs.figure} could not be drawn ({reason}); all other files were written"
        )


def _write_files(
    recipe: Recipe,
    correction: Correction,
    outputs: Outputs,
    figure: bytes,
    record: Mapping[str, Any],
) -> None:
    """Write all files or none."""
    _, scan, done = correction
    images = {outputs.output: make_corrected_image(scan, done, recipe.dtype)}
    if outputs.bias is not None:
        images[outputs.bias] = make_bias_image(scan, done)
    if outputs.mask_output is not None:
        images[outputs.mask_output] = make_mask_image(done)
    others: dict[Path, bytes | Callable[[Path], object]] = {}
    if outputs.field is not None:
        others[outputs.field] = done.results[0].field.save
    if outputs.figure is not None:
        others[outputs.figure] = figure
    if outputs.json is not None:
        others[outputs.json] = provenance.format_json(record).encode()
    write_images(images, recipe.threads or choose_thread_count(), others)


def _list_written(outputs: Outputs) -> str:
    """The files to write, and from when those are that they replace."""
    return ", ".join(f"{path}{_describe_old(path)}" for _, path in outputs.items())


def _describe_old(path: Path) -> str:
    if not path.exists():
        return ""
    moment = datetime.fromtimestamp(path.stat().st_mtime).astimezone()
    return f" (replaced a file of {moment:%Y-%m-%d %H:%M})"


def _summarise(recipe: Recipe, correction: Correction, written: str, seconds: float) -> str:
    """One paragraph that says what was corrected, how it went, and what was written."""
    task, scan, done = correction
    result = done.results[0]
    low, high = find_field_range(done.log_bias)
    size = " x ".join(str(n) for n in scan.image.shape)
    levels = provenance.list_iterations(result)
    of_many = f" (the first of {len(done.results)} fields)" if len(done.results) > 1 else ""
    of_many = f" (the last of {len(STAGES)} stages)" if recipe.in_stages else of_many
    inside = f"{_describe_mask(task.mask)} ({np.count_nonzero(done.mask):,} voxels)"
    chosen = "" if result.choice is None else f"{result.choice.sentence} "
    return (
        f"{scan.path}: {size} voxels, mask {inside}. {chosen}"
        f"Iterations per level{of_many}: {levels}. The field ranges from {low:.3f} to {high:.3f}. "
        f"Wrote {written} in {seconds:.1f} s."
    )


def _describe_mask(mask: MaskChoice) -> str:
    """The mask and what was chosen of it."""
    labels = f"={','.join(map(str, mask.labels))}" if mask.labels else ""
    above = "" if mask.above is None else f">{mask.above:g}"
    grown = f", {mask.dilate_mm:+g} mm" if mask.dilate_mm else ""
    return f"{mask.text}{labels}{above}{grown}"


def fail(task: Task, reason: str, start: float) -> Outcome:
    """The outcome of an image that cannot be corrected."""
    seconds = time.perf_counter() - start
    return Outcome(
        str(task.image), task.outputs.output, "failed", make_one_line(reason), seconds=seconds
    )


def describe_error(error: Exception, names: Mapping[str, str]) -> str:
    """What an error says, in the words of the command line."""
    if isinstance(error, InputError):
        return error.with_options(names)
    shortage = describe_shortage(error, names, NO_MEMORY)
    if shortage is not None:
        return shortage
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror}"
    told = isinstance(error, ValueError | OSError)
    return str(error) if told else f"{type(error).__name__}: {error}"
