"""What is read of the study as a whole, and of the entries that newer records have."""

import json
from pathlib import Path
from typing import Any

import pytest

from n4ax.report.entries import complete
from n4ax.report.records import read_records
from n4ax.report.study import has_earlier_settings, read_study
from tests.report.support import STUDY, make_measures, write_record

PROFILE = {
    "Axis": "bottom to top", "Unit": "mm",
    "Positions": [0.0, 2.0, 4.0], "Before": [1.1, None, 0.9], "After": [1.0, None, 1.0],
}  # fmt: skip


def test_study_is_read(tmp_path: Path) -> None:
    (tmp_path / "n4ax_study.json").write_text(json.dumps(STUDY))
    study = read_study(tmp_path)
    assert study.dataset == "Ten heads"
    assert study.settings["T1w"]["ShrinkFactor"] == 4
    assert study.hashes == {"T1w": "1a2b3c4d", "FLAIR": "99887766"}
    assert study.rerun == "n4ax bids study out participant --mask otsu"
    assert study.last is not None
    assert study.last.machine == "scanner-7, Linux x86_64, 2 cores"
    assert study.last.counts == {"corrected": 3, "unchanged": 0, "failed": 1}


def test_study_that_is_missing_or_strange_is_empty(tmp_path: Path) -> None:
    empty = read_study(tmp_path)
    assert empty == (None, {}, {}, None, [])
    assert empty.last is None
    for key in STUDY:
        for value in (None, [], {}, "text", 3, [None], {"T1w": None}, [{"Counts": {"a": None}}]):
            (tmp_path / "n4ax_study.json").write_text(json.dumps({**STUDY, key: value}))
            read_study(tmp_path)
    (tmp_path / "n4ax_study.json").write_text("[")
    with pytest.raises(ValueError, match=r"n4ax_study\.json cannot be read"):
        read_study(tmp_path)


def test_scans_with_earlier_settings_and_with_their_own_are_found(tmp_path: Path) -> None:
    (tmp_path / "n4ax_study.json").write_text(json.dumps(STUDY))
    kinds: dict[str, dict[str, Any]] = {
        "1": {"SettingsHash": "1a2b3c4d"},
        "2": {"SettingsHash": "00000000"},
        "3": {"SettingsHash": "00000000", "Exception": True},
        "4": {},
    }
    records = []
    for subject, more in kinds.items():
        write_record(tmp_path, subject, None, "T1w", make_measures(1, "T1w"), more=more)
        records += read_records(tmp_path, subject)
    study = read_study(tmp_path)
    earlier = [record for record in records if has_earlier_settings(record, study)]
    assert [record.entries["Subject"] for record in earlier] == ["2"]


def test_new_entries_are_read_and_strange_ones_left_out() -> None:
    path = Path("sub-1/figures/sub-1_desc-n4_T1w.json")
    message = {"Code": "strong field", "Serious": True, "Text": "The field is strong."}
    given = {
        "Date": "2026-11-27T10:00:00+00:00", "Result": "0123456789ab", "SettingsHash": "1a2b3c4d",
        "Exception": True, "Directions": False, "Settings": {"ShrinkFactor": 4},
        "Messages": [message, None, {"Text": "no code"}, {"Code": "mask", "Serious": 1}],
        "Measures": {"Profile": PROFILE},
    }  # fmt: skip
    entries = complete(given, path)
    for name in ("Date", "Result", "SettingsHash", "Exception", "Directions", "Settings"):
        assert entries[name] == given[name]
    assert entries["Measures"]["Profile"] == PROFILE
    assert entries["Messages"] == [message, {"Code": "mask", "Serious": False, "Text": "mask"}]

    older = complete({"Measures": {}}, path)
    assert (older["Date"], older["Result"], older["SettingsHash"]) == (None, None, None)
    assert (older["Exception"], older["Directions"], older["Settings"]) == (False, None, {})
    assert older["Messages"] == []
    assert older["Measures"]["Profile"] is None
    for name, value in (("Before", [1.0]), ("Positions", []), ("Positions", [0, None, 1])):
        strange = {"Measures": {"Profile": {**PROFILE, name: value}}}
        assert complete(strange, path)["Measures"]["Profile"] is None
