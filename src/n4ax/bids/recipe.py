"""How the images of a dataset are corrected."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from n4ax.bids.derivatives import Derivative
from n4ax.engines.choice import choose_engine
from n4ax.errors import InputError
from n4ax.images.arguments import read_word
from n4ax.provenance import list_settings
from n4ax.series import B0_THRESHOLD, Estimate
from n4ax.settings import EngineName, N4Settings
from n4ax.verdict.already import Already

OutputSettings = Literal["error", "replace", "exception"]
"""What becomes of an output folder that has other settings than those asked for."""

OF_A_SUFFIX = ("Mask", "MaskAbove", "Weights", "Tissues", "Series", "B0Threshold", "SharedField")
"""What :meth:`Recipe.describe` lists that may differ between kinds of images."""


@dataclass(frozen=True)
class Recipe:
    """How the images of a dataset are corrected.

    Attributes
    ----------
    dataset, output
        The folders of the dataset and of the corrected images.
    settings
        The parameters of N4.
    mask
        ``"otsu"``, ``"all"`` (the whole image), or a pattern of paths or entities as for
        :func:`n4ax.bids.companions.find_file`. ``"none"`` becomes ``"all"``.
    tissues
        Patterns of the maps of tissues that settings are chosen by and evenness is measured in.
    weights
        A pattern of the confidence of each voxel.
    derivatives
        The derivative datasets in which entities are looked for.
    mask_above
        Values of a mask in a file above this are inside, for maps of probabilities.
    series
        The volumes that the field is estimated on, for images with several volumes. It does not
        apply to diffusion images: their field is always estimated on the mean of the volumes
        without diffusion weighting.
    b0_threshold
        Largest b-value, in s/mm², of a volume without diffusion weighting.
    shared_field
        Which images share a field, as for :func:`n4ax.bids.sharing.group_sources`.
    longitudinal
        Whether all images of a participant with one suffix get the same settings, which are chosen
        on all of them. The settings are then those of the preset ``auto``.
    dtype
        Voxel type of the corrected image, as for :func:`n4ax.images.nifti.replace_voxels`.
    engine, threads
        As ``engine`` and ``num_threads`` of :func:`n4ax.n4`. The result does not depend on the
        number of threads. ``None`` becomes ``"cpu"`` for settings that need the CPU engine.
    already
        What becomes of an image that was corrected before: it is left out, corrected with a note,
        or corrected.
    output_settings
        What becomes of an output folder that has other settings: ``"error"`` refuses to write to
        it, ``"replace"`` gives it these, and ``"exception"`` lets it keep its own.
    own_settings
        Whether the images get settings other than those of the output folder. Later runs leave
        such images alone until their files change, or the folder's settings are replaced.
    names
        What users call the parameters, by parameter: ``{"mask": "--mask"}``. The reasons of failed
        images use these names; a parameter that is missing keeps its own name.

    Raises
    ------
    InputError
        ``mask`` or ``weights`` is empty, ``series`` is ``"b0"``, or ``engine`` is ``"xla"`` for
        the arithmetic of ITK.
    """

    dataset: Path
    output: Path
    settings: N4Settings
    mask: str = "otsu"
    tissues: tuple[str, ...] = ()
    weights: str | None = None
    derivatives: tuple[Derivative, ...] = ()
    mask_above: float | None = None
    series: Estimate = "mean"
    b0_threshold: float = B0_THRESHOLD
    shared_field: tuple[str, ...] = ()
    longitudinal: bool = False
    dtype: Literal["float32", "same"] = "float32"
    engine: EngineName | None = None
    threads: int | None = None
    already: Already = "warn"
    output_settings: OutputSettings = "error"
    own_settings: bool = False
    names: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.mask:
            raise InputError("{mask} is empty; expected otsu, all or a pattern of paths")
        if self.weights == "":
            raise InputError("{weights} is empty; expected a pattern of paths or entities")
        object.__setattr__(self, "mask", read_word(self.mask) or self.mask)
        if self.output_settings not in get_args(OutputSettings):
            known = ", ".join(get_args(OutputSettings))
            raise InputError(
                "{output_settings:{0}}; expected one of {1}", self.output_settings, known
            )
        if self.series == "b0":
            raise InputError(
                "{series:{0}} is what diffusion images always use; expected what to use for other "
                "series, such as mean or first",
                self.series,
            )
        if self.series == "4d":
            raise InputError(
                "{series:{0}} fits one field in space and time, which n4ax bids does not do; "
                "expected what one volume's field is estimated on, such as mean or first",
                self.series,
            )
        if self.settings.arithmetic == "itk" and self.engine == "xla":
            raise InputError(
                "{engine} is {0!r}, and {arithmetic} is 'itk', which needs the CPU engine: leave "
                "out one of them",
                self.engine,
            )
        if self.settings.arithmetic == "itk":
            from n4ax.engines.itk.libm import check_platform

            check_platform()  # once, and not for every image
        if self.settings.arithmetic == "itk" or self.settings.accelerate:
            object.__setattr__(self, "engine", self.engine or "cpu")

    @property
    def has_mask_files(self) -> bool:
        """Whether ``mask`` is a pattern of paths."""
        return read_word(self.mask) is None

    @property
    def patterns(self) -> list[tuple[str, str]]:
        """The patterns of all files that belong to an image, each with its parameter."""
        mask = [("mask", self.mask)] if self.has_mask_files else []
        weights = [] if self.weights is None else [("weights", self.weights)]
        return [*mask, *weights, *(("tissues", one) for one in self.tissues)]

    def describe(self, suffix: str) -> dict[str, Any]:
        """List everything that is asked for, for images with a suffix, as an object of JSON."""
        is_dwi = suffix == "dwi"
        own = {
            "Mask": self.mask,
            "MaskAbove": self.mask_above,
            "Weights": self.weights,
            "Tissues": list(self.tissues),
            "Series": "b0" if is_dwi else self.series,
            "B0Threshold": self.b0_threshold if is_dwi else None,
            "SharedField": list(self.shared_field),
            "Longitudinal": self.longitudinal or None,
            "DType": self.dtype,
            "Engine": choose_engine(self.engine, settings=self.settings),
        }
        listed = {**list_settings(self.settings), **own}
        return json.loads(json.dumps({k: v for k, v in listed.items() if v not in (None, [])}))
