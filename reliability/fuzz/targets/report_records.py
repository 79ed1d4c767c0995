"""Output folders whose records have any values: pages, tables and ratings made from them."""

import csv
import json
from pathlib import Path
from random import Random

from n4ax.bids.study import report_study
from n4ax.report.pages import write_all
from n4ax.report.records import find_labels
from n4ax.report.tables import read_cell
from reliability.fuzz.json_texts import change_values, draw_text, write_json
from reliability.fuzz.listings import check_only_inside, list_folder
from reliability.fuzz.outputs import FAILURE, RECORD, STUDY, make_kept, make_output, put
from reliability.fuzz.pages import check_page
from reliability.fuzz.refusals import check_refusal

SHARE = 2.0
SECONDS = 20.0

LABELS = ("01", "2", "10", "<b>", "a'b", '"x"', "é", "=1+1", "a&b", "..", "x" * 100)


def try_input(random: Random, folder: Path) -> str:
    """Write all pages, and check that each value stayed a text in them."""
    output = folder / "out"
    make_kept(folder)
    if random.random() < 0.3:
        make_output(random, output)
    else:
        _make_records(random, output)
    before = list_folder(folder)
    try:
        written = write_all(output) if random.random() < 0.5 else report_study(output)
    except (ValueError, OSError) as error:
        check_only_inside(before, list_folder(folder), "out")
        return check_refusal(error, [str(output)])
    after = list_folder(folder)
    check_only_inside(before, after, "out")
    assert all(path.parent in (output, output / "logs") for path in written), written
    labels = find_labels(output)
    for page in [output / "group.html", *(output / f"sub-{label}.html" for label in labels)]:
        if page in written:
            data = check_page(page)
            if page.name == "group.html":
                _check_tables(output, data)
    return f"{labels} {[after[path.relative_to(folder).as_posix()][1] for path in written]}"


def _make_records(random: Random, output: Path) -> None:
    """Records of one to three scans, each with some odd values, and what is around them."""
    for number in range(random.randint(1, 3)):
        label = random.choice(LABELS)
        name = f"sub-{label}_run-{number}_desc-n4_T1w"
        content = change_values(random, RECORD, 0.05)
        put(output / f"sub-{label}" / "figures" / f"{name}.json", json.dumps(content).encode())
    if random.random() < 0.5:
        content = change_values(random, STUDY, 0.1)
        put(output / "n4ax_study.json", json.dumps(content).encode())
    if random.random() < 0.5:
        failures = [{**FAILURE, random.choice(tuple(FAILURE)): draw_text(random)}]
        put(output / "n4ax_errors.json", write_json(random, {"Errors": failures}))
    if random.random() < 0.2:
        cells = [RECORD["Source"], "reject", draw_text(random), draw_text(random), "2026-11-27"]
        text = "source\trating\tnote\trater\tdate\n" + "\t".join(map(str, cells)) + "\n"
        put(output / "ratings.tsv", text.encode(errors="replace"))


def _check_tables(output: Path, data: dict) -> None:  # type: ignore[type-arg]
    """Check that the tables have the values that the page has, and that none is a formula."""
    names, rows = data["data"]["Columns"], data["data"]["Rows"]
    place = names.index("source")
    sources = sorted(" ".join(str(row[place]).split()).replace("\ufffd", "?") for row in rows)
    found = []
    for path in filter(Path.is_file, sorted(output.glob("group_*.tsv"))):
        if b"settings_hash" not in path.read_bytes()[:10_000]:
            continue  # it is not of n4ax
        with path.open(encoding="utf-8", newline="") as file:
            lines = list(csv.reader(file, delimiter="\t"))
        head = [read_cell(cell) for cell in lines[0]]
        assert {len(line) for line in lines} == {len(head)}, lines
        found += [read_cell(line[head.index("source")]) for line in lines[1:]]
        for cell in (cell for line in lines for cell in line):
            assert cell[:1] not in ("=", "@"), cell
            assert cell == " ".join(cell.split()), cell
    assert len(found) == len(sources), (found, sources)
