"""The XLA engine: its numbers, the bits of its batches, its programs, and its progress."""

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
import pytest

import n4ax
from n4ax.engines.xla import programs
from n4ax.engines.xla.box import find_bounding_box
from n4ax.engines.xla.histogram import count_by_chunks
from n4ax.posing import pose
from n4ax.settings import N4Settings
from tests.engines.conftest import FEW, HEAD
from tests.support.long import mark

Array = npt.NDArray[Any]


def prepare(
    image: Array, mask: Array, **keywords: Any
) -> tuple[programs.Arguments, programs.ProgramKey]:
    """Arguments and key of a problem's program. Double precision must be on."""
    settings = N4Settings(**keywords)
    problem = pose(jnp.asarray(image), jnp.asarray(mask), None, None, settings).problem
    return programs.prepare(problem, settings)


# ---- the same numbers ------------------------------------------------------------------------


@pytest.mark.slow
def test_both_engines_agree_over_ten_iterations(head: Array) -> None:
    keywords: dict[str, Any] = {"iters": (10,), "conv_threshold": 0.0}
    cpu, xla = (n4ax.fit(head, engine=engine, **keywords) for engine in ("cpu", "xla"))
    assert np.abs(cpu.log_bias - xla.log_bias).max() <= 2e-6
    np.testing.assert_allclose(xla.corrected, cpu.corrected, rtol=3e-6)


@pytest.mark.parametrize(
    "keywords",
    [
        {"iters": (4, 4), "over_relax": 1.6},
        pytest.param(
            {"iters": (4, 0, 3), "spline_order": 2, "control_points": (4, 5, 3)},
            marks=pytest.mark.slow,
        ),
        {"iters": (3, 3), "shrink_factor": 2, "voxel_order": "F", "outside": "zero"},
        pytest.param(
            {"iters": (3, 3), "spline_distance": 40.0, "spacing": (1.0, 2.0, 1.5)},
            marks=pytest.mark.slow,
        ),
        {"iters": (0, 4), "tiny": 30.0, "convergence": "exact", "outside": "keep"},
    ],
)
@pytest.mark.parametrize("weighted", [False, True])
def test_both_engines_agree_on_other_settings(
    small: tuple[Array, Array], keywords: dict[str, Any], weighted: bool
) -> None:
    image, mask = small
    weights = np.random.default_rng(0).random(image.shape) if weighted else None
    cpu, xla = (
        n4ax.fit(image, mask, weights=weights, engine=engine, **keywords)
        for engine in ("cpu", "xla")
    )
    assert xla.iterations == cpu.iterations
    assert xla.stopped == cpu.stopped
    assert np.abs(cpu.log_bias - xla.log_bias).max() <= 5e-6
    np.testing.assert_allclose(xla.corrected, cpu.corrected, rtol=1e-5)


@pytest.mark.slow
def test_two_and_four_axes(small: tuple[Array, Array]) -> None:
    image, mask = small
    series = np.stack([image, 1.1 * image, image + 5, image, 0.9 * image], axis=-1)
    masks = np.repeat(mask[..., None], 5, axis=-1)
    for volume, inside, word in ((image[:, 10], mask[:, 10], None), (series, masks, "4d")):
        cpu, xla = (
            n4ax.fit(volume, inside, series=word, iters=(3, 2), engine=e) for e in ("cpu", "xla")
        )
        assert xla.corrected.shape == volume.shape
        assert np.abs(cpu.log_bias - xla.log_bias).max() <= 5e-6


