"""Simulated images of brains and heads, with the field that they were multiplied by.

The tissues are those of the ICBM152 template, whose brain has a rim of grey matter around white
matter, as any brain does. Each tissue has its intensity by contrast, and a texture: without it,
every voxel of a tissue would be alike, and a correction would have an easier task than in a scan.
The noise is added after the field, as in the scanner.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.ndimage import distance_transform_edt, gaussian_filter

from benchmarks.truth.fields import make_log_field
from benchmarks.truth.maps import Anatomy, make_anatomy

Half = Literal["chosen on", "held back"]

WHITE = 1000.0
"""The intensity of white matter."""

CONTRASTS = {
    "T1w": (0.76, 1.0, 0.32, 0.12, 1.25),
    "T2w": (1.35, 1.0, 2.50, 0.20, 1.40),
    "PD": (1.20, 1.0, 1.25, 0.20, 1.10),
    "FLAIR": (1.30, 1.0, 0.25, 0.12, 1.00),
    "infant": (1.25, 1.0, 0.50, 0.15, 1.60),
}
"""Intensities of grey matter, white matter, fluid, skull and scalp, as multiples of white matter.
``"infant"`` is the T1w contrast of the first months, before white matter is myelinated."""

HELD_BACK = "FLAIR"
"""The contrast that no setting is chosen on."""

TEXTURE = (0.03, 0.03, 0.05, 0.15, 0.10)
"""The standard deviation of the texture of each of them, as a fraction of its intensity."""

GRAIN = (3.5, 8.0)
"""The texture is smooth noise of these two full widths at half maximum, in mm."""

SIZES = (0.95, 1.05)
"""The size of the brain along each axis lies between these multiples of the template's."""

FLUID, SKULL, SCALP = 2.5, 9.0, 15.0
"""Where the fluid, the skull and the scalp around the brain end, in mm from the brain."""

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Case:
    """A simulated image, and all that is known about it.

    Attributes
    ----------
    image
        Intensities of shape (x, y, z), float32. Without a head, it is 0 outside the brain.
    brain
        The brain, bool, in the image's shape.
    tissues
        Fractions of grey matter, white matter and fluid, float32, of shape (3, x, y, z). They sum
        up to 1 in the brain and are 0 outside.
    log_field
        The log of the field that the image was multiplied by, float32, in the image's shape. Its
        mean in the brain is 0.
    spacing
        Voxel size in mm.
    affine
        From voxels to mm, of shape (4, 4).
    kind, strength, contrast, noise, seed, head
        What the case was made from; see :func:`make_case`.
    """

    image: Floats
    brain: npt.NDArray[np.bool_]
    tissues: Floats
    log_field: Floats
    spacing: tuple[float, float, float]
    affine: npt.NDArray[np.float64]
    kind: str
    strength: float
    contrast: str
    noise: float
    seed: int
    head: bool

    @property
    def half(self) -> Half:
        """Whether settings may be chosen on this case, or whether it is held back to judge them."""
        return name_half(self.contrast, self.seed)


def name_half(contrast: str, seed: int) -> Half:
    """The half that a case belongs to: odd seeds and one contrast are held back."""
    return "held back" if seed % 2 or contrast == HELD_BACK else "chosen on"


