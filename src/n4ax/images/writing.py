"""Images and the files that belong to them are written together: all of them or none."""

from collections.abc import Callable, Mapping
from pathlib import Path

from nibabel.nifti1 import Nifti1Image

from n4ax.files import replace_files
from n4ax.images import nifti
from n4ax.images.names import find_files
from n4ax.paths import name_errors


def write_images(
    images: Mapping[Path, Nifti1Image],
    num_threads: int = 1,
    others: Mapping[Path, bytes | Callable[[Path], object]] | None = None,
) -> None:
    """Write images, each in the format that its name says, and other files: all of them or none.

    Parameters
    ----------
    images
        Each image by the name of its file, as :func:`n4ax.images.nifti.write_image` takes them.
        An image may be made of several files, :func:`n4ax.images.names.find_files` says which.
    num_threads
        Number of threads that compress. No byte depends on it.
    others
        The content of each other file by its name, or what writes it to the path that it is given.

    Raises
    ------
    ImportError
        A format needs a library that is not installed; the message says how to install it.
    OSError
        A folder cannot be written to, or the disk is full. The error names the file, and every
        file is as it was before.
    ValueError
        Two of the images would have the same file.
    """
    others = others or {}
    files = {path: find_files(path) for path in images}
    targets = [*(file for of_one in files.values() for file in of_one), *others]
    for target in targets:
        if targets.count(target) > 1:
            raise ValueError(f"{target} would be part of two outputs: choose another name for one")
    with replace_files(targets) as temporary:
        places = dict(zip(targets, temporary, strict=True))
        for path, image in images.items():
            with name_errors(path):
                nifti.write_image(image, path, num_threads, [places[file] for file in files[path]])
        for path, content in others.items():
            with name_errors(path):
                if callable(content):
                    content(places[path])
                else:
                    places[path].write_bytes(content)
