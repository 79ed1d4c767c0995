"""What ``n4ax correct`` says about its results: in JSON, in headers, and as text for papers."""

import hashlib
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

import n4ax
from n4ax.provenance import hash_file, write_methods
from tests.cli.program import QUICK, phantom, read_voxels, run, save


def test_the_record_says_how_an_image_was_corrected(tmp_path: Path) -> None:
    scan = save(tmp_path / "scan.nii.gz", phantom())
    inside = save(tmp_path / "mask.nii.gz", (phantom() > 200).astype(np.uint8))
    record, bias = tmp_path / "scan.json", tmp_path / "bias.nii"
    words = ["--json", record, "--bias", bias, "--mask", inside, "--fwhm", "0.2", "-q"]
    assert run("correct", scan, *words, *QUICK) == 0
    found = json.loads(record.read_text())
    assert found["Inputs"] == {"Image": [str(scan)], "Mask": [str(inside)]}
    assert found["Engine"] == "cpu"
    assert found["Digests"][str(scan)] == hashlib.sha256(scan.read_bytes()).hexdigest()
    assert found["Settings"]["fwhm"] == 0.2
    assert found["Settings"]["iters"] == [3, 2]
    assert found["Iterations"] == [3, 2]
    assert found["MaskVoxels"] == int((phantom() > 200).sum())
    field = read_voxels(bias)
    assert found["FieldRange"] == pytest.approx([field.min(), field.max()], rel=1e-6)
    inner = field[phantom() > 200]
    assert found["FieldRangeInMask"] == pytest.approx([inner.min(), inner.max()], rel=1e-6)
    assert found["SoftwareVersions"]["n4ax"] == n4ax.__version__
    settings = n4ax.N4Settings(**found["Settings"])
    again = n4ax.n4(phantom().astype(np.float32), phantom() > 200, settings=settings)
    assert np.array_equal(read_voxels(tmp_path / "scan_n4.nii.gz"), again)


@pytest.mark.parametrize("before", ["", "TE=2.9;Time=101500.250", "x" * 79])
def test_headers_say_who_made_the_image(tmp_path: Path, before: str) -> None:
    scan = nib.Nifti1Image(phantom(), np.eye(4))
    scan.header["descrip"] = before.encode()
    nib.save(scan, tmp_path / "scan.nii.gz")
    bias = tmp_path / "bias.nii"
    assert run("correct", tmp_path / "scan.nii.gz", "--bias", bias, "-q", *QUICK) == 0
    signature = f"n4ax {n4ax.__version__}: N4"
    room = len(before) + len(signature) + 2 <= 79
    expected = f"{before}; {signature}" if before and room else before or signature
    for path in (tmp_path / "scan_n4.nii.gz", bias):
        assert bytes(nib.load(path).header["descrip"].item()).decode() == expected


def test_text_for_papers_has_the_settings(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--preset", "ants", "--spline-distance", "200", "--iters", "50x40", "--nbins", "150"]
    assert run("correct", "--methods", *words) == 0
    text = capsys.readouterr().out
    for part in ("on the whole image", "shrunk by a factor of 4", "of 200 mm", "2 fitting levels",
                 "at most 50, 40 iterations", "all iterations were run", "150 bins",
                 f"n4ax {n4ax.__version__}", "10.1109/TMI.2010.2046908"):  # fmt: skip
        assert part in text
    assert "10.1109/TSMC.1979.4310076" not in text
    words = ["--mask-dilate", "3", "--slicewise", "--arithmetic", "itk"]
    assert run("correct", "--methods", *words) == 0
    text = capsys.readouterr().out
    for part in ("10.1109/TSMC.1979.4310076", "arithmetic of ITK 5", "dilated by 3 mm",
                 "Each slice had a field of its own"):  # fmt: skip
        assert part in text
    assert "mean of the series" in write_methods(
        n4ax.N4Settings(), {"Mask": "all", "EstimatedOn": "mean"}
    )


def test_a_result_that_was_replaced_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scan = save(tmp_path / "scan.nii.gz", phantom())
    assert run("correct", scan, *QUICK) == 0
    assert "replaced" not in capsys.readouterr().out
    assert run("correct", scan, *QUICK) == 0
    assert "scan_n4.nii.gz (replaced a file of 20" in capsys.readouterr().out


def test_digests_are_of_all_files_of_an_image(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Pair(phantom(), np.eye(4)), tmp_path / "a.b.img")
    (tmp_path / "v.mhd").write_text("NDims = 3\nElementDataFile = other.raw\n")
    (tmp_path / "other.raw").write_bytes(b"0123")
    (tmp_path / "n.nhdr").write_text("NRRD0004\ndata file: other.raw\n")
    (tmp_path / "dicom").mkdir()
    for name in ("s0.dcm", "s1.dcm"):
        (tmp_path / "dicom" / name).write_text(name)
    for path, part in (
        ("a.b.img", "a.b.hdr"),
        ("a.b.img", "a.b.img"),
        ("v.mhd", "other.raw"),
        ("n.nhdr", "other.raw"),
        ("dicom/s0.dcm", "dicom/s1.dcm"),
        ("dicom", "dicom/s0.dcm"),
    ):
        first = hash_file(tmp_path / path)
        (tmp_path / "a.b.json").write_text(f"beside {part}")
        assert hash_file(tmp_path / path) == first
        content = (tmp_path / part).read_bytes()
        (tmp_path / part).write_bytes(content + b"~")
        assert hash_file(tmp_path / path) != first
    (tmp_path / "gone.nii").symlink_to("nowhere")
    with pytest.raises(ValueError, match="datalad get"):
        hash_file(tmp_path / "gone.nii")


def test_a_picture_that_could_not_be_drawn_is_in_no_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib")

    def fail(*_: object) -> None:
        raise RuntimeError("no font")

    monkeypatch.setattr("n4ax.figure.draw_figure", fail)
    scan, record = save(tmp_path / "scan.nii", phantom()), tmp_path / "scan.json"
    words = ["--figure", tmp_path / "f.png", "--json", record, "-q"]
    assert run("correct", scan, *words, *QUICK) == 2
    assert set(json.loads(record.read_text())["Outputs"]) == {"output", "json"}
