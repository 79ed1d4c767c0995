"""Corrections that are not N4, judged on a few of the simulated brains; see ``benchmarks/truth/``.

They come from the package index, each in an environment of its own. niimath takes half a minute for
an image, so that the images are few.
"""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.peers import ROOT, prepare_peer, run_process
from benchmarks.truth import grid
from benchmarks.truth.judge import error
from benchmarks.truth.methods import METHODS
from benchmarks.truth.phantoms import Case

TOOLS = {"DIPY": "DIPY, B-splines", "niimath": "niimath, unifize"}
"""The title of each tool."""

BESIDE = ("nothing", "SimpleITK", "200 mm, 3 levels")
"""The methods of the other tables that are shown as well."""

PART = grid.Part("Brain masks, 3 mm", contrasts=("T1w", "T2w"), seeds=(0,))
OUTSIDER = ROOT / "benchmarks" / "truth" / "outsider.py"


def measure(quick: bool, rounds: int) -> dict[str, Any]:
    """Judge the tools; ``rounds`` is not used, since the answers are the same every time."""
    del rounds
    plans = list(PART.plan())[: 1 if quick else None]
    cases = [plan.make() for plan in plans]
    found = {TOOLS[tool]: run_tool(tool, cases) for tool in TOOLS}
    rows = []
    for number, (plan, case) in enumerate(zip(plans, cases, strict=True)):
        errors = {name: error(METHODS[name](case, plan.mask), case) for name in BESIDE}
        errors |= {title: error(fields[number], case) for title, fields in found.items()}
        rows.append(plan._asdict() | {"errors": errors})
        print(f"  {plan.kind} {plan.strength} {plan.contrast}: {errors}", flush=True)
    keys = ("kind", "strength", "contrast")
    return {
        "methods": list(rows[0]["errors"]),
        "rows": [
            {key: row[key] for key in keys}
            | {"errors": {name: round(one, 2) for name, one in row["errors"].items()}}
            for row in rows
        ],
    }


def run_tool(tool: str, cases: list[Case]) -> list[npt.NDArray[np.float64]]:
    """The log field that a tool finds in each case, with the mask of its brain."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = [folder / f"{number:03}.npz" for number in range(len(cases))]
        for path, case in zip(paths, cases, strict=True):
            np.savez(path, image=case.image, mask=case.brain, affine=case.affine)
        run_process(prepare_peer(tool), [str(OUTSIDER), tool, name])
        fields = [np.load(path.with_suffix(".npy")).astype(float) for path in paths]
    # A few voxels at the rim have no answer; their error is taken to be that of the whole.
    return [
        np.where(np.isnan(field), np.nanmean(field - case.log_field) + case.log_field, field)
        for field, case in zip(fields, cases, strict=True)
    ]


def draw(result: dict[str, Any], folder: Path) -> None:
    """The table needs no plot."""
    del result, folder
