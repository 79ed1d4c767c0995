"""What an ANTs command line asks for."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from n4ax.ants.arithmetic import choose_arithmetic
from n4ax.ants.grammar import (
    CLOSING,
    OPENING,
    UsageError,
    Value,
    begins_with_bracket,
    ends_as_image,
    is_name,
    parse_words,
    read_number,
    read_whole,
    split_vector,
)
from n4ax.settings import N4Settings

if TYPE_CHECKING:
    from n4ax.images.arguments import MaskWord

FLAGS = {
    "-d": "--image-dimensionality",
    "-i": "--input-image",
    "-x": "--mask-image",
    "-r": "--rescale-intensities",
    "-w": "--weight-image",
    "-s": "--shrink-factor",
    "-c": "--convergence",
    "-b": "--bspline-fitting",
    "-t": "--histogram-sharpening",
    "-o": "--output",
    "-v": "--verbose",
}
_FILES = ("-i", "-x", "-w", "-o")
_NAMES_OF_FILES = {name for flag in _FILES for name in (flag, FLAGS[flag])}
_ALONE = Value("1", None)
"""What an option without a value has, as in ANTs."""
_LARGEST_ORDER = 5  # of the splines that N4Settings allows


@dataclass(frozen=True)
class Options:
    """What one run of the program is to do.

    Attributes
    ----------
    dimension
        Number of axes to correct along; ``None`` if the file decides.
    image
        The file to correct.
    mask
        The file of the mask, ``"otsu"`` for Otsu's, or ``None`` for the whole image.
    weights
        The file of the weights, or ``None``.
    rescale
        Stretch the corrected image to the range of the input inside the mask.
    corrected
        The file to write the corrected image to.
    bias
        The file to write the bias field to, or ``None``.
    verbose
        Print what ANTs prints.
    settings
        The parameters of N4.
    warnings
        Sentences that tell where ANTs does not do what the command line suggests.
    """

    dimension: int | None
    image: Path
    mask: "Path | MaskWord | None"
    weights: Path | None
    rescale: bool
    corrected: Path
    bias: Path | None
    verbose: bool
    settings: N4Settings
    warnings: tuple[str, ...]


def read_options(arguments: Sequence[str]) -> Options:
    """Read the command line, and the variables that choose the arithmetic.

    Raises
    ------
    UsageError
        An option is unknown or missing, or has a value that cannot be read.
    ValueError
        A parameter is out of range, or a variable has a word that means nothing.
    """
    line = _CommandLine(arguments)
    image, mask, weights = line.read_file("-i"), line.read_mask(), line.read_file("-w")
    if image is None:
        raise UsageError("no input image: give it with -i")
    corrected, bias = line.read_outputs()
    dimension = line.read_dimension()
    settings = N4Settings(
        **line.read_convergence(),
        **line.read_mesh(dimension),
        **line.read_sharpening(),
        **choose_arithmetic(),
        shrink_factor=line.read_shrink_factor(),
        outside="divide" if mask is None else "keep",
        voxel_order="F",
    )
    rescale = line.read_switch("-r", default=mask is not None)
    if rescale and mask is None:
        line.warnings.append("-r is ignored: intensities are rescaled only within a mask (-x)")
    return Options(
        dimension=dimension,
        image=image,
        mask=mask,
        weights=weights,
        rescale=rescale and mask is not None,
        corrected=corrected,
        bias=bias,
        verbose=line.read_switch("-v", default=False),
        settings=settings,
        warnings=tuple(line.warnings),
    )


class _CommandLine:
    """The value of each option: the last value of its last occurrence, as in ANTs."""

    def __init__(self, arguments: Sequence[str]) -> None:
        stray, given = parse_words(arguments, _NAMES_OF_FILES)
        self.warnings: list[str] = []
        self._values: dict[str, Value] = {}
        if stray:
            self.warnings.append(
                f"{' '.join(stray)!r} is ignored: it stands before the first option"
            )
        shortened = {long: short for short, long in FLAGS.items()}
        for name, values in given:
            flag = shortened.get(name, name)
            if flag not in FLAGS:
                raise UsageError(
                    f"unknown option {name}; the options are "
                    + ", ".join(f"{short}/{long}" for short, long in FLAGS.items())
                )
            if len(values) > 1:
                words = " ".join(value.text for value in values[:-1])
                self.warnings.append(
                    f"{words!r} is ignored: {name} takes its last value, {values[-1].text!r}"
                )
            self._values[flag] = values[-1] if values else _ALONE

    def read_file(self, flag: str) -> Path | None:
        value = self._values.get(flag)
        if value is None:
            return None
        if value is _ALONE or not value.text:
            raise UsageError(f"{flag} has no file: give its name after {flag}")
        if value.parameters is not None:
            raise UsageError(f"{flag} has {value.text!r}; expected one file, without brackets")
        return Path(value.text)

    def read_mask(self) -> "Path | MaskWord | None":
        """The file of the mask, or Otsu's word for it; ``None`` for the whole image."""
        path = self.read_file("-x")
        if path is None or ends_as_image(path.name):
            return path
        from n4ax.images.arguments import read_word  # loads NumPy

        text = self._values["-x"].text
        word = read_word(text)
        if word is None and read_word(text.lower()):
            raise UsageError(
                f"-x is {text!r}; the words for masks are otsu, all and none, in small letters"
            )
        return None if word == "all" else word or path

    def read_outputs(self) -> tuple[Path, Path | None]:
        """The files to write: the corrected image, and the bias field if it is asked for."""
        value = self._values.get("-o")
        if value is None or value is _ALONE:
            raise UsageError(
                "no output: give it with -o, as corrected.nii.gz or [corrected.nii.gz,bias.nii.gz]"
            )
        if value.parameters is None and begins_with_bracket(value.text) and not is_name(value.text):
            raise UsageError(
                f"-o has {value.text!r}, which has no closing bracket; add it, as in "
                f"[corrected.nii.gz,bias.nii.gz], or write ./{value.text} for a file of this name"
            )
        names = [value.text] if value.parameters is None else list(value.parameters)
        if len(names) == 2 and not names[1]:
            names.pop()
        if not 1 <= len(names) <= 2 or not all(names):
            raise UsageError(
                f"-o has {value.text!r}; expected one file, or [corrected,bias] (a name with a "
                "comma is read as one where both names end as images do, such as in .nii.gz)"
            )
        return Path(names[0]), Path(names[1]) if len(names) > 1 else None

    def read_dimension(self) -> int | None:
        value = self._values.get("-d")
        if value is None:
            return None
        dimension = read_whole("-d", value.text)
        if dimension not in (2, 3, 4):
            raise UsageError(f"-d is {dimension}; expected 2, 3 or 4")
        return dimension

    def read_shrink_factor(self) -> int:
        value = self._values.get("-s")
        factor = 4 if value is None else read_whole("-s", value.text)
        if factor < 0:
            raise UsageError(f"-s is {factor}; expected a whole number of at least 1")
        return max(1, factor)

    def read_switch(self, flag: str, default: bool) -> bool:
        value = self._values.get(flag)
        if value is None:
            return default
        if value.text not in ("0", "1"):
            raise UsageError(f"{flag} has {value.text!r}; expected 0 or 1")
        return value.text == "1"

    def read_convergence(self) -> dict[str, Any]:
        """The settings that ``-c`` stands for."""
        if "-c" not in self._values:
            return {"iters": (50, 50, 50, 50), "conv_threshold": 0.0}
        parameters = self._read_parameters(
            "-c", "runs one level of at most 50 iterations with threshold 0.001"
        )
        if parameters is None:
            return {"iters": (50,), "conv_threshold": 0.001}  # ITK's own defaults
        iterations = tuple(read_whole("-c", part) for part in split_vector(parameters[0]))
        if not any(iterations):
            raise UsageError(
                f"-c [{parameters[0]}] asks for no iteration; expected numbers such as 50x50"
            )
        threshold = read_number("-c", parameters[1]) if len(parameters) > 1 else 0.0
        # ANTs takes a negative threshold, which no measure is at or below: it works as 0 does.
        return {"iters": iterations, "conv_threshold": max(threshold, 0.0)}

    def read_mesh(self, dimension: int | None) -> dict[str, Any]:
        """The settings that ``-b`` stands for: the mesh, or the length of an element in mm."""
        parameters = self._read_parameters("-b", "uses a mesh of one element along each axis")
        if parameters is None:
            return {"mesh": 1, "spline_order": 3}
        first, *rest = parameters
        order = read_whole("-b", rest[0]) if rest else 3
        if not 1 <= order <= _LARGEST_ORDER:
            raise UsageError(
                f"-b asks for splines of order {order}; expected 1 to {_LARGEST_ORDER}"
            )
        numbers = [read_number("-b", part) for part in split_vector(first)]
        if len(numbers) == 1:
            if numbers[0] <= 0:
                raise UsageError(f"-b has the distance {numbers[0]:g}; expected mm, above 0")
            return {"spline_distance": numbers[0], "spline_order": order}
        if dimension not in (None, len(numbers)):
            raise UsageError(
                f"-b has a mesh of {len(numbers)} numbers for {dimension} axes; give one per axis, "
                "or a single distance in mm"
            )
        return {"mesh": tuple(int(value) for value in numbers), "spline_order": order}

    def read_sharpening(self) -> dict[str, Any]:
        """The settings that ``-t`` stands for."""
        given = self._read_parameters("-t", "uses 0.15, 0.01 and 200") or ()
        return {
            "fwhm": read_number("-t", given[0]) if len(given) > 0 else 0.15,
            "wiener": read_number("-t", given[1]) if len(given) > 1 else 0.01,
            "nbins": read_whole("-t", given[2]) if len(given) > 2 else 200,
        }

    def _read_parameters(self, flag: str, instead: str) -> tuple[str, ...] | None:
        """The parameters in the brackets of an option.

        ``None`` if the option is missing or has no brackets; in the second case the user is
        warned of what ANTs does ``instead``.
        """
        value = self._values.get(flag)
        if value is None:
            return None
        if value.parameters is None:
            if any(letter in OPENING + CLOSING for letter in value.text):
                raise UsageError(f"{flag} has {value.text!r}: its brackets do not match")
            self.warnings.append(
                f"{flag} {value.text} is ignored, as in ANTs, which {instead} if there are no "
                f"brackets. If {value.text} is what you want, write {flag} [{value.text}]"
            )
        elif not "".join(value.parameters):
            raise UsageError(f"{flag} has {value.text!r}: there is nothing in its brackets")
        return value.parameters
