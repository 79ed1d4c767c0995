"""The stopping measure's recurrence, replayed in parallel (XLA).

See :mod:`n4ax.method.convergence` for what is computed. What a voxel adds to the running mean mu,
and to the sum of squares sigma, hardly depends on the last bits of either. So a guess of all their
values gives all that is added, whose running sum is a better guess; where that is the guess itself,
it is what the recurrence gives, voxel by voxel, bit for bit. Two or three rounds are enough for
most blocks, and under 20 were always. A block in which no voxel moves mu, and sigma stays within
one binade, is a plain sum of whole ulps of sigma.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array, lax

from n4ax.engines.xla.box import running_count, running_sum

SETTLED = 1 << 14
"""Blocks that begin before this voxel always go by rounds."""

_STANDSTILL = 2.0**24
"""ITK counts in float32: from here on the count stands still."""


class Running(NamedTuple):
    """The running values, float64 that hold float32: number of voxels, mu and sigma."""

    count: Any
    mean: Any
    squares: Any


class Block(NamedTuple):
    """Ratios p of some voxels, which of them count, and the number of voxels up to each."""

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
        Whether those are the first ones, without gaps.
    block
        Voxels that are taken at once, which changes the time it takes and nothing else.
    """
    size = min(block, len(step))
    last = len(step) - size
    at = jnp.arange(size)

    def add_block(k: Any, running: Running) -> Running:
        start = jnp.minimum(k * size, last)
        ratio = ratios(lax.dynamic_slice(step, (start,), (size,)))
        flags = lax.dynamic_slice(counted, (start,), (size,)) & (start + at >= k * size)
        number = running.count + (at + 1.0 if packed else running_count(flags))
        # Packed, the last block overlaps with the one before: its count is behind by that much.
        number = number - (k * size - start if packed else 0)
        voxels = Block(ratio.astype(jnp.float64), flags, jnp.clip(number, 1.0, _STANDSTILL))
        whole, added = _whole_ulps(voxels, running)
        return lax.cond(whole, lambda: added, lambda: _by_rounds(voxels, running))

    zero = jnp.zeros((), jnp.float64)
    running = lax.fori_loop(0, -(-len(step) // size), add_block, Running(zero, zero, zero))
    spread = _single(jnp.sqrt(running.squares / (running.count - 1.0)))
    return _single(spread / running.mean)


def exact_variation(step: Array, counted: Array) -> Array:
    """Coefficient of variation of exp(step) over what counts, in double."""
    ratio = ratios(step).astype(jnp.float64)
    count = counted.sum(dtype=jnp.float64)
    mean = jnp.where(counted, ratio, 0.0).sum() / count
    squares = jnp.where(counted, (ratio - mean) ** 2, 0.0).sum()
    return jnp.sqrt(squares / (count - 1.0)) / mean


def ratios(step: Array) -> Array:
    """exp(step) in float32; a small step's own digits are not lost on the way."""
    return 1 + jnp.expm1(step)


def _single(value: Array) -> Array:
    """A float64 rounded to what float32 holds (a conversion there and back may be left out)."""
    return lax.reduce_precision(value, exponent_bits=8, mantissa_bits=23)


def _whole_ulps(block: Block, running: Running) -> tuple[Array, Running]:
    """The block as a sum of whole ulps of sigma, and whether that is what happens."""
    gap = jnp.where(block.counted, _single(block.ratio - running.mean), 0.0)
    half_ulp = jnp.exp2(jnp.floor(jnp.log2(running.mean)) - 25.0)  # at a binade's lower end
    moves = _columns(jnp.abs(gap)).max(axis=0).max() >= 0.99 * half_ulp * running.count
    binade = jnp.exp2(jnp.floor(jnp.log2(running.squares)))
    unit = binade * 2.0**-23
    square = _single(gap * gap) * (1.0 - 1.0 / block.number)
    squares = running.squares + _columns(jnp.rint(square / unit)).sum(axis=0).sum() * unit
    count = jnp.minimum(running.count + _number(block.counted), _STANDSTILL)
    early = running.count < SETTLED
    whole = ~(moves | early) & (squares < 2.0 * binade)
    return whole, Running(count, running.mean, squares)


def _number(flags: Array) -> Array:
    return _columns(flags.astype(jnp.float64)).sum(axis=0).sum()


def _columns(values: Array) -> Array:
    """For reductions, which the CPU carries out on many columns at a time."""
    return values.reshape(-1, 256) if len(values) % 256 == 0 else values[:, None]


def _by_rounds(block: Block, running: Running) -> Running:
    """Any block, by guesses and running sums."""
    number, counted, p = block.number, block.counted, block.ratio
    share = _single(p / number)

    def mean_after(mean: Array) -> Array:
        return _single(mean * (1.0 - 1.0 / number) + share)

    total = running.mean * running.count + running_sum(jnp.where(counted, p, 0.0))
    mean = _self_consistent(total / number, running.mean, mean_after, counted)

    gap = _single(p - mean)
    addend = jnp.where(number > 1, _single(gap * gap) * (number - 1.0) / number, 0.0)

    def squares_after(squares: Array) -> Array:
        return _single(squares + addend)

    total = running.squares + running_sum(jnp.where(counted, addend, 0.0))
    squares = _self_consistent(total, running.squares, squares_after, counted)
    return Running(
        jnp.minimum(running.count + _number(counted), _STANDSTILL),
        jnp.where(counted[-1], mean_after(mean)[-1], mean[-1]),
        jnp.where(counted[-1], squares_after(squares)[-1], squares[-1]),
    )


def _self_consistent(guess: Array, start: Any, after: Any, counted: Array) -> Array:
    """The value before each voxel, given a guess of the value after each."""

    def before(values: Array) -> Array:
        return _single(jnp.concatenate([start[None], values[:-1]]))

    def go_round(state: tuple[Array, Array]) -> tuple[Array, Array]:
        _, values = state
        added = jnp.where(counted, after(values) - values, 0.0)
        return values, before(start + running_sum(added))

    first = before(guess)
    done = lax.while_loop(
        lambda state: jnp.any(state[0] != state[1]), go_round, go_round((first, first))
    )
    return done[1]
