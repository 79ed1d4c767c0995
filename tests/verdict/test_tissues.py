"""The message that tissues became less even comes where a correction has done harm."""

from importlib.util import find_spec
from itertools import product
from typing import Any

import pytest

import n4ax
from benchmarks.truth.judge import error
from benchmarks.truth.phantoms import make_case

SETTINGS: tuple[dict[str, Any], ...] = (
    {},
    {"spline_distance": 200, "conv_threshold": 1e-7},
    {"spline_distance": 150, "iters": (50, 50), "conv_threshold": 1e-7},
)
FIELDS = (("none", 1.0), ("coils", 1.15), ("coils", 1.4), ("7 T", 1.3), ("7 T", 3.0))


@pytest.mark.skipif(find_spec("nilearn") is None, reason="nilearn is not installed")
@pytest.mark.parametrize("known", [False, True], ids=["without maps", "with maps"])
def test_it_comes_where_harm_was_done(known: bool) -> None:
    harmed: list[bool] = []
    for (kind, strength), contrast in product(FIELDS, ("T1w", "T2w", "infant")):
        case = make_case(kind, strength, contrast, 0.03, 1, 5.0)
        before = error(0.0, case)
        for keywords in SETTINGS:
            result = n4ax.fit(
                case.image, case.brain, spacing=case.spacing, voxel_order="F",
                tissues=list(case.tissues) if known else None, **keywords,
            )  # fmt: skip
            after, told = error(result.log_bias, case), "uneven-tissues" in result.verdict.codes
            if after > before:
                harmed.append(told)
            # With maps it also comes where contrast was taken away while the image became even.
            assert known or not (told and after < 0.8 * before), (kind, strength, contrast)
    assert len(harmed) > 10
    assert sum(harmed) >= len(harmed) * (1 if known else 1 / 3)
    print(f"told in {sum(harmed)} of {len(harmed)} corrections that did harm")
