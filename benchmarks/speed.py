"""Time against the peers on a real head, side by side in one run: writes docs/speed.md.

Usage: python -m benchmarks.speed [--rounds N]

On ``t1w_head_memprage_3t_fnndsc_adi`` at full resolution with its Otsu mask, two threads each:
time per iteration of SimpleITK, n4ax 0.1.1 and both engines of ours, the exact default call of
ours against the default call of 0.1.1, the start of the command line, the peak memory of a solve,
and how long XLA compiles. The peers
take turns, round by round, so that a drifting machine weighs on all alike.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
from tests import itk

import n4ax
from benchmarks.peers import DATA, ROOT, old_n4ax, volume

THREADS = 2
HEAD = "t1w_head_memprage_3t_fnndsc_adi"
PAGE = ROOT / "docs" / "speed.md"
FEW, MANY = (6, 6, 6, 6), (18, 18, 18, 18)
"""Iterations of the two runs from whose difference the time per iteration is taken."""


class OldN4ax:
    """n4ax 0.1.1 in a process of its own, warm after its first call."""

    def __init__(self, image: npt.NDArray[Any], mask: npt.NDArray[Any], folder: Path) -> None:
        self._input = folder / "head.npz"
        np.savez(self._input, image=image, mask=mask)
        worker = Path(__file__).with_name("old_worker.py")
        self._process = subprocess.Popen(
            [sys.executable, str(worker), str(old_n4ax())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def seconds(self, **keywords: Any) -> float:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(json.dumps({"input": str(self._input), "keywords": keywords}) + "\n")
        stdin.flush()
        return float(json.loads(stdout.readline())["seconds"])

    def close(self) -> None:
        self._process.communicate()


def main(rounds: int) -> None:
    image, _ = volume(HEAD)
    image = np.ascontiguousarray(image.T)  # the last axis is ITK's x
    mask = n4ax.otsu_mask(image)
    with tempfile.TemporaryDirectory() as folder:
        old = OldN4ax(image, mask, Path(folder))
        try:
            times = take_turns(rounds, runners(image, mask, old))
        finally:
            old.close()
    starts = [first_iteration_seconds() for _ in range(rounds)]
    report = page(times, starts, int(mask.sum()), image, rounds)
    PAGE.write_text(report)
    print(report)


def runners(
    image: npt.NDArray[Any], mask: npt.NDArray[Any], old: OldN4ax
) -> dict[str, Callable[[], float]]:
    """Each returns seconds: per iteration, or for the call that it names."""
    count = sum(MANY) - sum(FEW)

    def ours(**keywords: Any) -> float:
        start = time.perf_counter()
        n4ax.n4(image, mask, num_threads=THREADS, **keywords)
        return time.perf_counter() - start

    on_device, inside = jnp.asarray(image), jnp.asarray(mask)

    def ours_xla(**keywords: Any) -> float:
        start = time.perf_counter()
        n4ax.n4(on_device, inside, engine="xla", **keywords).block_until_ready()
        return time.perf_counter() - start

    def simpleitk(*iterations: int) -> float:
        start = time.perf_counter()
        itk.correct(image, mask, iters=iterations, conv_threshold=0.0, threads=THREADS)
        return time.perf_counter() - start

    return {
        "SimpleITK, an iteration": lambda: (simpleitk(3) - simpleitk(1)) / 2,
        "n4ax 0.1.1, an iteration": lambda: (
            (
                old.seconds(iters=MANY, conv_threshold=0.0)
                - old.seconds(iters=FEW, conv_threshold=0.0)
            )
            / count
        ),
        "n4ax, an iteration": lambda: (
            (ours(iters=MANY, conv_threshold=0.0) - ours(iters=FEW, conv_threshold=0.0)) / count
        ),
        "n4ax by XLA, an iteration": lambda: (
            (ours_xla(iters=MANY, conv_threshold=0.0) - ours_xla(iters=FEW, conv_threshold=0.0))
            / count
        ),
        "n4ax 0.1.1, its default call": lambda: old.seconds(),
        "n4ax, its default call": lambda: ours(),
        "n4ax by XLA, its default call": lambda: ours_xla(),
    }


def take_turns(rounds: int, runners: dict[str, Callable[[], float]]) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {name: [] for name in runners}
    for name, run in runners.items():
        if "SimpleITK" not in name:
            run()  # compiles
    for _ in range(rounds):
        for name, run in runners.items():
            times[name].append(run())
            print(f"{name}: {times[name][-1]:.4f} s", flush=True)
    return times


def first_iteration_seconds() -> float:
    """From the start of the process of `n4ax correct` to the end of its first iteration."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "n4ax", "correct", str(DATA / f"{HEAD}.nii.gz"),
                   "-o", f"{folder}/out.nii.gz", "--iterations", "1", "-q"]  # fmt: skip
        start = time.perf_counter()
        subprocess.run(command, check=True)
        return time.perf_counter() - start


