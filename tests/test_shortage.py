"""Where memory or threads run out: what is said of it, and that the work goes on if it can."""

import errno
import mmap
import pickle
import threading
from typing import Any

import numpy as np
import pytest

import n4ax
from n4ax.ants.ending import run_program
from n4ax.cli import n4ax_command
from n4ax.correction.work import describe_error
from n4ax.engines.compiled import library
from n4ax.engines.cpu.threads import Team
from n4ax.errors import NO_MEMORY, ShortageError, describe_shortage, explain_shortage
from n4ax.extras import need_extra
from n4ax.images import gzip
from n4ax.pools import ThreadPool, start_thread

IMAGE = np.random.default_rng(0).gamma(3, 40, (32, 30, 28)).astype(np.float32)


class NoRoomError(MemoryError):
    pass


def refuse(*_: Any, **__: Any) -> Any:
    raise MemoryError


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        OSError(errno.ENOMEM, "Cannot allocate memory", "scan.nii"),
        ImportError("zlib.so: failed to map segment from shared object"),
        ImportError("zlib.so: cannot allocate memory in static TLS block"),
    ],
)
def test_a_lack_of_memory_is_known_by_every_error_of_it(error: Exception) -> None:
    assert "not enough memory: allow more" in str(describe_shortage(error, {}))


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space"), ImportError("no x"), ValueError()]
)
def test_other_errors_are_no_lack_of_memory(error: Exception) -> None:
    assert describe_shortage(error, {}) is None
    with pytest.raises(type(error)) as caught, explain_shortage():
        raise error
    assert caught.value is error


def test_the_advice_has_the_words_of_the_command_line() -> None:
    error = ShortageError(NO_MEMORY, "Unable to allocate 3 MiB")
    assert "set shrink_factor=2" in str(error)
    assert str(error).endswith("(Unable to allocate 3 MiB)")
    names = {"shrink_factor": "--shrink-factor"}
    assert "set --shrink-factor 2" in str(describe_shortage(error, names))
    assert "set --shrink-factor 2" in describe_error(MemoryError(), names)
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_a_solve_without_memory_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    before = n4ax.n4(IMAGE, iters=(2,))
    with monkeypatch.context() as patch:
        patch.setattr("n4ax.pipeline.solve_image", refuse)
        with pytest.raises(MemoryError, match=r"not enough memory: allow more, .*shrink_factor=2"):
            n4ax.n4(IMAGE, iters=(2,))
    assert np.array_equal(n4ax.n4(IMAGE, iters=(2,)), before)


def test_programs_of_ants_advise_what_helps_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_program("N4", refuse, {}) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "run fewer programs at a time" in line


def test_a_library_without_memory_is_not_called_missing() -> None:
    with pytest.raises(ImportError, match=r"failed to map segment$"), need_extra("zstd", "it"):
        raise ImportError("zstd.so: failed to map segment", name="zstd")


def test_kernels_without_memory_are_not_compiled_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: str) -> Any:
        raise OSError(f"{path}: failed to map segment from shared object")

    if library.load_library() is None:
        pytest.skip("there is no library of kernels here")
    library.load_library.cache_clear()
    with monkeypatch.context() as patch:
        patch.setattr(library.ctypes, "CDLL", fail)
        with pytest.raises(MemoryError, match="failed to map segment"):
            library.load_library()
    assert library.load_library() is not None


def test_a_command_says_in_one_line_that_no_thread_starts(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from n4ax.cli import main

    def fail(*_: Any, **__: Any) -> Any:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(n4ax_command, "main", fail)
    assert main([]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "starts no further thread" in line


# ---- threads -----------------------------------------------------------------------------------


def start_only(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the system start so many threads and no more."""
    start, started = threading.Thread.start, []

    def start_some(thread: threading.Thread) -> None:
        if len(started) >= most:
            raise RuntimeError("can't start new thread")
        started.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_some)


@pytest.mark.parametrize("most", [0, 1])
def test_fewer_threads_have_the_same_bits(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    before = n4ax.n4(IMAGE, iters=(3, 2), num_threads=4)
    start_only(most, monkeypatch)
    assert np.array_equal(n4ax.n4(IMAGE, iters=(3, 2), num_threads=4), before)


def test_a_team_that_cannot_be_made_sends_its_helpers_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    count = threading.active_count()
    started: list[threading.Thread] = []

    def start(work: Any) -> threading.Thread:
        if started:
            raise NoRoomError
        started.append(start_thread(work))
        return started[0]

    monkeypatch.setattr("n4ax.engines.cpu.threads.start_thread", start)
    with pytest.raises(NoRoomError):
        Team(3)
    assert threading.active_count() == count


def test_a_pool_does_with_the_threads_that_start(monkeypatch: pytest.MonkeyPatch) -> None:
    start_only(1, monkeypatch)
    with ThreadPool(4) as pool:
        assert list(pool.map(abs, range(-9, 0))) == [9, 8, 7, 6, 5, 4, 3, 2, 1]


def test_a_file_is_compressed_without_any_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    content = np.random.default_rng(0).bytes(5_000_000)
    before = b"".join(gzip.compress([content], 3))
    start_only(0, monkeypatch)
    assert b"".join(gzip.compress([content], 3)) == before


def test_no_thread_is_started_without_memory_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> Any:
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    monkeypatch.setattr(mmap, "mmap", fail)
    with pytest.raises(RuntimeError, match="no memory for it"):
        start_thread(print)
    with ThreadPool(2) as pool, pytest.raises(RuntimeError, match="no memory for it"):
        pool.submit(print)
