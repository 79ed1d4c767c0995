"""The mask of an image file: a word, a file, or several combined, as command lines name them."""

from collections.abc import Callable
from dataclasses import dataclass
from math import inf, isfinite, isnan
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from n4ax.errors import InputError
from n4ax.images.arguments import MaskWord
from n4ax.images.dilation import dilate
from n4ax.images.expressions import Expression, Part, evaluate, list_parts, parse
from n4ax.images.masks import find_fraction
from n4ax.images.otsu import find_foreground
from n4ax.images.volumes import SPATIAL
from n4ax.itk.space import Space
from n4ax.paths import is_file

Mask = npt.NDArray[Any]


@dataclass(frozen=True)
class MaskChoice:
    """The voxels that a field is to be estimated in.

    Attributes
    ----------
    text
        ``"otsu"``, ``"all"``, the path of a mask, or an expression of these; see
        :mod:`n4ax.images.expressions`.
    labels
        The values of a file that are inside; every value but 0 if there are none. In an
        expression, a file may have labels of its own.
    above
        Voxels of a file above this value are inside, for maps of probabilities.
    dilate_mm
        The mask is enlarged by this distance in mm; a negative one makes it smaller.
    expression
        What the text means, if its files have been looked up already.

    Raises
    ------
    InputError
        Labels and a threshold are both given, or the distance is not finite.
    """

    text: str = "otsu"
    labels: tuple[int, ...] = ()
    above: float | None = None
    dilate_mm: float = 0.0
    expression: Expression | None = None

    def __post_init__(self) -> None:
        if self.labels and self.above is not None:
            raise InputError("{mask_label} and {mask_above} are both given: give only one of them")
        if not isfinite(self.dilate_mm):
            raise InputError("{mask_dilate} is {0}; expected a number of mm", self.dilate_mm)
        if self.above is not None and isnan(self.above):
            raise InputError("{mask_above} is {0}; expected a number", self.above)

    def parse(self, find: Callable[[str], Path | None] | None = None) -> Expression:
        """Read the text; ``find`` gives the file of a name, by default the path of that name.

        Raises
        ------
        InputError
            The text is no expression, a file is missing, or a condition has no file to apply to.
        """
        if self.expression is not None:
            return self.expression
        expression = parse(self.text, find or find_file)
        name = "{mask_above}" if self.above is not None else "{mask_label}"
        chosen = bool(self.labels) or self.above is not None
        files = [part for part in list_parts(expression) if part.word is None]
        if chosen and any(part.labels or part.above is not None for part in files):
            raise InputError(
                f"{name} is given, and {{mask}} is {{0!r}}, which has a condition of its own: "
                "leave out one of them",
                self.text,
            )
        if chosen and not files:
            raise InputError(
                f"{name} chooses values of a mask in a file, and {{mask}} is {{0!r}}: give a file",
                self.text,
            )
        return expression


def find_file(name: str) -> Path | None:
    """The path of a name, if there is such a file."""
    path = Path(name)
    return path if name and is_file(path) else None


def combine_masks(
    choice: MaskChoice,
    expression: Expression,
    volume: npt.NDArray[np.float32],
    voxel_sizes: tuple[float, ...],
    read: Callable[[Path], tuple[Mask, Space]],
) -> tuple[MaskWord | Mask, Space | None]:
    """Find the mask of a volume.

    Parameters
    ----------
    choice
        What was asked for.
    expression
        What :meth:`MaskChoice.parse` read.
    volume
        The image, for Otsu's threshold.
    voxel_sizes
        Its voxel size along each axis, in mm.
    read
        Reads a mask on the grid of the image, with the place where it lies.

    Returns
    -------
    tuple
        The mask, or the word for it if nothing is combined; and where its file lies, if it is one
        file.
    """
    if isinstance(expression, Part) and choice.dilate_mm == 0:
        if expression.word is not None:
            return expression.word, None
        values, place = read(expression.path)
        values = _apply_condition(choice, expression, values)
        _check_values(values, expression.path)
        if not values.any():
            raise InputError("{mask} {0} has no voxel other than 0", expression.path)
        return values, place
    mask = evaluate(expression, lambda part: _take(choice, part, volume, read))
    if choice.dilate_mm:
        in_space = (*voxel_sizes[:SPATIAL], *[inf] * mask.ndim)[: mask.ndim]  # not along time
        mask = dilate(mask, choice.dilate_mm, in_space)
    if not mask.any():
        grown = f" after {{mask_dilate:{choice.dilate_mm:g}}}" if choice.dilate_mm else ""
        raise InputError(f"{{mask}} {{0!r}} leaves no voxel inside{grown}", choice.text)
    return mask, None


def uses_otsu(choice: MaskChoice, expression: Expression) -> bool:
    """Whether Otsu's threshold is one of several parts, or is to be enlarged."""
    plain = isinstance(expression, Part) and choice.dilate_mm == 0
    return not plain and any(part.word == "otsu" for part in list_parts(expression))


def _take(
    choice: MaskChoice,
    part: Part,
    volume: npt.NDArray[np.float32],
    read: Callable[[Path], tuple[Mask, Space]],
) -> Mask:
    """The mask of a word or a file, as an array of bool."""
    if part.word == "otsu":
        return find_foreground(volume).astype(bool)
    if part.word == "all":
        return np.ones(volume.shape, bool)
    values = _apply_condition(choice, part, read(part.path)[0])
    _check_values(values, part.path)
    return values != 0


def _apply_condition(choice: MaskChoice, part: Part, values: Mask) -> Mask:
    """Apply the labels or the threshold of a file, if it has any; NaN is outside of both."""
    above = choice.above if part.above is None else part.above
    labels = part.labels or choice.labels
    if above is not None:
        with np.errstate(over="ignore"):  # the threshold may be beyond single precision
            inside = values > above
        _check_any(inside, part.path, f"above {above:g}", values)
        return inside
    if labels:
        inside = np.isin(values, labels)
        _check_any(inside, part.path, f"equal to {', '.join(map(str, labels))}", values)
        return inside
    return values


def _check_any(inside: Mask, path: Path, wanted: str, values: Mask) -> None:
    if not inside.any():
        known = values[~np.isnan(values)]
        low, high = (known.min(), known.max()) if known.size else (np.nan, np.nan)
        raise InputError(
            "{mask} {0} has no value {1}; its values go from {2:g} to {3:g}",
            path, wanted, float(low), float(high),
        )  # fmt: skip


def _check_values(values: Mask, path: Path) -> None:
    """Refuse a mask with NaN, and a map of probabilities, which needs a threshold."""
    if np.isnan(values).any():
        raise InputError("{mask} {0} has NaN values; expected numbers, 0 outside", path)
    fraction = find_fraction(values)
    if fraction is not None:
        raise InputError(
            "{mask} {0} has values between 0 and 1, such as {1:.3g}, as a map of probabilities "
            "has: give a threshold with {mask_above:0.5}",
            path,
            fraction,
        )
