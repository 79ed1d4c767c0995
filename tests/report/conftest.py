"""Output folders of runs, with the records and pictures that pages are made of."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

import n4ax
from n4ax.report.measures import measure
from n4ax.report.pages import write_all
from n4ax.report.pictures import draw
from n4ax.report.volumes import Volumes
from tests.report.browser import Pages, open_browser
from tests.report.support import make_measures, write_record


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pages]:
    """A browser; its storage is empty, unless a test before has filled it."""
    with open_browser(tmp_path_factory.mktemp("browser")) as pages:
        yield pages


@pytest.fixture(scope="session")
def head() -> tuple[dict[str, bytes], dict[str, Any]]:
    """The pictures and the measures of the packaged head."""
    scan: Any = nib.load(Path(n4ax.__file__).parent / "data" / "head.nii.gz")
    image = np.asarray(scan.dataobj, np.float32)
    result = n4ax.fit(image, shrink_factor=4, iters=(5, 5), voxel_order="F", num_threads=1)
    mask = n4ax.otsu_mask(image).astype(bool)
    volumes = Volumes(image, result.log_bias, result.corrected, mask)
    measures = measure(volumes, scan.affine) | result.verdict.measures
    return draw(volumes, scan.affine), measures


@pytest.fixture
def few(tmp_path: Path, head: Any) -> Path:
    """Two participants, one of them with two sessions, and a third with a failed scan."""
    pictures, measures = head
    write_record(tmp_path, "2", "1", "T1w", measures, pictures)
    write_record(tmp_path, "2", "2", "T1w", measures, pictures)
    write_record(tmp_path, "10", None, "FLAIR", measures, pictures)
    errors = [{"Source": "sub-3/anat/sub-3_T1w.nii.gz", "Subject": "3", "Reason": "too short"}]
    (tmp_path / "n4ax_errors.json").write_text(json.dumps({"Errors": errors}))
    return tmp_path


@pytest.fixture(scope="session")
def many(tmp_path_factory: pytest.TempPathFactory, head: Any) -> Path:
    """100 participants with two scans each; the field of one scan is unlike all others."""
    output = tmp_path_factory.mktemp("many")
    for number in range(1, 101):
        for suffix in ("T1w", "FLAIR"):
            measures = make_measures(number, suffix)
            if (number, suffix) == (42, "FLAIR"):
                measures["FieldRange"][1] = 4.0
            write_record(output, f"{number:03}", "1", suffix, measures, head[0])
    write_all(output)
    return output
