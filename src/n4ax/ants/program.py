"""The program ``N4BiasFieldCorrection`` of ANTs, by n4ax.

Exit status: 0, or 1 after an error, as of ANTs. Errors and warnings go to standard error even
without ``-v``; with it, standard output has the lines that ANTs prints and people parse.
"""

import logging
import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from os.path import realpath
from pathlib import Path
from typing import TYPE_CHECKING, cast

from n4ax.ants.options import Options, read_options
from n4ax.settings import EngineName
from n4ax.signals import exit_on_signals
from n4ax.version import __version__

if TYPE_CHECKING:
    from nibabel.nifti1 import Nifti1Pair

    from n4ax.ants.steps import AntsResult, Volume

FAILURE = 1
_SUFFIXES = (".nii", ".nii.gz")
_HELP = """\
Usage: N4BiasFieldCorrection -i FILE -o CORRECTED|[CORRECTED,BIAS] [OPTIONS]

  N4BiasFieldCorrection by n4ax {version}: the options, outputs and numbers of
  ANTs' program.

Input and output:
  -i, --input-image FILE     NIfTI image to correct.
  -o, --output CORRECTED|[CORRECTED,BIAS]
                             NIfTI files to write; the bias is the factor that
                             the input is divided by.
  -x, --mask-image FILE      Voxels to use, where not 0; others keep their
                             intensity.  [default: the whole image]
  -w, --weight-image FILE    Confidence of each voxel; not above 0 leaves it
                             out.
  -d, --image-dimensionality 2|3|4
                             Axes to work on; 4 is one field in space and time.
                             [default: 2 for a 2-D file, else 3]

Estimation:
  -s, --shrink-factor N      Estimate on every N-th voxel.  [default: 4]
  -b, --bspline-fitting [DISTANCE,ORDER]|[AxBxC,ORDER]
                             Mesh of the first level, by the length of an
                             element in mm or the elements along each axis.
                             [default: [1x1x1,3]]
  -c, --convergence [ITERATIONS,THRESHOLD]
                             Most iterations of each level, as 50x50x30, and
                             the convergence measure to stop at.
                             [default: [50x50x50x50,0.0]]
  -t, --histogram-sharpening [FWHM,NOISE,BINS]
                             Width of the field's distribution in log
                             intensity, noise of the Wiener filter, bins.
                             [default: [0.15,0.01,200]]

Level of the result:
  -r, --rescale-intensities 0|1
                             Stretch the result to the input's range, in the
                             mask.  [default: 1 with -x, else 0]

Other:
  -v, --verbose 0|1          Print progress.  [default: 0]
  --version                  Show the version and exit.
  -h, --help                 Show this message and exit.

Brackets are square, round, curly or angled. Without brackets -b, -c and -t are
ignored, as by ANTs.

Environment:
  ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS, else NSLOTS
                             Threads to use; the result does not depend on it.
                             [default: all]
  N4AX_ENGINE                cpu or xla.  [default: xla where JAX has a GPU,
                             else cpu]

Examples:
  N4BiasFieldCorrection -d 3 -i t1w.nii.gz -o corrected.nii.gz
  N4BiasFieldCorrection -d 3 -i t1w.nii.gz -x mask.nii.gz -s 4 -b [200] \\
    -c [50x50x50x50,1e-7] -o [corrected.nii.gz,bias.nii.gz] -v 1

The same program is n4ax ants, n4ax-N4BiasFieldCorrection, and what n4ax shim
writes.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program.

    Parameters
    ----------
    arguments
        What stands after the program's name; ``None`` for the arguments of this process.

    Returns
    -------
    int
        Exit status.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        return _answered(words)
    except ValueError as error:
        return _fail(str(error))
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        return _fail(f"{place}{error.strerror or error}")
    except MemoryError:
        return _fail("not enough memory; try a larger shrink factor, such as -s 4")
    except RuntimeError as error:
        if not type(error).__module__.startswith("jax"):
            raise
        return _fail(f"JAX: {error}; set N4AX_ENGINE=cpu")


def console() -> None:
    """The installed program."""
    exit_on_signals()
    sys.exit(main())


def _answered(words: list[str]) -> int:
    if not words or {"-h", "--help"} & set(words):
        print(_HELP.format(version=__version__), end="")
        return 0 if words else FAILURE
    if "--version" in words:
        print(f"N4BiasFieldCorrection by n4ax {__version__}")
        return 0
    options = read_options(words)
    for warning in options.warnings:
        _warn(warning)
    if not options.verbose:
        logging.disable(logging.WARNING)  # kernels being compiled: ANTs without -v is silent
    _run(options)
    return 0


def _say(message: str) -> None:
    print(f"N4BiasFieldCorrection (n4ax): {' '.join(message.split())}", file=sys.stderr)


def _warn(message: str) -> None:
    _say(f"warning: {message}")


def _fail(message: str) -> int:
    _say(f"error: {message}")
    return FAILURE


def _run(options: Options) -> None:
    _check_files(options)
    from n4ax.ants.steps import check_on_grid, correct_as_ants

    header, scan = _read("-i", options.image, options.dimension)
    mask, weights = (
        None if path is None else check_on_grid(_read(flag, path, scan.voxels.ndim)[1], scan, _warn)
        for flag, path in (("-x", options.mask), ("-w", options.weights))
    )
    try:
        corrected = correct_as_ants(
            options.settings,
            scan,
            mask,
            weights,
            rescale=options.rescale,
            warn=_warn,
            verbose=options.verbose,
            engine=cast("EngineName | None", os.environ.get("N4AX_ENGINE") or None),
            num_threads=_threads(),
        )
    except ValueError as error:
        raise ValueError(f"{options.image}: {error}") from None
    _write(options, header, corrected)


def _check_files(options: Options) -> None:
    """Everything that can be known of the files before the work is done."""
    from n4ax.files import check_writable

    inputs = [path for path in (options.image, options.mask, options.weights) if path is not None]
    for path in inputs:
        if not path.is_file():
            raise ValueError(f"{path} does not exist, or is not a file")
    outputs = [path for path in (options.corrected, options.bias) if path is not None]
    for path in outputs:
        if not path.name.endswith(_SUFFIXES):
            raise ValueError(f"-o {path}: expected a name ending in {' or '.join(_SUFFIXES)}")
        check_writable(path)
    if len({realpath(path) for path in outputs}) < len(outputs):
        raise ValueError(f"-o names {options.corrected} for both outputs: choose another name")
    overwritten = {realpath(path) for path in inputs[1:]} & {realpath(path) for path in outputs}
    if overwritten:
        raise ValueError(f"-o {overwritten.pop()} would overwrite the mask or the weights")


def _read(flag: str, path: Path, dimension: int | None) -> "tuple[Nifti1Pair, Volume]":
    """A file; of more axes than are worked on, the first volume or slice, as in ITK."""
    from n4ax.ants.steps import Volume
    from n4ax.images import nifti
    from n4ax.itk.space import drop_last_ones

    image = nifti.read_image(path)
    shape = drop_last_ones(image.shape, least=3)
    if len(shape) == 3 and shape[2] == 1 and dimension in (None, 2):
        shape = shape[:2]
    if dimension is None:
        dimension = min(len(shape), 3)
    if len(shape) < dimension:
        raise ValueError(f"{flag} {path} has {len(shape)} axes, {shape}; -d asks for {dimension}")
    voxels = nifti.read_voxels(image, path).reshape(shape)
    voxels = voxels[(..., *(0,) * (len(shape) - dimension))]
    space = nifti.read_space(image).select_axes(range(dimension))
    # Of a file with more axes, ITK takes none of the directions.
    sampled = space if len(shape) == dimension else space.straighten()
    return image, Volume(f"{flag} {path}", voxels, space, sampled)


def _threads() -> int | None:
    """Threads that ITK would use, if its environment says so."""
    for name in ("ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS", "NSLOTS"):
        text = os.environ.get(name, "").strip()
        if text.isdecimal() and int(text) > 0:
            return int(text)
    return None


def _write(options: Options, header: "Nifti1Pair", corrected: "AntsResult") -> None:
    """All files or none: they get their names only after the last is written."""
    from n4ax.files import replace_file
    from n4ax.images import nifti

    with ExitStack() as stack:
        images = [(options.corrected, corrected.image)]
        if options.bias is not None:
            images.append((options.bias, corrected.bias))
        places = [stack.enter_context(replace_file(path)) for path, _ in images]
        for place, (_, voxels) in zip(places, images, strict=True):
            nifti.write_image(nifti.replace_voxels(header, voxels), place)
