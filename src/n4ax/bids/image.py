"""One image of a dataset: corrected, with all that is written for it, unless that is there."""

import hashlib
import json
import shutil
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from threading import Lock
from typing import Any, Literal

import numpy as np

from n4ax.bids.inputs import Source, find_mask, inherited
from n4ax.bids.outputs import (
    FULL,
    BusyError,
    Outputs,
    alone_with,
    as_json,
    put_in_place,
    uri,
    write_text,
)
from n4ax.images import nifti
from n4ax.pipeline import choose_engine
from n4ax.report.measures import measure
from n4ax.report.pictures import draw
from n4ax.scan import (
    B0_THRESHOLD,
    CorrectedScan,
    Scan,
    correct_scan,
    find_unweighted_volumes,
    make_bias_image,
    read_scan,
)
from n4ax.series import Estimate
from n4ax.settings import EngineName, N4Settings
from n4ax.version import __version__

_Seconds = dict[str, float]
"""By what they were spent on."""

_LINKS = ("AssociatedEmptyRoom", "IntendedFor", "RawSources")
"""Metadata that name other images of the source dataset."""

_computing = Lock()
"""A worker with a GPU reads and writes other images while one is computed."""


@dataclass(frozen=True)
class Recipe:
    """How the images of a dataset are to be corrected.

    Attributes
    ----------
    dataset, output
        Folders.
    settings
        The parameters of N4.
    mask
        ``"otsu"``, ``"none"`` or a pattern of paths, as for :func:`n4ax.bids.inputs.find_mask`.
    series
        What the field of an image with several volumes is estimated on. For diffusion images
        it is the mean of the volumes without weighting.
    b0_threshold
        Largest b-value of those, in s/mm².
    dtype
        Voxel type of the corrected image, as for :func:`n4ax.images.nifti.with_voxels`.
    engine, threads
        As for :func:`n4ax.n4`; results do not depend on the number of threads.
    """

    dataset: Path
    output: Path
    settings: N4Settings
    mask: str = "otsu"
    series: Estimate = "mean"
    b0_threshold: float = B0_THRESHOLD
    dtype: Literal["float32", "same"] = "float32"
    engine: EngineName | None = None
    threads: int | None = None


@dataclass(frozen=True)
class Outcome:
    """What became of an image.

    Attributes
    ----------
    source
        Path of the image, from the dataset.
    participant
        Its label.
    state
        ``"corrected"``; ``"unchanged"``: all of it was there; ``"failed"``; or ``"busy"``: another
        run works on it.
    reason
        Of a failure, in one line.
    notes
        What the user should know although it went well.
    log
        Lines for the participant's log.
    seconds
        That it took.
    disk_full, worker_died
        Whether it failed for want of space, or with the process that worked on it.
    """

    source: str
    participant: str
    state: Literal["corrected", "unchanged", "failed", "busy"]
    reason: str = ""
    notes: tuple[str, ...] = ()
    log: tuple[str, ...] = ()
    seconds: float = 0.0
    disk_full: bool = False
    worker_died: bool = False


def correct_source(job: Recipe, source: Source, *, wait: bool = True) -> Outcome:
    """Correct an image and write all that comes of it, or say why that cannot be done.

    What is there already stays if it is complete and was made from the same files with the same
    settings by the same version. With ``wait``, an image that another run works on is waited for.
    """
    start = time.perf_counter()
    outcome = Outcome(source.path, source.participant, "failed")
    try:
        name = PurePosixPath(Outputs.of(source).figures).name
        with alone_with(job.output, name, wait=wait) as staging:
            outcome = _corrected(job, source, staging, outcome)
    except BusyError:
        outcome = replace(outcome, state="busy")
    except OSError as error:
        place = error.filename2 or error.filename
        reason = f"{place}: {error.strerror}" if place and error.strerror else str(error)
        outcome = replace(outcome, reason=reason, disk_full=error.errno in FULL)
    except ValueError as error:
        outcome = replace(outcome, reason=str(error))
    except MemoryError:
        reason = "not enough memory: run fewer images at once (--n-procs) or give --shrink 2"
        outcome = replace(outcome, reason=reason)
    except Exception as error:  # one bad image must not end a study
        log = tuple(traceback.format_exc().splitlines())
        outcome = replace(outcome, reason=f"{type(error).__name__}: {error}", log=log)
    reason = " ".join(outcome.reason.split())
    return replace(outcome, reason=reason, seconds=time.perf_counter() - start)