def make_case(
    kind: str,
    strength: float,
    contrast: str = "T1w",
    noise: float = 0.03,
    seed: int = 0,
    voxel_mm: float | Sequence[float] = 3.0,
    head: bool = False,
) -> Case:
    """Simulate an image; the same arguments give the same bits.

    Parameters
    ----------
    kind, strength
        The field; see :func:`benchmarks.truth.fields.make_log_field`.
    contrast
        One of ``CONTRASTS``.
    noise
        Sigma of the Rician noise, as a fraction of the intensity of white matter.
    seed
        Chooses the field of its kind, the size of the brain, the texture and the noise.
    voxel_mm
        Voxel size in mm, one for all axes or one for each.
    head
        Whether there is a skull, a scalp and air around the brain.

    Raises
    ------
    ValueError
        The contrast, the kind or the strength is unknown, or the noise is negative.
    ModuleNotFoundError
        nilearn, which brings the maps, is not installed.
    """
    if contrast not in CONTRASTS:
        raise ValueError(f"contrast is {contrast!r}; expected one of {', '.join(CONTRASTS)}")
    if noise < 0:
        raise ValueError(f"noise is {noise}; expected a fraction of white matter, such as 0.03")
    sizes = voxel_mm if isinstance(voxel_mm, Sequence) else [voxel_mm] * 3
    x, y, z = (float(size) for size in sizes)
    # The field has a stream of its own, so that it is the same for every contrast and noise.
    random = np.random.default_rng([seed, 100])
    a, b, c = (float(size) for size in random.uniform(*SIZES, 3))
    anatomy = make_anatomy((x, y, z), (a, b, c), head)
    log_field = make_log_field(kind, strength, anatomy.brain, (x, y, z), seed)
    parts = add_head(anatomy, (x, y, z), random) if head else anatomy.tissues
    signal = paint(parts, CONTRASTS[contrast], (x, y, z), random) * np.exp(log_field)
    image = add_noise(signal, noise * WHITE, random)
    return Case(
        image if head else image * anatomy.brain,
        anatomy.brain, anatomy.tissues, log_field, (x, y, z), anatomy.affine,
        kind, strength, contrast, noise, seed, head,
    )  # fmt: skip


def add_head(
    anatomy: Anatomy, spacing: tuple[float, float, float], random: np.random.Generator
) -> Floats:
    """The fractions of grey matter, white matter, fluid, skull and scalp, (5, x, y, z).

    They lie around the brain in layers whose thickness varies a little from place to place.
    """
    distance = distance_transform_edt(~anatomy.brain, sampling=spacing)
    distance *= 1 + 0.15 * smooth_noise(anatomy.brain.shape, spacing, 60, random)
    voxel = np.prod(spacing) ** (1 / 3)
    # The first voxels outside are at a distance of one voxel; their inner face is half of it.
    fluid, skull, scalp = (
        np.clip((end - distance) / voxel + 1, 0, 1) * ~anatomy.brain
        for end in (FLUID, SKULL, SCALP)
    )
    layers = np.stack([fluid, skull - fluid, scalp - skull]).astype(np.float32)
    grey, white, own_fluid = anatomy.tissues
    return np.stack([grey, white, own_fluid + layers[0], layers[1], layers[2]])


def paint(
    parts: Floats,
    intensities: Sequence[float],
    spacing: tuple[float, float, float],
    random: np.random.Generator,
) -> Floats:
    """The signal of each voxel: the sum of its parts, each with its intensity and its texture."""
    signal = np.zeros(parts.shape[1:], np.float32)
    fine, coarse = GRAIN
    for part, intensity, spread in zip(parts, intensities, TEXTURE, strict=False):
        grain = smooth_noise(part.shape, spacing, fine, random)
        grain += smooth_noise(part.shape, spacing, coarse, random)
        signal += WHITE * intensity * part * (1 + spread * grain / np.sqrt(2)).astype(np.float32)
    return signal


def smooth_noise(
    shape: tuple[int, ...],
    spacing: tuple[float, float, float],
    width: float,
    random: np.random.Generator,
) -> Floats:
    """Gaussian noise of a full width at half maximum in mm, with a standard deviation of 1."""
    sigma = [width / np.sqrt(8 * np.log(2)) / voxel for voxel in spacing]
    noise = gaussian_filter(random.standard_normal(shape, np.float32), sigma, mode="wrap")
    return noise / noise.std()


def add_noise(signal: Floats, sigma: float, random: np.random.Generator) -> Floats:
    """The magnitude of the signal with noise in its real and in its imaginary part."""
    real, imaginary = sigma * random.standard_normal((2, *signal.shape), np.float32)
    return np.hypot(signal + real, imaginary).astype(np.float32)
