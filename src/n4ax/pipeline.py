"""The way of an image through n4ax: open it, pose the problem, solve it, correct the image.

Every door leads through here. Several images at once go the same way: :mod:`n4ax.contrasts` and
:mod:`n4ax.batch` solve the posed problems together, and :mod:`n4ax.tracing` solves them as a part
of other JAX programs.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from n4ax import level
from n4ax.auto import Choice, Solve, View, choose, look_at
from n4ax.engines.choice import (
    choose_engine,
    double_precision,
    to_engine,
)
from n4ax.engines.measures import Measures
from n4ax.errors import NO_MEMORY, InputError, explain_shortage
from n4ax.field import BiasField
from n4ax.field.file import check_affine, is_usable
from n4ax.field.grid import is_divided_in_filter
from n4ax.field.images import has_turned_axes
from n4ax.field.start import add, express
from n4ax.images.arrays import import_array, is_jax, is_masked
from n4ax.images.axes import ImageAxes
from n4ax.images.libraries import OpenedInputs, make_like, open_beside, open_together
from n4ax.images.masks import leave_out_masked
from n4ax.images.tissues import find_tissues
from n4ax.inputs import Inputs, Run
from n4ax.itk.space import Space, Spaces
from n4ax.method.grid import Axis
from n4ax.method.solver import State, summarise
from n4ax.posing import Pose, Spacing, check_image, find_last_mesh, pose
from n4ax.result import N4Result
from n4ax.settings import EngineName, N4Settings


class PosedImage(NamedTuple):
    """An image that is ready for the solver."""

    image: Any
    """The image as it was given."""
    volume: Any
    """The image as an array of the engine."""
    may_overwrite: bool
    """Whether that array may be overwritten, because no one else holds its memory."""
    pose: Pose
    settings: N4Settings
    """The settings, with the order of the voxels that the image has."""
    engine: EngineName
    affine: npt.ArrayLike | None
    axes_known: bool
    """Whether the image says which of its axes is x."""
    space: Space | None
    """Where the image lies, if it says so."""
    start: BiasField | None = None
    """The field that the posed problem starts from, on the last mesh of the run or a finer one."""


def fit_image(settings: N4Settings, inputs: Inputs, run: Run | None = None) -> N4Result[Any]:
    """Estimate the bias field of an image and correct it.

    Raises
    ------
    ValueError
        N4 cannot work with the input. The message names the argument.
    MemoryError
        There is not enough memory. The message says what needs less.
    """
    inputs.check_not_traced()
    with explain_shortage(NO_MEMORY):
        return _fit_image(settings, inputs, run or Run())


def _fit_image(settings: N4Settings, inputs: Inputs, run: Run) -> N4Result[Any]:
    if settings.adapt:
        choice = choose_settings(settings, inputs, run)
        return fit_image(choice.settings, inputs, run).amend(choice=choice)
    posed = pose_image(settings, inputs, run.engine, num_threads=run.num_threads)
    maps = _open_tissues(settings, inputs)
    find_tissues(maps, np.asarray(posed.pose.mask) if maps else None)
    with double_precision(posed.engine):
        result = make_result(posed, solve_image(posed, run), run.num_threads)
    return result.amend(_maps=maps) if maps else result


def choose_settings(settings: N4Settings, inputs: Inputs, run: Run) -> Choice:
    """Choose the settings for an image by a look at it on a coarse grid.

    The errors are those of :func:`fit_image`.
    """
    return choose(settings, *view_image(settings, inputs, run))


def view_image(settings: N4Settings, inputs: Inputs, run: Run) -> tuple[View, Solve]:
    """Look at an image on a coarse grid; find what estimates a field there with some settings.

    The errors are those of :func:`fit_image`.
    """
    plain = settings.override(adapt=False)
    found = _open_divided(plain, inputs, run.num_threads)
    view = look_at(
        found.volume,
        found.mask,
        found.weights,
        found.spacing,
        found.settings,
        _open_tissues(plain, inputs),
    )
    coarse = Inputs(view.image, view.inside, view.weights, view.spacing)

    def solve(candidate: N4Settings) -> npt.NDArray[np.float64]:
        found = fit_image(candidate, coarse, Run("cpu", run.num_threads)).log_bias
        return np.asarray(found, np.float64)

    return view, solve


def _open_tissues(settings: N4Settings, inputs: Inputs) -> list[Any]:
    return [open_beside(inputs.image, one, settings.voxel_order) for one in inputs.tissues]


class _OpenedImage(NamedTuple):
    """An image with its mask and weights as arrays of the engine, and where they lie."""

    volume: Any
    mask: Any
    weights: Any
    opened: OpenedInputs
    spacing: Spacing
    settings: N4Settings
    engine: EngineName
    affine: npt.NDArray[np.float64] | None
    axes_known: bool


def pose_image(
    settings: N4Settings,
    inputs: Inputs,
    engine: EngineName | None,
    device: Any = None,
    num_threads: int | None = None,
) -> PosedImage:
    """Open an image with its mask and weights, and pose the problem.

    Parameters
    ----------
    settings, inputs
        As for :func:`fit_image`, with the same errors.
    engine
        The engine that is asked for; ``None`` leaves the choice to :func:`choose_engine`.
    device
        The JAX device for the arrays; ``None`` leaves them where they are.
    num_threads
        Threads that divide the image by the field to start from.
    """
    settings.check_chosen("what is asked for")
    found = _open_image(settings, inputs, engine, device)
    volume, spacing, settings = found.volume, found.spacing, found.settings
    with double_precision(found.engine):
        start = _find_start(inputs, found)
        given = volume if start is None else start.divide(volume, num_threads=num_threads)
        posed = pose(given, found.mask, found.weights, spacing, settings)
    spaces = spacing if isinstance(spacing, Spaces) else found.opened.spaces
    return PosedImage(
        image=inputs.image,
        volume=volume,
        # A JAX array may be the user's own.
        may_overwrite=not is_jax(import_array(found.opened.arrays[0])),
        pose=posed,
        settings=settings,
        engine=found.engine,
        affine=found.affine,
        axes_known=found.axes_known,
        space=None if spaces is None else spaces.image,
        start=start,
    )


def divide_by_init(
    settings: N4Settings, inputs: Inputs, num_threads: int | None = None
) -> npt.NDArray[Any]:
    """The image that N4 works on: divided by the field to start from, if there is one.

    The errors are those of :func:`fit_image`.
    """
    return np.asarray(_open_divided(settings, inputs, num_threads).volume)


def _open_divided(settings: N4Settings, inputs: Inputs, num_threads: int | None) -> _OpenedImage:
    """Open an image for the CPU engine, divided by the field to start from."""
    found = _open_image(settings, inputs, "cpu", None)
    start = _find_start(inputs, found)
    if start is None:
        return found
    return found._replace(volume=start.divide(found.volume, num_threads=num_threads))


def _open_image(
    settings: N4Settings, inputs: Inputs, engine: EngineName | None, device: Any
) -> _OpenedImage:
    """Open an image with its mask and weights, and choose the engine."""
    mask = leave_out_masked(inputs.image, inputs.mask, settings.mask_label)
    weights = inputs.weights
    weights = weights.filled(0) if is_masked(weights) else weights
    opened = open_together(inputs.image, mask, weights, settings.voxel_order)
    if opened.order is not None:
        settings = replace(settings, voxel_order=opened.order)
    chosen = choose_engine(engine, *opened.arrays, settings=settings)
    volume, mask, weights = (to_engine(chosen, array, device) for array in opened.arrays)
    return _OpenedImage(
        volume,
        mask,
        weights,
        opened,
        opened.spaces if inputs.spacing is None else inputs.spacing,
        settings,
        chosen,
        _find_affine(inputs.affine, opened.affine),
        # An affine is about the axes x, y, z, which the order "F" confirms.
        opened.order is not None or (inputs.affine is not None and settings.voxel_order == "F"),
    )


def _find_start(inputs: Inputs, found: _OpenedImage) -> BiasField | None:
    """Express the field to start from on the last mesh of the run."""
    init, settings, volume = inputs.init, found.settings, found.volume
    if init is None:
        return None
    check_start(settings)
    check_image(volume)
    grid, points = find_last_mesh(volume.shape, found.spacing, settings)
    nothing = np.zeros(points, np.float32)
    blank = _make_field(volume.shape, settings, found.affine, found.axes_known, grid, nothing)
    turned = has_turned_axes(init, inputs.image, found.opened)
    return express(init.turn_axes() if turned else init, blank)


def check_start(settings: N4Settings, name: str = "init") -> None:
    """Check that N4 can start from a field with these settings.

    Parameters
    ----------
    settings
        The parameters of N4.
    name
        The parameter that makes it start from a field, for messages.

    Raises
    ------
    InputError
        It cannot.
    """
    if settings.arithmetic == "itk":
        raise InputError(
            f"{{{name}}} is given and {{arithmetic}} is 'itk', and ITK has no initial field: use "
            "{arithmetic:limit}, or correct the image that the field has been divided out of"
        )
    if settings.non_positive == "offset":
        raise InputError(
            f'{{{name}}} is given and {{non_positive}} is "offset", which would raise the image '
            'after the division by the field: use {non_positive:"exclude"}'
        )


def _find_affine(
    affine: npt.ArrayLike | None, own: npt.NDArray[np.float64] | None
) -> npt.NDArray[np.float64] | None:
    """Check the affine that was given; without one, take the image's own if it is usable."""
    if affine is not None:
        return check_affine(affine)
    return own if own is not None and is_usable(own) else None


