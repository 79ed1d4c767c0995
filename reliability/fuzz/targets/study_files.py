"""What earlier runs left in an output folder, damaged: read, compared, completed and replaced."""

from pathlib import Path
from random import Random

from n4ax.bids.citation import write_folder_citation
from n4ax.bids.image import Outcome
from n4ax.bids.inputs import Source
from n4ax.bids.journal import Journal
from n4ax.bids.outputs import Outputs, check_output, prepare_output
from n4ax.bids.rated import select_rated
from n4ax.bids.recipe import Recipe
from n4ax.bids.sidecar import Identity, is_complete, loses_own_settings
from n4ax.bids.staging import discard_leftovers
from n4ax.bids.study_file import add_run, check_folder, take_folder
from n4ax.settings import N4Settings
from reliability.fuzz.calls import list_unfinished
from reliability.fuzz.json_texts import draw_text
from reliability.fuzz.listings import check_only_inside, list_folder
from reliability.fuzz.outputs import make_kept, make_output, put
from reliability.fuzz.refusals import call

SHARE = 2.0
SECONDS = 20.0

SOURCE = "sub-01/anat/sub-01_T1w.nii.gz"
SETTINGS = {"T1w": {"shrink_factor": 4, "Mask": "otsu"}}


def try_input(random: Random, folder: Path) -> str:
    """Do what a run does with the folder; nothing outside of it changes."""
    dataset, output = folder / "study", folder / "out"
    put(dataset / SOURCE, b"")
    make_kept(folder)
    make_output(random, output, files=3)
    before = list_folder(folder)
    said = [_do(random, dataset, output) for _ in range(random.randint(1, 3))]
    after = list_folder(folder)
    check_only_inside(before, after, "out")
    assert not list_unfinished(output), list_unfinished(output)
    return f"{said}"


def _do(random: Random, dataset: Path, output: Path) -> str:
    """One step of a run, or of a report."""
    names = [str(output)]
    source = Source.of(SOURCE)
    policy = random.choice(("error", "replace"))
    recipe = Recipe(dataset, output, N4Settings(), output_settings=policy)
    match random.randrange(9):
        case 0:
            return call(check_output, dataset, output, names=names)
        case 1:
            return call(prepare_output, dataset, output, names=names)
        case 2:
            return call(check_folder, output, SETTINGS, policy, names=names)
        case 3:
            return call(take_folder, dataset, output, SETTINGS, policy, "n4ax", names=names)
        case 4:
            return call(add_run, output, "n4ax bids", 1.0, {"failed": 1}, names=names)
        case 5:
            return call(lambda: _write_journal(random, dataset, output), names=names)
        case 6:
            outputs, identity = Outputs.of(source), Identity("0.2.0", "0123456789ab", {})
            complete = is_complete(recipe, outputs, identity)
            return f"{complete} {loses_own_settings(recipe, outputs)}"
        case 7:
            return call(select_rated, output, [source], ["reject"], names=names)
        case _:
            discard_leftovers(output)
            return call(write_folder_citation, output, names=names)


def _write_journal(random: Random, dataset: Path, output: Path) -> set[str]:
    """Note that an image failed or not, and list all failures."""
    journal = Journal(dataset, output)
    state = random.choice(("failed", "corrected", "unchanged", "skipped"))
    journal.add(Outcome(SOURCE, "01", state, reason=draw_text(random)))
    return journal.write_errors()
