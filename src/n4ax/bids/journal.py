"""What is written down of a study: a log for each participant, and the images that failed.

A failure has a record of its own, which goes when the image has been corrected or is there no more.
So ``n4ax_errors.json`` is true of the whole output, whatever other runs did to it.
"""

import json
from datetime import datetime
from pathlib import Path

from filelock import FileLock

from n4ax.bids.image import Outcome, Recipe
from n4ax.bids.outputs import ERRORS, PRIVATE, as_json, write_text


class Journal:
    """The journal of a run.

    Parameters
    ----------
    job
        Whose dataset and output they are.

    Attributes
    ----------
    forgotten
        Participants with failures that were given up, since their images are there no more.
    """

    def __init__(self, job: Recipe) -> None:
        self._job = job
        self._changed = True
        self.forgotten: set[str] = set()

    def add(self, outcome: Outcome) -> None:
        """Log what became of an image, and remember or forget that it failed.

        Raises
        ------
        OSError
            The output cannot be written to, or the disk is full.
        """
        self._log(outcome)
        record = self._folder() / f"{Path(outcome.source).name}.json"
        if outcome.state != "failed":
            self._changed |= record.exists()
            record.unlink(missing_ok=True)
            return
        record.parent.mkdir(parents=True, exist_ok=True)
        failure = {
            "Source": outcome.source, "Subject": outcome.participant, "Reason": outcome.reason
        }  # fmt: skip
        write_text(record, as_json(failure))
        self._changed = True

    def write_errors(self) -> None:
        """Write ``n4ax_errors.json``, if there is anything new.

        Raises
        ------
        OSError
            The output cannot be written to, or the disk is full.
        """
        if not self._changed:
            return
        private = self._job.output / PRIVATE
        private.mkdir(exist_ok=True)
        with FileLock(private / "errors.lock"):
            failures = []
            for path in sorted(self._folder().glob("*.json")):
                try:
                    failure = json.loads(path.read_text(encoding="utf-8"))
                    image = self._job.dataset / failure["Source"]
                except (OSError, ValueError, KeyError):  # taken away by another run meanwhile
                    continue
                if image.exists() or image.is_symlink():
                    failures.append(failure)
                else:
                    self.forgotten.add(str(failure["Subject"]))
                    path.unlink(missing_ok=True)
            write_text(self._job.output / ERRORS, as_json({"Errors": failures}))
        self._changed = False

    def _log(self, outcome: Outcome) -> None:
        now = datetime.now().astimezone().isoformat(timespec="seconds")
        what = f"{outcome.state}: {outcome.reason}" if outcome.reason else outcome.state
        lines = [f"{now} {outcome.source} {what} ({outcome.seconds:.2f} s)"]
        lines += [f"{now}   {line}" for line in (*outcome.notes, *outcome.log)]
        path = self._job.output / "logs" / f"sub-{outcome.participant}.log"
        path.parent.mkdir(exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")

    def _folder(self) -> Path:
        return self._job.output / PRIVATE / "failed"