@dataclass
class _Clock:
    seconds: _Seconds = field(default_factory=dict)

    @contextmanager
    def of(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start


@dataclass(frozen=True)
class _Beside:
    """Files that go with an image."""

    mask: str
    metadata: Mapping[str, Any]
    gradients: Mapping[str, Path]
    notes: tuple[str, ...]


def _corrected(job: Recipe, source: Source, staging: Path, outcome: Outcome) -> Outcome:
    beside = _beside(job, source)
    outputs = Outputs.of(source)
    stamp = _stamp(job, source, beside)
    if _is_complete(job.output, outputs, stamp):
        return replace(outcome, state="unchanged", notes=beside.notes)
    clock = _Clock()
    with clock.of("Read"):
        scan = read_scan(job.dataset / source.path)
        series = _series(job, scan, beside)
    with _computing, clock.of("N4"):
        done = correct_scan(
            job.settings, scan, beside.mask, series=series, engine=job.engine,
            num_threads=job.threads, every_measure=True,
        )  # fmt: skip
    with clock.of("Write"):
        _write_images(job, source, scan, done, beside, staging)
    with clock.of("Report"):
        measures = _reported(source, done, staging)
    _write_record(job, source, scan, done, measures, clock.seconds, staging)
    sidecar = _sidecar(job, source, done, series, beside, stamp, staging)
    write_text(staging / outputs.sidecar, as_json(sidecar))
    put_in_place(staging, job.output, outputs.sidecar)
    log = _summary(done, beside, clock.seconds)
    return replace(outcome, state="corrected", notes=beside.notes, log=log)


def _beside(job: Recipe, source: Source) -> _Beside:
    """The mask, the metadata and the gradients; what cannot be read of the metadata is noted."""
    mask, notes = job.mask, []
    if mask not in ("otsu", "none"):
        mask = str(find_mask(job.dataset, source, mask))
    metadata: dict[str, Any] = {}
    for path in reversed(inherited(job.dataset, source, ".json")):
        try:
            metadata |= _metadata(path)
        except (OSError, ValueError) as error:
            notes.append(f"{path} is left out: {error}")
    gradients = {}
    for extension in Outputs.of(source).beside:
        found = inherited(job.dataset, source, extension)
        if found:
            gradients[extension] = found[0]
    return _Beside(mask, metadata, gradients, tuple(notes))


def _metadata(path: Path) -> dict[str, Any]:
    """A sidecar's entries; those that are not numbers of JSON (NaN) are left out."""
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"), parse_constant=lambda _: None)
    except ValueError as error:
        raise ValueError(f"it cannot be read as JSON ({error})") from None
    if not isinstance(content, dict):
        raise ValueError("it is JSON, but no object")
    return {name: value for name, value in content.items() if value is not None}


def _series(job: Recipe, scan: Scan, beside: _Beside) -> Estimate | None:
    """What the field is estimated on, if there are several volumes."""
    if scan.image.ndim < 4 or scan.image.shape[3] == 1:
        return None
    if scan.path.name.split(".")[0].endswith("_dwi"):
        if ".bval" not in beside.gradients:
            raise ValueError(f"{scan.path} has no .bval file: its volumes without weighting are "
                             "not known")  # fmt: skip
        return find_unweighted_volumes(beside.gradients[".bval"], scan, job.b0_threshold)
    return job.series


def _stamp(job: Recipe, source: Source, beside: _Beside) -> str:
    """What the outputs depend on, in one number: contents, settings and version, not times."""
    files = {"Image": job.dataset / source.path, **beside.gradients}
    if beside.mask not in ("otsu", "none"):
        files["Mask"] = Path(beside.mask)
    content = {
        "Version": __version__,
        "Settings": job.settings.keywords(),
        "Mask": job.mask if job.mask in ("otsu", "none") else "by a pattern",
        "Series": "b0" if ".bval" in Outputs.of(source).beside else job.series,
        "B0Threshold": job.b0_threshold,
        "DType": job.dtype,
        "Metadata": beside.metadata,
        "Files": {name: _digest(path) for name, path in files.items()},
    }
    text = json.dumps(content, sort_keys=True)
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def _digest(path: Path) -> str:
    if path.is_symlink() and not path.exists():
        raise ValueError(f"{path} is a link to a file that is not here: fetch it (datalad get)")
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _is_complete(output: Path, outputs: Outputs, stamp: str) -> bool:
    """Whether all was written with this stamp and has the size that it had then."""
    try:
        made = json.loads((output / outputs.sidecar).read_text(encoding="utf-8"))["N4"]
        json.loads((output / f"{outputs.figures}.json").read_text(encoding="utf-8"))
        return made["Stamp"] == stamp and all(
            (output / name).stat().st_size == size for name, size in made["Files"].items()
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def _write_images(
    job: Recipe, source: Source, scan: Scan, done: CorrectedScan, beside: _Beside, staging: Path
) -> None:
    outputs = Outputs.of(source)
    (staging / outputs.image).parent.mkdir(parents=True)
    corrected = nifti.replace_voxels(scan.image, done.corrected, job.dtype)
    nifti.write_image(corrected, staging / outputs.image)
    nifti.write_image(make_bias_image(scan, done.log_bias), staging / outputs.field)
    about = {
        "Description": "Bias field: the corrected image is the source divided by it.",
        "Sources": _sources(job, source, beside),
    }
    write_text(staging / outputs.field_sidecar, as_json(about))
    for extension, path in beside.gradients.items():
        shutil.copyfile(path, staging / outputs.beside[extension])


def _sources(job: Recipe, source: Source, beside: _Beside) -> list[str]:
    """BIDS URIs of the image and of its mask."""
    paths = [job.dataset / source.path]
    if beside.mask not in ("otsu", "none"):
        paths.append(Path(beside.mask))
    return [uri(job.dataset, path) for path in paths]


def _sidecar(
    job: Recipe, source: Source, done: CorrectedScan, series: Estimate | None, beside: _Beside,
    stamp: str, staging: Path,
) -> dict[str, Any]:  # fmt: skip
    """Metadata of the source, and how the image was corrected."""
    results = done.results if series == "each" else done.results[:1]
    each = {
        "Iterations": [result.iterations for result in results],
        "Stopped": [result.stopped for result in results],
        "Convergence": [[_last(level) for level in result.convergence] for result in results],
    }
    settings = job.settings.keywords()
    files = [path for path in sorted(staging.rglob("*")) if path.is_file()]
    record = f"{Outputs.of(source).figures}.json"  # which has times, and so no fixed size
    sizes = {path.relative_to(staging).as_posix(): path.stat().st_size for path in files}
    return _of_the_source(beside.metadata) | {
        "Description": "Corrected for intensity inhomogeneity by N4.",
        "Sources": _sources(job, source, beside),
        "SkullStripped": bool(beside.metadata.get("SkullStripped", False)),
        "N4": {
            "Settings": {name: value for name, value in settings.items() if value is not None},
            "Mask": job.mask,
            **({} if series is None else {"EstimatedOn": series}),
            "DType": job.dtype,
            **(each if series == "each" else {name: found[0] for name, found in each.items()}),
            "Engine": choose_engine(job.engine, done.corrected),
            "SoftwareVersions": {"n4ax": __version__, "numpy": np.__version__},
            "Stamp": stamp,
            "Files": {name: size for name, size in sizes.items() if name != record},
        },
    }


def _of_the_source(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """What stays true of a derivative: no links to other images, and its own dataset by name."""

    def named(value: Any) -> Any:
        if isinstance(value, str):
            return f"bids:raw:{value[6:]}" if value.startswith("bids::") else value
        if isinstance(value, list):
            return [named(one) for one in value]
        return {key: named(one) for key, one in value.items()} if isinstance(value, dict) else value

    return {name: named(value) for name, value in metadata.items() if name not in _LINKS}


def _reported(source: Source, done: CorrectedScan, staging: Path) -> dict[str, Any]:
    """Draw the pictures of the report, and take its measures."""
    place, result = staging / Outputs.of(source).figures, done.results[0]
    place.parent.mkdir(parents=True)
    planes, inside = (done.scan.voxels, result.log_bias, result.corrected), done.inside()
    draw(place.parent, place.name, *planes, inside, done.scan.affine)
    return measure(*planes, inside)


def _write_record(
    job: Recipe, source: Source, scan: Scan, done: CorrectedScan, measures: dict[str, Any],
    seconds: _Seconds, staging: Path,
) -> None:  # fmt: skip
    """What the report says of the image."""
    outputs, result = Outputs.of(source), done.results[0]
    took = seconds | {"Total": sum(seconds.values())}
    record = {
        "Source": source.path,
        "Output": outputs.image,
        "Subject": source.participant,
        "Session": source.session,
        "Suffix": source.entities["suffix"],
        "Shape": list(scan.image.shape),
        "VoxelSize": list(nifti.read_voxel_sizes(scan.image)),
        "Mask": job.mask,
        "Engine": choose_engine(job.engine, scan.voxels),
        "Iterations": result.iterations,
        "Stopped": result.stopped,
        "Convergence": [[_number(value) for value in level] for level in result.convergence],
        "Threshold": result.settings.conv_threshold,
        "Measures": measures,
        "Seconds": {name: round(value, 4) for name, value in took.items()},
        "Version": __version__,
    }
    write_text(staging / f"{outputs.figures}.json", as_json(record))


def _summary(done: CorrectedScan, beside: _Beside, seconds: Mapping[str, float]) -> tuple[str, ...]:
    result = done.results[0]
    low, high = (float(np.exp(extreme)) for extreme in (done.log_bias.min(), done.log_bias.max()))
    levels = ", ".join(
        f"{count} ({why})" for count, why in zip(result.iterations, result.stopped, strict=True)
    )
    took = ", ".join(f"{name} {value:.2f} s" for name, value in seconds.items())
    return (
        f"mask {beside.mask}; iterations per level: {levels}; field from {low:.3f} to {high:.3f}",
        took,
    )


def _last(measures: list[float]) -> float | None:
    return _number(measures[-1]) if measures else None


def _number(value: float) -> float | None:
    """A number of JSON, which has none for what is not finite."""
    return float(value) if np.isfinite(value) else None