def solve_image(posed: PosedImage, run: Run) -> State:
    """Solve the problem of an image with its engine."""
    return solve_shared([posed], run)


def solve_shared(images: Sequence[PosedImage], run: Run) -> State:
    """Solve the problem of one image, or of several with one field, with the first one's engine."""
    problems, settings = [posed.pose.problem for posed in images], images[0].settings
    if settings.arithmetic == "itk":
        from n4ax.engines.itk import estimation as itk

        return itk.estimate(problems[0], settings, run.progress, run.num_threads)
    if images[0].engine == "cpu":
        from n4ax.engines.cpu.estimation import estimate

        return estimate(problems, settings, run.progress, run.num_threads)
    from n4ax.engines.xla import programs

    state = programs.estimate(problems, settings, run.progress)
    return state._replace(lattice=np.asarray(state.lattice))


def correct_image(
    posed: PosedImage, lattice: Any, num_threads: int | None = None
) -> level.Corrected:
    """Correct an image, as an array of the engine, by the lattice that the solver found."""
    field = _make_field(
        posed.volume.shape,
        posed.settings,
        posed.affine,
        posed.axes_known,
        posed.pose.problem.axes,
        lattice,
    )
    if posed.start is not None:
        field = add(posed.start, field)
    return level.correct(
        field,
        posed.volume,
        posed.pose.mask,
        posed.settings,
        offset=posed.pose.offset,
        num_threads=num_threads,
        overwrite=posed.may_overwrite,
    )


