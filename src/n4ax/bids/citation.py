"""Text on a study for the methods section of a paper, as a file of the output folder."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import fields
from math import prod
from pathlib import Path
from typing import Any

from n4ax.bids.staging import write_text
from n4ax.messages import make_one_line
from n4ax.provenance import compose_methods
from n4ax.report.layout import CITATION, STUDY
from n4ax.report.records import find_labels, read_records
from n4ax.report.study import read_study
from n4ax.settings import N4Settings
from n4ax.version import __version__

_PAGE = """\
# For your paper

n4ax {version} wrote the text between the two lines from the settings of this folder. Copy it into
papers and supplements, as it is or changed: it is in the public domain
([CC0](https://creativecommons.org/publicdomain/zero/1.0/)).

---

{text}

**References**

{references}

---
"""


def write_citation(
    settings: N4Settings, described_by_suffix: Mapping[str, Mapping[str, Any]]
) -> str:
    """Write how a study was corrected, with references, as a page of Markdown.

    Parameters
    ----------
    settings
        The parameters of N4.
    described_by_suffix
        For each suffix, such as ``T1w``, what is described besides the settings, as for
        :func:`n4ax.provenance.write_methods`. Suffixes of one description share a paragraph.

    Returns
    -------
    str
        The page, which does not depend on the order of the suffixes.

    Raises
    ------
    ValueError
        There is no suffix.
    """
    if not described_by_suffix:
        raise ValueError("described_by_suffix is empty; expected a suffix at least, such as T1w")
    suffixes: dict[str, list[str]] = {}
    references: dict[str, None] = {}
    for suffix in sorted(described_by_suffix):
        text, cited = compose_methods(settings, described_by_suffix[suffix])
        suffixes.setdefault(text, []).append(suffix)
        references |= dict.fromkeys(cited)
    paragraphs = [f"*{_list(names)} images.* {_escape(text)}" for text, names in suffixes.items()]
    return _PAGE.format(
        version=__version__,
        text="\n\n".join(paragraphs),
        references="\n".join(f"- {reference}" for reference in references),
    )


def write_folder_citation(output: Path) -> Path | None:
    """Write ``logs/CITATION.md``, from what the output folder says of its settings.

    Returns
    -------
    Path or None
        The page; ``None`` if the folder says nothing, since an earlier version wrote it.

    Raises
    ------
    ValueError
        A file of the folder is not what n4ax writes.
    OSError
        The page cannot be written.
    """
    known = read_study(output).settings
    described = {suffix: _describe(output, suffix, own) for suffix, own in known.items()}
    if not described:
        return None
    try:
        settings = _read_settings(next(iter(known.values())))
    except (ValueError, TypeError) as error:
        raise ValueError(f"{output / STUDY} has settings that nobody can use: {error}") from None
    page = output / "logs" / CITATION
    page.parent.mkdir(exist_ok=True)
    write_text(page, write_citation(settings, described))
    return page


def _read_settings(listed: Mapping[str, Any]) -> N4Settings:
    """The parameters of N4, which are the same for all suffixes."""
    names = {field.name for field in fields(N4Settings)}
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in listed.items()
        if name in names
    }
    return N4Settings(**values)


def _describe(output: Path, suffix: str, own: Mapping[str, Any]) -> dict[str, Any]:
    """What is described besides these parameters."""
    described = {"Mask": "otsu", **own, "SharedBy": own.get("SharedField")}
    described.pop("SharedField", None)
    if _has_series(output, suffix):
        series = own.get("Series")
        described["EstimatedOn"] = tuple(series) if isinstance(series, list) else series
    return described


def _has_series(output: Path, suffix: str) -> bool:
    """Whether images with a suffix have several volumes, as the first of them says."""
    records = (one for label in find_labels(output) for one in read_records(output, label))
    found = (record.entries["Shape"] for record in records if record.entries["Suffix"] == suffix)
    return prod(next(found, [])[3:]) > 1


def _list(names: Sequence[str]) -> str:
    """``T1w``, ``T1w and T2w``, or ``FLAIR, T1w and T2w``."""
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def _escape(text: str) -> str:
    """Text in one line, in which Markdown sees no marks: patterns of masks have stars."""
    return re.sub(r"([\\`*_<\[])", r"\\\1", make_one_line(text))
