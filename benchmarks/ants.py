"""Time against ANTs' program, file to file, in one run: writes docs/ants-speed.md.

Usage: python -m benchmarks.ants [--rounds N]

Whole processes with two threads each, in turn: ANTs' code in ANTsPy, called as a program, and
``python -m n4ax.ants`` with the same words. And the solve by itself: what ANTs prints as elapsed,
and ours in a process that has loaded its code.
"""

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import nibabel as nib
import numpy as np
from tests import ants

import n4ax
from benchmarks.peers import DATA, ROOT, volume

THREADS = 2
HEAD = "t1w_head_memprage_3t_fnndsc_adi"
PAGE = ROOT / "docs" / "ants-speed.md"
CASES = {
    "C5, all defaults": "-i IMAGE",
    "C1, niPreps anat": "-i TRUNCATED -s 4 -c [50x50x50x50,1e-7] -b [200]",
    "C3, BOLD reference": "-i IMAGE -b [200] -x MASK -r",
    "C8, DWI (QSIPrep)": "-i IMAGE -w MASK -s 4 -b [150,3] -c [200x200,1e-6]",
}
_SOLVES = """
import sys, time
from n4ax import estimation
from n4ax.ants.program import main
solved, seconds = estimation._solved, []
def timed(*arguments):
    start = time.perf_counter()
    state = solved(*arguments)
    seconds.append(time.perf_counter() - start)
    return state
estimation._solved = timed
for _ in range(4):
    assert main(sys.argv[1:]) == 0
print(*seconds[1:])
"""


def main(rounds: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_images(folder)
        rows = [row(case, CASES[case], folder, rounds) for case in CASES]
    PAGE.write_text(page(rows, rounds))
    print(PAGE.read_text())


def write_images(folder: Path) -> None:
    """The head, truncated, and its Otsu mask, on its grid."""
    scan = nib.load(DATA / f"{HEAD}.nii.gz")
    image, _ = volume(HEAD)
    images = {
        "TRUNCATED": np.clip(image, *np.quantile(image, (0.01, 0.999))),
        "MASK": n4ax.otsu_mask(image),
    }
    for name, voxels in images.items():
        nib.save(nib.Nifti1Image(voxels.astype(np.float32), scan.affine), folder / f"{name}.nii.gz")


def row(name: str, line: str, folder: Path, rounds: int) -> dict[str, list[float] | str]:
    words = ["-d", "3", *line.split(), "-o", str(folder / "out.nii.gz")]
    words = [str(folder / f"{word}.nii.gz") if word in ("TRUNCATED", "MASK") else word
             for word in words]  # fmt: skip
    words = [str(DATA / f"{HEAD}.nii.gz") if word == "IMAGE" else word for word in words]
    found: dict[str, list[float]] = {"ants": [], "ours": [], "ants solve": [], "our solve": []}
    for _ in range(rounds):
        seconds, printed = timed([sys.executable, str(ants.PROGRAM), *words, "-v", "1"])
        found["ants"].append(seconds)
        found["ants solve"].append(float(re.findall(r"Elapsed time: (\S+)", printed)[0]))
        found["ours"].append(timed([sys.executable, "-m", "n4ax.ants", *words])[0])
        _, printed = timed([sys.executable, "-c", _SOLVES, *words])
        found["our solve"].append(median(float(word) for word in printed.split()))
        print(name, {key: values[-1] for key, values in found.items()}, flush=True)
    return {"name": name, "line": line, **found}


def timed(command: Sequence[str]) -> tuple[float, str]:
    """Seconds of a whole process, and what it prints."""
    threads = {"ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": str(THREADS)}
    start = time.perf_counter()
    done = subprocess.run(
        command, env=os.environ | threads, check=True, capture_output=True, text=True
    )
    return time.perf_counter() - start, done.stdout


def page(rows: list[dict[str, list[float] | str]], rounds: int) -> str:
    lines = [
        "# Speed beside ANTs",
        "",
        f"ANTs' `N4BiasFieldCorrection` (its code in ANTsPy 0.6.3) and n4ax's, file to file, on a "
        f"real head of 192 x 192 x 176 voxels, {THREADS} threads each on {os.cpu_count()} shared "
        f"cores, {rounds} rounds in turn, medians. Written by `python -m benchmarks.ants`; the "
        "ratios are the ones to quote.",
        "",
        "| | options | ANTs, process | n4ax, process | ratio | ANTs, solve | n4ax, solve | ratio |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for found in rows:
        cells = []
        for theirs, ours in (("ants", "ours"), ("ants solve", "our solve")):
            ratio = median(a / b for a, b in zip(found[theirs], found[ours], strict=True))
            cells += [
                f"{median(found[theirs]):.1f} s",
                f"{median(found[ours]):.2f} s",
                f"{ratio:.0f}",
            ]
        lines.append(f"| {found['name']} | `{found['line']}` | {' | '.join(cells)} |")
    lines += [
        "",
        "- *process*: from its start to its end; of ANTs' with some 3 s of loading ANTsPy, of ours "
        "with Python, reading and writing.",
        "- *solve*: of ANTs what it prints as elapsed time; of ours the same part, in a process "
        "that has run once before.",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main(int(sys.argv[sys.argv.index("--rounds") + 1]) if "--rounds" in sys.argv else 3)
