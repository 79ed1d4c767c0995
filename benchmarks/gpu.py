"""Time and exactness on an accelerator: one script that needs NumPy, JAX and this checkout.

Usage: python benchmarks/gpu.py [--small] [--old WHEEL] [--repeats N] [--json FILE] [VOLUME.npz ...]

Makes its own phantom of a head (256 x 176 x 256, about 2 M voxels in the mask; ``--small``: a
quarter of that along each axis), compares with what SimpleITK answered on it
(``benchmarks/data/phantom.npz``, made by ``python -m scripts.make_phantom_oracle``), and prints
one table. A VOLUME holds ``image`` and ``mask``, and maybe ``log_bias``, SimpleITK's answer to its
defaults on every 16th voxel of each axis. ``--old`` times n4ax 0.1.1 from its wheel as well.
Exits with 1 where a difference to SimpleITK is larger than ``LARGEST``.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import numpy.typing as npt

ROOT = Path(__file__).parents[1]
ANSWERS = Path(__file__).parent / "data" / "phantom.npz"
FULL, SMALL = (256, 176, 256), (64, 44, 64)
EVERY = 16
LARGEST = 3e-5
"""Of the log field; between SimpleITK and itself on inputs one ulp apart it can be larger."""

SCHEDULES: dict[str, dict[str, Any]] = {
    "[50,50,30,20], all": {"iters": (50, 50, 30, 20), "conv_threshold": 0.0},
    "SimpleITK's defaults": {},
    "(8,12,12,8) x 1.8": {"iters": (8, 12, 12, 8), "conv_threshold": 0.0, "over_relax": 1.8},
}
ORACLE: dict[str, dict[str, Any]] = {
    "ten": {"iters": (10,), "conv_threshold": 0.0},
    "default": {},
}
"""What SimpleITK was asked about the phantom."""


def phantom(shape: tuple[int, ...]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8]]:
    """A head of four tissues with folds, shading and noise, and the mask of its brain.

    Made of sines and an integer hash alone, so that it is the same everywhere.
    """
    axes = [np.linspace(-1, 1, n) for n in shape]
    z, y, x = np.meshgrid(*axes, indexing="ij", sparse=True)
    folds = 0.06 * np.sin(17 * x + 5 * np.sin(9 * y)) * np.sin(15 * y) * np.sin(13 * z + 4 * x)
    radius = np.sqrt((z / 0.72) ** 2 + (y / 0.74) ** 2 + (x / 0.66) ** 2)
    depth = radius + folds
    inner = np.sqrt((z / 0.2) ** 2 + ((y - 0.1) / 0.3) ** 2 + (x / 0.12) ** 2)
    tissue = np.select(
        [inner < 1, depth < 0.75, depth < 0.93, radius < 1, radius < 1.14, radius < 1.3],
        [70.0, 210.0, 150.0, 75.0, 30.0, 260.0], 4.0,
    )  # fmt: skip
    shade = 0.25 * np.sin(1.3 * x + 0.4) + 0.2 * np.cos(1.7 * y - 0.3 * z) + 0.15 * z * x
    noise = sum(_hashed(shape, seed) for seed in range(4)) - 2.0
    image = tissue * np.exp(shade) + 6.0 * noise
    return np.maximum(image, 0).astype(np.float32), (radius < 0.97).astype(np.uint8)


def _hashed(shape: tuple[int, ...], seed: int) -> npt.NDArray[np.float64]:
    """Uniform numbers in [0, 1), one per voxel."""
    bits = np.arange(np.prod(shape), dtype=np.uint64) + np.uint64(seed << 40)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        bits = (bits ^ (bits >> np.uint64(shift))) * np.uint64(factor)
    return ((bits ^ (bits >> np.uint64(31))) >> np.uint64(40)).astype(float).reshape(shape) / 2**24


def seconds(call: Callable[[], Any], repeats: int) -> list[float]:
    import jax

    taken = []
    for _ in range(repeats):
        start = time.perf_counter()
        jax.block_until_ready(call())
        taken.append(time.perf_counter() - start)
    return taken


def copy_bandwidth(repeats: int, megabytes: int) -> float:
    """Bytes per second, read and written, of the fastest copy of an array."""
    import jax
    import jax.numpy as jnp

    array = jnp.zeros(megabytes << 18, jnp.float32)
    copy = jax.jit(lambda a: a + 1)
    seconds(lambda: copy(array), 2)
    return 2 * array.nbytes / min(seconds(lambda: copy(array), repeats))


def bytes_per_iteration(mask: npt.NDArray[Any]) -> float:
    """What an iteration has to read and write if nothing is kept in a cache, on paper.

    float32 and int32 of ``listed`` voxels of the packed list and ``box`` of the box:
    evaluation (write the box, read it and the cells, write the field), extremes (log and field),
    bins (both, write positions), histogram (positions), map (log, field, positions and
    confidence, write residuals), back to the box (ranks and residuals, write the box), fit (read
    the box).
    """
    import jax.numpy as jnp

    from n4ax.engines.xla.box import find_bounding_box

    box = find_bounding_box(jnp.asarray(mask) != 0)
    voxels = int(np.prod(box.shape))
    listed = box.room or voxels
    gathers = 0 if box.room is None else 2 * listed + 2 * voxels + listed
    return 4.0 * (2 * voxels + 12 * listed + gathers)


def measure(
    name: str, image: npt.NDArray[Any], mask: npt.NDArray[Any], repeats: int, batch: int
) -> dict[str, Any]:
    """Times of one volume that lies on the device, and of a batch of it."""
    import jax.numpy as jnp

    import n4ax

    on_device, inside = jnp.asarray(image), jnp.asarray(mask)
    row: dict[str, Any] = {"volume": name, "shape": image.shape, "voxels": int((mask != 0).sum())}
    for schedule, keywords in SCHEDULES.items():

        def call(keywords: dict[str, Any] = keywords) -> Any:
            return n4ax.n4(on_device, inside, engine="xla", **keywords)

        first = seconds(call, 1)[0]
        times = seconds(call, repeats)
        row[schedule] = {"first": first, "median": median(times), "all": times}
    images, masks = jnp.stack([on_device] * batch), jnp.stack([inside] * batch)
    fixed = SCHEDULES["[50,50,30,20], all"]

    def call_batch() -> Any:
        return n4ax.n4_batch(images, masks, engine="xla", **fixed)

    seconds(call_batch, 1)
    row["batch"] = {"of": batch, "per volume": median(seconds(call_batch, repeats)) / batch}
    row["bytes per iteration"] = bytes_per_iteration(mask)
    return row


def exactness(image: Any, mask: Any, answers: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Difference to SimpleITK's log field in the mask, on every 16th voxel."""
    import jax.numpy as jnp

    import n4ax

    found = {}
    every = (slice(None, None, EVERY),) * image.ndim
    for case, expected in answers.items():
        result = n4ax.fit(jnp.asarray(image), jnp.asarray(mask), engine="xla", **ORACLE[case])
        gap = np.abs(np.asarray(result.log_bias)[every] - expected)[mask[every] != 0]
        found[case] = {"mean": float(gap.mean()), "max": float(gap.max())}
    return found


