"""``python -m reliability.fuzz.guided TARGET``: inputs that coverage of the Python code guides.

It needs atheris, which is in no extra: ``pip install atheris``. The bytes that atheris makes are
given to a reader as the whole file, and what the target's checks find ends the run.
"""

import sys
import tempfile
from pathlib import Path

import click

READ = {
    "nifti": "a.nii",
    "compressed": "a.nii.gz",
    "freesurfer": "a.mgh",
    "field": "f.nii",
    "arrays": "f.npz",
}
"""What the file is called that each target reads."""


@click.command()
@click.option("--minutes", type=float, default=5.0, show_default=True)
@click.option("--seed", type=int, default=1, show_default=True)
@click.argument("target", type=click.Choice(list(READ)))
def main(minutes: float, seed: int, target: str) -> None:
    """Guide inputs of a TARGET by the coverage of the readers."""
    try:
        import atheris
    except ImportError:
        raise click.ClickException("this needs atheris: pip install atheris") from None
    with atheris.instrument_imports(include=["n4ax", "nibabel"]):
        from n4ax.field.file import read_parts
        from reliability.fuzz import reading
    folder = Path(tempfile.mkdtemp(prefix="guided-"))
    path = folder / READ[target]
    is_field = target in ("field", "arrays")

    def try_bytes(content: bytes) -> None:
        path.write_bytes(content)
        if is_field:
            reading.try_reading(path, lambda: read_parts(path))
        else:
            reading.read(path)

    corpus = folder / "corpus"
    corpus.mkdir()
    write_seeds(corpus, target)
    words = [sys.argv[0], str(corpus), f"-max_total_time={int(minutes * 60)}", f"-seed={seed}"]
    atheris.Setup([*words, "-max_len=4096", "-timeout=20"], try_bytes)
    atheris.Fuzz()


def write_seeds(corpus: Path, target: str) -> None:
    """Write valid files to begin with."""
    import gzip
    from random import Random

    from reliability.fuzz.nifti_files import draft_nifti

    if target in ("field", "arrays"):
        from reliability.fuzz.field_makers import make_field_file

        suffix = ".nii" if target == "field" else ".npz"
        (corpus / "0").write_bytes(make_field_file(0, suffix))
        return
    for number in range(20):
        content = draft_nifti(Random(number), single=True).join()[0]
        packed = gzip.compress(content) if target == "compressed" else content
        (corpus / str(number)).write_bytes(packed)


if __name__ == "__main__":
    main()
