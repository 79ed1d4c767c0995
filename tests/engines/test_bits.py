"""The bits of the CPU engine are those that the documentation names, whatever computes them."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "hash_bits.py"
PAGE = ROOT / "docs" / "installation.md"

pytestmark = pytest.mark.skipif(
    not (SCRIPT.exists() and PAGE.exists()), reason="the sources of the documentation are not here"
)


def test_bits_are_those_of_every_other_processor() -> None:
    published = set(re.findall(r"`([0-9a-f]{16})`", PAGE.read_text(encoding="utf-8")))
    done = subprocess.run([sys.executable, str(SCRIPT)], check=True, stdout=subprocess.PIPE)
    assert {json.loads(done.stdout)["digest"]} == published
