"""Read the headers of all images before the work, for what can be known from them."""

from collections.abc import Callable, Iterable, Sequence
from itertools import count
from pathlib import Path
from typing import TypeVar

from n4ax.bids.inputs import Source
from n4ax.images.grids import Grid, check_kind
from n4ax.images.peek import read_grid
from n4ax.paths import check_here
from n4ax.pools import ThreadPool

_THREADS = 16
"""Files that are read at a time: a file system of a cluster answers slowly, but many at once."""

Given = TypeVar("Given")
Found = TypeVar("Found")

Progress = Callable[[int, int], None]
"""Called with how many are done, and how many there are."""


def read_headers(
    dataset: Path, sources: Sequence[Source], progress: Progress | None = None
) -> dict[str, Grid | Exception]:
    """Read the headers of images, several at a time.

    Parameters
    ----------
    dataset
        The dataset's folder.
    sources
        The images.
    progress
        Called after each image.

    Returns
    -------
    dict
        By the path of the image: its shape, the type of its voxels and its affine; or the error
        that reading the image ends with.
    """

    def read(source: Source) -> Grid | Exception:
        try:
            return read_image_header(dataset / source.path)
        except Exception as error:  # one bad image must not end a study
            return error

    found = map_files(read, sources, progress)
    return {source.path: header for source, header in zip(sources, found, strict=True)}


def read_image_header(path: Path) -> Grid:
    """Read the header of an image of a dataset.

    Raises
    ------
    OSError
        The file cannot be opened.
    ValueError
        It is a link to a file that is not here, a folder, cannot be read, or has no real numbers.
    """
    grid = read_file_header(path)
    if grid is None:  # images of BIDS are NIfTI, and a folder is taken for a series of DICOM
        raise ValueError(f"{path} is a folder; expected an image")
    check_kind(grid.kind, path)
    return grid


def read_file_header(path: Path) -> Grid | None:
    """Read the header of any file; ``None`` if it is of a format whose header is not read.

    Raises
    ------
    OSError
        The file cannot be opened.
    ValueError
        It is a link to a file that is not here, or cannot be read.
    """
    check_here(path)
    try:
        return read_grid(path)
    except ValueError:
        if not path.is_dir():
            path.open("rb").close()  # why a file cannot be opened, the system says best
        raise


def map_files(
    work: Callable[[Given], Found], files: Sequence[Given], progress: Progress | None = None
) -> list[Found]:
    """Do something with each of many files, several at a time; the results keep the order."""
    pool = ThreadPool(_THREADS)
    try:
        return list(_tell(pool.map(work, files), len(files), progress))
    finally:
        pool.shutdown(cancel_futures=True)  # after Ctrl-C, most are not done yet


def _tell(results: Iterable[Found], total: int, progress: Progress | None) -> Iterable[Found]:
    for done, result in zip(count(1), results):
        if progress is not None:
            progress(done, total)
        yield result
