"""Throughput over a dataset beside a loop of ANTsPy calls: writes docs/studies-speed.md.

Usage: python -m benchmarks.studies [--rounds N]

In turn: ``n4ax bids`` over a dataset of 1 mm heads, from the start of the program to its end, and
a process that calls ANTsPy on heads of the same dataset, one after the other, from the first call
to the last. Then where the time of an image goes, in one process. Last, a dry run over a tree of
5,000 participants.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import nibabel as nib
import numpy as np

from benchmarks.peers import DATA, ROOT

HEAD = "t1w_head_memprage_3t_fnndsc_adi"
PAGE = ROOT / "docs" / "studies-speed.md"
PARTICIPANTS, OF_ANTS = 24, 2
TREE = 5000
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


def main(rounds: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        heads = write_heads(folder / "heads")
        found: dict[str, list[float]] = defaultdict(list)
        ours(folder)  # once before, for the compiled code on disk
        for _ in range(rounds):
            found["ants"].append(ants(folder, heads))
            found["ours"].append(ours(folder))
            print({key: values[-1] for key, values in found.items()}, flush=True)
        shares = shares_of(folder)
        dry = dry_run(folder)
    PAGE.write_text(page(found, shares, dry, rounds))
    print(PAGE.read_text())


def write_heads(folder: Path) -> list[Path]:
    """A dataset of one head, flipped and scaled."""
    scan = nib.load(DATA / f"{HEAD}.nii.gz")
    voxels = np.asarray(scan.dataobj)
    paths = []
    for number in range(1, PARTICIPANTS + 1):
        path = folder / f"sub-{number:02d}" / "anat" / f"sub-{number:02d}_T1w.nii.gz"
        path.parent.mkdir(parents=True)
        varied = np.flip(voxels, axis=number % 3) * (1 + 0.02 * number)
        nib.save(nib.Nifti1Image(np.rint(varied).astype(np.int16), scan.affine), path)
        paths.append(path)
    return paths


def ants(folder: Path, heads: list[Path]) -> float:
    """Images a minute of ANTsPy, with all threads."""
    command = [sys.executable, "-c", _LOOP, str(folder / "ants.nii.gz"), *map(str, heads[:OF_ANTS])]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(done.stdout.split()[-1])


def ours(folder: Path) -> float:
    """Images a minute of the whole program: corrected images, fields and reports."""
    output = folder / "out"
    shutil.rmtree(output, ignore_errors=True)
    command = [sys.executable, "-m", "n4ax", "bids", str(folder / "heads"), str(output)]
    start = time.perf_counter()
    subprocess.run([*command, "participant", "--preset", "ants", "-q"], check=True)
    return PARTICIPANTS / (time.perf_counter() - start) * 60


def shares_of(folder: Path) -> dict[str, float]:
    """Where the time of an image goes, as shares of one; medians, in one process."""
    from isal import igzip

    from n4ax import nifti
    from n4ax.bids import correction, outputs
    from n4ax.bids.inputs import find_sources
    from n4ax.settings import N4Settings

    seconds: dict[str, float] = defaultdict(float)
    output = folder / "shares"
    outputs.prepare_output(folder / "heads", output)
    settings = N4Settings(**{**N4Settings.ants().keywords(), "voxel_order": "F"})
    job = correction.Job(folder / "heads", output, settings, mask="none", threads=1)
    timed = (
        ("gzip", igzip, "decompress"), ("gzip", igzip, "compress"),
        ("N4", correction, "correct_scan"), ("pictures and measures", correction, "_reported"),
        ("hashing", correction, "_stamp"), ("files", nifti.Path, "write_bytes"),
        ("files", nifti.Path, "read_bytes"), ("files", os, "fsync"),
    )  # fmt: skip
    runs = []
    for number, source in enumerate(find_sources(folder / "heads")[:6]):
        seconds.clear()
        with _timed(timed, seconds):
            outcome = correction.correct_source(job, source)
        assert outcome.state == "corrected", outcome
        rest = outcome.seconds - sum(seconds.values())
        if number:  # the first loads the compiled code
            runs.append(dict(seconds, Python=rest, total=outcome.seconds))
    return {name: median(run[name] for run in runs) for name in runs[0]}


@contextmanager
def _timed(places: tuple[tuple[str, Any, str], ...], seconds: dict[str, float]) -> Iterator[None]:
    """Functions that note how long they took, without what others of them took inside."""
    before = [(place, name, getattr(place, name)) for _, place, name in places]

    def noting(what: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*arguments: Any, **keywords: Any) -> Any:
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


def dry_run(folder: Path) -> tuple[float, float]:
    """Seconds and MB of a dry run over a large tree of empty files."""
    tree = folder / "tree"
    kinds = {
        "anat": ("T1w.nii.gz", "T1w.json", "T2w.nii.gz"),
        "func": ("bold.nii.gz", "sbref.nii.gz"),
        "dwi": ("dwi.nii.gz", "dwi.bval", "dwi.bvec"),
    }
    for number in range(1, TREE + 1):
        for kind, names in kinds.items():
            place = tree / f"sub-{number:05d}" / kind
            place.mkdir(parents=True)
            for name in names:
                (place / f"sub-{number:05d}_{name}").touch()
    program = (
        "import sys; from n4ax.cli import main; status = main(sys.argv[1:]);"
        "print(open('/proc/self/status').read(), file=sys.stderr); sys.exit(status)"
    )
    command = [sys.executable, "-c", program, "bids", str(tree), str(folder / "no"), "participant"]
    start = time.perf_counter()
    done = subprocess.run([*command, "--dry-run"], check=True, capture_output=True, text=True)
    seconds = time.perf_counter() - start
    assert f"{2 * TREE} images of {TREE} participants" in done.stdout
    return seconds, int(re.findall(r"VmHWM:\s+(\d+)", done.stderr)[0]) / 1000


def page(
    found: dict[str, list[float]], shares: dict[str, float], dry: tuple[float, float], rounds: int
) -> str:
    ratios = [a / b for a, b in zip(found["ours"], found["ants"], strict=True)]
    total = shares.pop("total")
    spread = f"{min(ratios):.0f} to {max(ratios):.0f}"
    lines = [
        "# Speed over studies",
        "",
        f"Real heads of 192 x 192 x 176 voxels of about 1 mm, ANTs' defaults (`--preset ants`), "
        f"{os.cpu_count()} shared cores, {rounds} rounds in turn, medians. Written by `python -m "
        "benchmarks.studies`; the ratio is the one to quote.",
        "",
        "| | images a minute |",
        "|---|---|",
        f"| a loop of ANTsPy calls, all threads, corrected images alone | "
        f"{median(found['ants']):.1f} |",
        f"| `n4ax bids`, {PARTICIPANTS} participants, whole program, with fields and reports | "
        f"{median(found['ours']):.0f} |",
        f"| ratio (of the rounds: {spread}) | {median(ratios):.0f} |",
        "",
        "Where the time of an image goes, in one process with one thread:",
        "",
        "| | share |",
        "|---|---|",
        *(f"| {name} | {100 * value / total:.0f} % |"
          for name, value in sorted(shares.items(), key=lambda pair: -pair[1])),
        "",
        "*N4* is all of it, from the mask to the field at full resolution and the division; "
        "*Python* is what is not in the other rows: copies, headers and metadata.",
        "",
        f"A dry run over {TREE:,} participants of 8 empty files each: {dry[0]:.1f} s, "
        f"{dry[1]:.0f} MB.",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main(int(sys.argv[sys.argv.index("--rounds") + 1]) if "--rounds" in sys.argv else 3)
