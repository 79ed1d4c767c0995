"""The program ``N4BiasFieldCorrection`` of ANTs, run by n4ax.

The exit status is 0, or 1 after an error, as in ANTs. Errors and warnings go to standard error
even without ``-v``. With ``-v 1``, standard output has the lines that ANTs prints and programs
parse.
"""

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast

from n4ax.ants import images
from n4ax.ants.ending import FAILURE, describe, exit_with, print_message, run_program
from n4ax.ants.options import Options, read_options
from n4ax.images.names import NIFTI, find_suffix
from n4ax.itk.threads import find_default_threads, read_thread_count
from n4ax.messages import hide_warnings
from n4ax.pools import ThreadPool
from n4ax.settings import EngineName
from n4ax.version import __version__

if TYPE_CHECKING:
    from nibabel.nifti1 import Nifti1Pair
    from numpy import float32
    from numpy.typing import NDArray

    from n4ax.ants.steps import AntsResult, Volume
    from n4ax.images.plain import Header
    from n4ax.itk.space import Space

_NAME = "N4BiasFieldCorrection"

ANTS_VERSION = "2.6.5"
"""The release of ANTs whose numbers the program gives; other programs look for it."""

_PARAMETERS = {
    "image": "-i",
    "mask": "-x",
    "weights": "-w",
    "shrink_factor": "-s",
    "iters": "the iterations of -c",
    "conv_threshold": "the threshold of -c",
    "mesh": "the mesh of -b",
    "spline_distance": "the distance of -b",
    "spline_order": "the order of -b",
    "fwhm": "the width of -t",
    "wiener": "the noise of -t",
    "nbins": "the bins of -t",
    "engine": "N4AX_ENGINE",
    "arithmetic": "N4AX_ARITHMETIC",
    "itk_version": "N4AX_ITK_VERSION",
    "itk_threads": "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS",
}
"""What the parameters of :func:`n4ax.fit` are called on this command line."""

