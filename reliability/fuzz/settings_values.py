"""Values for the parameters of N4: good ones, ones on an edge, and wrong ones."""

from dataclasses import fields
from random import Random
from typing import Any, get_args

import numpy as np

from n4ax.settings import N4Settings
from n4ax.settings.keywords import CHOICES
from reliability.fuzz.arguments import draw_thing

_GOOD: dict[str, tuple[Any, ...]] = {
    "iters": ((1,), (2, 1), [1, 1, 1], (0, 1), np.array([2]), (1.0,), (np.int16(2),), 1, (0,)),
    "conv_threshold": (0.0, 1e-7, 0.5, 1, np.float32(0.1), 1e300),
    "over_relax": (1.0, 0.5, 1.9, 2, 1e-38, 1e30, 3.4e38),
    "accelerate": (False, True),
    "adapt": (False, True),
    "nbins": (3, 4, 200, 200.0, np.int64(50), 65536),
    "fwhm": (0.15, 1e-38, 5, 1e-3, 1e20, np.float64(0.3), 3.4e38),
    "wiener": (0.0, 0.01, 1e-45, 1, 1e38, 3.4e38),
    "tiny": (None, 1e-37, 1.0, 50, 1e38),
    "spline_order": (1, 2, 3, 4, 5, 3.0, np.uint8(2)),
    "control_points": (None, 4, (4, 5, 6), [4, 4], 6, (8, 8, 8), 1000, (10**6, 4, 4)),
    "mesh": (None, 1, 2, (1, 2, 3), [2, 2], np.array([1, 1, 1]), 30, 10**4, (10**9, 1, 1)),
    "spline_distance": (None, 1.0, 2.5, 200, 0.1, 1e-3, 1e-30, 1e30, 3.4e38),
    "shrink_factor": (1, 2, (1, 2, 1), [2, 1], 3, 100, 2**31, 10**30),
    "mask_label": (None, 0, 1, -1, 2**40, 2.0, np.int8(1)),
    "itk_threads": (None, 1, 2, 128),
    "itk_work_units": (None, 1, 3, 128),
}
NAMES = tuple(field.name for field in fields(N4Settings))
"""All parameters, so that new ones are fuzzed by themselves."""


def draw_setting(random: Random, name: str) -> Any:
    """A value of a parameter."""
    if random.random() < 0.2:
        return draw_thing(random)
    if name in CHOICES:
        return random.choice(get_args(CHOICES[name]))
    return random.choice(_GOOD.get(name, (getattr(N4Settings, name, None),)))


def draw_settings(random: Random) -> dict[str, Any]:
    """A few parameters; iterations are few, or are ended by the threshold."""
    chosen = random.sample(NAMES, random.choice((0, 0, 1, 1, 2, 3, 5)))
    drawn = {name: draw_setting(random, name) for name in chosen}
    return bound_iterations(random, drawn)


def bound_iterations(random: Random, drawn: dict[str, Any]) -> dict[str, Any]:
    """Give few iterations where none or too many were drawn, so that an input is quickly tried."""
    drawn.setdefault("iters", (1,))
    try:
        many = bool(np.sum(np.asarray(drawn["iters"], float)) > 12)
    except (TypeError, ValueError, OverflowError):
        many = False
    if many:
        drawn["conv_threshold"] = 1e300
        drawn.pop("accelerate", None)
    if drawn.get("adapt") is True and random.random() < 0.9:  # takes many corrections
        del drawn["adapt"]
    return drawn
