"""``n4ax correct --shared-field``: one field for several images."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

import n4ax
from tests.cli.program import AFFINE, QUICK, phantom, read_voxels, run, save


@pytest.fixture
def echoes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.chdir(tmp_path)
    noise = np.random.default_rng(2).normal(0, 9, phantom().shape)
    save(tmp_path / "echo1.nii.gz", phantom())
    save(tmp_path / "echo2.nii.gz", np.maximum(phantom() * 0.6 + noise, 1).astype(np.float32))
    return ["echo1.nii.gz", "echo2.nii.gz"]


@pytest.mark.parametrize("engine", ["cpu", "xla"])
def test_images_are_divided_by_one_field(
    echoes: list[str], capsys: pytest.CaptureFixture[str], engine: str
) -> None:
    if engine == "xla":
        pytest.importorskip("jax")
    words = [*echoes, "--shared-field", "--bias", "{stem}_bias.nii", "-o", "out"]
    assert run("correct", *words, *QUICK, "--engine", engine) == 0
    fields = [read_voxels(Path(f"out/echo{k}_bias.nii")) for k in (1, 2)]
    assert np.array_equal(*fields)
    expected = n4ax.fit(echoes, shared_field=True, iters=(3, 2), conv_threshold=0, engine=engine)
    for name, result in zip(("echo1", "echo2"), expected, strict=True):
        found = read_voxels(Path(f"out/{name}_n4.nii.gz"))
        assert np.array_equal(found, result.corrected.get_fdata(dtype=np.float32))
    alone = n4ax.fit(echoes[0], iters=(3, 2), conv_threshold=0).log_bias
    assert np.abs(np.log(fields[0]) - alone.get_fdata()).max() > 1e-4
    assert run("correct", *words, *QUICK, "--engine", engine) == 0
    assert "0 corrected, 2 unchanged" in capsys.readouterr().out
    # A change of one image changes the field of all.
    save(Path("echo2.nii.gz"), phantom())
    assert run("correct", *words, *QUICK, "--engine", engine) == 0
    assert "2 corrected, 0 unchanged" in capsys.readouterr().out


def test_images_of_two_grids_share_nothing(
    echoes: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    moved = AFFINE.copy()
    moved[2, 3] += 9
    nib.save(nib.Nifti1Image(phantom(), moved), "echo2.nii.gz")
    assert run("correct", *echoes, "--shared-field", *QUICK) == 1
    err = capsys.readouterr().err
    assert "echo2.nii.gz and echo1.nii.gz do not occupy the same physical space" in err
    assert not list(Path().glob("*_n4*"))
    assert run("correct", *echoes, "--shared-field", "--series", "mean", *QUICK) == 2
    assert "--shared-field and --weights-from exclude each other" in capsys.readouterr().err


def test_the_one_field_is_written_once(echoes: list[str]) -> None:
    words = [*echoes, "--shared-field", "--field", "both.npz", "--bias", "{stem}_bias.nii", "-q"]
    assert run("correct", *words, *QUICK) == 0
    field = n4ax.BiasField.load("both.npz").evaluate()
    np.testing.assert_allclose(np.exp(field), read_voxels(Path("echo2_bias.nii")), rtol=1e-6)
