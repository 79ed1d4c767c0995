"""Tables of ratings of any cells: read, merged, written, and read again."""

import csv
import io
from pathlib import Path
from random import Random

from n4ax.report.layout import RATINGS
from n4ax.report.ratings import find_newest, merge_ratings, read_folder_ratings, read_ratings
from reliability.fuzz.calls import list_unfinished
from reliability.fuzz.json_texts import draw_text, spoil
from reliability.fuzz.refusals import check_refusal

SHARE = 0.5
SECONDS = 10.0

COLUMNS = ("source", "rating", "note", "rater", "date", "result")
WORDS = ("accept", "unsure", "reject")
DATES = (
    "2026-11-27T10:00:00Z", "2026-11-27", "2026-11-27T10:00:00.123+14:00",
    "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59-14:00", "20261127T100000", "2026-W48-5", "yesterday", "1764237600", "",
)  # fmt: skip
SOURCES = ("sub-01/anat/sub-01_T1w.nii.gz", "=a", "a  b", "'x", "é")


def try_input(random: Random, folder: Path) -> str:
    """Merge tables; what is written has the newest ratings, and is read as it was."""
    paths = [folder / name for name in ("one.tsv", "two.tsv", RATINGS)]
    for path in paths:
        if path.name != RATINGS or random.random() < 0.4:
            path.write_bytes(_make_table(random))
    known = [*SOURCES, draw_text(random)]
    before = {path: path.read_bytes() for path in paths if path.exists()}
    try:
        given = [rating for path in paths[:2] for rating in read_ratings(path)]
        merged = merge_ratings(folder, paths[:2], known)
    except (ValueError, OSError) as error:
        assert before == {path: path.read_bytes() for path in paths if path.exists()}
        return check_refusal(error, [str(folder)])
    assert merged.taken + merged.unknown == len(given)
    assert not list_unfinished(folder)
    kept = read_folder_ratings(folder)
    text = (folder / RATINGS).read_bytes()
    merge_ratings(folder, [], known)
    assert (folder / RATINGS).read_bytes() == text, "merging nothing changed the table"
    newest = find_newest([rating for rating in given if rating.source in known])
    for source, rating in newest.items():
        assert any(one.source == source and one.date >= rating.date for one in kept), rating
    lines = csv.reader(io.StringIO(text.decode()), delimiter="\t")
    cells = [cell for line in lines for cell in line]
    assert not any(cell[:1] in ("=", "+", "-", "@") for cell in cells), cells
    return f"{merged} {kept}"


def _make_table(random: Random) -> bytes:
    """A table as a page saves it, or as a person or a spreadsheet changes it."""
    columns = list(COLUMNS)
    if random.random() < 0.15:
        random.shuffle(columns)
        columns = columns[: random.randint(0, 6)]
    text = io.StringIO()
    writer = csv.writer(
        text, delimiter="\t" if random.random() < 0.97 else ",",
        lineterminator=random.choice(("\n", "\r\n")), quoting=random.choice((0, 0, 1)),
    )  # fmt: skip
    writer.writerow(columns)
    for _ in range(random.randint(0, 4)):
        cells = {
            "source": random.choice(SOURCES) if random.random() < 0.9 else draw_text(random),
            "rating": random.choice(WORDS) if random.random() < 0.95 else draw_text(random),
            "date": random.choice(DATES[:3]) if random.random() < 0.85 else random.choice(DATES),
        }
        writer.writerow([cells.get(name, draw_text(random)) for name in columns])
    data = text.getvalue().encode(errors="replace")
    data = random.choice((b"", b"", b"\xef\xbb\xbf")) + data
    return spoil(random, data) if random.random() < 0.08 else data
