"""What became of an image."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

State = Literal["corrected", "unchanged", "failed"]


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
        ``"corrected"``; ``"unchanged"`` if all files were there already; or ``"failed"``.
    reason
        Why the image failed, in one line.
    problem
        What could not be written although the image was corrected.
    summary
        What was done, in one paragraph.
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
    seconds: float = 0.0
    record: dict[str, Any] = field(default_factory=dict[str, Any])
    stamp: str = ""
    files: dict[Path, int] = field(default_factory=dict[Path, int])
