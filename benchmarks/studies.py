"""Throughput over a dataset: ``n4ax bids`` beside a loop of ANTsPy calls.

In turn: ``n4ax bids`` over a dataset of 1 mm heads, from the start of the program to its end, and
a process that calls ANTsPy on heads of the same dataset, one after the other, from the first call
to the last. Then where the time of an image goes, in one process. Last, a dry run over a tree of
many participants.
"""

import gzip
import os
import re
import shutil
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from threading import current_thread, main_thread
from typing import Any

import nibabel as nib
import numpy as np
from matplotlib.figure import Figure

from benchmarks import plots
from benchmarks.peers import prepare_peer, run_process
from benchmarks.rounds import ratio, spread, take_turns
from benchmarks.volumes import PACKAGED, T1W, TITLES, volume_exists, volume_path

PARTICIPANTS, OF_ANTS = 24, 2
QUICK_PARTICIPANTS, QUICK_OF_ANTS = 6, 1
TREE, QUICK_TREE = 5000, 500
_LOOP = """
import sys, time
import ants
def corrected(path):
    image = ants.image_read(path)
    settings = {"iters": [50, 50, 50, 50], "tol": 0.0}
    done = ants.n4_bias_field_correction(image, shrink_factor=4, convergence=settings)
    ants.image_write(done, sys.argv[1])
start = time.perf_counter()
for path in sys.argv[2:]:
    corrected(path)
print((len(sys.argv) - 2) / (time.perf_counter() - start) * 60)
"""


def measure(quick: bool, rounds: int) -> dict[str, Any]:
    name = PACKAGED if quick or not volume_exists(T1W) else T1W
    participants, of_ants = (
        (QUICK_PARTICIPANTS, QUICK_OF_ANTS) if quick else (PARTICIPANTS, OF_ANTS)
    )
    tree = QUICK_TREE if quick else TREE
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        heads = write_heads(volume_path(name), folder / "heads", participants)
        ours(folder, participants)  # once before, for the compiled code on disk
        calls: dict[str, Callable[[], float]] = {
            "theirs": lambda: ants(folder, heads[:of_ants]),
            "ours": lambda: ours(folder, participants),
        }
        rates = take_turns(min(rounds, 2), calls)
        shares = shares_of(folder)
        seconds, peak = dry_run(folder, tree)
    return {
        "volume": TITLES[name],
        "shape": list(nib.load(volume_path(name)).shape),
        "participants": participants,
        "images_of_ants": of_ants,
        "images_per_minute": rates,
        "spread": {name: spread(values) for name, values in rates.items()},
        "faster_by": ratio(rates["ours"], rates["theirs"]),
        "shares": shares,
        "dry_run": {"participants": tree, "seconds": seconds, "peak_bytes": peak},
    }


def write_heads(source: Path, folder: Path, participants: int) -> list[Path]:
    """A dataset of one head, flipped and scaled."""
    scan = nib.load(source)
    voxels = np.asarray(scan.dataobj)
    paths = []
    for number in range(1, participants + 1):
        path = folder / f"sub-{number:02d}" / "anat" / f"sub-{number:02d}_T1w.nii.gz"
        path.parent.mkdir(parents=True)
        varied = np.flip(voxels, axis=number % 3) * (1 + 0.02 * number)
        nib.save(nib.Nifti1Image(np.rint(varied).astype(np.int16), scan.affine), path)
        paths.append(path)
    return paths


def ants(folder: Path, heads: list[Path]) -> float:
    """Images a minute of a loop of ANTsPy calls."""
    words = ["-c", _LOOP, str(folder / "ants.nii.gz"), *map(str, heads)]
    return float(run_process(prepare_peer("ANTsPy"), words).printed.split()[-1])


def ours(folder: Path, participants: int) -> float:
    """Images a minute of the whole program: corrected images, fields and reports."""
    output = folder / "out"
    shutil.rmtree(output, ignore_errors=True)
    words = ["bids", str(folder / "heads"), str(output), "participant", "--preset", "ants", "-q"]
    done = run_process(prepare_peer("n4ax"), ["-m", "n4ax", *words])
    return participants / done.seconds * 60


