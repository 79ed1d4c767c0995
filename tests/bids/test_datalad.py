"""Studies in datasets of DataLad: nothing of the store changes, and commits hold results alone.

The store of git-annex keeps the saved files. Depending on the configuration, the files of the
dataset are links into it, second names of its files, or copies.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.bids.runs import make_small_study
from tests.support.long import only_long

PATH = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
MISSING = [name for name in ("git", "git-annex", "datalad") if not shutil.which(name, path=PATH)]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(MISSING), reason=f"{', '.join(MISSING)} not installed"),
]

T1W = "study/sub-01/anat/sub-01_T1w.nii.gz"
IMAGE = "out/sub-01/anat/sub-01_desc-n4_T1w.nii.gz"
LOG = "out/logs/sub-01.log"
FAILURE = "out/.n4ax/failed/sub-01/anat/sub-01_T1w.nii.gz.json"
N4AX = "n4ax bids study out participant --shrink-factor 4 --iters 3 -q"
RESULTS = {
    ".bidsignore", "README.md", "dataset_description.json", "group.html", "group_T1w.json",
    "group_T1w.tsv", "logs/CITATION.md", "logs/sub-01.log", "n4ax_errors.json", "n4ax_study.json",
    "sub-01.html",
    "sub-01/anat/sub-01_desc-n4_T1w.json", "sub-01/anat/sub-01_desc-n4_T1w.nii.gz",
    "sub-01/anat/sub-01_mod-T1w_desc-n4_biasfield.json",
    "sub-01/anat/sub-01_mod-T1w_desc-n4_biasfield.nii.gz",
}  # fmt: skip
"""What a commit has, besides what lies in the folder of figures."""

CONFIGURATIONS = {
    "all files are links": [],
    "texts are in git": ["datalad run-procedure -d . cfg_text2git"],
    "files are second names": [
        "git config annex.thin true", "git config annex.addunlocked true",
    ],
    "files are copies": ["git annex adjust --unlock"],
}  # fmt: skip


class Dataset:
    """A dataset of DataLad with a small study in it."""

    def __init__(self, folder: Path, *preparations: str, start: Sequence[str] = ()) -> None:
        self.folder = folder
        self._start = start
        folder.mkdir()
        for command in ("datalad create .", *preparations):
            self.run(command)
        make_small_study(folder, T1W)
        description = {"Name": "A study", "BIDSVersion": "1.10.0", "DatasetType": "raw"}
        (folder / "study" / "dataset_description.json").write_text(json.dumps(description))
        self.run("datalad save -m Images")

    def try_to_run(self, command: str | Sequence[str]) -> subprocess.CompletedProcess[str]:
        """Run a command in the dataset, whatever comes of it."""
        who = {"GIT_AUTHOR_NAME": "A", "GIT_AUTHOR_EMAIL": "a@example.org"}
        who |= {name.replace("AUTHOR", "COMMITTER"): value for name, value in who.items()}
        return subprocess.run(
            [*self._start, *(command.split() if isinstance(command, str) else command)],
            env=os.environ | who | {"PATH": PATH, "HOME": str(self.folder.parent)},
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )

    def run(self, command: str | Sequence[str]) -> str:
        done = self.try_to_run(command)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def correct(self, *arguments: str) -> set[str]:
        """Correct the study in ``datalad run``; the files that its commit changes in the output."""
        before = self.run("git rev-parse HEAD")
        self.run(["datalad", "run", "-m", "N4", " ".join([N4AX, *arguments])])
        return self.list_changes(before.strip())

    def list_changes(self, before: str) -> set[str]:
        """The files that the commits since then change in the output; nothing else is changed."""
        assert self.run("git status --porcelain") == ""
        changed = self.run(f"git diff --no-renames --name-only {before} HEAD").splitlines()
        assert all(name.startswith("out/") for name in changed)
        return {name.removeprefix("out/") for name in changed}

    def read_store(self) -> dict[Path, bytes]:
        """The saved files in the store of git-annex."""
        objects = self.folder / ".git" / "annex" / "objects"
        return {path: path.read_bytes() for path in objects.rglob("*") if path.is_file()}


def without_figures(names: set[str]) -> set[str]:
    return {name for name in names if "/figures/" not in name}


def choose_start(user: str) -> list[str]:
    """How commands start: as root, who may write to protected files, or as somebody who may not."""
    if user == "root" and os.geteuid() != 0:
        pytest.skip("the tests do not run as root")
    if user == "root" or os.geteuid() != 0:
        return []
    if not shutil.which("setpriv"):
        pytest.skip("setpriv, which takes the rights of root away, is not installed")
    rights = ",".join(f"-{name}" for name in ("dac_override", "dac_read_search", "fowner"))
    return ["setpriv", f"--bounding-set={rights}", f"--inh-caps={rights}"]


@pytest.mark.parametrize(
    ("configuration", "user"),
    [
        ("all files are links", "root"),
        ("files are second names", "a user"),
        pytest.param("files are copies", "root", marks=only_long),
        pytest.param("texts are in git", "root", marks=only_long),
        pytest.param("files are second names", "root", marks=only_long),
        pytest.param("all files are links", "a user", marks=only_long),
    ],
)
def test_commits_have_the_results_alone_and_saved_files_stay(
    tmp_path: Path, configuration: str, user: str
) -> None:
    folder = tmp_path / "dataset"
    dataset = Dataset(folder, *CONFIGURATIONS[configuration], start=choose_start(user))
    changed = dataset.correct()
    assert without_figures(changed) == RESULTS
    image, log = folder / IMAGE, folder / LOG
    links = {name: (folder / name).is_symlink() for name in (IMAGE, LOG)}
    locked = configuration in ("all files are links", "texts are in git")
    assert links == {IMAGE: locked, LOG: configuration == "all files are links"}
    assert (image.stat().st_nlink == 2) is (configuration == "files are second names")
    saved, before = dataset.read_store(), image.read_bytes()
    assert before in saved.values()

    assert dataset.correct() == set()  # nothing was to be done, so nothing is changed

    words = ("--spline-order", "2", "--output-settings", "replace", "--work-dir", "work")
    changed = dataset.correct(*words)
    assert (
        {"logs/sub-01.log", str(Path(IMAGE).relative_to("out"))}
        <= changed
        <= RESULTS | {name for name in changed if "/figures/" in name}
    )
    assert image.read_bytes() != before
    assert log.read_text().count(" corrected (") == 2
    assert saved.items() <= dataset.read_store().items()
    dataset.run("git annex fsck --all --quiet")
    ignored = dataset.run("git status --porcelain --ignored").split()
    assert ignored == ["!!", "out/.n4ax/", "!!", "work/"]


def test_what_was_dropped_is_made_anew_with_the_same_bytes(tmp_path: Path) -> None:
    dataset = Dataset(tmp_path / "dataset")
    dataset.correct()
    images = sorted(dataset.folder.glob("out/sub-01/anat/*.nii.gz"))
    before = {path: (os.readlink(path), path.read_bytes()) for path in images}
    # Nothing else has the files, so git-annex has to be told that it does not matter.
    drop = "datalad drop --reckless availability out"
    dataset.run(drop)
    assert not any(path.exists() for path in images)
    done = dataset.try_to_run("n4ax report out")
    assert done.returncode != 0
    assert "datalad get" in done.stderr
    first = dataset.run("git rev-parse HEAD").strip()
    assert {Path(name).suffix for name in dataset.correct()} == {".log", ".html", ".json", ".tsv"}
    assert {path: (os.readlink(path), path.read_bytes()) for path in images} == before

    dataset.run(drop)
    dataset.run(["datalad", "rerun", first])
    assert {path: (os.readlink(path), path.read_bytes()) for path in images} == before
    changed = dataset.list_changes(first)
    assert {Path(name).suffix for name in changed} == {".log", ".html", ".json", ".tsv"}
    assert "sub-01/anat/sub-01_desc-n4_T1w.json" not in changed


def test_images_that_were_not_fetched_are_told_and_corrected_when_they_are(tmp_path: Path) -> None:
    source = Dataset(tmp_path / "source")
    dataset = Dataset(tmp_path / "dataset")
    dataset.run("datalad clone -d . ../source raw")
    command = N4AX.replace(" study out", " raw/study out")
    failed = dataset.try_to_run(["datalad", "run", command])
    assert failed.returncode == 1
    assert dataset.run("git status --porcelain") == "?? out/\n"
    reason = "sub-01_T1w.nii.gz (only points to a file that is not here: fetch it (datalad get))"
    assert reason in failed.stderr
    dataset.run("datalad save -m Failed")
    assert (dataset.folder / FAILURE).is_symlink()

    before = dataset.run("git rev-parse HEAD").strip()
    dataset.run(["datalad", "run", "--input", f"raw/{T1W}", command])
    changed = dataset.list_changes(before)
    assert Path(FAILURE).relative_to("out").as_posix() in changed
    assert not (dataset.folder / FAILURE).is_symlink()
    assert json.loads((dataset.folder / "out" / "n4ax_errors.json").read_text()) == {"Errors": []}
    assert dataset.run("git ls-files out/.n4ax") == ""
    source.run("git annex fsck --quiet")

    dataset.run("datalad drop -d . --what all --reckless kill --recursive raw")
    failed = dataset.try_to_run(N4AX.replace(" study out", " raw other"))
    assert "datalad get --no-data" in failed.stderr
    dataset.run("datalad get --no-data raw")
    planned = dataset.try_to_run(f"{command} --dry-run")
    assert planned.returncode == 1
    assert f"{Path(T1W).name} -> only points to a file that is not here" in planned.stdout


@pytest.mark.parametrize("configuration", ["all files are links", "files are second names"])
def test_other_commands_leave_saved_files_alone_too(tmp_path: Path, configuration: str) -> None:
    dataset = Dataset(tmp_path / "dataset", *CONFIGURATIONS[configuration])
    commands = [
        f"n4ax correct {T1W} -o other/a.nii.gz --field other/f.nii.gz --json other/a.json --iters",
        "n4ax correct study/sub-01/anat -o other/all --iters",
        f"n4ax ants -d 3 -i {T1W} -o [other/b.nii.gz,other/g.nii.gz] -c 5 -s",
    ]

    def run_all(iterations: str) -> None:
        for command in commands:
            dataset.run(f"{command} {iterations}")

    (dataset.folder / "other").mkdir()
    run_all("3")
    dataset.run("datalad save -m Others")
    saved = dataset.read_store()
    run_all("4")
    dataset.run("datalad save -m Again")
    changed = dataset.run("git diff --name-only HEAD~1").splitlines()
    names = [*(f"{name}.nii.gz" for name in "afbg"), "a.json", "all/n4ax.tsv", "all/n4ax.json"]
    assert {f"other/{name}" for name in names} <= set(changed)
    assert saved.items() <= dataset.read_store().items()
    dataset.run("git annex fsck --all --quiet")
