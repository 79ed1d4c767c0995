"""Which files belong to which room, and which tests are its own."""

from importlib import import_module
from pathlib import Path

from benchmarks.peers import ROOT

SOURCES = ROOT / "src" / "n4ax"

MATHEMATICS: dict[str, tuple[str, ...]] = {
    "method": ("method/*.py",),
    "itk": ("itk/*.py",),
    "field": ("field/lattice.py", "field/grid.py", "field/bias_field.py"),
    "settings": ("settings/*.py",),
    "engines": ("engines/*.py", "engines/compiled/*.py"),
    "engines/cpu": ("engines/cpu/*.py",),
    "engines/itk": ("engines/itk/*.py",),
    "engines/xla": ("engines/xla/*.py",),
    "kernels": ("engines/*/kernels/*.py",),
}
"""What the numbers depend on."""

FILES: dict[str, tuple[str, ...]] = {
    "files": (
        "files.py",
        "bids/staging.py",
        "bids/sidecar.py",
        "bids/outputs.py",
        "bids/journal.py",
        "correction/table.py",
        "provenance.py",
        "images/nifti.py",
        "images/formats.py",
        "images/gzip.py",
    ),
}
"""Files and stamps."""

IMAGES: dict[str, tuple[str, ...]] = {"images": ("images/*.py",)}

ROOMS = {**MATHEMATICS, **FILES, **IMAGES}

GROUPS = {"mathematics": MATHEMATICS, "files and stamps": FILES, "images": IMAGES}


def list_files(room: str) -> list[Path]:
    """List the sources of a room; ``images`` is without what belongs to the files."""
    found = {path for pattern in ROOMS[room] for path in SOURCES.glob(pattern)}
    if room == "images":
        found -= set(list_files("files"))
    return sorted(path for path in found if path.name != "__init__.py" or path.stat().st_size > 400)


def import_kernels() -> None:
    """Import all files of the kernels, those that only the compiler imports among them."""
    for file in list_files("kernels"):
        import_module(name_module(str(file.relative_to(ROOT))))


def name_module(file: str) -> str:
    """Name the module of a source file, whose path is from the root of the project."""
    return file.removeprefix("src/").removesuffix(".py").replace("/", ".")


def find_own_tests(file: str) -> str:
    """Find the beginning of the names of the tests that mirror a source file."""
    parts = Path(file).relative_to("src/n4ax").parts
    return f"tests/{parts[0]}/" if len(parts) > 1 else f"tests/test_{Path(parts[0]).stem}.py"
