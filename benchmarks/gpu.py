"""Time and exactness on an accelerator: one script that needs this checkout, JAX and Numba.

Usage: python benchmarks/gpu.py [--small] [--brief] [--old WHEEL] [--repeats N] [--json FILE]
       [VOLUME.npz ...]

Makes its own phantom of a head (256 x 176 x 256, about 2 M voxels in the mask; ``--small``: a
quarter of that along each axis), compares with what SimpleITK answered on it
(``benchmarks/data/phantom.npz``, made by ``python -m scripts.make_phantom_oracle``), and prints
one table. A VOLUME holds ``image`` and ``mask``, and maybe ``log_bias``, SimpleITK's answer to its
defaults on every 16th voxel of each axis. ``--old`` times n4ax 0.1.1 from its wheel as well.
Without ``--brief`` it looks closer at the phantom: see :func:`look_closer`. Exits with 1 where a
difference to SimpleITK is larger than ``LARGEST``.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
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
PROFILED = (10, 30)
"""Iterations of the first level in the two calls whose difference is profiled."""

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


def compare_engines(image: npt.NDArray[Any], mask: npt.NDArray[Any]) -> dict[str, dict[str, Any]]:
    """Difference to the CPU engine's log field in the mask, and where the levels ended."""
    import jax.numpy as jnp

    import n4ax

    found = {}
    for name, keywords in SCHEDULES.items():
        cpu = n4ax.fit(image, mask, engine="cpu", **keywords)
        xla = n4ax.fit(jnp.asarray(image), jnp.asarray(mask), engine="xla", **keywords)
        gap = np.abs(np.asarray(xla.log_bias) - cpu.log_bias)[mask != 0]
        found[name] = {
            "mean": float(gap.mean()),
            "max": float(gap.max()),
            "iterations": xla.iterations,
            "as the CPU engine": xla.iterations == cpu.iterations,
        }
    return found


def analyse_memory(image: Any, mask: Any, row: dict[str, Any], bandwidth: float) -> dict[str, Any]:
    """Bytes that an iteration moves a second, and what the compiler and the device say."""
    import jax
    import jax.numpy as jnp

    from n4ax.engines.xla import programs
    from n4ax.inputs import Inputs
    from n4ax.pipeline import pose_image
    from n4ax.settings import N4Settings

    iterations = sum(SCHEDULES["[50,50,30,20], all"]["iters"])
    rate = iterations * row["bytes per iteration"] / row["[50,50,30,20], all"]["median"]
    posed = pose_image(N4Settings(), Inputs(jnp.asarray(image), jnp.asarray(mask)), "xla")
    with jax.enable_x64(True):
        arguments, key = programs.prepare(posed.pose.problem, posed.settings)
        program = programs.compiled_run.lower(arguments, key).compile()
    cost, memory = program.cost_analysis() or {}, program.memory_analysis()
    statistics = jax.devices()[0].memory_stats() or {}
    return {
        "bytes a second": rate,
        "share of a copy's": rate / bandwidth,
        "bytes that the compiler counts, each loop once": cost.get("bytes accessed"),
        "temporary bytes of the program": getattr(memory, "temp_size_in_bytes", None),
        "most bytes in use so far": statistics.get("peak_bytes_in_use"),
    }


def look_closer(
    image: npt.NDArray[Any], mask: npt.NDArray[Any], report: dict[str, Any], repeats: int
) -> Iterator[tuple[str, Any, str]]:
    """Everything else about one volume: the name of a part, what it found, and that as text."""
    import jax.numpy as jnp

    import n4ax
    from benchmarks import gpu_alternatives, gpu_processes, gpu_profile

    row, on_device, inside = report["rows"][0], jnp.asarray(image), jnp.asarray(mask)

    def call(number: int) -> Callable[[], Any]:
        settings = {"iters": (number,), "conv_threshold": 0.0}
        return lambda: n4ax.n4(on_device, inside, engine="xla", **settings)

    def default_hash() -> str:
        return gpu_processes.hash_field(n4ax.fit(on_device, inside, engine="xla").log_bias)

    few, many = PROFILED
    calls = call(few), call(many)
    for one in calls:
        one()  # compiles
    volume, hashes = save_volume(image, mask), {default_hash() for _ in range(5)}
    own, bandwidth = min(hashes), report["bandwidth"]
    by_iteration = lambda: gpu_profile.profile_iteration(*calls, many - few)  # noqa: E731
    parts: dict[str, tuple[Callable[[], Any], Callable[[Any], str]]] = {
        "profile": (by_iteration, gpu_profile.describe),
        "profile of the defaults": (
            lambda: gpu_profile.profile_call(lambda: n4ax.n4(on_device, inside, engine="xla")),
            gpu_profile.describe,
        ),
        "engines": (lambda: compare_engines(image, mask), _as_lines),
        "memory": (lambda: analyse_memory(image, mask, row, bandwidth), _as_lines),
        "alternatives": (
            lambda: gpu_alternatives.compare(image, mask, repeats),
            gpu_alternatives.describe,
        ),
        "processes": (
            lambda: gpu_processes.compare_processes(volume, repeats, own),
            lambda found: gpu_processes.describe(found, own),
        ),
    }
    found: Any = {}
    for name, (part, describe) in parts.items():
        found, text = attempt(part, describe)
        yield name, found, f"{name}:\n\n{text}"
    bits = {"runs": len(hashes) == 1, "processes": found.get("same bits")}
    yield "bits", bits, f"bits:\n\n{_as_lines(bits)}"


