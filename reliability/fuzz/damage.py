"""Bytes of a file, changed as bad disks, bad programs and bad networks change them."""

from collections.abc import Callable
from random import Random

EDGES = (0, 1, 2, 7, 8, 127, 128, 255)


def damage(random: Random, content: bytes) -> bytes:
    """Change some bytes, leave some out, add some, or cut the end off."""
    for _ in range(random.choice((1, 1, 1, 2, 4))):
        content = random.choice(_WAYS)(random, content)
    return content


def _flip(random: Random, content: bytes) -> bytes:
    if not content:
        return content
    changed = bytearray(content)
    for _ in range(random.choice((1, 1, 3, 20))):
        changed[_choose_place(random, len(changed))] ^= 1 << random.randrange(8)
    return bytes(changed)


def _set(random: Random, content: bytes) -> bytes:
    if not content:
        return content
    at, value = _choose_place(random, len(content)), random.choice(EDGES)
    size = min(random.choice((1, 2, 4, 8, 64)), len(content) - at)
    return content[:at] + bytes([value]) * size + content[at + size :]


def _cut(random: Random, content: bytes) -> bytes:
    return content[: _choose_place(random, len(content) + 1)]


def _leave_out(random: Random, content: bytes) -> bytes:
    at = _choose_place(random, len(content) + 1)
    return content[:at] + content[at + random.choice((1, 2, 4, 100)) :]


def _insert(random: Random, content: bytes) -> bytes:
    at = _choose_place(random, len(content) + 1)
    return content[:at] + random.randbytes(random.choice((1, 2, 4, 100))) + content[at:]


def _repeat(random: Random, content: bytes) -> bytes:
    at = _choose_place(random, len(content) + 1)
    return content[:at] + content[at : at + random.choice((4, 16, 400))] + content[at:]


def _append(random: Random, content: bytes) -> bytes:
    return content + random.choice((b"\0", b"\n", bytes(700), random.randbytes(33)))


def _choose_place(random: Random, size: int) -> int:
    """A place in a file, more often one at its beginning, where headers are."""
    limit = random.choice((size, size, min(size, 64), min(size, 512)))
    return random.randrange(max(limit, 1))


_WAYS: tuple[Callable[[Random, bytes], bytes], ...] = (
    _flip, _flip, _set, _set, _cut, _leave_out, _insert, _repeat, _append,
)  # fmt: skip


def splice(random: Random, first: bytes, second: bytes) -> bytes:
    """The beginning of one file and the end of another."""
    at = _choose_place(random, len(first) + 1)
    return first[:at] + second[random.choice((at, _choose_place(random, len(second) + 1))) :]
