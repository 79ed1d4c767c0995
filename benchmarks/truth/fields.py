"""Known log bias fields: coils, waves at 7 T, polynomials, and steps from slice to slice.

The kinds are smooth in different ways and none of them is a spline. All are scaled to the same
spread in the brain, so that a stratum is a kind and a strength.
"""

import numpy as np
import numpy.typing as npt

SPREADS = {1.0: 0.0, 1.15: 0.042, 1.3: 0.080, 1.4: 0.099, 2.0: 0.205, 3.0: 0.33}
"""The standard deviation of the log field in the brain, by strength. A strength is about the factor
between the dark and the bright end of the brain."""

PERIOD = 240.0
"""The period of the standing wave in mm. It falls from the middle of the brain to the rim. Waves of
300 MHz are some 130 mm long in tissue; their magnitude is smoother, since tissue conducts."""

COIL_DISTANCE = (115.0, 150.0)
"""How far coils are from the middle of the brain, in mm."""

REACH = 100.0
"""The polynomials have their powers in multiples of this distance from the middle, in mm."""

BEYOND = 0.3
"""Outside the brain the field is held within its range in the brain, extended by this fraction."""

Floats = npt.NDArray[np.float64]


def make_log_field(
    kind: str,
    strength: float,
    brain: npt.NDArray[np.bool_],
    spacing: tuple[float, float, float],
    seed: int,
) -> npt.NDArray[np.float32]:
    """Make a log field with a mean of 0 in the brain.

    Parameters
    ----------
    kind
        ``"coils"``, ``"7 T"``, ``"polynomial"``, ``"slices"`` or ``"none"``.
    strength
        One of ``SPREADS``; 1 is no field.
    brain
        The brain, of shape (x, y, z).
    spacing
        Voxel size in mm.
    seed
        The same seed gives the same field.

    Returns
    -------
    array
        The log field in the shape of the brain.

    Raises
    ------
    ValueError
        The kind or the strength is unknown.
    """
    if kind not in KINDS:
        raise ValueError(f"kind is {kind!r}; expected one of {', '.join(KINDS)}")
    if strength not in SPREADS:
        raise ValueError(f"strength is {strength!r}; expected one of {list(SPREADS)}")
    if kind == "none" or strength == 1:
        return np.zeros(brain.shape, np.float32)
    random = np.random.default_rng([seed, list(KINDS).index(kind)])
    pattern = np.broadcast_to(KINDS[kind](measure_places(brain, spacing), random), brain.shape)
    inside = pattern[brain]
    spread = inside.max() - inside.min()
    held = np.clip(pattern, inside.min() - BEYOND * spread, inside.max() + BEYOND * spread)
    return ((held - inside.mean()) * (SPREADS[strength] / inside.std())).astype(np.float32)


def measure_places(
    brain: npt.NDArray[np.bool_], spacing: tuple[float, float, float]
) -> tuple[Floats, Floats, Floats]:
    """The place of each voxel along each axis, in mm from the middle of the brain, to broadcast."""
    axes = []
    for axis, (count, voxel) in enumerate(zip(brain.shape, spacing, strict=True)):
        others = tuple(other for other in range(3) if other != axis)
        taken = np.flatnonzero(brain.any(axis=others))
        axes.append((np.arange(count) - (taken[0] + taken[-1]) / 2) * voxel)
    x, y, z = np.meshgrid(*axes, indexing="ij", sparse=True)
    return x, y, z


def add_coils(places: tuple[Floats, ...], random: np.random.Generator) -> Floats:
    """The sum of four to eight coils around the head; each falls off with the distance to it."""
    count = int(random.integers(4, 9))
    directions = random.standard_normal((count, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    coils = directions * random.uniform(*COIL_DISTANCE, (count, 1))
    gains = random.uniform(0.6, 1.4, count)
    total = sum(
        gain / np.sqrt(sum((axis - at) ** 2 for axis, at in zip(places, coil, strict=True)) + 100)
        for gain, coil in zip(gains, coils, strict=True)
    )
    return np.log(total)


def stand_waves(places: tuple[Floats, ...], random: np.random.Generator) -> Floats:
    """A standing wave: bright in the middle of the brain and dark around, not quite symmetric."""
    centre = random.uniform(-12, 12, 3)
    stretch = random.uniform(0.85, 1.15, 3)
    tilt = random.uniform(-0.2, 0.2, 3) / REACH
    distance = np.sqrt(
        sum(((a - at) / by) ** 2 for a, at, by in zip(places, centre, stretch, strict=True))
    )
    linear = sum(by * axis for by, axis in zip(tilt, places, strict=True))
    return np.cos(2 * np.pi * distance / PERIOD) + linear


def sum_powers(places: tuple[Floats, ...], random: np.random.Generator) -> Floats:
    """A random polynomial of order 2 or 3."""
    order = int(random.integers(2, 4))
    x, y, z = (axis / REACH for axis in places)
    total = np.zeros(np.broadcast_shapes(x.shape, y.shape, z.shape))
    for powers in np.ndindex(*(order + 1,) * 3):
        if 0 < sum(powers) <= order:
            i, j, k = powers
            total = total + random.standard_normal() * x**i * y**j * z**k
    return total


def step_slices(places: tuple[Floats, ...], random: np.random.Generator) -> Floats:
    """Steps between slices that are taken in two passes, and a little of each slice's own."""
    slices = places[2]
    passes = np.where(np.arange(slices.shape[2]) % 2 == 0, 0.5, -0.5)
    return (passes + 0.15 * random.standard_normal(slices.shape[2]))[None, None, :]


KINDS = {
    "none": None,
    "coils": add_coils,
    "7 T": stand_waves,
    "polynomial": sum_powers,
    "slices": step_slices,
}
"""The function of each kind, from the places of the voxels and a generator to the pattern."""
