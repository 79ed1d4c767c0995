"""The package as a whole: what it offers, what it loads, and how it is built."""

import ast
import doctest
import inspect
import re
import subprocess
import sys
from dataclasses import fields
from graphlib import TopologicalSorter
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

import n4ax

SOURCE = Path(n4ax.__file__).parent
MODULES = {
    ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(SOURCE.rglob("*.py"))
}

FLOORS = (
    ("version", "errors", "messages", "pools", "processors", "namespaces"),
    ("settings", "paths", "extras"),
    ("files", "texts", "itk"),
    ("signals",),
    ("method",),
    ("images",),
    ("engines",),
    ("posing", "field", "figure"),
    ("verdict", "auto", "inputs"),
    ("level", "result"),
    ("pipeline",),
    ("contrasts", "batch", "series", "slices", "staged", "tracing", "channels", "mask_files"),
    ("api", "scan"),
    ("ants", "report", "kernels", "saved_field", "shared_scans", "provenance"),
    ("correction",),
    ("tuning",),
    ("bids",),
    ("cli", "nipype", "simpleitk", "torchio", "monai"),
    ("__main__", "__init__"),
)
"""The rooms of the house from the ground up. A room imports only from lower floors."""

MAY_IMPORT = {
    "itk": {"itk", "processors", "numpy", "jax"},
    "method": {"method", "itk", "settings", "namespaces", "numpy"},
}
"""What the mathematics may import, besides the standard library. ``itk`` imports JAX inside a
function, for JAX's arrays alone."""

PUBLIC = {
    "n4ax": ["BiasField", "N4Result", "N4Settings", "fit", "n4", "n4_batch", "otsu_mask"],
    "n4ax.ants": ["abp_n4", "n4_bias_field_correction"],
    "n4ax.ants.freesurfer": ["console", "main"],
    "n4ax.ants.program": ["console", "main"],
    "n4ax.cli": ["console", "main"],
    "n4ax.monai": [
        "N4BiasFieldCorrection", "N4BiasFieldCorrectionD", "N4BiasFieldCorrectionDict",
        "N4BiasFieldCorrectiond",
    ],
    "n4ax.nipype": ["N4BiasFieldCorrection"],
    "n4ax.settings": ["N4Settings"],
    "n4ax.simpleitk": ["N4BiasFieldCorrection", "N4BiasFieldCorrectionImageFilter"],
    "n4ax.verdict": ["Message", "Verdict"],
    "n4ax.torchio": ["N4BiasFieldCorrection"],
}  # fmt: skip
"""Where users import from, and what. These paths and names stay."""

MOST_LINES = 400
MOST_LINES_OF_A_FUNCTION = 40
MOST_PARAMETERS = 7

CONTRACTS = {
    "n4", "fit", "n4_batch",  # the Python interface
    "n4_bias_field_correction",  # ANTsPy's signature
    "correct", "apply", "bids", "tune",  # click passes an option as a parameter
}  # fmt: skip
"""Functions with more parameters, since their signature is what users call."""


def imports_of(name: str) -> set[str]:
    """All modules that a module imports, wherever in the file."""
    tree = ast.parse(MODULES[name].read_text())
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name} has a relative import"
            module = node.module or ""
            own = module.split(".")[0] == "n4ax"
            inner = module.removeprefix("n4ax").lstrip(".")
            for alias in node.names:
                sub = f"{inner}.{alias.name}".lstrip(".")
                found.add(f"n4ax.{sub}" if own and sub in MODULES else module)
    return found


def own_imports_of(name: str) -> set[str]:
    """The modules of the package that a module imports; ``import n4ax`` is its ``__init__``."""
    return {
        other.removeprefix("n4ax").lstrip(".") or "__init__"
        for other in imports_of(name)
        if other.split(".")[0] == "n4ax"
    }


def room_of(name: str) -> str:
    return name.split(".")[0]


@pytest.mark.parametrize("name", MODULES)
def test_imports_point_only_downwards(name: str) -> None:
    floor = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
    own = room_of(name)
    for other in own_imports_of(name):
        room = room_of(other)
        assert room == own or floor[room] < floor[own], f"{name} imports {other}"


def test_every_room_has_a_floor_and_none_is_a_drawer() -> None:
    assert {room_of(name) for name in MODULES} == {room for rooms in FLOORS for room in rooms}
    assert not [name for name in MODULES if "util" in name or "helper" in name]


