"""Processes of their own for ``gpu.py``: what building takes, whether bits stay, and XLA's options.

``python gpu_processes.py VOLUME.npz REPEATS`` corrects a volume with SimpleITK's defaults, and
prints as JSON the seconds of loading, of the first call and of the following ones, the iterations
and a hash of the bits of the log field.
"""

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

SOURCE = Path(__file__).parents[1] / "src"
OPTIONS = {
    "no command buffers": "--xla_gpu_enable_command_buffer=",
    "command buffers, loops too": (
        "--xla_gpu_enable_command_buffer=FUSION,CUBLAS,CUSTOM_CALL,CONDITIONAL,WHILE "
        "--xla_gpu_graph_min_graph_size=1"
    ),
    "deterministic operations": "--xla_gpu_deterministic_ops=true",
    "no automatic tuning": "--xla_gpu_autotune_level=0",
}
"""Options of XLA that may change the time; a process that does not know one says so."""

LIMIT = 180
"""Seconds for a process."""


def hash_field(field: Any) -> str:
    """A hash of the bits of a field."""
    return hashlib.sha256(np.ascontiguousarray(field, np.float32).tobytes()).hexdigest()[:16]


def run_process(volume: Path, repeats: int, variables: dict[str, str]) -> dict[str, Any]:
    """What a process of its own finds on a volume, or why it finds nothing."""
    command = [sys.executable, __file__, str(volume), str(repeats)]
    environment = os.environ | variables
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, env=environment, timeout=LIMIT, check=False
        )
    except subprocess.TimeoutExpired:
        return {"why": f"it took more than {LIMIT} s"}
    if done.returncode:
        said = done.stderr.strip().splitlines()
        return {"why": said[-1][:300] if said else f"it ended with {done.returncode}"}
    return json.loads(done.stdout.splitlines()[-1])


def compare_processes(volume: Path, repeats: int, own_hash: str) -> dict[str, Any]:
    """Two processes that share programs on disk, and one for each of XLA's options."""
    with tempfile.TemporaryDirectory() as kept:
        cold, warm = (run_process(volume, repeats, {"N4AX_CACHE_DIR": kept}) for _ in range(2))
    variants = {}
    for name, flags in OPTIONS.items():
        given = f"{os.environ.get('XLA_FLAGS', '')} {flags}".strip()
        variants[name] = run_process(volume, repeats, {"XLA_FLAGS": given, "N4AX_CACHE_DIR": ""})
    return {
        "nothing kept": cold,
        "programs kept": warm,
        "same bits": compare_bits((cold, warm), own_hash),
        "options": variants,
    }


def compare_bits(processes: Sequence[dict[str, Any]], own_hash: str) -> bool | None:
    """Whether all processes found the same bits; ``None`` if one of them found nothing."""
    if any("why" in one for one in processes):
        return None
    return {one["hash"] for one in processes} == {own_hash}


def time_old(wheel: str, volume: Path, repeats: int) -> dict[str, Any]:
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
        raise RuntimeError(f"n4ax 0.1.1 did not run: {done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def describe(found: dict[str, Any], own_hash: str) -> str:
    """The processes as a table."""
    lines = ["| process | loading | first call | next calls | bits |", "|---|---|---|---|---|"]
    named = {name: found[name] for name in ("nothing kept", "programs kept")} | found["options"]
    for name, one in named.items():
        if "why" in one:
            lines.append(f"| {name} | – | – | – | did not run: {one['why']} |")
            continue
        same = "the same" if one["hash"] == own_hash else "others"
        lines.append(
            f"| {name} | {one['load']:.1f} s | {one['first']:.1f} s | "
            f"{1e3 * one['median']:.1f} ms | {same} |"
        )
    return "\n".join(lines) + "\n"


def main(volume: str, repeats: int) -> None:
    start = time.perf_counter()
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    sys.path.insert(0, str(SOURCE))
    import jax
    import jax.numpy as jnp

    import n4ax

    given = np.load(volume)
    image, mask = jnp.asarray(given["image"]), jnp.asarray(given["mask"])
    load = time.perf_counter() - start
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        jax.block_until_ready(n4ax.n4(image, mask, engine="xla"))
        times.append(time.perf_counter() - start)
    result = n4ax.fit(image, mask, engine="xla")
    print(json.dumps({
        "load": load, "first": times[0], "median": float(np.median(times[1:])),
        "iterations": result.iterations, "hash": hash_field(result.log_bias),
    }))  # fmt: skip


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
