"""What pipelines run, from file to file: ANTs' program and SimpleITK's example beside ours."""

import re
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import nibabel as nib
import numpy as np
from matplotlib.figure import Figure

import n4ax
from benchmarks import plots
from benchmarks.peers import WORKER, Finished, Worker, prepare_peer, run_process
from benchmarks.rounds import ratio, spread, take_turns
from benchmarks.volumes import PACKAGED, T1W, TITLES, compare_fields, volume_exists, volume_path

SHRINK = 4
SOLVES = 4
"""Runs in one process for the time of our solver; the first compiles and does not count."""


class Case(NamedTuple):
    title: str
    options: str
    """ANTs' words; those in capitals are files of :func:`write_images`. Of the last, none."""
    once: bool = False
    """Too long for more than one round."""


CASES = (
    Case("C5, all defaults", "-i IMAGE"),
    Case("C1, niPreps anatomical", "-i TRUNCATED -s 4 -c [50x50x50x50,1e-7] -b [200]"),
    Case("C3, niPreps BOLD reference", "-i IMAGE -b [200] -x MASK -r"),
    Case("C8, QSIPrep", "-i IMAGE -w MASK -s 4 -b [150,3] -c [200x200,1e-6]"),
    Case("C8, MRtrix3 dwibiascorrect", "-i IMAGE -w MASK -s 4 -b [100,3] -c [1000,0.0]", True),
    Case("C10, SimpleITK's example", ""),
)


def measure(quick: bool, rounds: int) -> dict[str, Any]:
    name = PACKAGED if quick or not volume_exists(T1W) else T1W
    with tempfile.TemporaryDirectory() as folder, Worker(prepare_peer("n4ax")) as worker:
        files = write_images(name, Path(folder))
        shape = list(nib.load(files["IMAGE"]).shape)
        rows = [measure_case(case, files, Path(folder), worker, rounds) for case in CASES]
    return {"volume": TITLES[name], "shape": shape, "cases": rows}


def write_images(name: str, folder: Path) -> dict[str, Path]:
    """The head, the head truncated, and its Otsu mask, on its grid."""
    scan = nib.load(volume_path(name))
    image = np.asarray(scan.dataobj, np.float32)
    made = {
        "TRUNCATED": np.clip(image, *np.quantile(image, (0.01, 0.999))),
        "MASK": n4ax.otsu_mask(image),
    }
    files = {"IMAGE": volume_path(name)}
    for word, voxels in made.items():
        files[word] = folder / f"{word}.nii.gz"
        nib.save(nib.Nifti1Image(voxels.astype(np.float32), scan.affine), files[word])
    return files


def measure_case(
    case: Case, files: dict[str, Path], folder: Path, worker: Worker, rounds: int
) -> dict[str, Any]:
    print(f" {case.title}", flush=True)
    written = {side: [folder / f"{side}{n}.nii.gz" for n in (1, 2)] for side in ("theirs", "ours")}
    theirs, ours, program, words = commands(case, files, written)
    request = {"do": "solve", "program": program, "words": words, "repeats": SOLVES}
    ours()  # compiles, once on this machine
    rounds = 1 if case.once else rounds
    calls: dict[str, Callable[[], Any]] = {
        "theirs": theirs,
        "ours": ours,
        "our solve": lambda: median(worker.ask(**request)["all"][1:]),
    }
    taken = take_turns(rounds, calls)
    seconds = {
        "their_process": [one.seconds for one in taken["theirs"]],
        "our_process": [one.seconds for one in taken["ours"]],
        "their_solve": [elapsed(one.printed) for one in taken["theirs"]],
        "our_solve": taken["our solve"],
    }
    return {
        "title": case.title,
        "options": case.options or "Otsu mask, shrink factor 4, 4 × 50 iterations, threshold 0.001",
        "rounds": rounds,
        "tool": "ANTs" if case.options else "SimpleITK",
        "seconds": seconds,
        "spread": {what: spread(values) for what, values in seconds.items()},
        "process_faster_by": ratio(seconds["their_process"], seconds["our_process"]),
        "solve_faster_by": ratio(seconds["their_solve"], seconds["our_solve"]),
        "peak_bytes": {
            side: max(one.peak_bytes for one in taken[side]) for side in ("theirs", "ours")
        },
        **errors(case, files, written),
    }


