"""The program ``AntsN4BiasFieldCorrectionFs`` of FreeSurfer, run by n4ax.

``recon-all`` calls it by way of ``mri_nu_correct.mni --ants-n4``. The image goes to N4 with its
voxel size alone, without its place in space, and all of its voxels are in the mask.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, cast

from n4ax.ants import images
from n4ax.ants.ending import FAILURE, exit_with, print_message, run_program
from n4ax.errors import InputError
from n4ax.itk.threads import MOST_THREADS, find_default_threads, read_thread_count
from n4ax.messages import hide_warnings
from n4ax.settings import LARGEST, EngineName, N4Settings
from n4ax.settings.arithmetic import read_arithmetic, read_itk_version
from n4ax.version import __version__

if TYPE_CHECKING:
    from numpy import bool_, float32
    from numpy.typing import NDArray

    from n4ax.scan import Scan

NAME = "AntsN4BiasFieldCorrectionFs"

_PARAMETERS = {
    "image": "-i",
    "shrink_factor": "-s",
    "iters": "-t",
    "engine": "N4AX_ENGINE",
    "arithmetic": "N4AX_ARITHMETIC",
    "itk_version": "N4AX_ITK_VERSION",
    "itk_work_units": "-e",
}
_TYPES = {"float": "float32", "uchar": "uint8", "int": "int32"}
_SEED = 53
_LEAST_NONZERO = 0.000001

_REFUSED = {
    **dict.fromkeys(
        ("-x", "-m", "--mask"),
        "is not taken, since this program corrects the whole image: for a mask call n4ax correct "
        "--mask",
    ),
    **dict.fromkeys(
        ("-c", "--rescale", "--rescale-only"), "is not taken: rescale the result in a second step"
    ),
}
"""Options that other versions of FreeSurfer or its scripts use, and what to do instead."""

_HELP = """\
Usage: AntsN4BiasFieldCorrectionFs -i VOLUME -o VOLUME [OPTIONS]

  AntsN4BiasFieldCorrectionFs by n4ax {version}, with the options and numbers
  of FreeSurfer's program.

Options:
  -i, --input VOLUME         Volume to correct: .mgz, .mgh, NIfTI and others.
  -o, --output VOLUME        File to write, in the format that its name says.
  -s, --shrink N             Estimate on every N-th voxel.  [default: 4]
  -t, --iters N...           Iterations of each level.
                             [default: 50 50 50 50]
  -d, --dtype float|uchar|int
                             Type of the voxels to write; uchar and int are
                             rounded, and clipped to the range of the
                             type.
                             [default: float]
  -r, --replace-zeros OFFSET SCALE REMASK
                             Replace voxels that are not above 0 by OFFSET +
                             SCALE times a random number from 0 to 1 before the
                             correction; if REMASK is not 0, they are 0 in the
                             result.
  -e, --threads-nondetermistic N
                             Number of threads of ITK to stand for, on which
                             the last digits depend.  [default: 1]
  --version                  Show the version and exit.
  -h, --help                 Show this message and exit.

Environment:
  N4AX_ARITHMETIC            itk gives what FreeSurfer computes, to the last
                             bit; it needs Linux on x86-64. limit is faster,
                             and gives what ITK tends to with many threads.
                             [default: itk where it can be had]
  N4AX_ENGINE                cpu or xla; xla needs N4AX_ARITHMETIC=limit.
  ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS, else NSLOTS
                             Number of threads to use; the result does not
                             depend on it.  [default: all]

Examples:
  AntsN4BiasFieldCorrectionFs -i orig.mgz -o nu0.mgz --dtype uchar
  AntsN4BiasFieldCorrectionFs -i defaced.mgz -o nu0.mgz --replace-zeros 0 1 1
"""


class Options(NamedTuple):
    """What one run of the program is to do."""

    image: Path
    output: Path
    shrink_factor: int
    iterations: tuple[int, ...]
    dtype: str
    """The type of the voxels to write, a word of NumPy."""
    zeros: tuple[float, float, float] | None
    """Offset and scale of the random numbers, and whether to remask; ``None`` keeps zeros."""
    threads: int
    """The threads of ITK to stand for."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program.

    Parameters
    ----------
    arguments
        The words after the program's name; ``None`` for the arguments of this process.

    Returns
    -------
    int
        Exit status: 0, or 1 after an error.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    return run_program(NAME, partial(_run_words, words), _PARAMETERS)


def console() -> None:
    """Run the program and exit: the entry point of the installed program."""
    exit_with(main)


def read_options(words: Sequence[str]) -> Options:
    """Read the command line.

    Raises
    ------
    ValueError
        An option is unknown or missing, or has a value that cannot be read.
    """
    for word in words:
        if word in _REFUSED:
            raise ValueError(f"{word} {_REFUSED[word]}")
    parser = _Parser(add_help=False, allow_abbrev=False)
    parser.add_argument("-i", "--input", type=Path, required=True)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("-s", "--shrink", type=int, default=4)
    parser.add_argument("-t", "--iters", type=int, nargs="+", default=[50] * 4)
    parser.add_argument("-d", "--dtype", type=str.lower, default="float", choices=[*_TYPES])
    parser.add_argument("-r", "--replace-zeros", type=float, nargs=3)
    parser.add_argument("-e", "--threads-nondetermistic", type=int, default=1, dest="threads")
    found = parser.parse_args(words)
    zeros = found.replace_zeros
    if zeros is not None and not all(abs(number) <= LARGEST for number in zeros):
        raise ValueError(f"-r has {zeros}; expected numbers that single precision can hold")
    return Options(
        image=found.input,
        output=found.output,
        shrink_factor=found.shrink,
        iterations=tuple(found.iters),
        dtype=_TYPES[found.dtype],
        zeros=None if zeros is None else tuple(zeros),
        threads=min(found.threads, MOST_THREADS),
    )


