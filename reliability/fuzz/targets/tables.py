"""Tables that ``n4ax correct`` keeps, damaged: read, asked, completed and written again."""

import csv
import json
from pathlib import Path
from random import Random
from typing import Any

from n4ax.correction.outcome import Outcome
from n4ax.correction.recipe import Outputs, Task
from n4ax.correction.table import Table
from n4ax.mask_files import MaskChoice
from reliability.fuzz.calls import list_unfinished
from reliability.fuzz.json_texts import change_values, draw_text, write_json
from reliability.fuzz.listings import check_only_inside, list_folder
from reliability.fuzz.outputs import damage, put
from reliability.fuzz.refusals import check_refusal

SHARE = 0.5
SECONDS = 10.0

ENTRY: dict[str, Any] = {
    "output": "a_n4.nii.gz", "image": "../in/a.nii.gz", "state": "corrected", "reason": "",
    "seconds": 1.2, "notes": "", "mask": "otsu", "mask_voxels": 123, "iterations": "3x5",
    "stopped": "converged, converged", "field_min": 0.7, "field_max": 1.4,
    "field_min_in_mask": 0.7, "field_max_in_mask": 1.3, "Files": {"a_n4.nii.gz": 3},
    "Record": {"Verdict": {"Messages": [{"Code": "small-mask", "Serious": True}]}}, "Stamp": "s",
}  # fmt: skip


def try_input(random: Random, folder: Path) -> str:
    """Do with a table what a run does; what is read again is what was written."""
    place = folder / "out"
    names = ("a_n4.nii.gz", "=1+1.nii.gz", "é\n.nii.gz")
    entries = [change_values(random, {**ENTRY, "output": name}, 0.1) for name in names]
    content = {"n4ax": "0.2.0", "Command": ["n4ax"], "Images": entries}
    record, rows = place / "n4ax.json", place / "n4ax.tsv"
    if random.random() < 0.8:
        put(record, write_json(random, change_values(random, content, 0.02)))
    else:
        damage(random, record, content)
    if random.random() < 0.9:
        damage(random, rows, draw_text(random)) if random.random() < 0.2 else put(rows, b"image\n")
    put(folder / "kept" / "file.json", b"{}")
    before = list_folder(folder)
    try:
        text = _use(random, rows)
    except (ValueError, OSError) as error:
        text = check_refusal(error, [str(place)])
    check_only_inside(before, list_folder(folder), "out")
    assert not list_unfinished(folder)
    return text


def _use(random: Random, rows: Path) -> str:
    table = Table(rows, ["n4ax", draw_text(random)])
    task = _make_task(rows.parent)
    said = [sorted(map(str, table.known_files)), table.is_complete(task, "s")]
    said.append(table.is_suspicious(task))
    table.start([task])
    reason = draw_text(random)
    table.add(Outcome(str(task.image), task.outputs.output, "failed", reason=reason))
    table.write()
    with rows.open(encoding="utf-8", newline="") as file:
        lines = list(csv.reader(file, dialect="excel-tab"))
    listed = json.loads(rows.with_suffix(".json").read_bytes())["Images"]
    assert len(lines) == len(listed) + 1, lines
    assert {len(line) for line in lines} == {len(lines[0])}, lines
    assert all(line[1].removeprefix("'") for line in lines)
    assert not any(cell[:1] in ("=", "@") for line in lines for cell in line), lines
    again = Table(rows)
    assert again.known_files >= table.known_files - {*task.outputs.files}
    return f"{said} {lines}"


def _make_task(folder: Path) -> Task:
    outputs = Outputs(folder / "a_n4.nii.gz")
    return Task(folder.parent / "in" / "a.nii.gz", MaskChoice(), None, None, outputs)