_HELP = """\
Usage: N4BiasFieldCorrection -i FILE -o CORRECTED|[CORRECTED,BIAS] [OPTIONS]

  N4BiasFieldCorrection by n4ax {version}, with the options, outputs and
  numbers of ANTs' program.

Input and output:
  -i, --input-image FILE     Image to correct: NIfTI, .mgz, .nrrd, .mha, .mnc
                             and others.
  -o, --output CORRECTED|[CORRECTED,BIAS]
                             Files to write, in the formats that their names
                             say. The input is divided by the bias.
  -x, --mask-image FILE|otsu|all
                             Use the voxels where the mask is not 0 (otsu:
                             those above Otsu's threshold); others keep their
                             intensity.  [default: all, the whole image]
  -w, --weight-image FILE    Confidence in each voxel; voxels at 0 or less
                             are left out.
  -d, --image-dimensionality 2|3|4
                             Number of axes to correct along; 4 is one field
                             in space and time.
                             [default: 2 for a 2-D file, else 3]

Estimation:
  -s, --shrink-factor N      Estimate on every N-th voxel.  [default: 4]
  -b, --bspline-fitting [DISTANCE,ORDER]|[AxBxC,ORDER]
                             Mesh of the first level: the length of an element
                             in mm, or the number of elements per axis.
                             [default: [1x1x1,3]]
  -c, --convergence [ITERATIONS,THRESHOLD]
                             Largest number of iterations at each level, such
                             as 50x50x30, and the convergence measure at which
                             a level ends.
                             [default: [50x50x50x50,0.0]]
  -t, --histogram-sharpening [FWHM,NOISE,BINS]
                             Width of the field's distribution in log
                             intensity, noise of the Wiener filter, and number
                             of histogram bins.
                             [default: [0.15,0.01,200]]

Level of the result:
  -r, --rescale-intensities 0|1
                             Stretch the result to the input's range inside
                             the mask.  [default: 1 with -x, else 0]

Other:
  -v, --verbose 0|1          Print progress.  [default: 0]
  --version                  Show the version and exit.
  -h, --help                 Show this message and exit.

Brackets may be square, round, curly or angled. Without brackets, -b, -c and -t
are ignored, as in ANTs. Names of files may have brackets, commas and blanks.

Environment:
  ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS, else NSLOTS
                             Number of threads to use; the result does not
                             depend on it, except with N4AX_ARITHMETIC=itk.
                             [default: all]
  N4AX_ENGINE                cpu or xla.  [default: xla where JAX has a GPU,
                             else cpu]
  N4AX_ARITHMETIC            itk gives what ANTs computes with this number of
                             threads, to the last bit; it needs the CPU engine,
                             and Linux on x86-64. limit gives what ANTs tends
                             to with many threads, which is faster.
                             [default: limit]
  N4AX_ITK_VERSION           5 (ANTs to 2.6) or 6, the ITK to follow.
                             [default: 5]
  ITK_GLOBAL_DEFAULT_THREADER
                             With N4AX_ARITHMETIC=itk, how ANTs would run its
                             threads: platform or pool.  [default: pool]

Examples:
  N4BiasFieldCorrection -d 3 -i t1w.nii.gz -o corrected.nii.gz
  N4BiasFieldCorrection -d 3 -i t1w.nii.gz -x mask.nii.gz -s 4 -b [200] \\
    -c [50x50x50x50,1e-7] -o [corrected.nii.gz,bias.nii.gz] -v 1

n4ax ants, n4ax-N4BiasFieldCorrection and the program that n4ax shim writes are
all this program.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program.

    Parameters
    ----------
    arguments
        The words after the program's name; ``None`` for the arguments of this process.

    Returns
    -------
    int
        Exit status.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    return run_program(_NAME, partial(_run_words, words), _PARAMETERS)


def console() -> None:
    """Run the program and exit: the entry point of the installed program."""
    exit_with(main)


def _run_words(words: list[str]) -> int:
    if not words or {"-h", "--help"} & set(words):
        print(_HELP.format(version=__version__), end="")
        return 0 if words else FAILURE
    if "--version" in words:
        print(f"ANTs Version: v{ANTS_VERSION}\nN4BiasFieldCorrection by n4ax {__version__}")
        return 0
    options = read_options(words)
    for warning in options.warnings:
        _warn(warning)
    # ANTs is silent without -v, so the notice that kernels are being compiled is not shown.
    with nullcontext() if options.verbose else hide_warnings():
        _correct_file(options)
    return 0


def _warn(message: str) -> None:
    print_message(_NAME, f"warning: {message}")


def _correct_file(options: Options) -> None:
    _check_files(options)
    files = _read_ahead(options)
    from n4ax.ants.steps import Request, correct_as_ants, find_otsu_mask
    from n4ax.ants.verbose import correct_and_print
    from n4ax.inputs import Run

    header, image = _read_volume(files.pop("-i"), options.dimension)
    mask = find_otsu_mask(image) if options.mask == "otsu" else _read_beside("-x", files, image)
    weights = _read_beside("-w", files, image)
    request = Request(image, mask, weights, options.settings, options.rescale)
    correct = correct_and_print if options.verbose else correct_as_ants
    engine = cast("EngineName | None", os.environ.get("N4AX_ENGINE") or None)
    run = Run(engine, read_thread_count())
    try:
        corrected = correct(request, run, _warn)
    except ValueError as error:
        raise ValueError(f"{options.image}: {describe(error, _PARAMETERS)}") from None
    _write_outputs(options, header, corrected)


def _check_files(options: Options) -> None:
    """Check all that can be known about the files before the work is done."""
    given = {"-i": options.image, "-x": options.mask, "-w": options.weights}
    inputs = {flag: path for flag, path in given.items() if isinstance(path, Path)}
    images.check_inputs(inputs)
    outputs = [path for path in (options.corrected, options.bias) if path is not None]
    images.check_outputs("-o", outputs, kept=list(inputs.values())[1:])


class _File(NamedTuple):
    """A file that is being read: the option that names it, and how its content is waited for."""

    flag: str
    path: Path
    load: Callable[[], bytes]


def _read_ahead(options: Options) -> dict[str, _File]:
    """Read NIfTI in another thread, while this one loads the modules that work on it."""
    from n4ax.images import gzip

    given = {"-i": options.image, "-x": options.mask, "-w": options.weights}
    paths = {flag: path for flag, path in given.items() if isinstance(path, Path)}
    reader = ThreadPool(1)
    files: dict[str, _File] = {}
    for flag, path in paths.items():
        is_nifti = find_suffix(path) in NIFTI  # others are read by libraries
        load = path.read_bytes
        if is_nifti:
            try:
                load = reader.submit(gzip.read_file, path).result
            except RuntimeError:  # the system starts no thread
                load = partial(gzip.read_file, path)
        files[flag] = _File(flag, path, load)
    reader.shutdown(wait=False)
    return files


def _read_beside(flag: str, files: dict[str, _File], image: "Volume") -> "Volume | None":
    """Read a mask or weights on the grid of the image, if they are given."""
    from n4ax.ants.steps import match_grid

    if flag not in files:
        return None
    return match_grid(_read_volume(files.pop(flag), image.voxels.ndim)[1], image, _warn)


def _read_volume(file: _File, dimension: int | None) -> "tuple[Header | Nifti1Pair, Volume]":
    """Read a file. If it has more axes than ``dimension``, take the first volume or slice (ITK)."""
    from n4ax.ants.steps import Volume
    from n4ax.itk.space import drop_last_ones

    header, voxels, space = _read_file(file)
    shape = drop_last_ones(voxels.shape, least=3)
    if len(shape) == 3 and shape[2] == 1 and dimension in (None, 2):
        shape = shape[:2]
    if dimension is None:
        dimension = min(len(shape), 3)
    if len(shape) < dimension:
        raise ValueError(
            f"{file.flag} {file.path} has {len(shape)} axes, {shape}; -d asks for {dimension}"
        )
    voxels = voxels.reshape(shape)[(..., *(0,) * (len(shape) - dimension))]
    space = space.select_axes(range(dimension))
    # ITK ignores the directions of a file that has more axes than it reads.
    sampling_space = space if len(shape) == dimension else space.straighten()
    return header, Volume(f"{file.flag} {file.path}", voxels, space, sampling_space)


def _read_file(file: _File) -> "tuple[Header | Nifti1Pair, NDArray[float32], Space]":
    """Read the header, the voxels and the place of a file, by nibabel only if that is needed."""
    from n4ax.images import plain

    read = plain.read_file(file.path, file.load)
    if read is not None:
        return read
    from n4ax.images import nifti

    image = nifti.read_image(file.path)
    return image, nifti.read_voxels(image, file.path), nifti.read_space(image)


def _write_outputs(
    options: Options, header: "Header | Nifti1Pair", corrected: "AntsResult"
) -> None:
    """Write all files or none, with the header of the file that they come from."""
    from n4ax.files import replace_files
    from n4ax.images import plain
    from n4ax.images.headers import read_shape

    made = {options.corrected: corrected.image}
    if options.bias is not None:
        made[options.bias] = corrected.bias
    threads = find_default_threads()
    are_plain = isinstance(header, plain.Header) and all(
        find_suffix(path) in NIFTI and read_shape(header) == voxels.shape
        for path, voxels in made.items()
    )
    if isinstance(header, plain.Header) and are_plain:
        with replace_files(list(made)) as places:
            for place, voxels in zip(places, made.values(), strict=True):
                plain.write_file(header, voxels, place, threads)
        return
    from n4ax.images import nifti
    from n4ax.images.writing import write_images

    image = nifti.read_image(options.image) if isinstance(header, plain.Header) else header
    filled = {path: nifti.replace_voxels(image, voxels) for path, voxels in made.items()}
    write_images(filled, threads)
