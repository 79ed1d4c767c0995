"""The random numbers of POSIX' ``drand48``, all at once.

They are a linear congruential sequence of numbers of 48 bits: each is the one before times
0x5DEECE66D plus 11, of which the last 48 bits are kept.
"""

import numpy as np
import numpy.typing as npt

_MULTIPLIER, _INCREMENT, _START = 0x5DEECE66D, 0xB, 0x330E
_BITS = 48
_MASK = (1 << _BITS) - 1


def draw(seed: int, count: int) -> npt.NDArray[np.float64]:
    """Draw the numbers that ``drand48`` gives after ``srand48``.

    Parameters
    ----------
    seed
        The seed, of which the last 32 bits count.
    count
        How many numbers.

    Returns
    -------
    array, shape (count,), float64
        Numbers from 0 to below 1, in the order in which they are drawn.
    """
    states = np.empty(count, np.uint64)
    first = ((seed & 0xFFFFFFFF) << 16) + _START
    states[:1] = (_MULTIPLIER * first + _INCREMENT) & _MASK
    # All that are known lead to as many more by one step, which doubles in length each time.
    multiplier, increment, known = _MULTIPLIER, _INCREMENT, 1
    while known < count:
        more = states[known : 2 * known]
        np.multiply(states[: len(more)], np.uint64(multiplier), out=more)
        more += np.uint64(increment)  # what is beyond 64 bits is lost, as it should be
        more &= np.uint64(_MASK)
        increment = (multiplier * increment + increment) & _MASK
        multiplier = multiplier * multiplier & _MASK
        known *= 2
    return states / float(1 << _BITS)
