"""Images larger than memory: estimated on their samples, and corrected block by block."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
import pytest

import n4ax
from tests.support.long import mark

da = pytest.importorskip("dask.array", reason="dask is not installed: pip install 'n4ax[arrays]'")
zarr = pytest.importorskip("zarr", reason="zarr is not installed: pip install 'n4ax[arrays]'")

QUICK: dict[str, Any] = {"iters": (5, 4), "conv_threshold": 0.0, "shrink_factor": 3}


@pytest.fixture(scope="module")
def head() -> npt.NDArray[np.float32]:
    path = Path(n4ax.__file__).parent / "data" / "head.nii.gz"
    return np.asarray(nib.load(path).dataobj, np.float32)[20:103, 20:110, 20:91]


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("outside", ["divide", "keep", "zero"])
def test_blocks_have_the_bits_of_the_whole(head: Any, order: Any, outside: Any) -> None:
    inside = head > 60
    keywords: dict[str, Any] = {"voxel_order": order, "outside": outside, **QUICK}
    lazy = n4ax.n4(da.from_array(head, chunks=(30, 41, 71)), inside, **keywords)
    assert isinstance(lazy, da.Array)
    assert lazy.chunks == ((30, 30, 16), (41, 35), (68,))
    assert lazy.dtype == np.float32
    assert np.array_equal(lazy.compute(), n4ax.n4(head, inside, **keywords))


def test_mask_and_weights_may_be_lazy_too(head: Any) -> None:
    inside, weights = head > 60, np.where(head > 100, 1, 0.3).astype(np.float32)
    expected = n4ax.n4(head, inside, weights=weights, outside="keep", **QUICK)
    blocks = [da.from_array(array, chunks=40) for array in (head, inside, weights)]
    found = n4ax.n4(blocks[0], blocks[1], weights=blocks[2], outside="keep", **QUICK)
    assert np.array_equal(found.compute(), expected)


@pytest.mark.parametrize("scale", ["mean", "unit-field", "minmax"])
def test_scale_of_a_lazy_image(head: Any, scale: Any) -> None:
    inside = head > 60
    keywords: dict[str, Any] = {"scale": scale, "non_positive": "offset", **QUICK}
    found = n4ax.n4(da.from_array(head, chunks=40), inside, **keywords)
    np.testing.assert_allclose(found.compute(), n4ax.n4(head, inside, **keywords), rtol=2e-6)


def test_only_the_samples_are_read_for_the_estimation(head: Any) -> None:
    read = []

    def seen(block: Any, block_info: Any = None) -> Any:
        read.append(block.size)
        return block

    lazy = da.from_array(head, chunks=45).map_blocks(seen, dtype=head.dtype, meta=head[:0, :0, :0])
    result = n4ax.fit(lazy, **QUICK)
    assert sum(read) == head.size  # once, for the samples and their Otsu threshold
    assert isinstance(result.field, n4ax.BiasField)
    read.clear()
    part = result.corrected[:45, :45, :45].compute()
    assert sum(read) == 45**3
    assert np.array_equal(part, result.field.apply(head)[:45, :45, :45])


def test_field_of_a_lazy_image_is_lazy(head: Any) -> None:
    corrected, log_bias = n4ax.n4(da.from_array(head, chunks=40), "all", return_bias=True, **QUICK)
    assert isinstance(log_bias, da.Array)
    assert log_bias.chunks == corrected.chunks
    expected = n4ax.n4(head, "all", return_bias=True, **QUICK)[1]
    assert np.array_equal(log_bias.compute(), expected)


def test_lazy_mask_of_an_image_in_memory(head: Any) -> None:
    inside = head > 60
    lazy = da.from_array(inside, chunks=40)
    for outside in ("divide", "keep"):
        found = n4ax.n4(head, lazy, outside=outside, **QUICK)
        assert isinstance(found, np.ndarray)
        assert np.array_equal(found, n4ax.n4(head, inside, outside=outside, **QUICK))


def test_xla_and_blocks(head: Any) -> None:
    lazy = da.from_array(head, chunks=40)
    with pytest.raises(ValueError, match="takes no dask or zarr arrays"):
        n4ax.n4(lazy, "all", engine="xla", **QUICK)
    with pytest.raises(ValueError, match="takes no dask or zarr arrays"):
        n4ax.n4_batch([lazy], "all", engine="xla", **QUICK)
    inside = head > 60
    by_lazy = n4ax.n4(head, da.from_array(inside, chunks=40), engine="xla", outside="keep", **QUICK)
    assert np.array_equal(by_lazy, n4ax.n4(head, inside, engine="xla", outside="keep", **QUICK))


def test_stacked_images_of_blocks(head: Any) -> None:
    stack = np.stack([head, head * 0.7])
    found = n4ax.n4_batch(da.from_array(stack, chunks=(1, 40, 40, 40)), "all", **QUICK)
    assert isinstance(found, da.Array)
    assert np.array_equal(found.compute(), n4ax.n4_batch(stack, "all", **QUICK))


def test_otsu_of_integers_is_that_of_the_samples(head: Any) -> None:
    integers = head.astype(np.int16) - np.int16(300)
    whole = {**QUICK, "shrink_factor": 1, "outside": "zero", "non_positive": "offset"}
    found = n4ax.n4(da.from_array(integers, chunks=40), **whole)
    assert np.array_equal(found.compute(), n4ax.n4(integers, **whole))


def test_blocks_of_unknown_size_are_refused(head: Any) -> None:
    lazy = da.from_array(head, chunks=40)
    unknown = lazy[lazy[:, 0, 0] >= 0]
    with pytest.raises(ValueError, match="compute_chunk_sizes"):
        n4ax.n4(unknown, "all", **QUICK)


def test_zarr_array_gives_a_dask_array(head: Any, tmp_path: Path) -> None:
    array = zarr.create_array(tmp_path / "a.zarr", shape=head.shape, chunks=(40,) * 3, dtype="f4")
    array[:] = head
    found = n4ax.n4(array, "all", **QUICK)
    assert isinstance(found, da.Array)
    assert np.array_equal(found.compute(), n4ax.n4(head, "all", **QUICK))
    field = n4ax.fit(head, "all", **QUICK).field
    assert np.array_equal(field.apply(array).compute(), found.compute())


def test_without_dask_the_extra_is_named(
    head: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    array = zarr.create_array(tmp_path / "a.zarr", shape=head.shape, dtype="f4")
    for name in ("dask", "dask.array"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=r"pip install 'n4ax\[arrays\]'"):
        n4ax.n4(array, "all", **QUICK)


def test_xarray_of_blocks_stays_lazy(head: Any) -> None:
    xarray = pytest.importorskip("xarray", reason="xarray is not installed: n4ax[arrays]")
    image = xarray.DataArray(da.from_array(head, chunks=40), dims=("z", "y", "x"))
    found = n4ax.n4(image, "all", **QUICK)
    assert isinstance(found.data, da.Array)
    assert np.array_equal(found.values, n4ax.n4(head, "all", **QUICK))


@pytest.mark.parametrize(
    ("side", "limit"),
    [
        pytest.param(640, 640, marks=mark(slow=True, long=False), id="1 GB"),
        pytest.param(1024, 1024, marks=mark(slow=True, long=True), id="4.3 GB"),
    ],
)
def test_array_that_is_larger_than_the_memory(side: int, limit: int, tmp_path: Path) -> None:
    """A process that may use so many MB corrects a zarr array of more (see large_zarr.py)."""
    if shutil.disk_usage(tmp_path).free < 12 * side**3:
        pytest.skip("less disk is free than the array, its correction and as much again take")
    assert 4 * side**3 > 1.5 * (limit << 20)
    command = [
        sys.executable,
        "-m",
        "tests.support.large_zarr",
        str(tmp_path),
        str(side),
        str(limit),
    ]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout) < limit
    image, corrected = (zarr.open(tmp_path / f"{name}.zarr") for name in ("image", "corrected"))
    assert image.nbytes == corrected.nbytes == 4 * side**3
    middle = side // 2
    along = (
        slice(middle - side // 5, middle + side // 5),
        middle,
        slice(None),
    )  # within one tissue
    spread = [
        np.std(np.log(array[along][:, middle - 20 : middle + 20])) for array in (image, corrected)
    ]
    assert spread[1] < 0.5 * spread[0]
    shutil.rmtree(tmp_path / "image.zarr")
    shutil.rmtree(tmp_path / "corrected.zarr")
