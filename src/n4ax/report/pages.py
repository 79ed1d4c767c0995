"""Web pages of the reports: a page for each participant, and a page for the group.

Each page is a single file that fetches nothing, and the same records give the same bytes.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined

from n4ax.files import write_file
from n4ax.report import charts
from n4ax.report.checks import CHECKS
from n4ax.report.formats import format_number, format_seconds, format_sentence
from n4ax.report.group import MOST_PICTURED, describe_rows, make_strips, summarise
from n4ax.report.group_tables import write_tables
from n4ax.report.layout import GROUP_PAGE
from n4ax.report.participant import make_scan_view
from n4ax.report.pictures import make_field_colours
from n4ax.report.ratings import describe_ratings, list_next_steps, read_folder_ratings
from n4ax.report.records import (
    NothingToReportError,
    Record,
    find_labels,
    read_failures,
    read_records,
)
from n4ax.report.rows import make_rows
from n4ax.report.study import read_study
from n4ax.version import __version__


def write_all(output: Path, progress: Callable[[int, int], None] | None = None) -> list[Path]:
    """Write the pages of all participants and of the group.

    If a page cannot be written, the others are all the same.

    Parameters
    ----------
    output : Path
        The folder with the records and pictures of a run; the pages are written to it.
    progress : callable, optional
        Called as ``progress(done, total)`` after each page.

    Returns
    -------
    list of Path
        The pages; the page of the group is the last.

    Raises
    ------
    ValueError
        There are no records, or a file is not a record.
    OSError
        A file cannot be read or written.
    """
    labels = find_labels(output)
    written: list[Path] = []
    problems: list[Exception] = []
    for done, label in enumerate([*labels, None], start=1):
        try:
            if label is None:
                written.append(write_group(output))
            else:
                written.append(write_participant(output, label, find_neighbours(label, labels)))
        except (OSError, ValueError) as error:
            problems.append(error)
        if progress:
            progress(done, len(labels) + 1)
    _raise(problems)
    return written


def write_participant(output: Path, label: str, neighbours: tuple[str | None, str | None]) -> Path:
    """Write ``sub-<label>.html``.

    Parameters
    ----------
    output : Path
        The folder, as for :func:`write_all`.
    label : str
        The label of the participant, with or without ``sub-``.
    neighbours : tuple
        The labels of the participants before and after, to which the page links; ``None`` for no
        link.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    NothingToReportError
        The participant has neither a scan nor a failure.
    ValueError
        A file is not a record.
    OSError
        A file cannot be read or written.
    """
    label = label.removeprefix("sub-")
    records = read_records(output, label)
    failures = [entry for entry in read_failures(output) if str(entry["Subject"]) == label]
    if not records and not failures:
        raise NothingToReportError(
            f"{output / f'sub-{label}'}: no scan to report on (looked for figures/*.json and "
            f"ses-*/figures/*.json): run n4ax bids on participant {label} first"
        )
    before, after = neighbours
    study = read_study(output)
    page = output / f"sub-{label}.html"
    with _explain_errors(page):
        return _write_page(
            page,
            "participant.html",
            label=label,
            scans=[make_scan_view(record, study) for record in records],
            failures=failures,
            before=before,
            after=after,
            colours=_make_gradient(),
            checks=list(CHECKS.items()),
            rating=_describe_ratings(output, records),
            version=_list_versions(records),
        )


def write_group(output: Path) -> Path:
    """Write ``group.html``, and the same numbers as tables, ``group_<suffix>.tsv``.

    Parameters
    ----------
    output : Path
        The folder, as for :func:`write_all`.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    ValueError
        There are no records, or a file is not a record.
    OSError
        A file cannot be read or written.
    """
    records = [record for label in find_labels(output) for record in read_records(output, label)]
    page = output / GROUP_PAGE
    with _explain_errors(page):
        study, ratings = read_study(output), read_folder_ratings(output)
        rows = make_rows(records, read_failures(output), study, ratings)
        tables = write_tables(output, rows)
        return _write_page(
            page,
            "group.html",
            study=study,
            summary=summarise(rows, study),
            scans=describe_rows(rows),
            strips=make_strips(rows),
            tables=[table.name for table in tables],
            most_pictured=MOST_PICTURED,
            rating=describe_ratings(ratings, study, [row.source for row in rows]),
            steps=list_next_steps(study),
            version=_list_versions(records),
        )


def remove_empty(output: Path) -> None:
    """Remove the pages of participants that no longer have a scan or a failure.

    Raises
    ------
    NothingToReportError
        No participant has a scan or a failure.
    OSError
        A page cannot be removed.
    """
    names = {f"sub-{label}.html" for label in find_labels(output)}
    for page in output.glob("sub-*.html"):
        if page.name not in names:
            page.unlink(missing_ok=True)


def find_neighbours(label: str, labels: Sequence[str]) -> tuple[str | None, str | None]:
    """The labels before and after a label; ``None`` where there is none."""
    if label not in labels:
        return None, None
    place = labels.index(label)
    return (
        labels[place - 1] if place > 0 else None,
        labels[place + 1] if place + 1 < len(labels) else None,
    )


def _describe_ratings(output: Path, records: Sequence[Record]) -> Mapping[str, Any]:
    sources = [record.entries["Source"] for record in records]
    return describe_ratings(read_folder_ratings(output), read_study(output), sources)


def _raise(problems: Sequence[Exception]) -> None:
    """Raise the only problem, or one error with all different ones."""
    texts = list(dict.fromkeys(map(_describe, problems)))
    if len(texts) == 1:
        raise problems[0]
    if texts:
        raise ValueError("; ".join(texts))


def _describe(problem: Exception) -> str:
    if isinstance(problem, OSError) and problem.filename and problem.strerror:
        return f"{problem.filename}: {problem.strerror}"
    return str(problem)


@contextmanager
def _explain_errors(page: Path) -> Iterator[None]:
    """Name the page in errors that nobody foresaw, as from a record with strange entries."""
    try:
        yield
    except (OSError, ValueError, MemoryError):
        raise
    except Exception as error:
        raise ValueError(
            f"{page} cannot be made from its records ({type(error).__name__}: {error}): run "
            "n4ax bids again"
        ) from error


def _write_page(path: Path, template: str, **context: Any) -> Path:
    page = make_environment().get_template(template).render(**context).encode(errors="replace")
    write_file(path, page)  # a page that stays the same keeps its time of change
    return path


@cache
def make_environment() -> Environment:
    """Make what the templates are rendered in, with the filters that they use."""
    environment = Environment(
        loader=PackageLoader("n4ax.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        number=format_number,
        seconds=format_seconds,
        sentence=format_sentence,
        page=_link_page,
        quote=_quote,
        change=_measure_change,
    )
    environment.globals.update(charts=charts)
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "allow_nan": False}
    return environment


def _link_page(label: str) -> str:
    return _quote(f"sub-{label}.html")


def _quote(text: str) -> str:
    """A text as part of an address; of a name that is no UTF-8, the bytes that it has."""
    try:
        return quote(os.fsencode(text))
    except UnicodeEncodeError:  # half of a surrogate pair, which is in no name of a file
        return quote(text, errors="replace")


def _measure_change(after: float | None, before: float | None) -> float | None:
    """The relative change from ``before`` to ``after``, as a fraction of ``before``."""
    return None if before is None or after is None or before <= 0 else after / before - 1


def _list_versions(records: Sequence[Record]) -> str:
    """The versions of n4ax that made the records; a record without one counts as this version."""
    found = {str(record.entries["Version"] or __version__) for record in records}
    return ", ".join(sorted(found)) or __version__


@cache
def _make_gradient() -> str:
    """The colours of a field as stops of a CSS gradient."""
    return ", ".join("#" + bytes(colour).hex() for colour in make_field_colours()[::15])
