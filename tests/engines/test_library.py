"""Which library of kernels is loaded, and whether JAX is asked for a GPU."""

import ctypes
import platform
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from n4ax.engines import choice
from n4ax.engines.compiled import library
from n4ax.engines.compiled.kernel import Kernel, compile_kernel
from n4ax.settings import N4Settings

V3 = {"AVX2", "FMA3"}
V4 = {*V3, "AVX512F", "AVX512BW", "AVX512CD", "AVX512DQ", "AVX512VL"}


def load(
    monkeypatch: pytest.MonkeyPatch, folder: Path, *, made: str, features: set[str], wanted: Any
) -> Any:
    """The level whose library is loaded on a processor with some features, or ``None``."""
    for level in made.split():
        (folder / f"{level}.so").touch()
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(library, "find_path", lambda level: folder / f"{level}.so")
    core = SimpleNamespace(__cpu_features__=dict.fromkeys(features, True))
    monkeypatch.setattr(library, "import_module", lambda name: core)
    monkeypatch.setattr(ctypes, "CDLL", lambda path: Path(path).stem)
    if wanted is None:
        monkeypatch.delenv(library.KERNELS_VARIABLE, raising=False)
    else:
        monkeypatch.setenv(library.KERNELS_VARIABLE, wanted)
    return library.load_library.__wrapped__()


@pytest.mark.parametrize(
    ("made", "features", "wanted", "expected"),
    [
        ("v4 v3", V4, None, "v4"),
        ("v4 v3", V4, "", "v4"),
        ("v4 v3", V4, "v3", "v3"),
        ("v4 v3", V4, "numba", None),
        ("v4 v3", V4, "v5", None),
        ("v4 v3", V3, None, "v3"),
        ("v4 v3", V3, "v4", None),
        ("v4 v3", set(), None, None),
        ("v3", V4, None, "v3"),
        ("v3", V4, "v4", None),
        ("", V4, None, None),
        *[("v4", V4 - {one}, None, None) for one in sorted(V4)],
        *[("v3", V3 - {one}, None, None) for one in sorted(V3)],
    ],
)
def test_the_best_library_that_the_processor_can_run_is_loaded(
    made: str,
    features: set[str],
    wanted: str | None,
    expected: str | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert load(monkeypatch, tmp_path, made=made, features=features, wanted=wanted) == expected


def test_a_kernel_of_a_range_is_known_by_its_first_parameters() -> None:
    def whole(first: int, stop: int) -> None: ...
    def part(first: int, stop: int, array: Any) -> None: ...
    def other(first: int, end: int, array: Any) -> None: ...
    def later(array: Any, first: int, stop: int) -> None: ...

    found = [Kernel(function, {}).takes_range for function in (whole, part, other, later)]
    assert found == [True, True, False, False]


@pytest.mark.parametrize(
    ("installed", "backend", "expected"),
    [
        ({"jax", "jax_plugins"}, "gpu", True),
        ({"jax", "jax_plugins"}, "cpu", False),
        ({"jax"}, "gpu", False),
        ({"jax_plugins"}, "gpu", False),
    ],
)
def test_jax_is_asked_for_a_gpu_only_if_it_has_a_plugin(
    installed: set[str], backend: str, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choice, "find_spec", lambda name: name if name in installed else None)
    monkeypatch.setitem(sys.modules, "jax", SimpleNamespace(default_backend=lambda: backend))
    assert choice.has_gpu.__wrapped__() is expected


@pytest.mark.parametrize("traced", [True, False])
@pytest.mark.parametrize("gpu", [True, False])
def test_xla_is_chosen_for_jax_programs_and_gpus(
    traced: bool, gpu: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choice, "is_traced", lambda array: traced)
    monkeypatch.setattr(choice, "has_gpu", lambda: gpu)
    array = np.ones(3, np.float32)
    assert choice.choose_engine(None, array) == ("xla" if traced or gpu else "cpu")
    if not traced:
        assert choice.choose_engine("cpu", array) == "cpu"
        accelerated = N4Settings(accelerate=True, conv_threshold=0)
        assert choice.choose_engine(None, array, settings=accelerated) == "cpu"


def test_a_library_that_cannot_be_loaded_is_told_and_the_next_one_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def load_v3(path: str) -> str:
        if "v4" in path:
            raise OSError("invalid ELF header")
        return path

    for level in ("v4", "v3"):
        (tmp_path / f"{level}.so").touch()
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(library, "find_path", lambda level: tmp_path / f"{level}.so")
    monkeypatch.setattr(library, "has_extensions", lambda extensions: True)
    monkeypatch.setattr(ctypes, "CDLL", load_v3)
    monkeypatch.delenv(library.KERNELS_VARIABLE, raising=False)
    assert library.load_library.__wrapped__() == str(tmp_path / "v3.so")
    assert caplog.messages == ["n4ax: cannot load its compiled kernels (invalid ELF header)"]


@pytest.mark.parametrize("inline", [True, False])
def test_numba_takes_the_options_of_kernels(inline: bool) -> None:
    numba = pytest.importorskip("numba")

    def double(value: float) -> float:
        return 2 * value

    kernel = compile_kernel("contract", inline=inline)(double)
    assert kernel.targetoptions["inline"] == ("always" if inline else "never")
    assert kernel.targetoptions["fastmath"] == {"contract"}
    assert numba.njit(**kernel.targetoptions)(kernel.py_func)(2.0) == 4.0