def attempt(part: Callable[[], Any], describe: Callable[[Any], str]) -> tuple[Any, str]:
    """What a part of the report found, and that as text; if it failed, why."""
    try:
        found = part()
        return found, describe(found)
    except Exception as error:  # one run on a lent device has to say all that it can
        return {"why": repr(error)[:500]}, f"failed: {error!r}\n"


def _as_lines(found: dict[str, Any]) -> str:
    return "".join(f"- {name}: {value}\n" for name, value in found.items())


def save_volume(image: npt.NDArray[Any], mask: npt.NDArray[Any]) -> Path:
    """Write a volume for other processes."""
    volume = ROOT / ".peers" / "volume.npz"
    volume.parent.mkdir(exist_ok=True)
    np.savez(volume, image=image, mask=mask)
    return volume


def read_volumes(options: argparse.Namespace) -> list[tuple[str, Any, Any, dict[str, Any]]]:
    """The phantom and the given volumes: name, image, mask, SimpleITK's answers."""
    size = "small" if options.small else "full"
    stored = np.load(ANSWERS)
    answers = {case: stored[f"{size}_{case}"] for case in ORACLE}
    volumes = [(f"phantom, {size}", *phantom(SMALL if options.small else FULL), answers)]
    for path in options.volumes:
        data = np.load(path)
        known = {"default": data["log_bias"]} if "log_bias" in data else {}
        volumes.append((path.stem, data["image"], data["mask"], known))
    return volumes


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("volumes", nargs="*", type=Path)
    parser.add_argument("--small", action="store_true", help="the phantom at a quarter the size")
    parser.add_argument("--old", metavar="WHEEL", help="time n4ax 0.1.1 too")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--brief", action="store_true", help="the table of volumes alone")
    parser.add_argument("--json", type=Path, help="write all that was measured there")
    return parser.parse_args()


def describe_device(options: argparse.Namespace) -> dict[str, Any]:
    """The device, the versions, the date, and how fast it copies."""
    import jax

    import n4ax

    return {
        "device": jax.devices()[0].device_kind,
        "jax": jax.__version__,
        "n4ax": n4ax.__version__,
        "date": datetime.now(UTC).date().isoformat(),
        "bandwidth": copy_bandwidth(options.repeats, 32 if options.small else 512),
        "rows": [],
    }


def main() -> int:
    options = parse_options()
    os.environ["N4AX_CACHE_DIR"] = ""  # the first call is to compile
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    sys.path[:0] = [str(ROOT / "src"), str(ROOT)]
    from benchmarks import gpu_processes

    report = describe_device(options)

    def keep(text: str) -> None:
        """Print a part, and write what is known so far: the time may be up at any moment."""
        print(text, flush=True)
        if options.json:
            options.json.write_text(json.dumps(report, indent=1) + "\n")

    volumes = read_volumes(options)
    for name, image, mask, answers in volumes:
        row = measure(name, image, mask, options.repeats, options.batch)
        row["exactness"] = exactness(image, mask, answers)
        if options.old:
            volume = save_volume(image, mask)
            row["old"] = gpu_processes.time_old(options.old, volume, options.repeats)
        report["rows"].append(row)
    keep(table(report))
    if not options.brief:
        _, image, mask, _ = volumes[0]
        for name, found, text in look_closer(image, mask, report, options.repeats):
            report[name] = found
            keep(text)
    worst = max(gap["max"] for row in report["rows"] for gap in row["exactness"].values())
    if worst > LARGEST:
        print(f"largest difference to SimpleITK {worst:.1e}, more than {LARGEST}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
