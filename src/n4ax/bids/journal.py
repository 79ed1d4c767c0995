"""The written record of a study: a log for each participant, and the images that failed.

The logs say what was done, so that a run that does nothing changes no file. Each failure has a file
of its own, at the path of its image, which is removed when the image has been corrected or no
longer exists. ``n4ax_errors.json`` is made from these files, so it is true of the whole output,
whatever other runs have done to it.
"""

import os
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from n4ax.bids.image import Outcome
from n4ax.bids.staging import FAILED, PRIVATE, append_text, hold_lock, make_private, write_text
from n4ax.messages import escape_controls, make_one_line
from n4ax.paths import is_elsewhere, is_there
from n4ax.provenance import format_json
from n4ax.report.layout import ERRORS
from n4ax.report.records import is_failure
from n4ax.texts import read_json_file


class Journal:
    """The journal of a run.

    Parameters
    ----------
    dataset, output
        The folders of the dataset and of the corrected images.
    """

    def __init__(self, dataset: Path, output: Path) -> None:
        self._dataset = dataset
        self._output = output
        self._failures = output / PRIVATE / FAILED
        self._changed = True

    def add(self, outcome: Outcome) -> None:
        """Log what was done with an image, and remember or forget that it failed.

        Raises
        ------
        OSError
            The output cannot be written to, or the disk is full.
        """
        self._log(outcome)
        path = self._find_place(outcome.source)
        if outcome.state != "failed":
            self._changed |= is_there(path)
            path.unlink(missing_ok=True)
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        failure = {
            "Source": outcome.source, "Subject": outcome.participant, "Reason": outcome.reason
        }  # fmt: skip
        write_text(path, format_json(failure))
        self._changed = True

    def write_errors(self) -> set[str]:
        """Write ``n4ax_errors.json`` if anything has changed.

        Returns
        -------
        set of str
            Labels of the participants of which a failure was removed because the image no longer
            exists.

        Raises
        ------
        OSError
            The output cannot be written to, or the disk is full.
        """
        forgotten: set[str] = set()
        if not self._changed:
            return forgotten
        with hold_lock(make_private(self._output) / "errors.lock"):
            failures = []
            for path in self._list_failures():
                try:
                    failure = self._read_failure(path)
                except (FileNotFoundError, ValueError):  # it has gone, or is damaged
                    continue
                image = self._dataset / failure["Source"]
                if is_there(image):
                    failures.append(failure)
                else:
                    forgotten.add(failure["Subject"])
                    path.unlink(missing_ok=True)
            write_text(self._output / ERRORS, format_json({"Errors": failures}))
        self._changed = False
        return forgotten

    def _find_place(self, source: str) -> Path:
        """The file of a failure: images in different folders may have the same file name."""
        return self._failures / f"{source}.json"

    def _read_failure(self, path: Path) -> dict[str, str]:
        """Read a failure; of one that git-annex has elsewhere, only the image is known."""
        if is_elsewhere(path):
            source = path.relative_to(self._failures).as_posix().removesuffix(".json")
            label = source.split("/")[0].removeprefix("sub-")
            reason = f"{path} has the reason, but is not here: fetch it (datalad get)"
            return {"Source": source, "Subject": label, "Reason": reason}
        return _read(path)

    def _list_failures(self) -> list[Path]:
        """The files of all failures, with those that earlier versions named by file name alone."""
        for path in self._failures.glob("*.json"):
            with suppress(OSError, ValueError):  # another run may have just removed it
                place = self._find_place(_read(path)["Source"])
                place.parent.mkdir(parents=True, exist_ok=True)
                os.replace(path, place)
        return sorted(self._failures.rglob("*.json"))

    def _log(self, outcome: Outcome) -> None:
        path = self._output / "logs" / f"sub-{outcome.participant}.log"
        what = f"{outcome.state}: {outcome.reason}" if outcome.reason else outcome.state
        what = make_one_line(f"{outcome.source} {what}")
        if outcome.state == "unchanged" or (outcome.state == "skipped" and _has(path, what)):
            return
        now = datetime.now().astimezone().isoformat(timespec="seconds")
        problems = (outcome.problem,) if outcome.problem else ()
        lines = [f"{now} {what} ({outcome.seconds:.2f} s)"]
        lines += [
            f"{now}   {make_one_line(note)}"
            for note in (*outcome.notes, *outcome.remarks.values(), *problems)
        ]
        lines += [f"{now}   {escape_controls(line)}" for line in outcome.log]
        path.parent.mkdir(exist_ok=True)
        append_text(path, "\n".join(lines) + "\n")


def _read(path: Path) -> dict[str, str]:
    """Read a failure; the error says that a file is none, whose names could lead anywhere."""
    failure = read_json_file(path)
    if not is_failure(failure):
        raise ValueError(f"{path} is no record of a failure")
    return failure


def _has(log: Path, words: str) -> bool:
    """Whether a log has these words already."""
    try:
        return log.is_file() and words in log.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
