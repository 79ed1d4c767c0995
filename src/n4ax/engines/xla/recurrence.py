"""The recurrence of the stopping measure, replayed in parallel (XLA).

:mod:`n4ax.method.convergence` says what is computed. What a voxel adds to the running mean mu and
to the sum of squares sigma hardly depends on the last bits of either. So a guess of all values of
mu and sigma tells what every voxel adds, and the running sum of that is a better guess. When the
sum equals the guess, it is the result of the recurrence, voxel by voxel and bit for bit. Two or
three rounds are enough for most blocks, and fewer than 20 always were. Every round makes at least
one more voxel right, so that there are never more rounds than voxels. If no voxel of a block moves
mu, and sigma stays within one binade, the block is a plain sum of whole ulps of sigma.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax

from n4ax.engines.xla.box import running_count, running_sum
from n4ax.engines.xla.rounding import binade, round_to_float32

SETTLED = 1 << 14
"""Blocks that begin before this voxel are always replayed by rounds."""

_STANDSTILL = 2.0**24
"""ITK's count is float32, and stops growing here."""


class Running(NamedTuple):
    """The running values as float64 numbers that hold float32 values.

    Attributes
    ----------
    number
        Number of voxels.
    mean
        mu.
    squares
        sigma.
    """

    number: Array
    mean: Array
    squares: Array


class Block(NamedTuple):
    """Some voxels.

    Attributes
    ----------
    ratio
        Their ratios p.
    counted
        Which of them count.
    number
        Number of voxels up to and including each of them.
    """

    ratio: Array
    counted: Array
    number: Array


def itk_variation(step: Array, counted: Array, packed: bool, block: int) -> Array:
    """The measure as ITK computes it.

    Parameters
    ----------
    step
        Old field less new field, in image order, shape (n,), float32.
    counted
        Which voxels count.
    packed
        Whether the voxels that count come first, without gaps.
    block
        Voxels that are taken at once. This changes the time, and nothing else.
    """
    size = min(block, len(step))
    last = len(step) - size
    at = jnp.arange(size)

    def add_block(k: Array, running: Running) -> Running:
        start = jnp.minimum(k * size, last)
        ratio = ratios(lax.dynamic_slice(step, (start,), (size,)))
        flags = lax.dynamic_slice(counted, (start,), (size,)) & (start + at >= k * size)
        number = running.number + (at + 1.0 if packed else running_count(flags))
        # The last block overlaps with the previous one. In a packed list, its numbers are smaller
        # by as much.
        number = number - (k * size - start if packed else 0)
        voxels = Block(ratio.astype(jnp.float64), flags, jnp.clip(number, 1.0, _STANDSTILL))
        whole, added = _add_whole_ulps(voxels, running)
        return lax.cond(whole, lambda: added, lambda: _add_by_rounds(voxels, running))

    zero = jnp.zeros((), jnp.float64)
    running = lax.fori_loop(0, -(-len(step) // size), add_block, Running(zero, zero, zero))
    spread = round_to_float32(jnp.sqrt(running.squares / (running.number - 1.0)))
    return round_to_float32(spread / running.mean)


def exact_variation(step: Array, counted: Array) -> Array:
    """Coefficient of variation of exp(step) over the voxels that count, in double."""
    ratio = ratios(step).astype(jnp.float64)
    count = counted.sum(dtype=jnp.float64)
    mean = jnp.where(counted, ratio, 0.0).sum() / count
    squares = jnp.where(counted, (ratio - mean) ** 2, 0.0).sum()
    return jnp.sqrt(squares / (count - 1.0)) / mean


def ratios(step: Array) -> Array:
    """exp(step) in float32, which keeps the digits of a small step."""
    return 1 + jnp.expm1(step)


def _add_whole_ulps(block: Block, running: Running) -> tuple[Array, Running]:
    """Add a block as a sum of whole ulps of sigma, and tell whether that is right."""
    gap = jnp.where(block.counted, round_to_float32(block.ratio - running.mean), 0.0)
    half_ulp = binade(running.mean) * 2.0**-25  # at a binade's lower end
    moves = _as_columns(jnp.abs(gap)).max(axis=0).max() >= 0.99 * half_ulp * running.number
    lower_end = binade(running.squares)
    unit = lower_end * 2.0**-23
    square = round_to_float32(gap * gap) * (1.0 - 1.0 / block.number)
    squares = running.squares + _as_columns(jnp.rint(square / unit)).sum(axis=0).sum() * unit
    count = jnp.minimum(running.number + _count(block.counted), _STANDSTILL)
    early = running.number < SETTLED
    whole = ~(moves | early) & (squares < 2.0 * lower_end)
    return whole, Running(count, running.mean, squares)


def _count(flags: Array) -> Array:
    return _as_columns(flags.astype(jnp.float64)).sum(axis=0).sum()


def _as_columns(values: Array) -> Array:
    """Arrange values for a reduction, which the CPU carries out on many columns at a time."""
    return values.reshape(-1, 256) if len(values) % 256 == 0 else values[:, None]


def _add_by_rounds(block: Block, running: Running) -> Running:
    """Add any block, by guesses and running sums."""
    number, counted, p = block.number, block.counted, block.ratio
    share = round_to_float32(p / number)

    def mean_after(mean: Array) -> Array:
        return round_to_float32(mean * (1.0 - 1.0 / number) + share)

    total = running.mean * running.number + running_sum(jnp.where(counted, p, 0.0))
    mean = _improve_guess(total / number, running.mean, mean_after, counted)

    gap = round_to_float32(p - mean)
    addend = jnp.where(number > 1, round_to_float32(gap * gap) * (number - 1.0) / number, 0.0)

    def squares_after(squares: Array) -> Array:
        return round_to_float32(squares + addend)

    total = running.squares + running_sum(jnp.where(counted, addend, 0.0))
    squares = _improve_guess(total, running.squares, squares_after, counted)
    return Running(
        jnp.minimum(running.number + _count(counted), _STANDSTILL),
        jnp.where(counted[-1], mean_after(mean)[-1], mean[-1]),
        jnp.where(counted[-1], squares_after(squares)[-1], squares[-1]),
    )


def _improve_guess(
    guess: Array, start: Array, after: Callable[[Array], Array], counted: Array
) -> Array:
    """Improve a guess of a running value until it is the running value itself.

    Parameters
    ----------
    guess
        A guess of the value after each voxel.
    start
        The value before the first voxel.
    after
        Gives the values after all voxels from the values before them.
    counted
        Which voxels count.

    Returns
    -------
    array
        The value before each voxel.
    """

    def shift(values: Array) -> Array:
        return round_to_float32(jnp.concatenate([start[None], values[:-1]]))

    def improve(state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        _, values, rounds = state
        added = jnp.where(counted, after(values) - values, 0.0)
        return values, shift(start + running_sum(added)), rounds + 1

    def goes_on(state: tuple[Array, Array, Array]) -> Array:
        previous, values, rounds = state
        # NaN, which never equals itself, spreads over all values after it and does not leave.
        changed = (previous != values) & (values == values)
        return jnp.any(changed) & (rounds < len(guess))

    first = shift(guess)
    return lax.while_loop(goes_on, improve, improve((first, first, jnp.int32(0))))[1]