def solve_memory() -> tuple[float, float]:
    """Peak memory of a solve beyond what the process held before, and the float32 volume, MB."""
    program = f"""
import numpy as np, n4ax
from benchmarks.peers import volume

def resident(what):
    line = next(line for line in open("/proc/self/status") if line.startswith(what))
    return int(line.split()[1]) * 1024

image, _ = volume({HEAD!r})
image = np.ascontiguousarray(image.T)
mask = n4ax.otsu_mask(image)
n4ax.n4(image[:24, :24, :24], "all", iters=(1,))  # loads the code
open("/proc/self/clear_refs", "w").write("5")  # the peak starts anew
held = resident("VmRSS")
corrected = n4ax.n4(image, mask, iters=(5, 5, 5, 5), num_threads={THREADS})
print(resident("VmHWM") - held, image.nbytes)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True, cwd=ROOT
    )
    peak, size = (int(word) for word in done.stdout.split())
    return peak / 1e6, size / 1e6


def compilation() -> tuple[float, float]:
    """Seconds of tracing and compiling a first call of the XLA engine, and of its second call."""
    program = f"""
import os; os.environ["N4AX_CACHE_DIR"] = ""
import time
import jax, jax.numpy as jnp, numpy as np
import n4ax
from benchmarks.peers import volume

image, _ = volume({HEAD!r})
image = jnp.asarray(np.ascontiguousarray(image.T))
mask = n4ax.otsu_mask(image)
seconds = []
for _ in range(2):
    start = time.perf_counter()
    n4ax.n4(image, mask, iters=(1, 1, 1, 1), conv_threshold=0, engine="xla").block_until_ready()
    seconds.append(time.perf_counter() - start)
print(*seconds)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True, cwd=ROOT
    )
    first, second = (float(word) for word in done.stdout.split())
    return first, second


def page(
    times: dict[str, list[float]],
    starts: list[float],
    voxels: int,
    image: npt.NDArray[Any],
    rounds: int,
) -> str:
    ours, ours_default = times["n4ax, an iteration"], times["n4ax, its default call"]
    peak, size = solve_memory()
    compiled = [compilation() for _ in range(3)]
    shape = " x ".join(str(n) for n in image.shape)
    lines = [
        "# Speed",
        "",
        f"A real head at full resolution ({shape}, {voxels:,} voxels in its Otsu mask), "
        f"{THREADS} threads each on {os.cpu_count()} shared cores, {rounds} rounds of all in "
        "turn, warm. Written by `make bench`; the ratio is the one to quote.",
        "",
        "| | median | least to most | times ours (median of the rounds' ratios) |",
        "|---|---|---|---|",
    ]
    for name, values in times.items():
        base = ours_default if "call" in name else ours
        ratio = median(a / b for a, b in zip(values, base, strict=True))
        lines.append(
            f"| {name} | {median(values) * 1e3:.1f} ms | {min(values) * 1e3:.1f} to "
            f"{max(values) * 1e3:.1f} ms | {ratio:.1f} |"
        )
    lines += [
        "",
        "- *an iteration*: the difference of 18 and 6 iterations at each of 4 levels, threshold 0 "
        "and the mask given, divided by 48 (SimpleITK: of 3 and 1 of one level, by 2).",
        "- *default call*: ours runs SimpleITK's defaults, up to 4 x 50 iterations until ITK's "
        "measure is not above 0.001; 0.1.1 runs (8, 12, 12, 8) over-relaxed ones.",
        f"- `n4ax correct` from the start of the process through reading, mask, one iteration and "
        f"writing: {median(starts):.2f} s (median of {len(starts)}).",
        f"- Peak memory of a solve beyond the input: {peak:.0f} MB, {peak / size:.2f} times the "
        f"float32 volume of {size:.0f} MB, the result included.",
        f"- XLA: the first call of a process with nothing kept on disk takes "
        f"{median(first - second for first, second in compiled):.1f} s longer than the second "
        "(median of 3; tracing and compiling all programs).",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main(int(sys.argv[sys.argv.index("--rounds") + 1]) if "--rounds" in sys.argv else 5)
