"""Compressed files: streams that are cut, changed, joined or much longer than the image."""

import gzip
import zlib
from pathlib import Path
from random import Random

from backports import zstd
from isal import igzip

from n4ax.images import gzip as n4ax_gzip
from reliability.fuzz.damage import damage, splice
from reliability.fuzz.nifti_files import change_header, draft_nifti
from reliability.fuzz.others_read import check_others
from reliability.fuzz.reading import is_read, read

SHARE = 1.5
SECONDS = 20.0

_LENGTH = 400 * 2**20
BOMB_OF_GZIP = b"".join(n4ax_gzip.compress([bytes(_LENGTH)], 1))
"""0.4 MB that become 400 MiB."""
BOMB_OF_ZSTD = zstd.compress(bytes(_LENGTH))


def try_input(random: Random, folder: Path) -> str:
    """Read a compressed file; a whole one gives what the file in it gives."""
    draft = draft_nifti(random, single=True)
    choice = random.random()
    if choice > 0.8:
        change_header(random, draft.header)
    content = draft.join()[0]
    suffix = random.choice((".nii.gz", ".nii.gz", ".nii.gz", ".nii.zst"))
    packed = (pack_gzip if suffix == ".nii.gz" else pack_zstd)(random, content)
    path = folder / f"a{suffix}"
    if choice < 0.3 or choice > 0.8:
        path.write_bytes(packed)
        text = read(path)
        plain = folder / "a.nii"
        plain.write_bytes(content)
        plainly = read(plain)
        assert text == plainly or not (is_read(text) or is_read(plainly)), (text, plainly)
        if choice < 0.05 and n4ax_gzip.is_compressed(packed):
            check_others(path, text)
        return text
    if choice < 0.305:
        packed += random.choice((BOMB_OF_GZIP, BOMB_OF_ZSTD))
    elif choice < 0.4:
        packed = splice(random, packed, pack_gzip(random, content))
    else:
        packed = damage(random, packed)
    path.write_bytes(packed)
    return read(path)


def pack_gzip(random: Random, content: bytes) -> bytes:
    """Compress by gzip: of any level, with any header, in one or several members, or not at all."""
    if random.random() < 0.05:
        return content
    if random.random() < 0.2:
        cut = random.randrange(len(content) + 1)
        return _pack_member(random, content[:cut]) + _pack_member(random, content[cut:])
    return _pack_member(random, content)


def _pack_member(random: Random, content: bytes) -> bytes:
    if random.random() < 0.5:
        return gzip.compress(content, random.randint(0, 9), mtime=random.randrange(2**31))
    if random.random() < 0.3:
        return igzip.compress(content, random.randint(0, 3))
    raw = zlib.compressobj(random.randint(0, 9), zlib.DEFLATED, -15)
    flags, extra = random.randrange(32), b""
    if flags & 4:
        extra += b"\x05\0hello"
    if flags & 8:
        extra += b"name.nii\0"
    if flags & 16:
        extra += b"a comment\0"
    header = bytes([31, 139, 8, flags, 0, 0, 0, 0, 0, 255]) + extra
    if flags & 2:
        header += (zlib.crc32(header) & 0xFFFF).to_bytes(2, "little")
    tail = zlib.crc32(content).to_bytes(4, "little") + len(content).to_bytes(4, "little")
    return header + raw.compress(content) + raw.flush() + tail


def pack_zstd(random: Random, content: bytes) -> bytes:
    """Compress by Zstandard, of any level, in one or several frames."""
    if random.random() < 0.2:
        cut = random.randrange(len(content) + 1)
        return zstd.compress(content[:cut]) + zstd.compress(content[cut:])
    options = {
        zstd.CompressionParameter.compression_level: random.choice((-5, 1, 3, 19)),
        zstd.CompressionParameter.checksum_flag: random.randrange(2),
        zstd.CompressionParameter.content_size_flag: random.randrange(2),
    }
    return zstd.compress(content, options=options)
