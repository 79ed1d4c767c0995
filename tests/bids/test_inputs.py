"""Which images are found, which files belong to them, and how their outputs are named."""

import json
from pathlib import Path

import pytest

from n4ax.bids.companions import find_companions, find_file, find_inherited
from n4ax.bids.inputs import Source, find_sources, list_suffixes, read_filters
from n4ax.bids.outputs import Outputs, find_conflicts
from n4ax.bids.recipe import Recipe
from n4ax.provenance import format_json
from n4ax.settings import N4Settings
from tests.bids.runs import make_empty_tree


def test_filters_choose_as_those_of_fmriprep(tmp_path: Path) -> None:
    dataset = make_empty_tree(
        tmp_path / "ds",
        "sub-01/anat/sub-01_acq-mprage_run-01_T1w.nii.gz",
        "sub-01/anat/sub-01_acq-mprage_run-02_T1w.nii.gz",
        "sub-01/anat/sub-01_acq-space_T1w.nii.gz",
        "sub-01/anat/sub-01_T1w.nii",
        "sub-01/anat/sub-01_part-phase_T2w.nii.gz",
        "sub-01/anat/sub-01_part-mag_T2w.nii.gz",
        "sub-01/anat/sub-01_T2w.json",
        "sub-01/anat/sub-01_acq-space_FLAIR.nii.gz",
    )

    def names(filters: object) -> set[str]:
        (tmp_path / "filters.json").write_text(json.dumps(filters))
        found = find_sources(dataset, filters=read_filters(tmp_path / "filters.json"))
        return {source.stem.removeprefix("sub-01_") for source in found}

    others = {"part-mag_T2w", "acq-space_FLAIR"}
    mprage = {"acq-mprage_run-01_T1w", "acq-mprage_run-02_T1w"}
    assert names({}) == others | mprage | {"acq-space_T1w", "sub-01_T1w".removeprefix("sub-01_")}
    assert names({"t1w": {"acquisition": "mprage"}}) == others | mprage
    assert names({"t1w": {"acq": None}}) == others | {"T1w"}
    assert names({"t1w": {"acquisition": "Query.NONE"}}) == others | {"T1w"}
    assert names({"t1w": {"acquisition": "Query.ANY"}}) == others | mprage | {"acq-space_T1w"}
    assert names({"t1w": {"acquisition": ["*"]}}) == others | mprage | {"acq-space_T1w"}
    assert names({"t1w": {"run": 1}}) == others | {"acq-mprage_run-01_T1w"}
    assert names({"t1w": {"run": [1, None]}}) == others | {
        "acq-mprage_run-01_T1w", "acq-space_T1w", "T1w"
    }  # fmt: skip
    assert names({"x": {"suffix": ["T1w", "FLAIR"], "acquisition": "space"}}) == others | {
        "acq-space_T1w"
    }
    assert names({"t1w": {"extension": "nii"}}) == others | {"T1w"}


def test_a_whole_filter_file_of_fmriprep_is_understood(tmp_path: Path) -> None:
    dataset = make_empty_tree(
        tmp_path / "ds",
        *(
            f"sub-01/ses-{session}/{name}.nii.gz"
            for session in ("1", "02")
            for name in (
                f"anat/sub-01_ses-{session}_rec-norm_T1w",
                f"anat/sub-01_ses-{session}_ce-gd_T1w",
                f"anat/sub-01_ses-{session}_T2w",
                f"anat/sub-01_ses-{session}_run-2_FLAIR",
                f"func/sub-01_ses-{session}_task-rest_dir-AP_echo-1_bold",
                f"func/sub-01_ses-{session}_task-rest_dir-AP_echo-2_bold",
                f"func/sub-01_ses-{session}_task-nback_bold",
                f"func/sub-01_ses-{session}_task-rest_sbref",
                f"func/sub-01_ses-{session}_task-nback_sbref",
                f"dwi/sub-01_ses-{session}_dir-AP_sbref",
                f"dwi/sub-01_ses-{session}_dir-AP_dwi",
                f"dwi/sub-01_ses-{session}_dir-PA_dwi",
                f"fmap/sub-01_ses-{session}_acq-fMRI_magnitude1",
                f"fmap/sub-01_ses-{session}_acq-dwi_magnitude1",
            )
        ),
    )
    filters = {
        "t1w": {"datatype": "anat", "session": ["01"], "suffix": "T1w", "ceagent": None},
        "t2w": {"session": "*", "acquisition": "Query.NONE", "extension": [".nii", ".nii.gz"]},
        "flair": {"run": [1, 2], "reconstruction": "<Query.OPTIONAL: 3>"},
        "bold": {"task": "rest", "echo": 1, "direction": ["AP", None], "part": ["mag", None]},
        "sbref": {"task": ["rest"]},
        "dwi": {"datatype": "dwi", "direction": "PA", "session": "Query.REQUIRED"},
        "fmap": {"acquisition": "fMRI"},
        "roi": {"datatype": "anat"},
    }
    (tmp_path / "filters.json").write_text(json.dumps(filters))
    suffixes = ["T1w", "T2w", "FLAIR", "bold", "boldref", "dwi", "magnitude1"]
    found = find_sources(
        dataset, suffixes=suffixes, filters=read_filters(tmp_path / "filters.json")
    )
    names = [source.stem.removeprefix("sub-01_") for source in found]
    both = (
        "T2w", "run-2_FLAIR", "task-rest_dir-AP_echo-1_bold", "task-rest_sbref", "dir-AP_sbref",
        "dir-PA_dwi", "acq-fMRI_magnitude1",
    )  # fmt: skip
    expected = [f"ses-{session}_{name}" for session in ("1", "02") for name in both]
    assert sorted(names) == sorted([*expected, "ses-1_rec-norm_T1w"])


