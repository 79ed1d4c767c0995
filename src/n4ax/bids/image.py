"""Correct one image of a dataset and write all its files, unless they are there already."""

import os
import re
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from threading import Lock
from typing import Literal

from n4ax.bids.companions import Companions, find_companions, find_signs_of
from n4ax.bids.inputs import Source
from n4ax.bids.outputs import Outputs
from n4ax.bids.recipe import Recipe
from n4ax.bids.sidecar import (
    Correction,
    Identity,
    describe_field,
    describe_for_report,
    describe_image,
    gives_directions,
    identify,
    is_complete,
    loses_own_settings,
)
from n4ax.bids.staging import (
    PRIVATE,
    BusyError,
    put_in_place,
    reserve,
    stage,
    stage_files,
    sync_meanwhile,
)
from n4ax.errors import InputError, describe_shortage
from n4ax.files import DISK_FULL
from n4ax.images import nifti
from n4ax.inputs import Run
from n4ax.level import find_field_range
from n4ax.mask_files import MaskChoice
from n4ax.messages import make_one_line
from n4ax.paths import read_bytes
from n4ax.provenance import format_json, list_iterations
from n4ax.report.measures import measure
from n4ax.report.pictures import draw
from n4ax.report.volumes import Volumes
from n4ax.scan import How, Scan, correct_scan, make_bias_image, make_corrected_image, read_scan
from n4ax.series import Estimate, find_unweighted_volumes

_NO_MEMORY = (
    "not enough memory: run fewer images at a time ({processes}) or allow more ({memory_gb})"
)

_LOST = (
    "it had settings of its own, and its files have changed since: it was corrected with those of "
    "the folder"
)

_UNFINISHED = re.compile(rf"{re.escape(PRIVATE)}.unfinished.[^/\\\\]+[/\\\\]")
"""Where a file is until it gets its place in the output."""

computing = Lock()
"""Held while an image is computed. A worker with a GPU reads and writes others meanwhile."""


@dataclass(frozen=True)
class Outcome:
    """What became of an image.

    Attributes
    ----------
    source
        Path of the image, relative to the dataset.
    participant
        The participant's label.
    state
        ``"corrected"``; ``"unchanged"`` if all files were there already; ``"skipped"`` if the
        image was left out, since it had been corrected before; ``"failed"``; or ``"busy"`` if
        another run is working on the image.
    reason
        Why the image failed, in one line.
    notes
        What the user should know although the image was corrected.
    remarks
        What is suspicious about the correction, by its kind.
    problem
        Why the pictures for the report are missing, although the image was corrected.
    log
        Lines for the participant's log.
    seconds
        How long the image took.
    disk_full, worker_died
        Whether the image failed because there was no space left, or because the process that
        worked on it died.
    """

    source: str
    participant: str
    state: Literal["corrected", "unchanged", "skipped", "failed", "busy"]
    reason: str = ""
    notes: tuple[str, ...] = ()
    remarks: Mapping[str, str] = field(default_factory=dict)
    problem: str = ""
    log: tuple[str, ...] = ()
    seconds: float = 0.0
    disk_full: bool = False
    worker_died: bool = False


def correct_source(recipe: Recipe, source: Source, *, wait: bool = True) -> Outcome:
    """Correct an image and write all its files, or say why that is impossible.

    Files that exist are kept if they are complete and were made from the same inputs with the same
    settings by the same version.

    Parameters
    ----------
    recipe
        How to correct the image.
    source
        The image.
    wait
        Whether to wait for an image that another run is working on.
    """
    start = time.perf_counter()
    outcome = Outcome(source.path, source.participant, "failed")
    try:
        with reserve(recipe.output, name_for_lock(source), wait=wait) as staging:
            outcome = _correct_unless_complete(recipe, source, staging, outcome)
    except Exception as error:  # one bad image must not end a study
        outcome = describe_failure(recipe, error, outcome)
    return replace(outcome, seconds=time.perf_counter() - start)


def name_for_lock(source: Source) -> str:
    """The name under which an image is reserved."""
    return PurePosixPath(Outputs.of(source).figures).name


