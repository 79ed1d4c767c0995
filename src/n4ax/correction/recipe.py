"""How images are corrected, and what is written for each of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from n4ax.engines.choice import choose_engine
from n4ax.errors import InputError
from n4ax.images.expressions import list_parts
from n4ax.images.names import find_files
from n4ax.mask_files import MaskChoice
from n4ax.pipeline import check_start
from n4ax.provenance import list_settings
from n4ax.saved_field import SavedField
from n4ax.series import B0_THRESHOLD, Series
from n4ax.settings import EngineName, N4Settings
from n4ax.verdict.already import Already


@dataclass(frozen=True)
class Recipe:
    """How images are corrected.

    Attributes
    ----------
    settings
        The parameters of N4.
    mask
        The voxels that the field is estimated in; its text may be a pattern.
    series
        For a series of volumes, what the field is estimated on.
    b0_threshold
        Largest b-value, in s/mm², of a volume without diffusion weighting.
    slicewise
        Whether each slice has a field of its own.
    shared_field
        Whether all images share one field.
    in_stages
        Whether classes of intensity are the weights, one after the other.
    init
        The field to start from, and its file.
    dtype
        Voxel type of the corrected image, as for :func:`n4ax.images.nifti.replace_voxels`.
    engine, threads
        As ``engine`` and ``num_threads`` of :func:`n4ax.n4`.
    already
        What becomes of an image that was corrected before: it is left out, corrected with a note,
        or corrected.
    names
        What users call the parameters, by parameter: ``{"mask": "--mask"}``.

    Raises
    ------
    InputError
        Two choices contradict each other.
    """

    settings: N4Settings
    mask: MaskChoice = field(default_factory=MaskChoice)
    series: Series | None = None
    b0_threshold: float = B0_THRESHOLD
    slicewise: bool = False
    shared_field: bool = False
    in_stages: bool = False
    init: SavedField | None = None
    dtype: Literal["float32", "same"] = "float32"
    engine: EngineName | None = None
    threads: int | None = None
    already: Already = "warn"
    names: Mapping[str, str] = field(default_factory=dict[str, str])

    def __post_init__(self) -> None:
        alone = (self.series is not None, self.slicewise, self.shared_field, self.in_stages)
        if sum(alone) > 1:
            raise InputError(
                "{series}, {slicewise}, {shared_field} and {weights_from} exclude each other: give "
                "one of them"
            )
        if self.slicewise or self.shared_field or self.in_stages:
            self.settings.check_chosen("this")
        if self.init is not None and (self.slicewise or self.shared_field):
            raise InputError("{init} is given: leave out {slicewise} and {shared_field}")
        if self.init is not None or self.in_stages:
            check_start(self.settings, "weights_from" if self.in_stages else "init")

    @property
    def has_many_fields(self) -> bool:
        """Whether an image has several fields, of its volumes or of its slices."""
        return self.slicewise or self.series == "each"

    def describe(self) -> dict[str, Any]:
        """How images are corrected, as an object of JSON."""
        mask = self.mask
        return {
            "Settings": list_settings(self.settings),
            "Mask": mask.text,
            **({"MaskLabels": mask.labels} if mask.labels else {}),
            **({} if mask.above is None else {"MaskAbove": mask.above}),
            **({"MaskDilate": mask.dilate_mm} if mask.dilate_mm else {}),
            **({} if self.series is None else {"EstimatedOn": self.series}),
            **({"B0Threshold": self.b0_threshold} if self.series == "b0" else {}),
            **({"Slicewise": True} if self.slicewise else {}),
            **({"SharedField": True} if self.shared_field else {}),
            **({"WeightsFrom": "multiotsu"} if self.in_stages else {}),
            **({} if self.init is None else {"Init": str(self.init.path)}),
            "Engine": choose_engine(self.engine, settings=self.settings),
            "DType": self.dtype,
        }


class Outputs(NamedTuple):
    """The files that are written for an image; each has the name of its option."""

    output: Path
    bias: Path | None = None
    field: Path | None = None
    figure: Path | None = None
    mask_output: Path | None = None
    json: Path | None = None

    def items(self) -> list[tuple[str, Path]]:
        """The option and the path of each file that was asked for."""
        named = {name: path for name, path in self._asdict().items() if path is not None}
        return list(named.items())

    @property
    def files(self) -> list[Path]:
        """All files that are written; an image may be made of two."""
        return [file for _, path in self.items() for file in find_files(path)]


class Task(NamedTuple):
    """An image to correct.

    Attributes
    ----------
    image
        The file, or the folder of a series of DICOM.
    mask
        The voxels that the field is estimated in, whose files have been found.
    weights
        The file with the confidence of each voxel.
    gradients
        The file of b-values of a diffusion image, if it decides what the field is estimated on.
    outputs
        The files to write.
    tissues
        The files of maps of tissues, by which settings are chosen.
    """

    image: Path
    mask: MaskChoice
    weights: Path | None
    gradients: Path | None
    outputs: Outputs
    tissues: tuple[Path, ...] = ()

    @property
    def masks(self) -> list[Path]:
        """The files that the mask is made of."""
        return [part.path for part in list_parts(self.mask.parse()) if part.word is None]

    def list_inputs(self, recipe: Recipe) -> dict[str, list[Path]]:
        """All files that are read, by what they are."""
        init = None if recipe.init is None else recipe.init.path
        others = {"Weights": self.weights, "Gradients": self.gradients, "Init": init}
        found = {"Image": [self.image], "Mask": self.masks, "Tissues": list(self.tissues)}
        found |= {name: [path] for name, path in others.items() if path is not None}
        return {name: paths for name, paths in found.items() if paths}
