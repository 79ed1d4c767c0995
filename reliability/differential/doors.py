"""A random problem through pairs of the doors of n4ax, which must give the same bits."""

import hashlib
import traceback
import warnings
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from n4ax.errors import InputError
from reliability.differential import arrays, as_ants, commands, libraries, transforms
from reliability.differential.given import Given, InapplicableError
from reliability.differential.problems import Problem, make_problem

DOORS = (
    *arrays.DOORS, *libraries.DOORS, *commands.DOORS, *as_ants.DOORS, *transforms.DOORS,
)  # fmt: skip
RARE = (*arrays.RARE, *as_ants.RARE)
TAKEN, RARELY = 5, 0.01
"""How many doors a problem goes through, and the share of problems that go through a slow one."""


def compare(random: Random, folder: Path) -> dict[str, Any]:
    """Give a problem to some doors; tell what each said, and where bits differ."""
    source = np.random.default_rng(random.getrandbits(64))
    problem = draw_policies(source, make_problem(source))
    given = Given(problem, folder, source)
    chosen = [DOORS[k] for k in source.choice(len(DOORS), TAKEN, replace=False)]
    if source.random() < RARELY:
        chosen.append(RARE[source.integers(len(RARE))])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they are other tests' matter
        refusal = find_refusal(given)
        found, taken = dict[str, str](), list[str]()
        for door in chosen:
            with suppress(InapplicableError):
                said = go_through(door, given, refusal)
                taken.append(door.__name__)
                if said is not None:
                    found[door.__name__] = said
    digest = refusal or hashlib.sha256(given.of_images["log_bias"].tobytes()).hexdigest()[:16]
    return {
        "doors": taken,
        "refused": refusal is not None,
        "digest": digest,
        "found": [f"{name}: {said}" for name, said in found.items()],
    }


def draw_policies(random: np.random.Generator, problem: Problem) -> Problem:
    """Choose the arithmetic, and what else n4ax alone knows."""
    keywords = problem.keywords
    if random.random() < 0.4:
        keywords |= {
            "arithmetic": "itk",
            "itk_threads": int(random.choice([1, 2, 3, 8, 64])),
            "itk_tool": str(random.choice(["simpleitk", "ants"])),
        }
    elif random.random() < 0.1:
        keywords["over_relax"] = 1.5
    elif random.random() < 0.1:
        keywords |= {"accelerate": True, "conv_threshold": 0.0}
    if random.random() < 0.2:
        keywords["itk_version"] = 6
    for name, choices in (
        ("scale", ("mean", "unit-field", "minmax")),
        ("outside", ("keep", "zero")),
        ("non_positive", ("exclude", "offset")),
    ):
        if random.random() < 0.15:
            keywords[name] = str(random.choice(choices))
    return problem


def find_refusal(given: Given) -> str | None:
    """Why the problem is refused, if it is, with its place in space or without.

    The place decides which voxels shrinking takes, which may be too few.
    """
    try:
        _ = given.of_images, given.of_arrays
    except InputError as error:
        return str(error)
    return None


def go_through(door: Any, given: Given, refusal: str | None) -> str | None:
    """What is wrong with a door; a problem that one door refuses, all of them refuse."""
    try:
        door(given)
    except InapplicableError:
        raise
    except (InputError, RuntimeError, ValueError) as error:
        return None if refusal else f"refuses: {error}\n{traceback.format_exc()}"
    except AssertionError as error:
        return str(error)[:2000] or traceback.format_exc()
    return None
