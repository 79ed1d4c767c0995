"""Ways to make the histogram and the stopping measure by XLA, side by side, for ``gpu.py``.

The ways of the engine stand first in each table; the others are candidates for a device on which
they are faster. "Unlike the first" is how many numbers are not those of the first way, and how far
off the furthest is; "the same again" is whether ten runs gave the same bits.
"""

from collections.abc import Callable
from functools import partial
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np

BLOCKS = (1 << 12, 1 << 15, 1 << 18, 1 << 21)
"""Voxels that the stopping measure takes at once."""
PRIVATE = (64, 1024)
"""Histograms of their own, among which voxels take turns."""
AGAIN = 10
FIXED = 1 << 20
"""Parts of a voxel that integers count, where nothing limits them."""


def compare(
    image: Any, mask: Any, repeats: int, nbins: int = 200
) -> dict[str, list[dict[str, Any]]]:
    """Time every way on the voxels of a volume, in place of what an iteration gives them."""
    import jax
    import jax.numpy as jnp

    log = np.log(np.maximum(image[mask != 0], 1.0)).astype(np.float32)
    low, high = log.min(), log.max()
    position = ((log - low) / ((high - low) / np.float32(nbins - 1))).astype(np.float32)
    # The field of an iteration changes by some thousandths, smoothly over the image.
    at = np.linspace(0.0, 9.0, len(log))
    step = (2e-3 * np.sin(at) + 1e-4 * (log - log.mean())).astype(np.float32)
    with jax.enable_x64(True):
        positions, steps = jnp.asarray(position), jnp.asarray(step)
        counted = jnp.ones(len(step), bool)
        return {
            "histogram": time_ways(list_histograms(nbins + 2), (positions,), repeats),
            "stopping measure": time_ways(list_measures(), (steps, counted), repeats),
        }


def time_ways(
    ways: dict[str, Callable[..., Any]], arguments: tuple[Any, ...], repeats: int
) -> list[dict[str, Any]]:
    """Seconds of each way, its answer beside the first one's, and whether it stays the same."""
    rows: list[dict[str, Any]] = []
    expected = None
    for name, way in ways.items():
        try:
            row, answer = time_way(way, arguments, repeats)
        except Exception as error:  # a device may not know it; the others are still of interest
            said = str(error).strip().splitlines()
            rows.append({"way": name, "why": said[0][:200] if said else repr(error)})
            continue
        expected = answer if expected is None else expected
        gap = np.abs(answer - expected)
        row |= {"unlike": int(np.count_nonzero(gap)), "largest": float(gap.max())}
        rows.append({"way": name} | row)
        print(f"  {name}: {1e3 * row['median']:.3f} ms", flush=True)
    return rows


def time_way(
    way: Callable[..., Any], arguments: tuple[Any, ...], repeats: int
) -> tuple[dict[str, Any], Any]:
    """Seconds of one way, and its answer."""
    import jax

    compiled = jax.jit(way)
    start = perf_counter()
    answers = [np.asarray(compiled(*arguments))]
    first = perf_counter() - start
    times = []
    for _ in range(max(repeats, AGAIN)):
        start = perf_counter()
        jax.block_until_ready(compiled(*arguments))
        times.append(perf_counter() - start)
    answers += [np.asarray(compiled(*arguments)) for _ in range(AGAIN - 1)]
    again = all(np.array_equal(answers[0], one, equal_nan=True) for one in answers)
    row = {"first": first, "median": median(times), "again": again}
    return row, answers[0].astype(np.float64)


# ---- the histogram -------------------------------------------------------------------------------


def list_histograms(bins: int) -> dict[str, Callable[[Any], Any]]:
    """Ways to share voxels between the two nearest of so many bins."""
    from n4ax.engines.xla import histogram

    private = {
        f"integers, {copies} histograms": partial(count_private, bins=bins, copies=copies)
        for copies in PRIVATE
    }
    return {
        "in order, as ITK (the engine on the CPU)": partial(histogram.count_in_order, bins=bins),
        "by chunks, rounded as ITK (the engine elsewhere)": partial(
            histogram.count_by_chunks, bins=bins
        ),
        **private,
        "sorted, differences of sums": partial(count_sorted, bins=bins),
        "compared with every bin": partial(count_compared, bins=bins),
        "products of matrices": partial(count_by_products, bins=bins),
    }


def split_fixed(position: Any, units: int) -> tuple[Any, Any]:
    """The bin at or below each position, and the part beyond it in whole parts of ``units``."""
    import jax.numpy as jnp

    below = position.astype(jnp.int32)
    part = jnp.rint((position - below.astype(jnp.float32)) * units).astype(jnp.int64)
    return below, part


