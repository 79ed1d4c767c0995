"""Random valid problems by n4ax and by ANTs: its bits, or within its noise."""

import json
import warnings
from pathlib import Path
from random import Random

from reliability.differential.ants import compare

SHARE = 0.05
SECONDS = 300.0


def try_input(random: Random, folder: Path) -> str:
    """Solve a problem both ways."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        said = compare(random, folder)
    assert not said["found"], said
    return json.dumps(said)
