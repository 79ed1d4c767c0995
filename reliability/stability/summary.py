"""Figures over all volumes, from what was measured on each."""

from collections.abc import Sequence
from statistics import median
from typing import Any


def summarise(
    volumes: Sequence[dict[str, Any]], samples: int, stage_samples: int
) -> dict[str, Any]:
    """Sum up the programs, the pairs of programs, and the stages.

    Parameters
    ----------
    volumes
        What :func:`reliability.stability.measure.measure_scan` found.
    samples, stage_samples
        Perturbed runs of each program, and of each stage.
    """
    rules = {rule: [volume["rules"][rule] for volume in volumes] for rule in volumes[0]["rules"]}
    stages = {name: [v["stages"][name] for v in volumes] for name in volumes[0]["stages"]}
    return {
        "programs": {
            rule: sum_up_rows([each["rows"] for each in found], samples)
            for rule, found in rules.items()
        },
        "pairs": {
            rule: {pair: sum_up_pair([each["pairs"][pair] for each in found])
                   for pair in found[0]["pairs"]}
            for rule, found in rules.items()
        },
        "stages": {name: sum_up_rows(found, stage_samples) for name, found in stages.items()},
        "live": add([volume["live"] for volume in volumes]),
        "repeated": add([volume["repeated"] for volume in volumes]),
    }  # fmt: skip


def sum_up_rows(rows: Sequence[dict[str, Any]], samples: int) -> dict[str, Any]:
    """Sum up the rows of the same name: their bits, and the runs that stopped elsewhere."""
    return {
        name: sum_up_bits([row[name] for row in rows])
        | {
            "stops": sum(row[name]["stops"] for row in rows),
            "moved": sum(row[name]["stops"] > 0 for row in rows),
            "runs": samples * len(rows),
        }
        for name in rows[0]
    }


def sum_up_pair(pairs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Sum up the same pair of programs on all volumes."""
    return sum_up_bits(pairs) | {
        "same_stops": sum(pair["same_stops"] for pair in pairs),
        "most": max(pair["most"] for pair in pairs),
    }


def sum_up_bits(found: Sequence[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """The median of the medians, and the least of all."""
    return {
        what: {
            "median": round(median(one[what]["median"] for one in found), 2),
            "least": min(one[what]["least"] for one in found),
        }
        for what in ("field", "corrected")
    }


def add(counts: Sequence[dict[str, int]]) -> dict[str, int]:
    """Add up counts of the same names."""
    return {name: sum(count[name] for count in counts) for name in counts[0]}