def _make_field(
    shape: tuple[int, ...],
    settings: N4Settings,
    affine: npt.ArrayLike | None,
    axes_known: bool,
    grid: Sequence[Axis],
    lattice: Any,
) -> BiasField:
    """Make a field for an image of a shape from its axes and a lattice, both in ITK's order."""
    axes = ImageAxes.of(shape, settings.voxel_order)
    return BiasField(
        control_points=axes.turn_array(lattice),
        order=settings.spline_order,
        shape=shape,
        axes=axes.turn(grid),
        voxel_order=settings.voxel_order,
        affine=None if affine is None else np.asarray(affine, np.float64),
        axes_known=axes_known,
        arithmetic=settings.arithmetic,
        itk_tool=settings.itk_tool,
    )


def _find_unrefined(posed: PosedImage, state: State) -> Any:
    """Find the lattice that ITK's filter divides by, if it is not the last one.

    The filter refines its lattice for a last level without iterations too, but divides by the field
    from before. Whoever evaluates the field at the full resolution has the refined one, which
    differs in its last digits.
    """
    settings = posed.settings
    if settings.arithmetic != "itk" or settings.scale != "itk":
        return None
    if not is_divided_in_filter(settings.itk_tool, posed.pose.problem.axes):
        return None
    lattice = state.field.lattice
    return None if lattice.shape == state.lattice.shape else lattice


def make_result(
    posed: PosedImage, state: State, num_threads: int | None = None, first: PosedImage | None = None
) -> N4Result[Any]:
    """Correct an image by the solver's final state, and tell how the iterations went.

    ``first`` is the first of the images that share the field, if there are several.
    """
    solution = summarise(state, posed.settings)
    problem = (first or posed).pose.problem
    measures: Any = Measures(problem, posed.settings, state, solution, num_threads)
    corrected, field = correct_image(posed, solution.lattice, num_threads)
    unrefined = _find_unrefined(posed, state)
    if unrefined is not None:
        corrected = correct_image(posed, unrefined, num_threads).image
    return N4Result(
        corrected=make_like(posed.image, corrected),
        field=field,
        iterations=solution.iterations,
        convergence=measures,
        stopped=solution.stopped,
        settings=posed.settings,
        _mask=posed.pose.mask,
        _num_threads=num_threads,
    )
