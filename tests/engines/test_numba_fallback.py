"""What numba keeps of kernels, and what is told about it."""

import os
from collections.abc import Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest

numba = pytest.importorskip("numba")
fallback = pytest.importorskip("n4ax.engines.compiled.numba_fallback")


@pytest.fixture(autouse=True)
def _may_warn() -> Iterator[None]:
    """Each test may warn, and so may whatever runs after it."""
    fallback._warn_once.cache_clear()
    yield
    fallback._warn_once.cache_clear()


def load_function(folder: Path) -> Any:
    """A function whose file is older than whatever is kept of it."""
    path = folder / "some_kernels.py"
    path.write_text("def double(value):\n    return 2 * value\n")
    os.utime(path, (1e9, 1e9))
    spec = spec_from_file_location("some_kernels", path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.double


def test_compiling_is_told_if_nothing_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "kept"))
    function = load_function(tmp_path)
    said = []
    for _ in range(2):
        fallback._warn_once.cache_clear()
        caplog.clear()
        assert fallback.make_dispatcher(function, {"nogil": True})(2) == 4
        said.append(caplog.messages)
    compiling = "n4ax: compiling its kernels, once on this machine (about 10 s)"
    assert said == [[compiling], []]
    assert list((tmp_path / "kept").rglob("*.nbi"))


def test_a_folder_that_cannot_be_written_to_is_told_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "kept"))
    dispatcher = fallback.make_dispatcher(load_function(tmp_path), {})
    fallback._warn_once.cache_clear()
    caplog.clear()

    def fill(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(type(dispatcher._cache), "_save_overload", fill)
    assert dispatcher(3) == 6
    assert len(caplog.messages) == 1
    assert "cannot keep its compiled kernels" in caplog.text
    assert "No space left on device" in caplog.text
