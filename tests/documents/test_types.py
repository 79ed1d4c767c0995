"""The Python of the pages passes pyright's strict mode, and so do calls of the interface."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.documents.test_blocks import make_name
from tests.support.documents import PAGES, ROOT

ARRAYS = """\
import numpy as np
import numpy.typing as npt

image: npt.NDArray[np.float32] = np.ones((8, 8, 8), np.float32)
mask: npt.NDArray[np.uint8] = np.ones((8, 8, 8), np.uint8)
images, masks = [image, image], [mask, mask]
t1 = t2 = flair = echo1 = echo2 = echo3 = another_contrast = image
affine: npt.NDArray[np.float64] = np.eye(4)
"""
"""The arrays that the other test of the blocks provides as well, in a module of their own."""

MODULES = ("jax", "jax.numpy as jnp", "nibabel", "numpy as np", "n4ax")

OTHERS = ("nibabel", "SimpleITK", "torchio", "monai", "zarr", "nipype", "jax")
UNKNOWN = {
    "reportUnknownMemberType", "reportUnknownVariableType", "reportUnknownArgumentType",
    "reportMissingTypeStubs", "reportMissingImports", "reportPrivateImportUsage",
}  # fmt: skip
"""What pyright says of libraries that do not state all of their types. On a page that uses one of
them, these are left out; what such a library returns is not known to have attributes either."""

CALLS = """\
from pathlib import Path
from typing import assert_type

import numpy as np
import numpy.typing as npt
from nibabel.nifti1 import Nifti1Image

import n4ax
from n4ax import BiasField, N4Result, N4Settings

Array = npt.NDArray[np.floating]


def arrays(image: npt.NDArray[np.int16], mask: npt.NDArray[np.bool_]) -> None:
    assert_type(n4ax.n4(image), Array)
    assert_type(n4ax.n4(image, mask, return_bias=True), tuple[Array, npt.NDArray[np.float32]])
    assert_type(n4ax.fit(image, "all", preset="ants", iters=(5, 5)), N4Result[Array])
    assert_type(n4ax.fit(image).log_bias, Array)
    assert_type(n4ax.n4_batch(image, settings=N4Settings()), Array)


def images(image: Nifti1Image) -> None:
    assert_type(n4ax.n4(image, series="mean"), Nifti1Image)
    assert_type(n4ax.n4(image, image, return_bias=True), tuple[Nifti1Image, Nifti1Image])
    assert_type(n4ax.fit(image), N4Result[Nifti1Image])
    assert_type(n4ax.fit(image).field, BiasField)


def lists(images: list[Nifti1Image]) -> None:
    assert_type(n4ax.n4(images), list[Nifti1Image])
    assert_type(n4ax.n4(images, return_bias=True), tuple[list[Nifti1Image], list[Nifti1Image]])
    assert_type(n4ax.fit(images, shared_field=True), list[N4Result[Nifti1Image]])
    assert_type(n4ax.n4_batch(images), list[Nifti1Image])


def paths(name: str, path: Path) -> None:
    assert_type(n4ax.n4(name), Nifti1Image)
    assert_type(n4ax.fit(path, path), N4Result[Nifti1Image])


def wrong(image: npt.NDArray[np.float32]) -> None:
    n4ax.n4(image, shrink=4)  # expected: no such parameter
    n4ax.n4(image, iters="50")  # expected: not whole numbers
    n4ax.fit(image, preset="freesurfer")  # expected: no such preset
"""


Error = tuple[str, str, str]
"""Module, rule, and message with the number of the line."""


@pytest.fixture(scope="module")
def errors(tmp_path_factory: pytest.TempPathFactory) -> list[Error]:
    """What pyright finds in all of these modules, in one run."""
    pytest.importorskip("pyright", reason="pyright is not installed")
    folder = tmp_path_factory.mktemp("typed")
    settings = {"typeCheckingMode": "strict", "extraPaths": [str(ROOT / "src")],
                "reportUnusedImport": False, "reportWildcardImportFromLibrary": False}  # fmt: skip
    (folder / "pyrightconfig.json").write_text(json.dumps(settings))
    for name, text in {**read_pages()[0], "arrays": ARRAYS, "calls": CALLS}.items():
        (folder / f"{name}.py").write_text(text)
    words = ["--pythonpath", sys.executable, "--outputjson", "-p", str(folder)]
    done = subprocess.run([sys.executable, "-m", "pyright", *words], capture_output=True, text=True)
    if not done.stdout.startswith("{"):
        pytest.skip(f"pyright could not be fetched or started here: {done.stderr[-300:]}")
    found = json.loads(done.stdout)["generalDiagnostics"]
    return [
        (Path(one["file"]).stem, one.get("rule", ""),
         f"{one['range']['start']['line'] + 1}: {one['message']}")
        for one in found if one["severity"] == "error"
    ]  # fmt: skip


def read_pages() -> tuple[dict[str, str], set[str]]:
    """The Python of each page as a module, and the pages that use libraries without all types."""
    modules: dict[str, str] = {}
    lenient: set[str] = set()
    for page in PAGES:
        blocks = re.findall(r"^```python\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
        name = re.sub(r"\W", "_", make_name(page).removesuffix(".md"))
        if blocks:
            own = "".join(blocks).splitlines()
            needed = [f"import {one}" for one in MODULES if f"import {one}" not in own]
            modules[name] = "\n".join(["from arrays import *", *needed, *blocks])
        if any(re.search(rf"\b({'|'.join(OTHERS)})\b", block) for block in blocks):
            lenient.add(name)
    lenient.remove("README")
    return modules, lenient


@pytest.mark.slow
def test_python_of_the_pages_is_strict(errors: list[Error]) -> None:
    _, lenient = read_pages()
    unexpected = [
        f"{name}:{message}"
        for name, rule, message in errors
        if name != "calls"
        and not (name in lenient and (rule in UNKNOWN or '"FileBased' in message))
    ]
    assert not unexpected, "\n".join(unexpected)


@pytest.mark.slow
def test_calls_have_the_types_of_their_images(errors: list[Error]) -> None:
    own = [message for name, _, message in errors if name == "calls"]
    lines = CALLS.splitlines()
    expected = {number for number, line in enumerate(lines, 1) if "# expected" in line}
    found = {int(message.partition(":")[0]) for message in own}
    assert found == expected, "\n".join(own)
