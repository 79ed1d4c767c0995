"""What a campaign has shown: counts, distributions, and the problems that were furthest away."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

Line = dict[str, Any]

WORST = 5
"""So many of the problems that are furthest away are listed, with their numbers."""


def summarise(lines: Sequence[Line]) -> dict[str, Any]:
    """Summarise the lines of a campaign, for the page."""
    result: dict[str, Any] = {"cases": len(lines), "found": list_findings(lines)}
    for name in ("doors", "simpleitk", "ants"):
        own = [line for line in lines if line["against"] == name]
        if own:
            describe = describe_doors if name == "doors" else describe_reference
            result[name] = {"cases": len(own)} | describe(own)
    return result


def list_findings(lines: Sequence[Line]) -> list[dict[str, Any]]:
    """All that was out of bounds."""
    return [
        {"against": line["against"], "number": line["number"], "what": what}
        for line in lines
        for what in line["found"]
    ]


def describe_doors(lines: Sequence[Line]) -> dict[str, Any]:
    """How often each door was gone through."""
    doors = Counter(door for line in lines for door in line.get("doors", ()))
    refused = sum(line.get("refused", False) for line in lines)
    return {"comparisons": doors.total(), "doors": dict(doors.most_common()), "refused": refused}


def describe_reference(lines: Sequence[Line]) -> dict[str, Any]:
    """The bits, the distances in the default arithmetic, and the levels that ended elsewhere."""
    compared = [line for line in lines if "gap" in line]
    by_itk = [line for line in lines if "refused by ITK" in line]
    not_finite = [line for line in lines if "not finite" in line.get("why", "")]
    parted = [line for line in lines if line.get("stops differ")]
    other_bits = [line for line in lines if any(said.startswith("bits") for said in line["found"])]
    return {
        "same_bits": len(lines) - len(by_itk) - len(other_bits) - len(not_finite),
        "other_bits": len(other_bits),
        "not_finite": len(not_finite),
        "failed_in_itk": len(by_itk),
        "refused": sum(line.get("refused", False) for line in lines) - len(by_itk),
        "compared": len(compared),
        "gap": spread([line["gap"] for line in compared]),
        "noise": spread([line["noise"] for line in compared]),
        "ratio": spread([line["ratio"] for line in compared]),
        "no_further_than_itk": sum(line["ratio"] <= 1 for line in compared),
        "parted": len(parted),
        "parted_as_itk": sum(line.get("own stops differ", False) for line in parted),
        "parted_unexplained": sum(not line.get("explained", True) for line in parted),
        "worst": list_worst(compared),
    }


def spread(values: Sequence[float]) -> dict[str, float]:
    """The median, the 99th percentile and the largest value."""
    if not values:
        return {}
    median, high, largest = np.quantile(values, [0.5, 0.99, 1])
    return {"median": float(median), "p99": float(high), "largest": float(largest)}


def list_worst(compared: Sequence[Line]) -> list[dict[str, Any]]:
    """The problems that are furthest from the reference beside its own noise."""
    order = sorted(compared, key=lambda line: line["ratio"], reverse=True)[:WORST]
    return [{key: line[key] for key in ("number", "gap", "noise", "ratio")} for line in order]