def old_times(wheel: str, volume: Path, repeats: int) -> dict[str, Any]:
    """n4ax 0.1.1 on the same volume, in a process of its own."""
    program = f"""
import sys, time, json; sys.path.insert(0, {wheel!r})
import numpy as np, jax, jax.numpy as jnp, n4ax
assert not hasattr(n4ax, "fit"), "this is not n4ax 0.1"
data = np.load({str(volume)!r}); image, mask = jnp.asarray(data["image"]), jnp.asarray(data["mask"])
times = []
for _ in range({repeats} + 1):
    start = time.perf_counter(); n4ax.n4(image, mask).block_until_ready()
    times.append(time.perf_counter() - start)
print(json.dumps({{"first": times[0], "median": float(np.median(times[1:]))}}))
"""
    environment = os.environ | {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment
    )
    if done.returncode:
        raise SystemExit(f"n4ax 0.1.1 did not run:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def table(report: dict[str, Any]) -> str:
    lines = [
        f"{report['device']}, JAX {report['jax']}; copies at {report['bandwidth'] / 1e9:.0f} GB/s. "
        "Median of warm calls, arrays on the device; the first call compiles.",
        "",
        "| volume | voxels in mask | " + " | ".join(SCHEDULES) + " | first call | batch, each | "
        "bytes moved alone | n4ax 0.1.1 | difference to SimpleITK, mean / largest |",
        "|---" * (8 + len(SCHEDULES)) + "|",
    ]
    for row in report["rows"]:
        times = " | ".join(f"{1e3 * row[name]['median']:.1f} ms" for name in SCHEDULES)
        iterations = sum(SCHEDULES["[50,50,30,20], all"]["iters"])
        bytes_alone = iterations * row["bytes per iteration"] / report["bandwidth"]
        old = "–" if "old" not in row else f"{1e3 * row['old']['median']:.1f} ms"
        exact = "; ".join(
            f"{case} {gap['mean']:.1e} / {gap['max']:.1e}"
            for case, gap in row.get("exactness", {}).items()
        )
        lines.append(
            f"| {row['volume']} | {row['voxels']:,} | {times} | "
            f"{row['[50,50,30,20], all']['first']:.1f} s | "
            f"{1e3 * row['batch']['per volume']:.1f} ms | {1e3 * bytes_alone:.1f} ms | {old} | "
            f"{exact or '–'} |"
        )
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("volumes", nargs="*", type=Path)
    parser.add_argument("--small", action="store_true", help="the phantom at a quarter the size")
    parser.add_argument("--old", metavar="WHEEL", help="time n4ax 0.1.1 too")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--json", type=Path, help="write all that was measured there")
    options = parser.parse_args()

    os.environ["N4AX_CACHE_DIR"] = ""  # the first call is to compile
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    sys.path.insert(0, str(ROOT / "src"))
    import jax

    size = "small" if options.small else "full"
    image, mask = phantom(SMALL if options.small else FULL)
    stored = np.load(ANSWERS)
    answers = {case: stored[f"{size}_{case}"] for case in ORACLE}
    volumes = [(f"phantom, {size}", image, mask, answers)]
    for path in options.volumes:
        data = np.load(path)
        known = {"default": data["log_bias"]} if "log_bias" in data else {}
        volumes.append((path.stem, data["image"], data["mask"], known))

    report: dict[str, Any] = {
        "device": jax.devices()[0].device_kind,
        "jax": jax.__version__,
        "bandwidth": copy_bandwidth(options.repeats, 32 if options.small else 512),
        "rows": [],
    }
    worst = 0.0
    for name, image, mask, answers in volumes:
        row = measure(name, image, mask, options.repeats, options.batch)
        row["exactness"] = exactness(image, mask, answers)
        worst = max([worst, *(gap["max"] for gap in row["exactness"].values())])
        if options.old:
            volume = ROOT / ".peers" / "volume.npz"
            volume.parent.mkdir(exist_ok=True)
            np.savez(volume, image=image, mask=mask)
            row["old"] = old_times(options.old, volume, options.repeats)
        report["rows"].append(row)
    print(table(report))
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n")
    if worst > LARGEST:
        print(f"largest difference to SimpleITK {worst:.1e}, more than {LARGEST}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
