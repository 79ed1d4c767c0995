"""The images of a study that people have rated in some way."""

from collections.abc import Collection, Sequence
from pathlib import Path

from n4ax.bids.inputs import Source
from n4ax.errors import InputError
from n4ax.report.layout import RATINGS
from n4ax.report.ratings import find_newest, is_outdated, read_folder_ratings
from n4ax.report.records import NothingToReportError, find_labels, read_records


def select_rated(output: Path, sources: Sequence[Source], wanted: Collection[str]) -> list[Source]:
    """Select the images whose newest rating is one of those wanted.

    A rating counts for the result that was rated: an image that has been corrected anew since is
    not selected.

    Parameters
    ----------
    output
        The output folder, with its table of ratings.
    sources
        The images.
    wanted
        The ratings: accept, unsure or reject.

    Raises
    ------
    InputError
        There is no table of ratings, it cannot be read, or no image is rated so.
    OSError
        A file cannot be read.
    """
    if not (output / RATINGS).exists():
        raise InputError(
            "{rated} is {0}, but {output} {1} has no {2}: save the ratings from the page of the "
            "group, and merge them with n4ax report OUTPUT_DIR --ratings FILE",
            " ".join(wanted),
            output,
            RATINGS,
        )
    newest = find_newest(read_folder_ratings(output))
    results = _find_results(output)
    selected = [
        source
        for source in sources
        if (rating := newest.get(source.path)) is not None
        and rating.rating in wanted
        and not is_outdated(rating, results.get(source.path))
    ]
    if not selected:
        raise InputError(
            "no image is rated {0} in {1}, or all such images have been corrected anew since: "
            "leave out {rated}, or rate more",
            " or ".join(wanted),
            output / RATINGS,
        )
    return selected


def _find_results(output: Path) -> dict[str, str | None]:
    """Which result each image has, by the path of the image."""
    try:
        labels = find_labels(output)
    except NothingToReportError:
        return {}
    records = (record for label in labels for record in read_records(output, label))
    return {record.entries["Source"]: record.entries["Result"] for record in records}
