"""Which test modules need a library that is not installed, found without importing them."""

import ast
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path

TESTS = Path(__file__).parents[1]


def find_missing_of(path: Path) -> set[str]:
    """The libraries that a test module needs and that are not installed."""
    return {name for name in _find_libraries(path) if not _is_installed(name)}


@cache
def _is_installed(library: str) -> bool:
    return find_spec(library) is not None


@cache
def _find_libraries(path: Path) -> frozenset[str]:
    """The libraries that a module imports when it is imported, by way of others too."""
    found: set[str] = set()
    seen, left = {path}, [path]
    while left:
        libraries, modules = _read(left.pop())
        found |= libraries
        left += modules - seen
        seen |= modules
    return frozenset(found)


@cache
def _read(path: Path) -> tuple[frozenset[str], frozenset[Path]]:
    """The libraries that a module imports itself, and the modules of this project."""
    libraries: set[str] = set()
    modules: set[Path] = set()
    for name in _find_imports(ast.parse(path.read_text(encoding="utf-8")).body):
        first = name.partition(".")[0]
        if first not in ("tests", "n4ax", "benchmarks", "reliability") or not _is_installed(first):
            libraries.add(first)
            continue
        place = _locate(name)
        if place is not None:
            modules.add(place)
    return frozenset(libraries), frozenset(modules)


def _find_imports(body: list[ast.stmt]) -> Iterator[str]:
    """The modules that are imported at once: not inside a function, and not for types alone."""
    for node in body:
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{name.name}" for name in node.names)
        elif isinstance(node, ast.With):
            yield from _find_imports(node.body)


@cache
def _locate(name: str) -> Path | None:
    """The file of a module; ``None`` for what is no module."""
    root = TESTS.parent
    if name.startswith("n4ax"):
        spec = find_spec("n4ax")
        assert spec is not None
        assert spec.origin is not None
        root = Path(spec.origin).parents[1]
    path = root.joinpath(*name.split("."))
    if path.with_suffix(".py").is_file():
        return path.with_suffix(".py")
    return path / "__init__.py" if (path / "__init__.py").is_file() else None
