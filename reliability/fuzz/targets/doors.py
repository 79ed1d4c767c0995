"""Pairs of doors of n4ax on random valid problems: the same bits."""

import json
from pathlib import Path
from random import Random

from reliability.differential.doors import compare

SHARE = 0.15
SECONDS = 300.0


def try_input(random: Random, folder: Path) -> str:
    """Take a problem through several doors."""
    said = compare(random, folder)
    assert not said["found"], said
    return json.dumps(said)
