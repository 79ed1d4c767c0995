"""What a device does in an iteration, from JAX's profiler: kernels, launches, looks of the host.

Two calls of different lengths are traced. Their difference, divided by the iterations between
them, is an iteration, without what happens once a call. A look of the host is a copy from the
device to the host: a loop whose condition the host reads has one in each iteration.
"""

import tempfile
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

LAUNCHES = ("cuLaunchKernel", "cudaLaunchKernel", "cuLaunchCooperativeKernel")
GRAPHS = ("cuGraphLaunch", "cudaGraphLaunch")
WAITS = ("cuStreamSynchronize", "cuEventSynchronize", "cuCtxSynchronize", "cudaStreamSynchronize")
COPIES = ("Memcpy", "Memset", "memcpy", "memset")
LOOKS = ("MemcpyD2H", "memcpyD2H")
NOT_KERNELS = ("ThreadpoolListener", "end: ", "SlinkyThreadPool", "ThunkExecutor", "TfrtCpu")
"""Events on the threads of the CPU that are no work of the program."""
MOST = 20
"""Kernels in the table."""


class Trace(NamedTuple):
    """What one call did."""

    device: str
    """The name of the plane of the device."""
    calls: Counter[str]
    """How often each kernel ran."""
    seconds: Counter[str]
    """Seconds of each kernel, of all its calls."""
    looks: int
    copies: int
    launches: int
    graphs: int
    waits: int


def profile_iteration(
    few: Callable[[], Any], many: Callable[[], Any], iterations: int
) -> dict[str, Any]:
    """An iteration, from traces of two calls between which there are so many ``iterations``."""
    return subtract(read_trace(few), read_trace(many), iterations)


def profile_call(call: Callable[[], Any]) -> dict[str, Any]:
    """A whole call, from a trace of it."""
    nothing = Trace("", Counter(), Counter(), 0, 0, 0, 0, 0)
    return {"whole call": True, **subtract(nothing, read_trace(call), 1)}


def read_trace(call: Callable[[], Any]) -> Trace:
    """Trace a call that has been compiled before."""
    import jax

    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder, **_without_python(jax)):
            jax.block_until_ready(call())
        (path,) = Path(folder).rglob("*.xplane.pb")
        return count_events(jax.profiler.ProfileData.from_file(str(path)).planes)


def _without_python(jax: Any) -> dict[str, Any]:
    """Options that leave out the functions of Python, if this JAX has them."""
    if not hasattr(jax.profiler, "ProfileOptions"):
        return {}
    options = jax.profiler.ProfileOptions()
    options.python_tracer_level = 0
    return {"profiler_options": options}


def count_events(planes: Iterable[Any]) -> Trace:
    """Count what happened on the device and where the host spoke to it."""
    planes = list(planes)
    device, lines = find_device(planes)
    events = [event for line in lines for event in line.events]
    kernels = [e for e in events if not e.name.startswith((*COPIES, *NOT_KERNELS))]
    calls, seconds = Counter[str](), Counter[str]()
    for event in kernels:
        calls[event.name] += 1
        seconds[event.name] += 1e-9 * event.duration_ns  # pyright: ignore[reportArgumentType]
    host = Counter[str](
        event.name
        for plane in planes
        if plane.name.startswith("/host")
        for line in plane.lines
        for event in line.events
    )
    return Trace(
        device=device,
        calls=calls,
        seconds=seconds,
        looks=sum(event.name.startswith(LOOKS) for event in events),
        copies=sum(event.name.startswith(COPIES) for event in events),
        launches=_count(host, LAUNCHES),
        graphs=_count(host, GRAPHS),
        waits=_count(host, WAITS),
    )


def find_device(planes: list[Any]) -> tuple[str, list[Any]]:
    """The streams of the first accelerator, or without one the threads of XLA on the CPU."""
    for plane in planes:
        if plane.name.startswith("/device:") and "CUSTOM" not in plane.name:
            lines = list(plane.lines)
            streams = [line for line in lines if line.name.startswith("Stream")]
            if any(True for line in streams or lines for _ in line.events):
                return plane.name, streams or lines
    host = next(plane for plane in planes if plane.name == "/host:CPU")
    return host.name, [line for line in host.lines if line.name.startswith("tf_XLA")]


def _count(events: Counter[str], names: tuple[str, ...]) -> int:
    return sum(number for name, number in events.items() if name.startswith(names))


def subtract(few: Trace, many: Trace, iterations: int) -> dict[str, Any]:
    """What an iteration does; what an accelerator alone has is left out for the CPU."""
    seconds = {name: (many.seconds[name] - few.seconds[name]) / iterations for name in many.seconds}
    largest = sorted(seconds, key=lambda name: (-seconds[name], name))[:MOST]
    found: dict[str, Any] = {
        "device": many.device,
        "kernels": (many.calls.total() - few.calls.total()) / iterations,
        "busy": sum(seconds.values()),
        "largest": [
            {
                "kernel": name,
                "calls": (many.calls[name] - few.calls[name]) / iterations,
                "seconds": seconds[name],
            }
            for name in largest
        ],
    }
    if many.device.startswith("/device:"):
        for name in ("looks", "copies", "launches", "graphs", "waits"):
            found[name] = (getattr(many, name) - getattr(few, name)) / iterations
    return found


def describe(profile: dict[str, Any]) -> str:
    """The profile as text."""
    what = "A call" if "whole call" in profile else "An iteration"
    lines = [
        f"{what} on {profile['device']}: {profile['kernels']:.1f} kernels, "
        f"{1e3 * profile['busy']:.3f} ms of them in all"
    ]
    if "looks" in profile:
        lines[0] += (
            f"; {profile['looks']:.2f} looks of the host, {profile['copies']:.1f} copies, "
            f"{profile['launches']:.1f} launches of kernels and {profile['graphs']:.2f} of graphs, "
            f"{profile['waits']:.2f} waits of the host"
        )
    else:
        lines[0] += "; looks and launches: only on an accelerator"
    lines += ["", "| kernel | calls | ms |", "|---|---|---|"]
    lines += [
        f"| {one['kernel'][:70]} | {one['calls']:.2f} | {1e3 * one['seconds']:.4f} |"
        for one in profile["largest"]
    ]
    return "\n".join(lines) + "\n"
