"""What became of an image."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from n4ax.verdict import Message

State = Literal["corrected", "unchanged", "skipped", "failed"]


@dataclass(frozen=True)
class Outcome:
    """What became of an image.

    Attributes
    ----------
    source
        The image, as it was named.
    output
        The corrected image.
    state
        ``"corrected"``; ``"unchanged"`` if all files were there already; ``"skipped"`` if the
        image was left out, since it had been corrected before; or ``"failed"``.
    reason
        Why the image failed, in one line.
    problem
        What could not be written although the image was corrected.
    summary
        What was done, in one paragraph.
    notes
        What is suspicious about the correction, or why the image was left out.
    suspicious
        Whether any note about the correction is serious, whichever run has made it.
    seconds
        How long the image took.
    record
        The measures and settings of the correction, as an object of JSON.
    stamp
        A digest of everything that the results depend on.
    files
        The sizes in bytes of the files that were written, by their paths.
    """

    source: str
    output: Path
    state: State
    reason: str = ""
    problem: str = ""
    summary: str = ""
    notes: tuple[Message, ...] = ()
    suspicious: bool = False
    seconds: float = 0.0
    record: dict[str, Any] = field(default_factory=dict[str, Any])
    stamp: str = ""
    files: dict[Path, int] = field(default_factory=dict[Path, int])
