"""Datasets of any names and kinds of files, planned as ``n4ax bids --dry-run`` plans them."""

from pathlib import Path, PurePosixPath
from random import Random
from typing import Any

from n4ax.bids.capacity import WorkerChoice
from n4ax.bids.derivatives import read_derivatives
from n4ax.bids.plan import ImageChoice, StudyPlan, plan_study, preview_study
from n4ax.bids.recipe import Recipe
from n4ax.cli import main
from n4ax.settings import N4Settings
from reliability.fuzz.calls import call_program
from reliability.fuzz.json_texts import draw_text, draw_value, write_json
from reliability.fuzz.listings import find_changes, list_folder
from reliability.fuzz.refusals import check_refusal
from reliability.fuzz.trees import ENTITIES, SUFFIXES, draw_label, make_tree, plant, put

SHARE = 2.0
SECONDS = 20.0

PATTERNS = (
    "{folder}/{name}_mask.nii.gz", "derivatives/{sub}/*", "**/*mask*", "{x}", "../{name}.nii.gz",
    "/proc/version", "{folder}/{stem}*", "[", "{", "{folder}/*", "desc-brain_mask",
)  # fmt: skip
QUERIED = (
    "desc-brain_mask",
    "label-WM_probseg",
    "desc-01_mask",
    "run-1_T1w",
    "desc-n4",
    "x-1_mask",
)
QUERIES = ("t1w", "T2w", "bold", "sbref", "fmap", "dwi", "flair", "epi", "é")
BY_PROGRAM = 0.05
"""The share of the inputs that are given to the program itself."""


def try_input(random: Random, folder: Path) -> str:
    """Plan a study; nothing is written, and what is planned has places of its own inside."""
    dataset = folder / random.choice(("study", "study", "a.b", "s [1]", "é"))
    make_tree(random, dataset)
    for name, share in (("fmriprep", 0.3), ("n4ax", 0.05)):
        if random.random() < share:
            make_tree(random, dataset / "derivatives" / name)
    output = _choose_output(random, folder, dataset)
    filters = _write_filters(random, folder) if random.random() < 0.4 else None
    before = list_folder(folder)
    if random.random() < BY_PROGRAM:
        words = ["bids", str(dataset), str(output), "participant", "--dry-run"]
        words += ["--bids-filter-file", str(filters)] if filters else []
        said = call_program(main, words, folder, on_stdout=True)
        text = f"{said.status} {said.out} {said.err}"
    else:
        text = _plan(random, dataset, output, filters)
    changes = find_changes(before, list_folder(folder))
    assert not changes, f"planning changed {changes}"
    return text


def _choose_output(random: Random, folder: Path, dataset: Path) -> Path:
    if random.random() < 0.9:
        return random.choice((folder / "out", dataset / "derivatives/n4ax"))
    if random.random() < 0.3:
        return random.choice((dataset, dataset / "sub-01/x"))
    plant(random, folder / "odd")
    return folder / "odd"


def _write_filters(random: Random, folder: Path) -> Path:
    """A file of filters in the form of fMRIPrep, or nearly."""
    content: Any = {
        random.choice(QUERIES): {
            random.choice((*ENTITIES, "suffix", "datatype", "acquisition", "extension")): (
                draw_label(random) if random.random() < 0.6 else draw_value(random)
            )
            for _ in range(random.randint(0, 2))
        }
        for _ in range(random.randint(0, 3))
    }
    path = folder / "filters.json"
    put(path, write_json(random, content if random.random() < 0.9 else draw_value(random)))
    return path


def _plan(random: Random, dataset: Path, output: Path, filters: Path | None) -> str:
    """Plan by the functions that the program calls; return the plan, or why there is none."""
    images = ImageChoice(
        suffixes=random.sample(SUFFIXES, random.choice((0, 0, 2))),
        participants=[draw_label(random)] if random.random() < 0.2 else (),
        sessions=[draw_label(random)] if random.random() < 0.1 else (),
        filters=filters,
        rated=("reject",) if random.random() < 0.1 else (),
    )
    try:
        plan = plan_study(_draw_recipe(random, dataset, output), images, WorkerChoice(processes=1))
        return _check_plan(plan)
    except (ValueError, OSError) as error:
        return check_refusal(error)


def _draw_recipe(random: Random, dataset: Path, output: Path) -> Recipe:
    made, longitudinal = dataset / "derivatives/fmriprep", random.random() < 0.05
    queried = made.is_dir() and random.random() < 0.9
    masks = QUERIED if queried else PATTERNS if random.random() < 0.3 else ("otsu",)
    return Recipe(
        dataset, output, N4Settings(adapt=True) if longitudinal else N4Settings(),
        mask=random.choice(masks),
        weights=random.choice(PATTERNS) if random.random() < 0.1 else None,
        derivatives=read_derivatives([str(made)]) if queried else (),
        shared_field=random.choice(((), (), (), (), ("echo",), ("session",), (draw_text(random),))),
        already=random.choice(("warn", "skip")), series=random.choice(("mean", "first", "each")),
        longitudinal=longitudinal, output_settings=random.choice(("error", "replace")),
    )  # fmt: skip


def _check_plan(plan: StudyPlan) -> str:
    """Check that each image is once in the plan, and that each result has a place of its own."""
    planned = list(preview_study(plan))
    good = [one for one in planned if not one.problem]
    for one in planned:
        for path in (one.source, one.output):
            parts = PurePosixPath(path).parts
            assert ".." not in parts, path
            assert parts[0].startswith("sub-"), path
    assert len({one.source for one in planned}) == len(planned), planned
    assert len({one.output for one in good}) == len(good), planned
    assert all("\n" not in one.problem for one in planned), planned
    return f"{[tuple(one) for one in planned]} {plan.without_images}"