def shares_of(folder: Path) -> dict[str, float]:
    """Where the time of an image goes, as shares of one; medians, in one process."""
    from isal import isal_zlib

    from n4ax.bids import image, outputs, staging
    from n4ax.bids.inputs import find_sources
    from n4ax.bids.recipe import Recipe
    from n4ax.images import gzip as our_gzip
    from n4ax.images import plain
    from n4ax.settings import N4Settings

    seconds: dict[str, float] = defaultdict(float)
    output = folder / "shares"
    outputs.prepare_output(folder / "heads", output)
    settings = N4Settings(**{**N4Settings.ants().keywords(), "voxel_order": "F"})
    recipe = Recipe(folder / "heads", output, settings, mask="none", threads=1)
    timed = (
        ("gzip", our_gzip, "decompress"), ("gzip", our_gzip, "_compress_block"),
        ("gzip", isal_zlib, "crc32"), ("N4", image, "correct_scan"),
        ("pictures and measures", image, "_draw_pictures"),
        ("pictures and measures", image, "measure"), ("hashing", image, "identify"),
        ("files", plain, "write_pieces"), ("files", Path, "write_bytes"),
        ("files", Path, "read_bytes"), ("files", os, "fsync"),
        ("files", staging.ThreadPoolExecutor, "shutdown"),  # it waits for the disk
    )  # fmt: skip
    runs = []
    for number, source in enumerate(find_sources(folder / "heads")[:6]):
        seconds.clear()
        with _timed(timed, seconds):
            outcome = image.correct_source(recipe, source)
        assert outcome.state == "corrected", outcome
        rest = outcome.seconds - sum(seconds.values())
        if number:  # the first loads the compiled code
            taken = {**seconds, "Python": rest}
            runs.append({name: value / outcome.seconds for name, value in taken.items()})
    return {name: median(run[name] for run in runs) for name in runs[0]}


@contextmanager
def _timed(places: tuple[tuple[str, Any, str], ...], seconds: dict[str, float]) -> Iterator[None]:
    """Functions that note how long they took, without what others of them took inside."""
    before = [(place, name, getattr(place, name)) for _, place, name in places]

    def noting(what: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*arguments: Any, **keywords: Any) -> Any:
            if current_thread() is not main_thread():  # the main thread goes on meanwhile
                return function(*arguments, **keywords)
            start, others = time.perf_counter(), sum(seconds.values())
            result = function(*arguments, **keywords)
            inside = sum(seconds.values()) - others
            seconds[what] += time.perf_counter() - start - inside
            return result

        return wrapper

    for (what, _, _), (place, name, function) in zip(places, before, strict=True):
        setattr(place, name, noting(what, function))
    try:
        yield
    finally:
        for place, name, function in before:
            setattr(place, name, function)


def dry_run(folder: Path, participants: int) -> tuple[float, int]:
    """Seconds and peak bytes of a dry run over a large tree of tiny images."""
    tree = folder / "tree"
    tiny = gzip.compress(nib.Nifti1Image(np.zeros((2, 2, 2), np.uint8), np.eye(4)).to_bytes())
    kinds = {
        "anat": ("T1w.nii.gz", "T1w.json", "T2w.nii.gz"),
        "func": ("bold.nii.gz", "sbref.nii.gz"),
        "dwi": ("dwi.nii.gz", "dwi.bval", "dwi.bvec"),
    }
    for number in range(1, participants + 1):
        for kind, names in kinds.items():
            place = tree / f"sub-{number:05d}" / kind
            place.mkdir(parents=True)
            for name in names:
                content = tiny if name.endswith(".gz") else b""
                (place / f"sub-{number:05d}_{name}").write_bytes(content)
    words = ["-m", "n4ax", "bids", str(tree), str(folder / "no"), "participant", "--dry-run"]
    done = run_process(prepare_peer("n4ax"), words)
    found = re.findall(r"(\d+) images of (\d+) participants", done.printed.replace(",", ""))
    assert found == [(str(2 * participants), str(participants))], done.printed[-500:]
    return done.seconds, done.peak_bytes


def draw(result: dict[str, Any], folder: Path) -> None:
    """Where the time of an image goes, as one bar."""
    figure = Figure(figsize=(7, 1.8))
    axes = figure.subplots()
    left = 0.0
    shares = sorted(result["shares"].items(), key=lambda pair: -pair[1])
    for number, (name, share) in enumerate(shares):
        colour = f"C{number}"
        axes.barh(0, 100 * share, left=left, color=colour, label=f"{name}, {100 * share:.0f} %")
        left += 100 * share
    axes.set(xlabel="share of the time of an image, %", yticks=[], xlim=(0, 100))
    axes.legend(fontsize=8, ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1))
    plots.save(figure, folder / "performance-studies.svg")
