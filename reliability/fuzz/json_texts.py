"""JSON of any kind: good, odd and broken, as bytes of a file."""

import json
from collections.abc import Sequence
from random import Random
from typing import Any

TEXTS = (
    "", " ", "a", "01", "T1w", "n/a", "NaN", "true", "é漢字", "\u202eabc", "\ud800", "\x00",
    "\x1b[31m", "two\nlines", "a\tb", "a\rb", "a  b", "=cmd()|' /C calc'!A0", "+1", "-1",
    "@SUM(A1)", "'=1", '"', "'",
    "<script>alert(1)</script>", "</script><b id=x>", '"><img src=x onerror=alert(1)>', "<!--",
    "]]>", "&lt;b&gt;", "{{ 7 * 7 }}", "{0}", "{mask}", "%s", "javascript:alert(1)", "../../up",
    "/etc/passwd", "sub-01/anat/sub-01_T1w.nii.gz", "bids::sub-01/x", "bids:raw:x", "a" * 300,
    "9" * 5000, "--mask", "2026-11-27T10:00:00+00:00", "sub-01/../../../up", "..", ".", "a/b", "\\",
)  # fmt: skip
"""Texts that go wrong where a text is quoted, split, sorted, shown or taken for a path."""

NUMBERS: tuple[Any, ...] = (
    0, 1, -1, 2, 3, 7, 0.5, -0.0, 1.25, 1e-300, 5e-324, 1e300, 1.7e308, float("nan"), float("inf"),
    float("-inf"), 2**31, 2**63, 2**64, -(2**70), 10**400, True, False,
)  # fmt: skip
DEPTHS = (50, 900, 5_000, 100_000)
SPOILT = 0.25
"""The share of the files that are no JSON, or JSON of the wrong kind."""


def draw_text(random: Random) -> str:
    """A text, often one that goes wrong."""
    if random.random() < 0.7:
        return random.choice(TEXTS)
    return "".join(map(chr, random.choices(range(1, 0x2FF), k=random.randint(1, 12))))


def draw_value(random: Random, depth: int = 3) -> Any:
    """Any value of JSON, with what Python alone takes for JSON."""
    kind = random.random()
    if kind < 0.35:
        return draw_text(random)
    if kind < 0.65:
        return random.choice(NUMBERS)
    if kind < 0.7 or depth == 0:
        return None
    size = random.choice((0, 1, 1, 2, 3, 5))
    if kind < 0.85:
        return [draw_value(random, depth - 1) for _ in range(size)]
    return {draw_text(random): draw_value(random, depth - 1) for _ in range(size)}


def change_values(random: Random, content: Any, share: float = 0.3) -> Any:
    """A copy of a good value in which some parts are missing or something else."""
    if random.random() < share:
        return draw_value(random)
    if isinstance(content, dict):
        return {
            name: change_values(random, value, share / 2)
            for name, value in content.items()
            if random.random() > share / 4
        }
    if isinstance(content, list):
        return [change_values(random, value, share / 2) for value in content]
    return content


def draw_object(random: Random, names: Sequence[str]) -> dict[str, Any]:
    """An object with some of the entries that programs look for, of any type."""
    chosen = random.sample(names, min(len(names), random.randint(0, 4)))
    return {name: draw_value(random) for name in chosen}


def write_json(random: Random, content: Any) -> bytes:
    """The bytes of a file with some content, which is spoilt now and then."""
    text = json.dumps(content, ensure_ascii=random.random() < 0.5)
    data = text.encode(errors="surrogatepass")
    return spoil(random, data) if random.random() < SPOILT else data


def spoil(random: Random, data: bytes) -> bytes:
    """Bytes that are no longer a file of JSON, or hardly one."""
    depth = random.choice(DEPTHS)
    place = random.randint(0, len(data))
    return random.choice(
        (
            b"", b"\x00" * 40, b"[]", b"null", b"3", b'"text"', b"{}", b"[1, 2]", b"{\"a\": }",
            data[:place], data + data, b"\xef\xbb\xbf" + data, b"\xff" + data,
            data.decode(errors="replace").encode("utf-16"), data.replace(b"a", b"\xe9"),
            data[:place] + random.randbytes(3) + data[place:],
            b"[" * depth + b"]" * depth, b'{"a":' * depth + b"1" + b"}" * depth,
            b'{"a": 1, "a": 2, ' + data[1:], b'{"Name": ' + b"9" * 5000 + b"}",
            b'{"EchoTime": 1e999, "RepetitionTime": -1e999, "Name": NaN}',
            b"/annex/objects/SHA256E-s12--" + b"0" * 64 + b".json\n",
        )
    )  # fmt: skip