def describe_failure(recipe: Recipe, error: Exception, outcome: Outcome) -> Outcome:
    """Say in an outcome why an image could not be corrected."""
    match error:
        case BusyError():
            return replace(outcome, state="busy")
        case _ if (shortage := describe_shortage(error, recipe.names, _NO_MEMORY)) is not None:
            reason = shortage
        case OSError():
            known = error.filename and error.strerror
            reason = f"{error.filename}: {error.strerror}" if known else str(error)
            outcome = replace(outcome, disk_full=error.errno in DISK_FULL)
        case InputError():
            reason = error.with_options(recipe.names)
        case ValueError():
            reason = str(error)
        case _:
            reason = f"{type(error).__name__}: {error}"
            lines = "".join(traceback.format_exception(error)).splitlines()
            outcome = replace(outcome, log=tuple(lines))
    reason = name_by_place(recipe, reason).removeprefix(f"{outcome.source} ")
    return replace(outcome, reason=make_one_line(reason))


def name_by_place(recipe: Recipe, text: str) -> str:
    """A text in which files of the dataset and of the output are named by their places in them."""
    for folder in (recipe.output, recipe.dataset):
        text = text.replace(f"{folder}{os.sep}", "")
    return _UNFINISHED.sub("", text)


@dataclass
class Clock:
    """How many seconds each step took."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Add the time of the block to that of a step."""
        start = time.perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start


def _correct_unless_complete(
    recipe: Recipe, source: Source, staging: Path, outcome: Outcome
) -> Outcome:
    companions = find_companions(recipe, source)
    identity = identify(recipe, source, companions)
    if is_complete(recipe, Outputs.of(source), identity):
        return replace(outcome, state="unchanged", notes=companions.notes)
    clock = Clock()
    correction = _correct(recipe, source, companions, clock)
    outcome = stage_correction(correction, identity, staging, clock, outcome)
    if loses_own_settings(recipe, correction.outputs):
        outcome = replace(outcome, notes=(*outcome.notes, _LOST))
    put_in_place(staging, recipe.output, correction.outputs.sidecar)
    return outcome


def stage_correction(
    correction: Correction, identity: Identity, staging: Path, clock: Clock, outcome: Outcome
) -> Outcome:
    """Write all files of a corrected image to a folder, from where they can be put in place.

    Parameters
    ----------
    correction
        The corrected image.
    identity
        What :func:`n4ax.bids.sidecar.identify` finds.
    staging
        The folder.
    clock
        How long the steps up to here took.
    outcome
        The outcome so far.

    Returns
    -------
    Outcome
        The outcome if the files can be put in place.
    """
    outputs = correction.outputs
    with stage(staging, (outputs.image, outputs.field)) as places:
        with clock.step("Write"):
            _write_images(correction, *places)
        with sync_meanwhile(places):
            with clock.step("Verdict"):
                found = correction.verdict.measures
            with clock.step("Report"):
                volumes = _find_volumes(correction)
                pictures, problem = _draw_pictures(correction, volumes)
                affine, directed = correction.done.scan.affine, gives_directions(correction.scan)
                measures = measure(volumes, affine, directed=directed) | found
                convergence = correction.done.results[0].sketch_convergence()
    contents = pictures | _describe_others(correction)
    sizes = {name: (staging / name).stat().st_size for name in (outputs.image, outputs.field)}
    sizes |= {name: len(content) for name, content in contents.items()}
    record = describe_for_report(correction, identity, convergence, measures, clock.seconds)
    # The size of the record varies with the times in it, so that the sidecar does not list it.
    sidecar = describe_image(correction, identity, dict(sorted(sizes.items())))
    contents[f"{outputs.figures}.json"] = format_json(record).encode()
    contents[outputs.sidecar] = format_json(sidecar).encode()
    stage_files(staging, contents)
    log, notes = _summarise(correction, clock.seconds), correction.companions.notes
    done = replace(outcome, state="corrected", notes=notes, problem=problem, log=log)
    return replace(done, remarks=correction.remarks)