class _Parser(argparse.ArgumentParser):
    """A parser that does not end the process after an error."""

    def error(self, message: str) -> NoReturn:
        """Raise the error, as all others are."""
        raise ValueError(f"{message} (see {NAME} --help)")


def _run_words(words: list[str]) -> int:
    if not words or {"-h", "--help"} & set(words):
        print(_HELP.format(version=__version__), end="")
        return 0 if words else FAILURE
    if "--version" in words:
        print(f"{NAME} by n4ax {__version__}")
        return 0
    options = read_options(words)
    images.check_inputs({"-i": options.image})
    images.check_outputs("-o", [options.output], kept=[])
    settings = N4Settings(
        iters=options.iterations,
        conv_threshold=0.0,
        shrink_factor=options.shrink_factor,
        mesh=1,
        voxel_order="F",
        **_choose_arithmetic(options.threads),
    )
    with hide_warnings():  # such as the notice that kernels are being compiled
        _correct_file(options, settings)
    print(f"{NAME} done")
    return 0


def _choose_arithmetic(threads: int) -> dict[str, Any]:
    """ITK's arithmetic with one work unit for each thread, as in the ITK 4 of FreeSurfer.

    Where it cannot be had and nobody has asked for it, n4ax's default takes its place.
    """
    asked = read_arithmetic()
    keywords: dict[str, Any] = {"itk_version": read_itk_version() or 5}
    if asked == "limit":
        return keywords
    if asked is None:
        from n4ax.engines.itk.libm import check_platform

        try:
            check_platform()
        except InputError:
            print_message(
                NAME,
                "warning: the last digits of FreeSurfer's result can be had on Linux on x86-64 "
                "with the GNU C library alone; this is N4AX_ARITHMETIC=limit",
            )
            return keywords
    # ITK's filters take the field to the full grid and divide by it, as in ANTs.
    return {**keywords, "arithmetic": "itk", "itk_tool": "ants", "itk_work_units": threads}


def _correct_file(options: Options, settings: N4Settings) -> None:
    from n4ax.images import nifti
    from n4ax.inputs import Inputs, Run
    from n4ax.itk.space import Space, Spaces
    from n4ax.pipeline import fit_image
    from n4ax.scan import read_scan

    scan = read_scan(options.image)
    voxels, zeros = _take_volume(scan), None
    if options.zeros is not None:
        voxels, zeros = replace_zeros(voxels, *options.zeros[:2])
        print(f"Zeros replaced: {int(zeros.sum())}", flush=True)
    place = Space.from_spacing((*nifti.read_voxel_sizes(scan.image), 1.0)[:3])
    inputs = Inputs(voxels, "all", spacing=Spaces(place, place, place), affine=scan.affine)
    engine = cast("EngineName | None", os.environ.get("N4AX_ENGINE") or None)
    result = fit_image(settings, inputs, Run(engine, read_thread_count()))
    corrected = convert_voxels(result.corrected, options.dtype)
    if zeros is not None and options.zeros is not None and options.zeros[2]:
        corrected[zeros] = 0
    made = nifti.replace_voxels(
        scan.image, corrected.reshape(scan.image.shape, order="F"), options.dtype
    )
    nifti.write_image(made, options.output, find_default_threads())


def _take_volume(scan: "Scan") -> "NDArray[float32]":
    """The voxels as a volume with three axes."""
    if scan.voxels.ndim > 3 and scan.voxels.size != scan.voxels[..., 0].size:
        raise ValueError(
            f"-i {scan.path} is a series of {scan.volumes} volumes; expected one: take one out, "
            "or call n4ax correct"
        )
    shape = (*scan.voxels.shape, 1)[:3]
    return scan.voxels.reshape(shape, order="F")


def replace_zeros(
    voxels: "NDArray[float32]", offset: float, scale: float
) -> "tuple[NDArray[float32], NDArray[bool_]]":
    """Replace voxels that are not above 0 by random numbers, the same in every run.

    Parameters
    ----------
    voxels
        Intensities, shape (x, y, z).
    offset, scale
        A voxel becomes ``offset`` plus ``scale`` times a number from 0 to 1. The numbers are drawn
        along z first, then y, then x.

    Returns
    -------
    voxels : array, float32
        The intensities, replaced.
    zeros : array, bool
        Where they were replaced.
    """
    import numpy as np

    from n4ax.ants.drand48 import draw

    zeros = voxels < np.float32(_LEAST_NONZERO)
    replaced = voxels.copy(order="K")
    # FreeSurfer reads both numbers in single precision.
    numbers = draw(_SEED, int(np.count_nonzero(zeros)))
    replaced[zeros] = float(np.float32(offset)) + float(np.float32(scale)) * numbers
    return replaced, zeros


def convert_voxels(voxels: "NDArray[float32]", dtype: str) -> "NDArray[Any]":
    """Convert intensities to a type; whole numbers are rounded, halves away from 0, and clipped."""
    import numpy as np

    kind = np.dtype(dtype)
    if kind.kind == "f":
        return voxels.astype(kind, copy=False)
    limits = np.iinfo(kind)
    wide = voxels.astype(np.float64)
    whole = np.trunc(wide + np.copysign(0.5, wide))
    return np.clip(whole, limits.min, limits.max).astype(kind)


if __name__ == "__main__":
    console()
