"""What ``n4ax bids --dry-run`` prints."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from n4ax.cli.options import name_missing_extra
from n4ax.messages import escape_controls

if TYPE_CHECKING:
    from n4ax.bids.plan import PlannedImage, StudyPlan


def print_preview(plan: "StudyPlan", scratch: Path) -> bool:
    """Print what would be done; return whether every image can be corrected, as far as is known."""
    from n4ax.bids.checks import describe_problems
    from n4ax.bids.plan import preview_study

    planned, sources = list(preview_study(plan)), plan.sources
    width = max(len(image.source) for image in planned)
    shared = "settings" if plan.recipe.longitudinal else "field"
    for image in planned:
        for line in _describe(image, width, shared):
            print(escape_controls(line))
    if plan.workers.are_jobs:
        with name_missing_extra("cluster"):
            from n4ax.bids.workers.connection import make_job_script

            print(f"\nThe script of each job:\n\n{make_job_script(plan.workers, scratch)}")
    for name, folder in plan.recipe.derivatives:
        print(f"Derivatives {name}: {folder}")
    for line in describe_problems(plan.problems, len(sources)):
        print(escape_controls(line))
    people = write_count(len({source.participant for source in sources}), "participant")
    print(f"{write_count(len(sources), 'image')} of {people}; nothing was done (--dry-run).")
    return not any(image.problem for image in planned)


def write_count(number: int, what: str) -> str:
    """Write ``1 image`` or ``2 images``."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _describe(image: "PlannedImage", width: int, shared: str) -> Iterator[str]:
    """A line for an image, and one for each file that belongs to it."""
    start = f"{image.source:{width}} -> "
    if image.problem:
        yield start + image.problem
        return
    names = [name for name, _ in image.files]
    words = [] if "mask" in names else [f"mask {image.mask}"]
    if image.others:
        words.append(f"{shared} shared with {', '.join(image.others)}")
    yield start + image.output + (f" ({'; '.join(words)})" if words else "")
    for number, (name, path) in enumerate(image.files):
        is_first = name not in names[:number]
        yield f"    {name if is_first else '':8} {path}"