def leave_out(recipe: Recipe, source: Source) -> Outcome | None:
    """The outcome of an image that is to be left out, since it was corrected before."""
    if recipe.already != "skip":
        return None
    try:
        signs = find_signs_of(recipe, source, find_companions(recipe, source))
    except Exception:  # what is wrong with the image is told when it is corrected
        return None
    note = f"it was left out, since it was corrected before: {', '.join(signs)}"
    return Outcome(source.path, source.participant, "skipped", notes=(note,)) if signs else None


def _correct(recipe: Recipe, source: Source, companions: Companions, clock: Clock) -> Correction:
    with clock.step("Read"):
        scan = read_scan(recipe.dataset / source.path)
    return correct_alone(recipe, source, companions, scan, clock)


def correct_alone(
    recipe: Recipe, source: Source, companions: Companions, scan: Scan, clock: Clock
) -> Correction:
    """Correct an image that was read, by a field of its own."""
    series = choose_volumes(recipe, scan, companions)
    with computing, clock.step("N4"):
        run = Run(recipe.engine, recipe.threads)
        mask = MaskChoice(companions.mask, above=recipe.mask_above)
        how = How(series, weights=companions.weights, tissues=companions.tissues)
        done = correct_scan(recipe.settings, scan, mask, how, run)
    return Correction(recipe, source, companions, scan, series, done)


def choose_volumes(recipe: Recipe, scan: Scan, companions: Companions) -> Estimate | None:
    """What the field is estimated on; ``None`` if there is only one volume."""
    return choose_estimate(recipe, scan.path, scan.image.shape, companions.gradients)


def choose_estimate(
    recipe: Recipe, path: Path, shape: tuple[int, ...], gradients: Mapping[str, Path]
) -> Estimate | None:
    """What the field of an image of some shape is estimated on; see :func:`choose_volumes`.

    Raises
    ------
    ValueError
        It is a diffusion image, and its volumes without diffusion weighting are not known.
    """
    if len(shape) < 4 or shape[3] == 1:
        return None
    if path.name.split(".")[0].endswith("_dwi"):
        if ".bval" not in gradients:
            raise ValueError(
                f"{path} has no .bval file, so its volumes without diffusion weighting are "
                "not known: add the file"
            )
        return find_unweighted_volumes(gradients[".bval"], shape[3], recipe.b0_threshold)
    return recipe.series


def _write_images(correction: Correction, image: Path, field: Path) -> None:
    scan, done = correction.scan, correction.done
    nifti.write_image(make_corrected_image(scan, done, correction.recipe.dtype), image)
    nifti.write_image(make_bias_image(scan, done), field)


def _describe_others(correction: Correction) -> dict[str, bytes]:
    """The field's sidecar and the copies of the gradients, by their paths in the output."""
    outputs, gradients = correction.outputs, correction.companions.gradients
    return {
        outputs.field_sidecar: format_json(describe_field(correction)).encode(),
        **{outputs.gradients[kind]: read_bytes(path) for kind, path in gradients.items()},
    }


def _find_volumes(correction: Correction) -> Volumes:
    """What the report is about: of a series, the volume that the field was estimated on."""
    done, result = correction.done, correction.done.results[0]
    return Volumes(done.scan.voxels, result.log_bias, result.corrected, done.mask)


def _draw_pictures(correction: Correction, volumes: Volumes) -> tuple[dict[str, bytes], str]:
    """The pictures of the report by their paths in the output, or why they cannot be drawn."""
    try:
        pictures = draw(volumes, correction.done.scan.affine)
    except OSError:
        raise
    except Exception as error:  # the images are worth keeping without pictures
        return {}, f"its pictures could not be drawn ({type(error).__name__}: {error})"
    start = correction.outputs.figures
    return {f"{start}_{name}.webp": content for name, content in pictures.items()}, ""


def _summarise(correction: Correction, seconds: Mapping[str, float]) -> tuple[str, ...]:
    """Lines for the log: what was found, and how long it took."""
    log_bias, result = correction.done.log_bias, correction.done.results[0]
    low, high = find_field_range(log_bias)
    levels = list_iterations(result)
    times = ", ".join(f"{name} {value:.2f} s" for name, value in seconds.items())
    mask = correction.companions.mask
    return (
        f"mask {mask}; iterations per level: {levels}; field from {low:.3f} to {high:.3f}",
        times,
    )
