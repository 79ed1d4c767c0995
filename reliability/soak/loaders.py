"""DataLoaders of torch whose workers correct images, and Dask's workers: what is left of them."""

import hashlib
import json
import multiprocessing
import sys
import tempfile
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from reliability.soak.leaks import leave_out, repeat

WORKERS = 8


class Images:
    """Images for a DataLoader; each item is a digest of a corrected image.

    Parameters
    ----------
    count
        How many images there are.
    library
        Whose transform corrects them: ``"monai"``, ``"torchio"`` or ``"n4ax"``.
    """

    def __init__(self, count: int, library: str) -> None:
        self.count, self.library = count, library

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> str:
        image = np.random.default_rng(index).gamma(3, 40, (1, 12, 11, 10)).astype(np.float32)
        corrected = np.asarray(_correct(image, self.library), np.float32)
        return hashlib.sha256(corrected.tobytes()).hexdigest()[:16]


def _correct(image: Any, library: str) -> Any:
    if library == "monai":
        from n4ax.monai import N4BiasFieldCorrection

        return N4BiasFieldCorrection(iters=(2, 1))(image)
    if library == "torchio":
        import torch

        from n4ax.torchio import N4BiasFieldCorrection as Transform

        return Transform(iters=(2, 1))(torch.from_numpy(image))
    import n4ax

    return n4ax.n4(image[0], iters=(2, 1))


def load(library: str, start: str, *, persistent: bool, workers: int = WORKERS) -> None:
    """Go twice through a DataLoader.

    Raises
    ------
    AssertionError
        A worker found other bits than this process.
    """
    from torch.utils.data import DataLoader

    images: Any = Images(2 * workers, library)
    expected = [images[n] for n in range(len(images))]
    loader = DataLoader(
        images, batch_size=None, num_workers=workers, persistent_workers=persistent,
        multiprocessing_context=multiprocessing.get_context(start),
    )  # fmt: skip
    assert [list(loader) for _ in range(2)] == [expected, expected]


def connect_once(_: int) -> None:
    """Start two of the BIDS app's workers, have each compute, and end them."""
    from n4ax.bids.workers.connection import connect
    from n4ax.bids.workers.description import Workers

    with tempfile.TemporaryDirectory() as name, connect(Workers(processes=2), Path(name)) as client:
        assert client.gather(client.map(abs, [-1, -2])) == [1, 2]


def connect_without_us(_: int) -> None:
    """Start and end such workers of Dask, whose connections are encrypted too, without n4ax."""
    from dask.distributed import Client, LocalCluster

    with (
        LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None, security=True
        ) as cluster,
        Client(cluster) as client,
    ):
        assert client.gather(client.map(abs, [-1, -2])) == [1, 2]


def soak(rounds: int, workers: int, clusters: int, say: Callable[[str], None]) -> dict[str, Any]:
    """Open and close DataLoaders of every kind, and clusters; what each left behind."""
    found: dict[str, Any] = {}
    libraries = [name for name in ("n4ax", "torchio", "monai") if find_spec(name)]
    for library in libraries:
        assert Images(1, library)[0]  # it loads modules
    with tempfile.TemporaryDirectory() as folder:
        tempfile.tempdir = folder
        for start in ("fork", "spawn") if find_spec("torch") else ():
            for persistent in (False, True):

                def go(n: int, start: str = start, persistent: bool = persistent) -> None:
                    library = libraries[n % len(libraries)]
                    load(library, start, persistent=persistent, workers=workers)

                name = f"DataLoader, {start}, {'persistent' if persistent else 'new each time'}"
                say(name)
                found[name] = repeat(go, rounds, say)
        if clusters and find_spec("distributed"):
            of_dask = repeat(connect_without_us, clusters, say)
            found["clusters"] = leave_out(repeat(connect_once, clusters, say), of_dask)
        tempfile.tempdir = None
    return found


def main(words: Sequence[str]) -> None:
    """Soak, and print what is left."""
    print(json.dumps(soak(*map(int, words), lambda text: print(text, file=sys.stderr, flush=True))))


if __name__ == "__main__":
    main(sys.argv[1:])