def test_names_of_outputs_keep_the_entities() -> None:
    outputs = Outputs.of(Source.of("sub-1/ses-2/func/sub-1_ses-2_task-rest_echo-1_bold.nii.gz"))
    assert outputs.image == "sub-1/ses-2/func/sub-1_ses-2_task-rest_echo-1_desc-n4_bold.nii.gz"
    field = "sub-1_ses-2_task-rest_mod-bold_echo-1_desc-n4_biasfield.nii.gz"
    assert outputs.field == f"sub-1/ses-2/func/{field}"
    preprocessed = Source.of("sub-1/anat/sub-1_desc-preproc_T1w.nii.gz")
    assert Outputs.of(preprocessed).image == "sub-1/anat/sub-1_desc-n4_T1w.nii.gz"
    raw = Source.of("sub-1/anat/sub-1_T1w.nii.gz")
    assert set(find_conflicts([raw, preprocessed])) == {raw.path, preprocessed.path}
    assert find_conflicts([raw]) == {}


def test_files_of_upper_folders_are_inherited(tmp_path: Path) -> None:
    dataset = make_empty_tree(
        tmp_path,
        "dwi.bval",
        "acq-a_dwi.bval",
        "sub-1/sub-1_dwi.bval",
        "sub-1/ses-1/dwi/sub-1_ses-1_dwi.bval",
        "sub-1/ses-1/dwi/sub-1_ses-1_run-2_dwi.bval",
        "sub-1/ses-1/dwi/sub-1_ses-1_run-1_sbref.bval",
        "old_dwi.bval",
    )
    source = Source.of("sub-1/ses-1/dwi/sub-1_ses-1_run-1_dwi.nii.gz")
    found = [str(path.relative_to(dataset)) for path in find_inherited(dataset, source, ".bval")]
    assert found == ["sub-1/ses-1/dwi/sub-1_ses-1_dwi.bval", "sub-1/sub-1_dwi.bval", "dwi.bval"]


def test_mask_patterns(tmp_path: Path) -> None:
    source = Source.of("sub-1/ses-2/anat/sub-1_ses-2_T1w.nii.gz")
    make_empty_tree(tmp_path, "m/sub-1_ses-2_a.nii.gz", "m/sub-1_ses-2_b.nii.gz")
    a = tmp_path / "m" / "sub-1_ses-2_a.nii.gz"
    assert find_file(tmp_path, source, "m/{name}_a.nii.gz", "mask") == a
    assert find_file(tmp_path, source, f"{tmp_path}/m/sub-{{sub}}_*_a.nii.gz", "mask") == a
    for pattern, message in (
        ("m/{name}_*.nii.gz", "2 masks"), ("m/{name}_c.nii.gz", "no mask"), ("{run}", "has no run"),
        ("{sub.x}", "no mask"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            find_file(tmp_path, source, pattern, "mask")


def test_brackets_of_a_pattern_are_those_of_a_name(tmp_path: Path) -> None:
    source = Source.of("sub-1/anat/sub-1_T1w.nii.gz")
    make_empty_tree(tmp_path, "masks [v1] {x y}/sub-1_mask.nii.gz", "masks v {x y}/sub-1_m.nii.gz")
    mask = tmp_path / "masks [v1] {x y}" / "sub-1_mask.nii.gz"
    for pattern in ("masks [v1] {x y}/{name}_m*.nii.gz", "masks [v1] {x y}/{name}_mask.nii.gz"):
        assert find_file(tmp_path, source, pattern, "mask") == mask
    with pytest.raises(ValueError, match=r"no mask at .*/n \[v1\]/sub-1\*; expected one"):
        find_file(tmp_path, source, "n [v1]/{name}*", "mask")


@pytest.mark.parametrize("name", ["study [x] (1)", "a*b?", "{sub} 100%", "v1.0 [x]"])
def test_datasets_may_have_any_name(name: str, tmp_path: Path) -> None:
    make_empty_tree(tmp_path, "aXbX/sub-2/anat/sub-2_T1w.nii.gz")
    dataset = make_empty_tree(tmp_path / name, "sub-1/anat/sub-1_T1w.nii.gz")
    assert [source.path for source in find_sources(dataset)] == ["sub-1/anat/sub-1_T1w.nii.gz"]
    assert list_suffixes(dataset) == ["T1w"]


def test_numbers_that_json_cannot_hold_are_left_out(tmp_path: Path) -> None:
    dataset = make_empty_tree(tmp_path, "sub-1/anat/sub-1_T1w.nii.gz")
    sidecar = dataset / "sub-1" / "anat" / "sub-1_T1w.json"
    sidecar.write_text('{"EchoTime": 1e999, "FlipAngle": NaN, "Times": [1.5, -1e999], "Pi": 3.0}')
    recipe = Recipe(dataset, tmp_path / "out", N4Settings(), mask="none")
    found = find_companions(recipe, Source.of("sub-1/anat/sub-1_T1w.nii.gz"))
    assert found.metadata == {"Times": [1.5, None], "Pi": 3.0}
    format_json(found.metadata)


def test_the_whole_image_has_one_word(tmp_path: Path) -> None:
    for word in ("all", "none"):
        recipe = Recipe(tmp_path, tmp_path / "out", N4Settings(), mask=word)
        assert (recipe.mask, recipe.has_mask_files) == ("all", False)
