"""What an ANTs command line asks for."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from n4ax.ants.grammar import (
    CLOSING,
    OPENING,
    UsageError,
    Value,
    parse_words,
    read_number,
    read_vector,
    read_whole,
)
from n4ax.settings import N4Settings

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
MOST_ORDER = 5

_ITERATIONS_WITHOUT_BRACKETS, _THRESHOLD_WITHOUT_BRACKETS = (50,), 0.001  # ITK's own defaults


@dataclass(frozen=True)
class Options:
    """One run of the program.

    Attributes
    ----------
    dimension
        Axes of the image to work on, or ``None`` to take them from its file.
    image, mask, weights
        Files; the last two may be ``None``.
    rescale
        Stretch the corrected image to the range of the input, in the mask.
    corrected, bias
        Files to write; ``bias`` may be ``None``.
    verbose
        Print what ANTs prints.
    distance
        Length of a mesh element in mm, as it was given (``None``: a mesh was, or nothing).
    settings
        The parameters of N4.
    warnings
        What ANTs does otherwise than the command line seems to say, in sentences.
    """

    dimension: int | None
    image: Path
    mask: Path | None
    weights: Path | None
    rescale: bool
    corrected: Path
    bias: Path | None
    verbose: bool
    distance: float | None
    settings: N4Settings
    warnings: tuple[str, ...]


def read_options(arguments: Sequence[str]) -> Options:
    """Read the command line.

    Raises
    ------
    UsageError
        An option is unknown or missing, or has a value that cannot be read.
    ValueError
        A parameter is out of range.
    """
    reader = _Reader(arguments)
    image, mask, weights = (reader.file(flag) for flag in ("-i", "-x", "-w"))
    if image is None:
        raise UsageError("no input image: give it with -i")
    outputs = reader.outputs()
    iterations, threshold = reader.convergence()
    mesh, distance, order = reader.mesh()
    dimension = reader.dimension()
    if isinstance(mesh, tuple) and dimension is not None and len(mesh) != dimension:
        raise UsageError(
            f"-b has a mesh of {len(mesh)} numbers for {dimension} axes; give one per axis, or a "
            "single distance in mm"
        )
    fwhm, wiener, nbins = reader.sharpening()
    settings = N4Settings(
        iters=iterations,
        conv_threshold=threshold,
        nbins=nbins,
        fwhm=fwhm,
        wiener=wiener,
        spline_order=order,
        mesh=mesh,
        spline_distance=distance,
        shrink_factor=reader.shrink(),
        outside="divide" if mask is None else "keep",
        voxel_order="F",
    )
    rescale = reader.switch("-r", default=mask is not None)
    if rescale and mask is None:
        reader.warn("-r is ignored: intensities are rescaled only within a mask (-x)")
    return Options(
        dimension=dimension,
        image=image,
        mask=mask,
        weights=weights,
        rescale=rescale and mask is not None,
        corrected=outputs[0],
        bias=outputs[1] if len(outputs) > 1 else None,
        verbose=reader.switch("-v", default=False),
        distance=distance,
        settings=settings,
        warnings=tuple(reader.warnings),
    )


class _Reader:
    """The values of each option; the last occurrence of an option, and its last value, win."""

    def __init__(self, arguments: Sequence[str]) -> None:
        stray, given = parse_words(arguments)
        self.warnings: list[str] = []
        self._values: dict[str, Value] = {}
        if stray:
            self.warn(f"{' '.join(stray)!r} is ignored: it stands before the first option")
        short = {name: flag for flag, name in FLAGS.items()}
        for flag, values in given:
            known = short.get(flag, flag)
            if known not in FLAGS:
                raise UsageError(
                    f"unknown option {flag}; the options are "
                    + ", ".join(f"{flag}/{name}" for flag, name in FLAGS.items())
                )
            if len(values) > 1:
                words = " ".join(value.text for value in values[:-1])
                self.warn(f"{words!r} is ignored: {flag} takes its last value, {values[-1].text!r}")
            self._values[known] = values[-1] if values else Value("1", None)

    def warn(self, message: str) -> None:
        self.warnings.append(message)

    def file(self, flag: str) -> Path | None:
        value = self._values.get(flag)
        if value is None:
            return None
        if value.parameters is not None or value.text == "1":
            raise UsageError(f"{flag} has {value.text!r}; expected one file")
        return Path(value.text)

    def outputs(self) -> list[Path]:
        value = self._values.get("-o")
        if value is None or value.text == "1":
            raise UsageError("no output: give it with -o, corrected.nii.gz or [corrected,bias]")
        names = [value.text] if value.parameters is None else list(value.parameters)
        if len(names) == 2 and not names[1]:
            names.pop()
        if not 1 <= len(names) <= 2 or not all(names):
            raise UsageError(f"-o has {value.text!r}; expected one file, or [corrected,bias]")
        return [Path(name) for name in names]

    def dimension(self) -> int | None:
        value = self._values.get("-d")
        if value is None:
            return None
        dimension = read_whole("-d", value.text)
        if dimension not in (2, 3, 4):
            raise UsageError(f"-d is {dimension}; expected 2, 3 or 4")
        return dimension

    def shrink(self) -> int:
        value = self._values.get("-s")
        factor = 4 if value is None else read_whole("-s", value.text)
        if factor < 0:
            raise UsageError(f"-s is {factor}; expected a whole number from 1 on")
        return max(1, factor)

    def switch(self, flag: str, default: bool) -> bool:
        value = self._values.get(flag)
        if value is None:
            return default
        if value.text not in ("0", "1"):
            raise UsageError(f"{flag} has {value.text!r}; expected 0 or 1")
        return value.text == "1"

    def convergence(self) -> tuple[tuple[int, ...], float]:
        if "-c" not in self._values:
            return (50, 50, 50, 50), 0.0
        parameters = self._bracketed("-c")
        if parameters is None:
            self.warn(
                f"-c {self._values['-c'].text} is ignored, as ANTs does: without brackets it runs "
                "one level of at most 50 iterations with threshold 0.001. Write "
                f"-c [{self._values['-c'].text}] for what it seems to say"
            )
            return _ITERATIONS_WITHOUT_BRACKETS, _THRESHOLD_WITHOUT_BRACKETS
        iterations = tuple(read_whole("-c", part) for part in read_vector(parameters[0]))
        if not any(iterations):
            raise UsageError(f"-c [{parameters[0]}] asks for no iteration; expected such as 50x50")
        return iterations, read_number("-c", parameters[1]) if len(parameters) > 1 else 0.0

    def mesh(self) -> tuple[int | tuple[int, ...] | None, float | None, int]:
        """Mesh elements, or their length in mm, and the order of the spline."""
        parameters = self._ignored_without_brackets("-b", "a mesh of one element along each axis")
        if parameters is None:
            return 1, None, 3
        first, *rest = parameters
        order = read_whole("-b", rest[0]) if rest else 3
        if not 1 <= order <= MOST_ORDER:
            raise UsageError(f"-b asks for splines of order {order}; expected 1 to {MOST_ORDER}")
        numbers = [read_number("-b", part) for part in read_vector(first)]
        if len(numbers) == 1:
            if numbers[0] <= 0:
                raise UsageError(f"-b has the distance {numbers[0]:g}; expected mm, above 0")
            return None, numbers[0], order
        return tuple(int(value) for value in numbers), None, order

    def sharpening(self) -> tuple[float, float, int]:
        """FWHM, Wiener noise and histogram bins."""
        given = list(self._ignored_without_brackets("-t", "0.15, 0.01 and 200") or ())
        fwhm = read_number("-t", given[0]) if len(given) > 0 else 0.15
        wiener = read_number("-t", given[1]) if len(given) > 1 else 0.01
        return fwhm, wiener, read_whole("-t", given[2]) if len(given) > 2 else 200

    def _ignored_without_brackets(self, flag: str, instead: str) -> tuple[str, ...] | None:
        if flag not in self._values:
            return None
        parameters = self._bracketed(flag)
        if parameters is None:
            text = self._values[flag].text
            self.warn(
                f"{flag} {text} is ignored, as ANTs does: without brackets it takes {instead}. "
                f"Write {flag} [{text}] for what it seems to say"
            )
        return parameters

    def _bracketed(self, flag: str) -> tuple[str, ...] | None:
        """The parameters of a value, or ``None`` if it has no brackets."""
        value = self._values[flag]
        if value.parameters is None and any(letter in OPENING + CLOSING for letter in value.text):
            raise UsageError(f"{flag} has {value.text!r}: its brackets do not match")
        if value.parameters is not None and not "".join(value.parameters):
            raise UsageError(f"{flag} has {value.text!r}: there is nothing in its brackets")
        return value.parameters
