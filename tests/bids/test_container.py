"""The container that a dataset was made in, found by what engines leave in it."""

from pathlib import Path

import pytest

from n4ax.bids.container import describe_container

OWN = {"N4AX_IMAGE": "n4ax:0.2.0"}
PODMAN = 'engine="podman-5.4.2"\nname="quick_fox"\nid="12"\nimage="{}"\nimageid="34"\nrootless=1\n'


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "run").mkdir()
    return tmp_path


def test_outside_of_containers_there_is_nothing_to_say(root: Path) -> None:
    assert describe_container({"PATH": "/usr/bin", "APPTAINER_CONTAINER": ""}, root) is None
    assert describe_container({}, root / "missing") is None


def test_docker_is_known_by_its_file_and_the_image_by_its_variable(root: Path) -> None:
    (root / ".dockerenv").touch()
    assert describe_container({}, root) == {"Type": "docker"}
    assert describe_container(OWN, root) == {"Type": "docker", "Tag": "n4ax:0.2.0"}


def test_podman_says_the_image_if_the_container_has_the_rights(root: Path) -> None:
    mark = root / "run" / ".containerenv"
    mark.touch()
    assert describe_container({}, root) == {"Type": "podman"}
    assert describe_container(OWN, root) == {"Type": "podman", "Tag": "n4ax:0.2.0"}
    for image in ("localhost/n4ax:latest", "10.0.0.5:5000/n4ax:1", "n4ax"):
        mark.write_text(PODMAN.format(image))
        assert describe_container(OWN, root) == {"Type": "podman", "Tag": image}
    mark.write_text(PODMAN.format("quay.example.org/lab/n4ax:1"))
    assert describe_container({}, root) == {
        "Type": "podman",
        "Tag": "quay.example.org/lab/n4ax:1",
        "URI": "docker://quay.example.org/lab/n4ax:1",
    }


def test_apptainer_and_singularity_are_told_apart(root: Path) -> None:
    both = ("APPTAINER", "SINGULARITY")
    there = {f"{start}_CONTAINER": "/data/n4ax.sif" for start in both}
    there |= {f"{start}_NAME": "n4ax.sif" for start in both}
    old = {name: value for name, value in there.items() if name.startswith("SINGULARITY")}
    (root / ".dockerenv").touch()  # the machine may be a container itself
    assert describe_container(there, root) == {"Type": "apptainer", "Tag": "n4ax.sif"}
    assert describe_container(old, root) == {"Type": "singularity", "Tag": "n4ax.sif"}
    assert describe_container({**there, **OWN}, root) == {"Type": "apptainer", "Tag": "n4ax:0.2.0"}
    from_registry = {"APPTAINER_CONTAINER": "oras://example.org/n4ax:1"}
    assert describe_container(from_registry, root) == {
        "Type": "apptainer",
        "URI": "oras://example.org/n4ax:1",
    }


def test_another_engine_is_not_named_but_the_image_is(root: Path) -> None:
    assert describe_container(OWN, root) == {"Tag": "n4ax:0.2.0"}
