"""Libraries that only some users need. They come with an extra, such as ``n4ax[figure]``."""

from collections.abc import Iterator
from contextlib import contextmanager

from n4ax.errors import lacks_memory


@contextmanager
def need_extra(extra: str, what: str) -> Iterator[None]:
    """Say which extra brings a library if it cannot be imported inside the block.

    Parameters
    ----------
    extra
        The name of the extra.
    what
        What needs the library.

    Raises
    ------
    ImportError
        A library cannot be imported. The message names it and the extra.
    """
    try:
        yield
    except ImportError as error:
        if lacks_memory(error):  # to install the library would not help
            raise
        library = (error.name or "a library").partition(".")[0]
        if library == "n4ax":
            raise
        raise ImportError(
            f"{what} needs {library}, which cannot be imported here: pip install 'n4ax[{extra}]'",
            name=error.name,
        ) from error
