"""What must hold for any file that is read, however it came about."""

import hashlib
import logging
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nibabel.imageglobals
import numpy as np

from n4ax.errors import InputError
from n4ax.images import nifti, peek, plain
from n4ax.images.gzip import read_file
from n4ax.images.signature import is_signed

MOST_MEMORY = 256
"""MiB that a small file may take, whatever its header says."""

REFUSALS = (ValueError, OSError, ImportError)
"""What readers raise; a ``ValueError`` of n4ax names the file."""


def describe(*arrays: Any) -> str:
    """A digest of arrays with their shapes and types."""
    digest = hashlib.sha256()
    for array in arrays:
        one = np.ascontiguousarray(array)
        digest.update(f"{one.shape} {one.dtype.str}".encode())
        digest.update(one.tobytes())
    return digest.hexdigest()[:16]


class _LogError(logging.StreamHandler[Any]):
    """Raises an error for what nibabel would print on standard error."""

    def emit(self, record: logging.LogRecord) -> None:
        raise AssertionError(f"nibabel would print: {record.getMessage()}")


for _handler in list(nibabel.imageglobals.logger.handlers):
    nibabel.imageglobals.logger.removeHandler(_handler)
nibabel.imageglobals.logger.addHandler(_LogError())


@contextmanager
def bound_memory(most: int = MOST_MEMORY) -> Iterator[None]:
    """Check that a block takes no more memory than so many MiB."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    taken = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert taken < most, f"it took {taken:.0f} MiB"


def check_message(error: BaseException, path: Path, *others: str) -> str:
    """Check that a refusal is one line that names the file, or one of others; return the line."""
    text = str(error)
    assert text.strip(), f"{type(error).__name__} without a message"
    assert "\n" not in text, text
    named = any(name in text for name in (path.name, *others))
    assert named or isinstance(error, InputError), text
    return text


def read(path: Path, *others: str, most: int = MOST_MEMORY) -> str:
    """Read an image by the functions that all doors use; return a digest, or the refusal."""
    with bound_memory(most):
        shape = peek.read_shape(path)
        signed = is_signed(path)
        peeked = try_reading(path, lambda: peek.read_grid(path))
        outcome = try_reading(path, lambda: read_whole(path), *others)
    if isinstance(outcome, str):
        return outcome
    image, voxels, space, affine = outcome
    assert voxels.shape == tuple(image.shape), (voxels.shape, image.shape)
    assert voxels.dtype == np.float32
    assert affine.shape == (4, 4)
    if not isinstance(peeked, str) and peeked is not None:
        assert peeked.shape == tuple(image.shape), (peeked.shape, image.shape)
        assert np.array_equal(peeked.affine, affine, equal_nan=True), (peeked.affine, affine)
    check_plain(path, voxels, space)
    return f"{describe(voxels, affine)} {space} {shape} {signed}"


def is_read(text: str) -> bool:
    """Whether :func:`read` read the file."""
    return " Space(" in text


def read_whole(path: Path) -> tuple[Any, Any, Any, Any]:
    """The image of a file, its voxels, its place and its affine."""
    image = nifti.read_image(path)
    return image, nifti.read_voxels(image, path), nifti.read_space(image), nifti.read_affine(image)


def try_reading(path: Path, call: Any, *others: str) -> Any:
    """What a function gives, or the message by which it refuses the file."""
    try:
        return call()
    except REFUSALS as error:
        return check_message(error, path, *others)


def check_plain(path: Path, voxels: Any, space: Any) -> None:
    """Check that the reader of ANTs' program reads the same, or leaves the file to nibabel."""
    found = plain.read_file(path, lambda: read_file(path))
    if found is None:
        return
    assert np.array_equal(found.voxels, voxels, equal_nan=True), "plain voxels differ"
    assert str(found.space) == str(space), (found.space, space)  # NaN equals NaN as text
