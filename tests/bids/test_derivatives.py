"""Files that are found among derivatives by their entities."""

import json
from pathlib import Path

import pytest

from n4ax.bids.derivatives import (
    Derivative,
    NoFileError,
    SeveralFilesError,
    check_queries,
    find_in_derivatives,
    read_derivatives,
    read_query,
)
from n4ax.bids.inputs import Source
from n4ax.bids.outputs import check_output, make_uri, prepare_output
from n4ax.errors import InputError
from tests.bids.runs import make_empty_tree

T1W = "sub-01/ses-1/anat/sub-01_ses-1_acq-a_run-1_T1w.nii.gz"


def find(folder: Path, image: str, query: str, name: str = "mask") -> str:
    """Find a file in a derivative dataset; give its path there."""
    wanted = read_query(query, name)
    assert wanted is not None
    found = find_in_derivatives([Derivative("d", folder)], Source.of(image), wanted, name)
    return found.relative_to(folder).as_posix()


@pytest.mark.parametrize(
    "pattern",
    [
        "masks/{name}_mask.nii.gz", "desc-brain_mask.nii.gz", "desc-brain_mask/x", "mask", "{stem}",
        "desc-*_mask", "desc-brain-x_mask", "brain_desc-x_mask", "a b_desc-x", "otsu", "",
    ],
)  # fmt: skip
def test_patterns_of_paths_are_no_queries(pattern: str) -> None:
    assert read_query(pattern, "mask") is None


def test_queries_have_entities_and_a_suffix() -> None:
    query = read_query("space-T1w_resolution-2_desc-brain_mask", "mask")
    assert query is not None
    assert query.entities == {"space": "T1w", "res": "2", "desc": "brain"}
    suffixes = {
        (text, name): getattr(read_query(text, name), "suffixes", None)
        for text, name in (("desc-brain", "mask"), ("label-GM", "tissues"), ("desc-x_dseg", "mask"))
    }
    assert list(suffixes.values()) == [("mask",), ("probseg", "dseg"), ("dseg",)]
    with pytest.raises(InputError, match=r"mask is 'decs-brain_mask', and decs is no entity"):
        read_query("decs-brain_mask", "mask")
    with pytest.raises(InputError, match=r"weights is 'desc-x', which has no suffix"):
        read_query("desc-x", "weights")


def test_layouts_of_fmriprep(tmp_path: Path) -> None:
    folder = make_empty_tree(
        tmp_path,
        "sub-01/anat/sub-01_desc-brain_mask.nii.gz",
        "sub-01/anat/sub-01_desc-brain_mask.json",
        "sub-01/anat/sub-01_space-MNI152NLin6Asym_res-2_desc-brain_mask.nii.gz",
        "sub-01/anat/sub-01_label-GM_probseg.nii.gz",
        "sub-01/anat/sub-01_label-WM_probseg.nii.gz",
        "sub-01/anat/sub-01_desc-aseg_dseg.nii.gz",
        "sub-01/anat/sub-01_hemi-L_desc-brain_mask.nii.gz",
        "sub-01/func/sub-01_task-rest_run-1_desc-brain_mask.nii.gz",
        "sub-01/func/sub-01_task-rest_run-2_desc-brain_mask.nii.gz",
        "sub-02/ses-1/anat/sub-02_ses-1_desc-brain_mask.nii.gz",
        "sub-02/ses-2/anat/sub-02_ses-2_desc-brain_mask.nii.gz",
        "sub-03/sub-03_desc-brain_mask.nii",  # without a folder of the data type
        "sub-1/anat/sub-1_desc-brain_mask.nii.gz",  # another participant than 01
    )
    start = "sub-01/anat/sub-01_"
    t1w = "sub-01/anat/sub-01_T1w.nii.gz"
    assert find(folder, t1w, "desc-brain_mask") == f"{start}desc-brain_mask.nii.gz"
    assert find(folder, t1w, "label-GM", "tissues") == f"{start}label-GM_probseg.nii.gz"
    assert find(folder, t1w, "desc-aseg", "tissues") == f"{start}desc-aseg_dseg.nii.gz"
    in_template = f"{start}space-MNI152NLin6Asym_res-2_desc-brain_mask.nii.gz"
    assert find(folder, t1w, "space-MNI152NLin6Asym_res-2_desc-brain_mask") == in_template
    # The session has none of its own.
    assert find(folder, T1W, "desc-brain_mask") == f"{start}desc-brain_mask.nii.gz"
    for session in ("1", "2"):
        place = f"sub-02/ses-{session}/anat/sub-02_ses-{session}_"
        mask = find(folder, f"{place}T1w.nii.gz", "desc-brain_mask")
        assert mask == f"{place}desc-brain_mask.nii.gz"
    image = "sub-02/ses-3/anat/sub-02_ses-3_T1w.nii.gz"
    baseline = "sub-02/ses-1/anat/sub-02_ses-1_desc-brain_mask.nii.gz"
    assert find(folder, image, "ses-1_desc-brain_mask") == baseline
    bold = "sub-01/func/sub-01_task-rest_run-02_bold.nii.gz"
    series = "sub-01/func/sub-01_task-rest_run-2_desc-brain_mask.nii.gz"
    assert find(folder, bold, "desc-brain_mask") == series
    loose = "sub-03/sub-03_desc-brain_mask.nii"
    assert find(folder, "sub-03/anat/sub-03_T1w.nii.gz", "desc-brain_mask") == loose


