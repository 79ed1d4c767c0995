"""What the files for packagers say: the same versions everywhere, and names that exist."""

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

import n4ax
from n4ax.ants.options import read_options

ROOT = Path(__file__).parents[1]

pytestmark = pytest.mark.skipif(
    not (ROOT / "packaging").is_dir(), reason="the files for packagers are not here"
)


def read_project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def read_yaml(path: str) -> Any:
    return yaml.safe_load((ROOT / path).read_text())


def test_every_file_names_the_version_of_the_package() -> None:
    descriptor = json.loads((ROOT / "packaging/boutiques/n4biasfieldcorrection.json").read_text())
    versions = {
        "CITATION.cff": read_yaml("CITATION.cff")["version"],
        "codemeta.json": json.loads((ROOT / "codemeta.json").read_text())["version"],
        "conda": read_yaml("packaging/conda/recipe.yaml")["context"]["version"],
        "neurodesk": read_yaml("packaging/neurodesk/build.yaml")["version"],
        "boutiques": descriptor["tool-version"],
        "nf-core": read_yaml("packaging/nf-core/environment.yml")["dependencies"][0].split("=")[-1],
    }
    for path in ("packaging/Containerfile", "packaging/apptainer.def"):
        (versions[path],) = re.findall(r"IMAGE=n4ax:(\S+)", (ROOT / path).read_text())
    assert versions == dict.fromkeys(versions, n4ax.__version__)


def test_files_name_the_dependencies_of_the_package() -> None:
    project = read_project()
    wanted = {word for word in project["dependencies"] if ";" not in word}
    assert set(json.loads((ROOT / "codemeta.json").read_text())["softwareRequirements"]) == wanted
    run = read_yaml("packaging/conda/recipe.yaml")["requirements"]["run"]
    named = {word.replace(" ", "") for word in run if isinstance(word, str)}
    names = {word.replace("isal", "python-isal") for word in wanted}
    assert named - {"python>=${{python_min}}"} == names


def test_recipe_names_the_programs_of_the_package() -> None:
    recipe = read_yaml("packaging/conda/recipe.yaml")
    scripts = read_project()["scripts"]
    programs = recipe["build"]["python"]["entry_points"]
    assert sorted(programs) == sorted(f"{name} = {place}" for name, place in scripts.items())


def test_extra_all_is_all_but_gpus_and_development() -> None:
    extras = read_project()["optional-dependencies"]
    (named,) = extras["all"]
    inside = set(named.removeprefix("n4ax[").removesuffix("]").split(","))
    assert inside == set(extras) - {"all", "cuda12", "cuda13", "test", "docs", "dev"}


def test_boutiques_accepts_the_descriptor_and_makes_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("boutiques")
    folder = ROOT / "packaging" / "boutiques"
    descriptor, invocation = folder / "n4biasfieldcorrection.json", folder / "invocation.json"
    monkeypatch.chdir(tmp_path)  # Boutiques looks for the files of an invocation here
    (tmp_path / "head.nii.gz").touch()
    command = [Path(sys.executable).with_name("bosh")]
    for words in (["validate", descriptor], ["invocation", descriptor, "-i", invocation]):
        done = subprocess.run([*command, *words], capture_output=True, text=True, check=True)
        assert done.stdout.strip().endswith("OK")
    words = [*command, "exec", "simulate", descriptor, "-i", invocation]
    made = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    program, *options = shlex.split(made.splitlines()[-1])
    assert program in read_project()["scripts"]
    assert read_options(options).settings.spline_distance == 200


@pytest.mark.parametrize("path", ["packaging/Containerfile", "packaging/apptainer.def"])
def test_containers_are_built_from_files_that_exist(path: str) -> None:
    text = (ROOT / path).read_text()
    assert "[bids,figure]" in text
    if path.endswith(".def"):
        copied = [line.split()[0] for line in text.splitlines() if " /source/" in line]
    else:
        ignore = (ROOT / f"{path}.dockerignore").read_text().splitlines()
        copied = [line[1:] for line in ignore if line.startswith("!")]
    assert copied
    for name in copied:
        assert (ROOT / name).exists()
    for needed in ("src", "hatch_build.py", "pyproject.toml", "README.md", "LICENSE"):
        assert needed in copied


def test_script_of_the_nextflow_module_runs(tmp_path: Path) -> None:
    """Nextflow is not there, so its variables are replaced here."""
    text = (ROOT / "packaging" / "nf-core" / "main.nf").read_text()
    script = text.partition("script:")[2].split('"""')[1]
    head = Path(n4ax.__file__).parent / "data" / "head.nii.gz"
    values = {
        "task.cpus": "2", "task.process": "N4AX", "prefix": "sub-01", "image": str(head),
        "masked": "", "weighted": "", "args": "-s 4 -c [2,0]",
    }  # fmt: skip
    for name, value in values.items():
        script = script.replace(f"${{{name}}}", value)
    assert "${" not in script
    script = script.replace("\\\\", "\\").replace("\\$", "$")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    lines = "\n".join(line.removeprefix(" " * 4) for line in script.splitlines())
    environment = os.environ | {"PATH": path}
    subprocess.run(["bash", "-eu", "-c", lines], cwd=tmp_path, env=environment, check=True)
    versions = yaml.safe_load((tmp_path / "versions.yml").read_text())
    assert versions == {"N4AX": {"ants": "2.6.5", "n4ax": n4ax.__version__}}
    names = {path.name for path in tmp_path.glob("*.nii.gz")}
    assert names == {"sub-01_n4.nii.gz", "sub-01_bias.nii.gz"}