def commands(
    case: Case, files: dict[str, Path], written: dict[str, list[Path]]
) -> tuple[Callable[[], Finished], Callable[[], Finished], str, list[str]]:
    """Their process and ours; the module of our program and its words."""
    engine = {"N4AX_ENGINE": "cpu"}
    if not case.options:
        image, script = str(files["IMAGE"]), ("simpleitk-example", str(SHRINK))
        their_words = [*script, image, *map(str, written["theirs"])]
        corrected, field = map(str, written["ours"])
        words = ["correct", image, "-o", corrected, "--bias", field, "--shrink-factor", str(SHRINK),
                 "-q", "--num-threads", "2", "--engine", "cpu"]  # fmt: skip
        tool, ours, program = "SimpleITK", ["n4ax", *words], "n4ax.cli"
    else:
        options = ["-d", "3", *(str(files.get(word, word)) for word in case.options.split())]
        their_words = ["ants-program", *options, *output(written["theirs"]), "-v", "1"]
        words = [*options, *output(written["ours"])]
        tool, ours, program = "ANTsPy", ["n4ax.ants", *words], "n4ax.ants.program"
    them, us = prepare_peer(tool), prepare_peer("n4ax")
    return (
        lambda: run_process(them, [str(WORKER), *their_words]),
        lambda: run_process(us, ["-m", *ours], environment=engine),
        program,
        words,
    )


def output(paths: Sequence[Path]) -> list[str]:
    return ["-o", f"[{','.join(map(str, paths))}]"]


def elapsed(printed: str) -> float:
    """Seconds of the solve, as both of their programs print them."""
    return float(re.findall(r"Elapsed time: (\S+)", printed)[0])


def errors(
    case: Case, files: dict[str, Path], written: dict[str, list[Path]]
) -> dict[str, dict[str, float]]:
    """How far our corrected image (relative) and log field are from theirs.

    In the mask or weights where they are given, else in the whole image; of C10, in the mask.
    """
    (their_image, their_field), (our_image, our_field) = (
        [np.asarray(nib.load(path).dataobj, np.float32) for path in written[side]]
        for side in ("theirs", "ours")
    )
    # ANTs and n4ax write the field itself, SimpleITK's example its logarithm.
    logs = np.log(their_field) if case.options else their_field
    whole = case.options and "MASK" not in case.options
    inside = np.ones_like(logs) if whole else np.asarray(nib.load(files["MASK"]).dataobj)
    scale = np.maximum(np.abs(their_image), 1.0)
    return {
        "field_error": compare_fields(np.log(our_field), logs, inside),
        "image_error": compare_fields(our_image / scale, their_image / scale, inside),
    }


def draw(result: dict[str, Any], folder: Path) -> None:
    """Bars of the whole processes and of the solves, in pairs."""
    figure = Figure(figsize=(9, 4.4))
    panels = figure.subplots(1, 2, sharey=True)
    cases = result["cases"]
    for panel, what in zip(panels, ("process", "solve"), strict=True):
        for number, case in enumerate(cases):
            theirs, ours = (case["spread"][f"{side}_{what}"]["median"] for side in ("their", "our"))
            for offset, value, colour in ((-0.2, theirs, case["tool"]), (0.2, ours, "n4ax")):
                panel.barh(number + offset, value, 0.38, color=plots.COLOURS[colour])
            label = f" {case[f'{what}_faster_by']['median']:.0f} ×"
            panel.text(theirs, number - 0.2, label, va="center", fontsize=8)
        panel.set(xscale="log", xlabel="seconds")
        panel.set_title("from file to file" if what == "process" else "the solve alone")
        panel.grid(axis="y", visible=False)
        panel.set_xlim(0.01, 3 * max(case["spread"][f"their_{what}"]["median"] for case in cases))
    panels[0].set_yticks(range(len(cases)), [case["title"].split(", ", 1)[1] for case in cases])
    panels[0].invert_yaxis()
    for name, label in (("ANTs", "ANTs (last: SimpleITK)"), ("n4ax", "n4ax")):
        panels[1].barh(0, 0, color=plots.COLOURS[name], label=label)
    panels[1].legend(loc="lower right", fontsize=8)
    plots.save(figure, folder / "performance-pipelines.svg")
