"""``N4Settings.fast()`` and other short cuts, compared with all iterations of [50, 50, 50, 50]."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from benchmarks import plots
from benchmarks.peers import Worker, prepare_peer
from benchmarks.rounds import ratio, spread, take_turns
from benchmarks.volumes import PACKAGED, Volume, compare_files, load_volume, volume_exists

HEADS = (
    "t1w_head_memprage_3t_fnndsc_adi",
    "t1w_head_studyforrest_0p7mm",
    "t1w_head_gre_3t_uih_0p5mm",
    "flair_head_ms_3mm",
    "flair_head_tcga_thick5p5mm_oblique",
    "t1gd_brain_skullstripped_uint8_sclslope",
    "epi_7t_layerfmri_oblique_sclslope",
    "brain_2d_rss8ch_sigpy",
    "mouse_anat_small_sammba",
)
LARGE = 5_000_000
"""For masks of more voxels than this, two rounds are enough."""

ALL, FAST, OLD = "all iterations", "fast()", "n4ax 0.1.1"
_NO_THRESHOLD = {"conv_threshold": 0.0}
VARIANTS: dict[str, dict[str, Any]] = {
    ALL: _NO_THRESHOLD,
    FAST: _NO_THRESHOLD | {"accelerate": True},
    "(8, 12, 12, 8) × 1.8": _NO_THRESHOLD | {"iters": [8, 12, 12, 8], "over_relax": 1.8},
    "(28, 28, 28, 28) × 1.8": _NO_THRESHOLD | {"iters": [28] * 4, "over_relax": 1.8},
    "shrink factor 2": _NO_THRESHOLD | {"shrink_factor": 2},
    "shrink factor 4": _NO_THRESHOLD | {"shrink_factor": 4},
}
"""Ways to call n4ax, and their keywords: the fast preset, fewer iterations, and fewer voxels."""

MARKS = dict(zip((*VARIANTS, OLD), "os^v<>D", strict=True))


def measure(quick: bool, rounds: int) -> dict[str, Any]:
    """Time every way on every head, and compare its field with that of all iterations."""
    there = [name for name in HEADS if volume_exists(name)]
    names = [PACKAGED] if quick or not there else there
    with tempfile.TemporaryDirectory() as folder:
        return {"heads": [measure_head(load_volume(name), rounds, Path(folder)) for name in names]}


def measure_head(head: Volume, rounds: int, folder: Path) -> dict[str, Any]:
    """The seconds and the error of every way on one head."""
    described = head.describe()
    print(described["name"], described["voxels"], flush=True)
    path = head.save(folder)
    with Worker(prepare_peer("n4ax")) as ours, Worker(prepare_peer(OLD)) as old:

        def call(worker: Worker, name: str, keywords: dict[str, Any]) -> Callable[[], float]:
            output = str(folder / f"{name}.npy".replace(" ", ""))
            request = {"do": "correct", "input": path, "keywords": keywords}
            worker.ask(**request, output=output)  # compiles, and writes the field
            return lambda: worker.ask(**request)["seconds"]

        calls = {name: call(ours, name, keywords) for name, keywords in VARIANTS.items()
                 if head.image.ndim == 3 or "shrink" not in name}  # fmt: skip
        calls[OLD] = call(old, OLD, {})
        taken = take_turns(min(rounds, 2) if described["voxels"] > LARGE else rounds, calls)
    fields = {name: folder / f"{name}.npy".replace(" ", "") for name in taken}
    return described | {
        "ways": {
            name: {
                "seconds": seconds,
                "spread": spread(seconds),
                "faster_by": ratio(taken[ALL], seconds),
                "error": compare_files(fields[name], fields[ALL], head.mask),
            }
            for name, seconds in taken.items()
        }
    }


def draw(result: dict[str, Any], folder: Path) -> None:
    """Plot how much faster each way is on each head against its error."""
    figure = Figure(figsize=(8, 4.6))
    panel = figure.subplots()
    for name, mark in MARKS.items():
        found = [head["ways"][name] for head in result["heads"] if name in head["ways"]]
        if name == ALL:
            continue
        panel.plot(
            [each["error"]["mean"] for each in found],
            [each["faster_by"]["median"] for each in found],
            mark,
            label=name,
            color=plots.COLOURS[OLD] if name == OLD else "#1b6ca8" if name == FAST else None,
            markersize=9 if name == FAST else 6,
            alpha=0.85,
        )
    panel.axvline(0.003, color="#4d4d4d", lw=1, ls="--")
    panel.axhline(5, color="#4d4d4d", lw=1, ls="--")
    panel.set(xscale="log", yscale="log", ylabel="times faster than all iterations")
    panel.set_xlabel("mean difference of the log field to all iterations, no scale removed")
    panel.annotate("0.3 %", (0.0031, panel.get_ylim()[0] * 1.1), fontsize=9, color="#4d4d4d")
    panel.legend(fontsize=9, loc="upper left", bbox_to_anchor=(1, 1))
    plots.save(figure, folder / "performance-accelerated.svg")
