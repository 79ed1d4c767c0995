"""The package as a whole: what it offers, what it loads, which way its imports point."""

import ast
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import n4ax

SOURCE = Path(n4ax.__file__).parent
LAYERS = (
    ("settings", "arrays", "atomic", "compiled", "linpack"),
    ("bspline", "convergence", "space", "signals"),
    ("nifti", "grid", "sharpening"),
    ("images",),
    ("otsu",),
    ("problem", "solver"),
    ("accelerated", "engines"),
    ("field",),
    ("intensity",),
    ("tracing",),
    ("estimation",),
    ("contrasts", "channels"),
    ("correction",),
    ("batch", "series"),
    ("figure", "scan"),
    ("report",),
    ("bids",),
    ("ants",),
    ("cli", "nipype", "simpleitk", "torchio", "monai"),
    ("__main__", "__init__"),
)
MODULES = sorted(SOURCE.rglob("*.py"))


def imported(tree: ast.AST) -> set[str]:
    """Modules of the package that are imported, wherever in the file, by their first name."""
    assert not any(n.level for n in ast.walk(tree) if isinstance(n, ast.ImportFrom))
    wholes = {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
    froms = {n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and n.module}
    names = {f"n4ax.{a.name}" for n in ast.walk(tree)
             if isinstance(n, ast.ImportFrom) and n.module == "n4ax" for a in n.names}  # fmt: skip
    known = {name for layer in LAYERS for name in layer}
    parts = {name.split(".")[1] for name in wholes | froms | names if name.startswith("n4ax.")}
    return parts & known


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_point_only_downwards(path: Path) -> None:
    level = {name: number for number, layer in enumerate(LAYERS) for name in layer}
    own = path.relative_to(SOURCE).parts[0].removesuffix(".py")
    for other in imported(ast.parse(path.read_text())) - {own}:
        assert level[other] < level[own], f"{own} imports {other}"


def test_every_module_has_a_layer_and_none_is_a_drawer() -> None:
    found = {path.relative_to(SOURCE).parts[0].removesuffix(".py") for path in MODULES}
    assert found == {name for layer in LAYERS for name in layer}
    assert not list(SOURCE.rglob("util*.py"))


def test_functions_and_modules_are_short_enough_to_see() -> None:
    for path in MODULES:
        text = path.read_text()
        assert len(text.splitlines()) <= 560, path
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                body = node.body[1:] if ast.get_docstring(node) else node.body
                lines = (node.end_lineno or 0) - body[0].lineno + 1 if body else 0
                assert lines <= 60, f"{path.name}: {node.name} has {lines} lines"


def test_import_loads_nothing_heavy() -> None:
    program = "import sys, n4ax; print(sorted({'numpy', 'numba', 'jax'} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_correcting_a_numpy_array_does_not_load_jax() -> None:
    program = (
        "import sys, numpy, n4ax; image = numpy.random.default_rng(0).random((9, 9)) + 1;"
        "n4ax.n4(image, 'all', iters=(1,)); print('jax' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"


def test_public_names_exist_and_are_documented() -> None:
    assert set(n4ax.__all__) <= set(dir(n4ax))
    for name in n4ax.__all__:
        assert (getattr(n4ax, name).__doc__ or "").strip(), name
    with pytest.raises(AttributeError, match="no attribute 'n5'"):
        n4ax.n5  # noqa: B018


@pytest.mark.parametrize("name", n4ax.__all__)
def test_every_parameter_is_documented(name: str) -> None:
    document = inspect.getdoc(getattr(n4ax, name)) or ""
    if name == "fit":  # refers to n4 for what they share
        document = (n4ax.n4.__doc__ or "") + document
    for parameter in inspect.signature(getattr(n4ax, name)).parameters:
        # A line of its own, alone or with its fellows: "control_points, mesh : int, optional".
        assert re.search(rf"^ *(\*\*)?(\w+, )*{parameter}\b(, \w+)*( :.*)?$", document, re.M), (
            parameter
        )


def test_type_information_and_the_head_are_packaged() -> None:
    assert (SOURCE / "py.typed").is_file()
    assert (SOURCE / "data" / "head.nii.gz").stat().st_size < 1_500_000
    assert "Apache-2.0" in (SOURCE / "data" / "README.md").read_text()