def join_neighbours(lower: Any, upper: Any, units: int) -> Any:
    """Counts of bins from what voxels give to the bin below and the one after it."""
    import jax.numpy as jnp

    return (lower + jnp.pad(upper, (1, 0))[:-1]).astype(jnp.float64) / units


def count_private(position: Any, *, bins: int, copies: int) -> Any:
    """Additions of integers to several histograms, which are added up at the end.

    One integer holds what a voxel adds to both of its bins; all voxels of a histogram may be in
    one bin, which then just fits into half of it.
    """
    import jax.numpy as jnp

    units = 1 << (31 - (-(-len(position) // copies)).bit_length())
    below, part = split_fixed(position, units)
    cell = jnp.arange(len(position), dtype=jnp.int32) % copies * bins + below
    both = ((units - part) << 32) + part
    sums = jnp.zeros(copies * bins, jnp.int64).at[cell].add(both, mode="promise_in_bounds")
    sums = sums.reshape(copies, bins)
    return join_neighbours((sums >> 32).sum(axis=0), (sums & (2**32 - 1)).sum(axis=0), units)


def count_sorted(position: Any, *, bins: int) -> Any:
    """Positions in order of size; a bin is the difference of two running sums."""
    import jax.numpy as jnp

    below, part = split_fixed(jnp.sort(position), FIXED)
    ends = jnp.searchsorted(below, jnp.arange(bins + 1, dtype=jnp.int32))
    running = jnp.pad(jnp.cumsum(part), (1, 0))
    upper = jnp.diff(running[ends])
    return join_neighbours(jnp.diff(ends).astype(jnp.int64) * FIXED - upper, upper, FIXED)


def count_compared(position: Any, *, bins: int) -> Any:
    """Every voxel is compared with every bin; nothing is added to memory."""
    import jax.numpy as jnp

    below, part = split_fixed(position, FIXED)
    inside = below[:, None] == jnp.arange(bins, dtype=jnp.int32)
    upper = jnp.where(inside, part[:, None], 0).sum(axis=0)
    number = inside.sum(axis=0, dtype=jnp.int64)
    return join_neighbours(number * FIXED - upper, upper, FIXED)


def count_by_products(position: Any, *, bins: int) -> Any:
    """The bin as two digits: a product of two thin matrices for each block of voxels.

    float32 is exact here: a block has 2^10 voxels, and each counts in 2^14 parts.
    """
    import jax.numpy as jnp
    from jax import lax

    block, radix, units = 1 << 10, 16, 1 << 14
    below, part = split_fixed(position, units)
    room = -len(position) % block
    below = jnp.pad(below, (0, room), constant_values=-1).reshape(-1, block)
    part = jnp.pad(part, (0, room)).reshape(-1, block).astype(jnp.float32)
    digits = jnp.arange(-(-bins // radix), dtype=jnp.int32)
    high = (below[..., None] // radix == digits) & (below[..., None] >= 0)
    low = (below[..., None] % radix == jnp.arange(radix)).astype(jnp.float32)
    rows = jnp.stack([high.astype(jnp.float32), high * part[..., None]])
    sums = jnp.einsum("kbvh,bvl->kbhl", rows, low, precision=lax.Precision.HIGHEST)
    number, upper = sums.astype(jnp.int64).sum(axis=1).reshape(2, -1)[:, :bins]
    return join_neighbours(number * units - upper, upper, units)


# ---- the stopping measure ------------------------------------------------------------------------


def list_measures() -> dict[str, Callable[[Any, Any], Any]]:
    """ITK's measure with blocks of several sizes, and the true one, which is a plain sum."""
    from n4ax.engines.xla import recurrence

    def of_itk(block: int) -> Callable[[Any, Any], Any]:
        return lambda step, counted: recurrence.itk_variation(step, counted, True, block)

    blocks = {f"ITK's, {block:,} voxels at once": of_itk(block) for block in BLOCKS}
    return {**blocks, "the true one, a sum in double": recurrence.exact_variation}


# ---- text ----------------------------------------------------------------------------------------


def describe(found: dict[str, list[dict[str, Any]]]) -> str:
    """The tables as text."""
    lines = []
    for what, rows in found.items():
        lines += [
            f"| {what} | compiling | a call | unlike the first, largest | the same again |",
            "|---|---|---|---|---|",
        ]
        for row in rows:
            if "why" in row:
                lines.append(f"| {row['way']} | did not run: {row['why']} | | | |")
                continue
            lines.append(
                f"| {row['way']} | {row['first']:.1f} s | {1e3 * row['median']:.3f} ms | "
                f"{row['unlike']}, {row['largest']:.1e} | {'yes' if row['again'] else '**no**'} |"
            )
        lines.append("")
    return "\n".join(lines)