def test_the_file_that_has_most_in_common_is_taken(tmp_path: Path) -> None:
    folder = make_empty_tree(
        tmp_path,
        "sub-01/ses-1/anat/sub-01_ses-1_desc-brain_mask.nii.gz",
        "sub-01/ses-1/anat/sub-01_ses-1_acq-a_desc-brain_mask.nii.gz",
        "sub-01/ses-1/anat/sub-01_ses-1_acq-b_run-1_desc-brain_mask.nii.gz",
        "sub-01/ses-2/anat/sub-01_ses-2_acq-a_run-1_desc-brain_mask.nii.gz",
        "sub-01/anat/sub-01_acq-a_run-1_desc-brain_mask.nii.gz",
    )
    best = "sub-01/ses-1/anat/sub-01_ses-1_acq-a_desc-brain_mask.nii.gz"
    assert find(folder, T1W, "desc-brain_mask") == best
    make_empty_tree(folder, "sub-01/ses-1/anat/sub-01_ses-1_run-1_desc-brain_mask.nii.gz")
    with pytest.raises(SeveralFilesError, match=r"_acq-a_desc-brain_\S+ and \S+_run-1_desc-brain_"):
        find(folder, T1W, "desc-brain_mask")


def test_images_of_a_space_need_files_of_that_space(tmp_path: Path) -> None:
    folder = make_empty_tree(tmp_path, "sub-01/anat/sub-01_desc-brain_mask.nii.gz")
    image = "sub-01/anat/sub-01_space-MNI152NLin6Asym_desc-preproc_T1w.nii.gz"
    with pytest.raises(NoFileError, match=r"sub-01_desc-brain_mask.nii.gz is for another image or"):
        find(folder, image, "desc-brain_mask")
    mask = "sub-01/anat/sub-01_space-MNI152NLin6Asym_desc-brain_mask.nii.gz"
    make_empty_tree(folder, mask)
    assert find(folder, image, "desc-brain_mask") == mask


def test_nothing_found_says_what_and_where(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    places = [Derivative("a", tmp_path / "a"), Derivative("b", tmp_path / "b")]
    query = read_query("label-GM", "tissues")
    assert query is not None
    with pytest.raises(NoFileError) as caught:
        find_in_derivatives(places, Source.of(T1W), query, "tissues")
    message = caught.value.with_options({"tissues": "--tissues"})
    where = f"{tmp_path}/a/sub-01 or {tmp_path}/b/sub-01"
    assert message == f"--tissues finds no label-GM_probseg or dseg for this image in {where}"


def test_derivatives_have_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("deri/fmriprep 23.1", "other/fmriprep", "x=y", "raw"):
        Path(name).mkdir(parents=True)
    given = ["deri/fmriprep 23.1", "anat=other/fmriprep", "x=y", "anat=other/../other/fmriprep"]
    assert read_derivatives(given) == (
        Derivative("fmriprep-23-1", tmp_path / "deri/fmriprep 23.1"),
        Derivative("anat", tmp_path / "other/fmriprep"),
        Derivative("x-y", tmp_path / "x=y"),
    )
    for wrong, message in (
        (["none"], "there is no folder .*none; expected the folder of a derivative"),
        (["a=none"], "there is no folder .*none"),
        ([""], "there is no folder"),
        (["a=other", "a=deri"], "other is also called 'a'; give another name, as NAME=DIR"),
        (["raw"], "the source dataset is also called 'raw'"),
    ):
        with pytest.raises(InputError, match=message):
            read_derivatives(wrong)


def test_queries_need_derivatives_and_derivatives_queries(tmp_path: Path) -> None:
    places = [Derivative("a", tmp_path)]
    check_queries([("mask", "m/{name}.nii"), ("tissues", "label-GM_probseg")], places)
    check_queries([("mask", "m/{name}.nii")], [])
    with pytest.raises(InputError, match=r"weights is 'desc-w_probseg', entities .* derivatives"):
        check_queries([("weights", "desc-w_probseg")], [])
    with pytest.raises(InputError, match="no entities are looked for there"):
        check_queries([("mask", "m/{name}.nii")], places)


def test_links_to_derivatives_are_kept_and_stay_true(tmp_path: Path) -> None:
    dataset, output = tmp_path / "study", tmp_path / "study" / "derivatives" / "n4ax"
    inner = Derivative("fmriprep", dataset / "derivatives" / "fmri prep")
    outer = Derivative("own", tmp_path / "own")
    make_empty_tree(tmp_path, "own/x", "study/derivatives/fmri prep/x")
    prepare_output(dataset, output, [inner])
    prepare_output(dataset, output, [outer])
    prepare_output(dataset, output)
    links = json.loads((output / "dataset_description.json").read_text())["DatasetLinks"]
    assert links == {"raw": "../..", "fmriprep": "../fmri%20prep", "own": "../../../own"}
    both = [inner, outer]
    assert make_uri(dataset, inner.folder / "sub 1.nii", both) == "bids:fmriprep:sub%201.nii"
    assert make_uri(dataset, dataset / "sub-1.nii", both) == "bids:raw:sub-1.nii"
    assert make_uri(dataset, outer.folder / "m.nii", both) == "bids:own:m.nii"
    with pytest.raises(InputError, match=r"this name stands for .*own: give another name"):
        check_output(dataset, output, [Derivative("own", inner.folder)])
    check_output(dataset, output, [Derivative("new", inner.folder)])