def test_no_module_imports_itself_by_way_of_others() -> None:
    graph = {name: own_imports_of(name) & set(MODULES) - {name} for name in MODULES}
    list(TopologicalSorter(graph).static_order())


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_the_mathematics_imports_nothing_but_numbers(room: str) -> None:
    allowed = MAY_IMPORT[room]
    for name in MODULES:
        if room_of(name) == room:
            for other in imports_of(name):
                first, *inner = other.split(".")
                place = inner[0] if first == "n4ax" and inner else first
                assert place in allowed | set(sys.stdlib_module_names), f"{name} imports {other}"


def test_modules_and_functions_are_short_enough_to_see() -> None:
    for name, path in MODULES.items():
        text = path.read_text()
        assert len(text.splitlines()) <= MOST_LINES, name
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                body = node.body[1:] if ast.get_docstring(node) else node.body
                lines = (node.end_lineno or 0) - body[0].lineno + 1 if body else 0
                assert lines <= MOST_LINES_OF_A_FUNCTION, f"{name}.{node.name} has {lines} lines"


def test_functions_take_few_parameters_where_they_are_no_contract() -> None:
    for name, path in MODULES.items():
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.FunctionDef) or node.name in CONTRACTS | {"__init__"}:
                continue
            taken = node.args.posonlyargs + node.args.args + node.args.kwonlyargs
            count = len([one for one in taken if one.arg not in ("self", "cls")])
            decorators = " ".join(map(ast.unparse, node.decorator_list))
            kernel = "compile_kernel" in decorators or "Intrinsic" in decorators
            assert count <= MOST_PARAMETERS or kernel, f"{name}.{node.name} takes {count}"


def run_python(program: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_import_loads_nothing_heavy() -> None:
    program = "import sys, n4ax; print(sorted({'numpy', 'numba', 'jax'} & set(sys.modules)))"
    assert run_python(program) == "[]"


def test_correcting_a_numpy_array_does_not_load_jax() -> None:
    program = (
        "import sys, numpy, n4ax; image = numpy.random.default_rng(0).random((9, 9)) + 1;"
        "n4ax.n4(image, 'all', iters=(1,)); print('jax' in sys.modules)"
    )
    assert run_python(program) == "False"


@pytest.mark.parametrize("module", PUBLIC)
def test_public_names_stay_where_users_import_them(module: str) -> None:
    optional = module.removeprefix("n4ax.")
    if optional in ("monai", "torchio", "simpleitk", "nipype"):
        pytest.importorskip({"simpleitk": "SimpleITK"}.get(optional, optional))
    found = import_module(module)
    for name in PUBLIC[module]:
        value = getattr(found, name)
        assert callable(value)
        assert (inspect.getdoc(value) or "").strip(), name


def test_the_package_lists_its_public_names() -> None:
    assert sorted(n4ax.__all__) == PUBLIC["n4ax"]
    assert set(n4ax.__all__) <= set(dir(n4ax))
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*", n4ax.__version__)
    with pytest.raises(AttributeError, match="no attribute 'n5'"):
        n4ax.n5  # noqa: B018


@pytest.mark.parametrize("name", PUBLIC["n4ax"])
def test_every_parameter_is_documented(name: str) -> None:
    public: Any = getattr(n4ax, name)
    document = inspect.getdoc(public) or ""
    if name in ("fit", "n4_batch"):  # they refer to n4 for what they share
        document = (n4ax.n4.__doc__ or "") + document
    settings = {field.name for field in fields(n4ax.N4Settings)}
    for parameter in inspect.signature(public).parameters:
        if parameter.startswith("_"):
            continue
        # A line of its own, alone or with others: "mask, weights : array, optional"; the settings
        # stand in a list.
        line = rf"^ *(\*\*)?(\w+, )*{parameter}\b(, \**\w+)*( :.*)?$"
        listed = parameter in settings and f"``{parameter}" in document
        assert listed or re.search(line, document, re.M), parameter


@pytest.mark.parametrize(
    "module",
    [
        "api.batch",
        "api.correction",
        "errors",
        "field.bias_field",
        "images.otsu",
        "result",
        "settings.parameters",
    ],
)
def test_examples_in_docstrings_run(module: str) -> None:
    found = doctest.testmod(import_module(f"n4ax.{module}"))
    assert found.attempted > 0
    assert found.failed == 0


def test_type_information_and_the_head_are_packaged() -> None:
    assert (SOURCE / "py.typed").is_file()
    assert (SOURCE / "data" / "head.nii.gz").stat().st_size < 1_500_000
    assert "Apache-2.0" in (SOURCE / "data" / "README.md").read_text()
