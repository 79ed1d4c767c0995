"""What the choice of settings was to reach, on the half of the cases that was held back."""

from collections.abc import Sequence
from statistics import median
from typing import Any

from benchmarks.truth.grid import Errors, group_rows, summarise, summarise_by, summarise_strata
from benchmarks.truth.methods import AUTO, AUTO_BY_TISSUES, BEST

OTHERS = ("SimpleITK", "niPreps", "200 mm, 3 levels")
"""The settings of which the best is not to be better than those that are chosen."""


def judge_goals(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Compare the choice with its goals.

    Parameters
    ----------
    rows
        The rows of the first part, of which those that were held back are used.
    """
    held = [row for row in rows if row["half"] == "held back"]
    strata = summarise_strata(held)
    flat = next(one["errors"] for one in strata if one["kind"] == "none")
    worse = [
        {"kind": one["kind"], "strength": one["strength"], "by": round(by, 2)}
        for one in strata
        if (by := _median(one["errors"], AUTO) - min(_median(one["errors"], o) for o in OTHERS)) > 0
    ]
    of_best = [
        _median(one["errors"], AUTO_BY_TISSUES) / _median(one["errors"], BEST)
        for one in strata
        if _median(one["errors"], BEST) > 0
    ]
    return {
        "cases": len(held),
        "strata": strata,
        "contrasts": {
            name: {
                other: _divide(errors, AUTO, other) for other in ("SimpleITK", "niPreps", BEST)
            }
            for name, errors in {
                **summarise_by(held, "contrast"), "all": summarise(held)
            }.items()
        },
        "worse": worse,
        "flat": _divide(flat, AUTO, "SimpleITK"),
        "by_tissues": {"median": round(median(of_best), 2), "worst": round(max(of_best), 2)},
        "count": len(group_rows(held, "kind", "strength")),
    }  # fmt: skip


def _median(errors: Errors, name: str) -> float:
    return errors[name]["median"]


def _divide(errors: Errors, name: str, other: str) -> float:
    return round(_median(errors, name) / _median(errors, other), 2)