def test_form_for_accelerators_gives_the_same_numbers(
    small: tuple[Array, Array], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Accelerators use histograms of integers, barriers, and long blocks of the measure."""
    image, mask = small
    keywords: dict[str, Any] = {"iters": (13, 7, 12), "conv_threshold": 0.0015}
    cpu = n4ax.fit(image, mask, engine="cpu", **keywords)
    monkeypatch.setattr(programs, "_platform", lambda array: "gpu")
    monkeypatch.setattr("n4ax.engines.xla.field.is_on_accelerator", lambda array: True)
    monkeypatch.setattr("n4ax.engines.xla.engine.count_in_order", count_by_chunks)
    xla = n4ax.fit(image, mask, engine="xla", **keywords)
    assert xla.iterations == cpu.iterations
    assert np.abs(cpu.log_bias - xla.log_bias).max() <= 5e-6
    assert [len(level) for level in xla.convergence] == xla.iterations
    np.testing.assert_allclose(
        np.concatenate(xla.convergence), np.concatenate(cpu.convergence), rtol=1e-3
    )


# ---- the same bits ---------------------------------------------------------------------------


def test_same_bits_again_and_in_a_batch(small: tuple[Array, Array]) -> None:
    image, mask = small
    images = jnp.stack([jnp.asarray(image), jnp.asarray(1.5 * image + 3), jnp.asarray(image[::-1])])
    masks = jnp.stack([jnp.asarray(mask), jnp.asarray(mask), jnp.asarray(mask[::-1])])

    def correct(image: Any, mask: Any) -> Any:
        return n4ax.n4(image, mask, **FEW)

    alone = [correct(*pair) for pair in zip(images, masks, strict=True)]
    again = [correct(*pair) for pair in zip(images, masks, strict=True)]
    batch = jax.vmap(correct)(images, masks)
    traced = [jax.jit(correct)(*pair) for pair in zip(images, masks, strict=True)]
    traced_batch = jax.jit(jax.vmap(correct))(images, masks)
    for k in range(3):
        for part in range(2):
            np.testing.assert_array_equal(again[k][part], alone[k][part])
            np.testing.assert_array_equal(batch[part][k], alone[k][part])
            np.testing.assert_array_equal(traced_batch[part][k], traced[k][part])
            np.testing.assert_allclose(traced[k][part], alone[k][part], rtol=1e-5, atol=1e-6)


FOUR_DEVICES = """
import jax, jax.numpy as jnp, numpy as np, nibabel as nib, n4ax
assert len(jax.devices()) == 4
head = np.asarray(nib.load({head!r}).dataobj, np.float32)[::3, ::3, ::3]
images = np.stack([np.roll(head, 2 * k, 1) * (1 + 0.1 * k) + k for k in range(6)])
keywords = dict(iters=(3, 3), engine="xla")
alone = [n4ax.n4(image, **keywords) for image in images]
for given in (images, jnp.asarray(images), list(images)):
    batch = n4ax.n4_batch(given, **keywords)
    assert type(batch) is type(given), type(batch)
    assert all(np.array_equal(a, b) for a, b in zip(alone, batch, strict=True))
apart = [jax.device_put(image, jax.devices()[k]) for k, image in enumerate(images[:2])]
shared = [n4ax.fit(pair, shared_field=True, **keywords) for pair in (apart, list(images[:2]))]
for one, other in zip(*shared, strict=True):
    assert np.array_equal(one.corrected, other.corrected)
assert [one.corrected.devices() for one in shared[0]] == [image.devices() for image in apart]
print("done")
"""


@pytest.mark.slow
def test_batch_over_four_devices_has_the_bits_of_each_image_alone() -> None:
    environment = os.environ | {
        "XLA_FLAGS": "--xla_force_host_platform_device_count=4",
        "JAX_PLATFORMS": "cpu",
    }
    done = subprocess.run(
        [sys.executable, "-c", FOUR_DEVICES.format(head=str(HEAD))],
        capture_output=True, text=True, env=environment,
    )  # fmt: skip
    assert done.stdout.strip() == "done", done.stderr


def test_batch_on_the_cpu_engine(small: tuple[Array, Array]) -> None:
    image, mask = small
    stacked = n4ax.n4_batch(np.stack([image, 2 * image]), np.stack([mask, mask]), iters=(2,))
    assert stacked.shape == (2, *image.shape)
    np.testing.assert_array_equal(stacked[0], n4ax.n4(image, mask, iters=(2,)))
    assert n4ax.n4_batch([]) == []
    with pytest.raises(ValueError, match="masks has 1 entries and images has 2"):
        n4ax.n4_batch([image, image], [mask])
    with pytest.raises(TypeError, match="unknown"):
        n4ax.n4_batch([image], unknown=3)


@pytest.mark.slow
def test_batch_of_unequal_images(small: tuple[Array, Array]) -> None:
    image, _ = small
    both = n4ax.n4_batch([image, image[4:]], "all", engine="xla", iters=(2,))
    assert [part.shape for part in both] == [image.shape, image[4:].shape]


# ---- one program -----------------------------------------------------------------------------


@cache
def compiled() -> list[str]:
    """A list that grows by one whenever XLA compiles a program, from the first call on."""
    seen: list[str] = []

    def listen(event: str, duration: float, **_: Any) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            seen.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    return seen


def test_second_subject_and_other_parameters_compile_nothing(head: Array) -> None:
    protocol: dict[str, Any] = {"engine": "xla", "iters": (2, 2)}
    before = len(compiled())
    n4ax.fit(head, **protocol)
    first = len(compiled())
    assert first > before  # so the programs are counted
    # A head in another place of the image, with another size and other intensities.
    other = np.roll(np.where(head > 60, 1.3 * head + 7, head), 3, axis=(0, 1, 2))
    other[-5:] = 0
    n4ax.fit(other, **protocol)
    n4ax.fit(
        head, engine="xla", iters=(3, 1), conv_threshold=1e-5, over_relax=1.5, fwhm=0.2,
        wiener=0.02, tiny=1.0,
    )  # fmt: skip
    assert len(compiled()) == first


def test_box_has_one_of_few_sizes_and_holds_the_mask() -> None:
    random = np.random.default_rng(0)
    sizes = set()
    shape = (60, 58, 47)
    for _ in range(200):
        included = np.zeros(shape, bool)
        low = random.integers(0, 10, 3)
        high = np.minimum(low + random.integers(10, 50, 3), shape)
        inside = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        included[inside] = random.random(included[inside].shape) < 0.4
        included[tuple(low)] = included[tuple(high - 1)] = True
        box = find_bounding_box(jnp.asarray(included))
        cut = tuple(slice(a, a + n) for a, n in zip(box.first, box.shape, strict=True))
        assert included[cut].shape == box.shape
        assert included[cut].sum() == included.sum()
        if box.room is not None:
            assert included.sum() < box.room <= np.prod(box.shape) / 2
        sizes |= {n for n, whole in zip(box.shape, shape, strict=True) if n < whole}
    assert sizes <= {16, 24, 32, 40, 48, 56}


@pytest.mark.parametrize("fill", ["packed", pytest.param("dense", marks=pytest.mark.slow)])
def test_memory_is_at_most_eight_volumes(head: Array, fill: str) -> None:
    mask = n4ax.otsu_mask(head) if fill == "packed" else np.ones(head.shape, np.uint8)
    with jax.enable_x64(True):
        arguments, key = prepare(head, mask)
        assert (arguments.voxels.rank is None) == (fill == "dense")
        stats = programs.compiled_run.lower(arguments, key).compile().memory_analysis()
    inside = np.argwhere(mask)
    cropped = 4 * np.prod(np.ptp(inside, axis=0) + 1)
    used = stats.argument_size_in_bytes + stats.temp_size_in_bytes + stats.output_size_in_bytes
    times = 8 if jax.default_backend() == "cpu" else 12  # on an H100: 8.1 packed, 11.3 dense
    assert used <= times * cropped


def test_program_for_gpus_multiplies_in_full_and_adds_integers_only(
    small: tuple[Array, Array],
) -> None:
    with jax.enable_x64(True):
        arguments, key = prepare(*small)
        program = programs.compiled_run.trace(arguments, key._replace(on_cpu=False))
        text = program.lower(lowering_platforms=("cuda",)).as_text()
    products = [line for line in text.splitlines() if "stablehlo.dot_general" in line]
    assert products
    assert all("precision = [HIGHEST, HIGHEST]" in line for line in products)
    sums = [
        block for block in text.split('"stablehlo.scatter"')[1:]
        if "stablehlo.add" in block.split("})")[0]
    ]  # fmt: skip
    assert sums
    assert all("xi64>" in block.split("}) : ")[1].splitlines()[0] for block in sums)


# ---- progress, and what is kept on disk ------------------------------------------------------


def test_progress_is_told_in_order_and_its_error_is_raised(small: tuple[Array, Array]) -> None:
    news: list[tuple[int, int, int, float]] = []
    result = n4ax.fit(
        *small, iters=(3, 2), conv_threshold=0.0, engine="xla",
        progress=lambda *one: news.append(one),
    )  # fmt: skip
    assert [one[:3] for one in news] == [(0, 1, 3), (0, 2, 3), (0, 3, 3), (1, 1, 2), (1, 2, 2)]
    assert [one[3] for one in news] == [m for level in result.convergence for m in level]

    def fail(*_: Any) -> None:
        raise KeyError("of the caller")

    with pytest.raises(KeyError, match="of the caller"):
        n4ax.fit(*small, iters=(3, 2), engine="xla", progress=fail)


@pytest.mark.parametrize(
    ("variables", "kept"),
    [
        ({"XDG_CACHE_HOME": "{folder}"}, "n4ax/xla"),
        pytest.param({"N4AX_CACHE_DIR": "{folder}/mine"}, "mine", marks=pytest.mark.slow),
        pytest.param(
            {"XDG_CACHE_HOME": "{folder}", "N4AX_CACHE_DIR": ""}, None, marks=pytest.mark.slow
        ),
        pytest.param(
            {"XDG_CACHE_HOME": "{folder}", "JAX_COMPILATION_CACHE_DIR": "{folder}/own"}, "own",
            marks=pytest.mark.slow,
        ),
    ],
)  # fmt: skip
def test_compiled_programs_are_kept_where_asked(
    tmp_path: Path, variables: dict[str, str], kept: str | None
) -> None:
    folder = str(tmp_path)
    environment = {k: v for k, v in os.environ.items() if "CACHE" not in k} | {
        name: value.format(folder=folder) for name, value in variables.items()
    }
    environment["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    program = (
        "import numpy, n4ax; image = numpy.random.default_rng(0).random((9, 9)) + 1;"
        "n4ax.n4(image, 'all', iters=(1,), engine='xla')"
    )
    subprocess.run([sys.executable, "-c", program], check=True, env=environment)
    files = [
        path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()
    ]
    if kept is None:
        assert files == []
    else:
        assert files
        assert all(name.startswith(kept) for name in files)


WITH_PROGRAMS_OF_THE_USER = """
import threading
from pathlib import Path
import jax, numpy, n4ax

def compile_own(number):
    text = f"users_{number}"
    program = lambda x: jax.numpy.sin(x) * number
    program.__name__ = text
    jax.jit(program)(numpy.ones(3)).block_until_ready()

image = numpy.random.default_rng(0).random((9, 9)) + 1
compile_own(1)
def correct(width): n4ax.n4(image[:, :width], "all", iters=(1,), engine="xla")
threads = [threading.Thread(target=correct, args=(9 - 2 * k,)) for k in range(3)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print("setting:", jax.config.jax_compilation_cache_dir)
compile_own(2)
jax.config.update("jax_compilation_cache_dir", "{own}")
compile_own(3)
correct(8)
print("setting:", jax.config.jax_compilation_cache_dir)
"""


def test_folder_for_programs_is_not_that_of_the_users_programs(tmp_path: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if "CACHE" not in k} | {
        "XDG_CACHE_HOME": str(tmp_path),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    own = tmp_path / "own"
    done = subprocess.run(
        [sys.executable, "-c", WITH_PROGRAMS_OF_THE_USER.replace("{own}", str(own))],
        check=True, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert done.stdout.splitlines() == ["setting: None", f"setting: {own}"]
    kept = " ".join(path.name for path in (tmp_path / "n4ax" / "xla").iterdir())
    assert kept.count("jit_run") >= 3
    assert "users" not in kept
    chosen = " ".join(path.name for path in own.iterdir())
    assert "users_3" in chosen
    assert "jit_run" in chosen  # the user's own setting goes first
    assert "users_1" not in chosen
    assert "users_2" not in chosen


def test_xla_engine_needs_neither_numba_nor_scipy() -> None:
    program = (
        "import sys\n"
        "for name in ('numba', 'scipy', 'nibabel', 'matplotlib'): sys.modules[name] = None\n"
        "import numpy, jax.numpy, n4ax\n"
        "image = jax.numpy.asarray(numpy.random.default_rng(0).random((9, 9)) + 1)\n"
        "result = n4ax.fit(image, 'all', iters=(1,), engine='xla')\n"
        "print(result.log_bias.shape)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "(9, 9)", done.stderr


@pytest.mark.parametrize(
    "brief",
    [
        pytest.param(["--brief"], marks=mark(slow=True, long=False), id="brief"),
        pytest.param([], marks=mark(slow=True, long=True), id="whole"),
    ],
)
def test_script_for_gpus_runs_and_finds_simpleitks_field(brief: list[str], tmp_path: Path) -> None:
    script = Path(__file__).parents[2] / "benchmarks" / "gpu.py"
    target = tmp_path / "report.json"
    done = subprocess.run(
        [sys.executable, str(script), "--small", "--repeats", "1", "--batch", "2",
         "--json", str(target), *brief],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "| phantom, small | 28,680 |" in done.stdout
    (row,) = json.loads(target.read_text())["rows"]
    assert set(row["exactness"]) == {"ten", "default"}
