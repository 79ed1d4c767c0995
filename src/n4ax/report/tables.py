"""Tables in files with tabs, as BIDS has them: ``n/a`` stands for what is not known."""

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

UNKNOWN = "n/a"
_FORMULA = re.compile(r"[=+\-@'\t\r\n]")
"""How texts begin that spreadsheets take for formulas, or that begin with the mark against that."""


def write_table(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> bytes:
    """The content of a file with a header line.

    Texts that a spreadsheet would take for formulas get an apostrophe in front, which
    :func:`read_cell` takes away. Numbers stay numbers.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter="\t", lineterminator="\n")
    writer.writerow([_write_cell(column) for column in columns])
    for row in rows:
        writer.writerow([_write_cell(row[column]) for column in columns])
    return text.getvalue().encode(errors="replace")


def read_cell(cell: str) -> str:
    """The text of a cell; an empty one if it is not known."""
    text = " ".join(cell.split())
    guarded = text[:1] == "'" and _FORMULA.match(text, 1)
    return "" if text == UNKNOWN else text[1:] if guarded else text


def guard_text(text: str) -> str:
    """A text with an apostrophe in front if a spreadsheet would take it for a formula.

    ``csv`` puts no quotes around the end of a line that is not the table's own: it is escaped.
    """
    return (f"'{text}" if _FORMULA.match(text) else text).replace("\r", "\\r")


def _write_cell(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    text = " ".join(str(value).split()) if value is not None else ""
    return guard_text(text) or UNKNOWN
