"""SimpleITK's N4, run by n4ax: swap the module, and nothing else.

``from n4ax import simpleitk as sitk_n4``, then ``sitk_n4.N4BiasFieldCorrectionImageFilter`` or
``sitk_n4.N4BiasFieldCorrection`` where a script has SimpleITK's. Needs SimpleITK:
``pip install 'n4ax[simpleitk]'``.
"""

# The names are SimpleITK's.
# ruff: noqa: N802, N803

import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from inspect import Parameter, Signature
from math import isnan
from numbers import Real
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

try:
    import SimpleITK as sitk
except ImportError as error:
    raise ImportError(
        "n4ax.simpleitk needs SimpleITK, which cannot be imported here: "
        "pip install 'n4ax[simpleitk]'"
    ) from error

from n4ax.field import BiasField
from n4ax.images.libraries import OpenedImage, open_image
from n4ax.itk.space import Space, Spaces
from n4ax.pipeline import N4Result, Progress, fit_image
from n4ax.settings import EngineName, N4Settings, PerAxis

__all__ = ["N4BiasFieldCorrection", "N4BiasFieldCorrectionImageFilter"]

_PARAMETERS = (
    "maskImage",
    "convergenceThreshold",
    "maximumNumberOfIterations",
    "biasFieldFullWidthAtHalfMaximum",
    "wienerFilterNoise",
    "numberOfHistogramBins",
    "numberOfControlPoints",
    "splineOrder",
    "useMaskLabel",
    "maskLabel",
)
"""Of the function, after the image, in SimpleITK's order; all but the mask have a setter."""

_SIGNATURE = Signature([Parameter(name, Parameter.POSITIONAL_OR_KEYWORD) for name in _PARAMETERS])

_EVENTS = {getattr(sitk, name): name[4:] for name in dir(sitk) if name.endswith("Event")}

_NO_ITERATION = float(np.finfo(np.float32).max)
"""ITK's convergence measure of a level without iterations."""

_Command = Callable[[], Any]


class _Stand(NamedTuple):
    """What a filter says of where it stands."""

    level: int = 0
    elapsed: int = 0
    measure: float = 0.0


@dataclass(frozen=True)
class _Run:
    """One ``Execute``: all that its numbers depend on, so that it can be run again."""

    settings: N4Settings
    arrays: tuple[Any, Any, Any]
    """Image, mask and weights: copies, which do not change with the images."""
    spaces: Spaces
    num_threads: int

    def solved(
        self,
        *,
        iters: Sequence[int] | None = None,
        engine: EngineName | None = None,
        progress: Progress | None = None,
        every_measure: bool = False,
    ) -> N4Result:
        """The result, or with ``iters`` what it was when so many iterations had been done."""
        settings = self.settings if iters is None else replace(self.settings, iters=iters)
        image, mask, weights = self.arrays
        return fit_image(
            settings,
            image,
            mask,
            weights=weights,
            spacing=self.spaces,
            engine=engine,
            num_threads=self.num_threads,
            progress=progress,
            every_measure=every_measure,
        )


class N4BiasFieldCorrectionImageFilter(sitk.N4BiasFieldCorrectionImageFilter):
    """SimpleITK's N4 filter with its numbers, much faster.

    Every parameter, its default and its check is inherited from SimpleITK's own class. Beyond
    it, images may have any real pixel type, masks too, and there are weights, a shrink factor
    and a spline distance. The result does not depend on the number of threads.

    Commands are called for the events for which SimpleITK calls them: the start, every iteration,
    the end, and any of these. The measurements raise a RuntimeError before the first ``Execute``.
    """

    def __init__(self) -> None:
        super().__init__()
        self._shrink_factor: PerAxis = 1
        self._spline_distance: float | None = None
        # Kept here and not by SimpleITK, which would never let go of a command that names its
        # filter, as most do, nor of the images that the filter holds.
        self._commands: list[tuple[int, Callable[[], _Command | None]]] = []
        self._run: _Run | None = None
        self._field: BiasField | None = None
        self._stand = _Stand()
        self._progress = 0.0
        self._aborted = False

    # ---- parameters that SimpleITK lacks -----------------------------------------------------

    def SetShrinkFactor(self, ShrinkFactor: PerAxis) -> None:
        """Estimate on every n-th voxel: one number, or one for each of x, y and z.

        Takes the voxels of ``SimpleITK.Shrink``; the result is at full resolution all the same.

        Raises
        ------
        ValueError
            Not whole numbers of at least 1.
        """
        self._shrink_factor = N4Settings(shrink_factor=ShrinkFactor).shrink_factor

    def GetShrinkFactor(self) -> PerAxis:
        """The shrink factor; 1 by default."""
        return self._shrink_factor

    def SetSplineDistance(self, SplineDistance: float) -> None:
        """Length of a mesh element at the first level in mm, instead of control points; 0: none.

        The image is padded to whole elements, as ANTs does.

        Raises
        ------
        ValueError
            Below 0, or not a number.
        """
        distance = None if SplineDistance == 0 else SplineDistance
        self._spline_distance = N4Settings(spline_distance=distance).spline_distance

    def GetSplineDistance(self) -> float:
        """The spline distance in mm; 0, the default, where the control points say it."""
        return self._spline_distance or 0.0

    # ---- the run -----------------------------------------------------------------------------

    def Execute(  # type: ignore[override]
        self,
        image: sitk.Image,
        maskImage: sitk.Image | npt.NDArray[Any] | None = None,
        *,
        weights: sitk.Image | npt.NDArray[Any] | None = None,
    ) -> sitk.Image:
        """Correct an image.

        Parameters
        ----------
        image : SimpleITK.Image
            One real number a voxel, of any pixel type.
        maskImage : SimpleITK.Image or array, optional
            Voxels to use, of any real type: those equal to the mask label (1), or with
            ``UseMaskLabelOff()`` those that are not 0. By default all. An array has its axes as
            ``SimpleITK.GetArrayFromImage`` gives them.
        weights : SimpleITK.Image or array, optional
            Confidence of each voxel in the fit; not above 0 leaves it out.

        Returns
        -------
        SimpleITK.Image
            float64 for a float64 image and float32 otherwise, in the place of the image, without
            its meta-data, as SimpleITK does it.

        Raises
        ------
        TypeError
            An argument is no image.
        RuntimeError
            As SimpleITK raises it: the input cannot be worked with, mask or weights lie elsewhere
            than the image, a parameter is out of range, or a command failed; the message says
            which.
        """
        with _refusing_as_simpleitk():
            again, self._run = self._run is not None, None
            run = self._prepared(image, maskImage, weights)
            if again:  # ITK's filter of the run before goes away
                self._notify(sitk.sitkDeleteEvent)
            self._run, self._field, self._stand, self._progress = run, None, _Stand(), 0.0
            self._notify(sitk.sitkStartEvent)
            self._aborted = False
            result = run.solved(progress=self._iterated if self._commands else None)
            self._finish(result)
            return _image(result.corrected, image)

    def GetLogBiasFieldAsImage(self, referenceImage: sitk.Image) -> sitk.Image:
        """The log field on the grid of another image, such as the one that was shrunk.

        The field is stretched from the first to the last voxel of the reference. A command may
        ask for it after an iteration; the run so far is then done again.

        Parameters
        ----------
        referenceImage : SimpleITK.Image
            Of as many axes as the image that was corrected. Its voxels do not matter.

        Returns
        -------
        SimpleITK.Image
            float32, log intensity; in the place of the reference.

        Raises
        ------
        TypeError
            The reference is no image.
        RuntimeError
            There is no field yet, or the reference has another number of axes.
        """
        run = self._latest("GetLogBiasFieldAsImage")
        _check_is_image("referenceImage", referenceImage)
        ours, theirs = run.arrays[0].ndim, referenceImage.GetDimension()
        if ours != theirs:
            raise RuntimeError(f"referenceImage has {theirs} axes and the image had {ours}")
        with _refusing_as_simpleitk():
            field = self._field or self._field_so_far(run)
            log_field = field.evaluate(referenceImage.GetSize(), num_threads=run.num_threads)
        return _image(log_field, referenceImage)

    def GetCurrentLevel(self) -> int:
        """The level of the iteration just done, from 0; after the run, the number of levels."""
        self._latest("GetCurrentLevel")
        return self._stand.level

    def GetElapsedIterations(self) -> int:
        """The iteration just done, from 1 at each level; after the run, one more than were done."""
        self._latest("GetElapsedIterations")
        return self._stand.elapsed

    def GetCurrentConvergenceMeasurement(self) -> float:
        """The convergence measure of the last iteration.

        A run without commands does not compute it where the threshold is far below: asking for
        it afterwards then repeats the run.
        """
        run = self._latest("GetCurrentConvergenceMeasurement")
        if isnan(self._stand.measure) and self._field is not None:
            measure = _last_measure(run.solved(every_measure=True))
            self._stand = self._stand._replace(measure=measure)
        return self._stand.measure

    def GetProgress(self) -> float:
        """0, as SimpleITK's N4 reports no progress; 1 after a run that was asked to abort."""
        return self._progress

    def Abort(self) -> None:
        """Ask for the run to end, to as much effect as in SimpleITK.

        Its N4 goes on to the end all the same, with the same result, and calls the commands of
        the progress event once. To end a run, let a command raise an exception.
        """
        self._aborted = True

    # ---- commands ----------------------------------------------------------------------------

    def AddCommand(self, event: int, command: Any) -> int:  # type: ignore[override]
        """Call a command at an event.

        Parameters
        ----------
        event : int
            ``SimpleITK.sitkIterationEvent`` and the like.
        command : callable or SimpleITK.Command
            Called without arguments. A ``Command`` must be kept by the caller: as in SimpleITK,
            it is not called any more once it is deleted. If it raises an exception, Execute ends
            with a RuntimeError.

        Returns
        -------
        int
            0, as in SimpleITK.

        Raises
        ------
        TypeError
            ``command`` cannot be called.
        RuntimeError
            There is no such event.
        """
        if event not in _EVENTS:
            raise RuntimeError(
                f"there is no event {event!r}; give SimpleITK.sitkIterationEvent or another"
            )
        if isinstance(command, sitk.Command):
            reference = weakref.ref(command)
            self._commands.append((event, lambda: getattr(reference(), "Execute", None)))
        elif callable(command):
            self._commands.append((event, lambda: command))
        else:
            raise TypeError(f"command is {command!r}; expected a callable or a SimpleITK.Command")
        return 0

    def RemoveAllCommands(self) -> None:
        """Forget all commands."""
        self._commands.clear()

    def HasCommand(self, event: int) -> bool:
        """Whether there is a command for an event."""
        return any(own == event for own, _ in self._living_commands())

    def __str__(self) -> str:
        heard = "".join(
            f"\n    Event: {_EVENTS[e]} Command: Command" for e, _ in self._living_commands()
        )
        said = {
            "MaskLabel": f" {self.GetMaskLabel()}\n  ShrinkFactor: {self._shrink_factor}"
            f"\n  SplineDistance: {self.GetSplineDistance():g}",
            "Commands": heard or " (none)",
            "ProgressMeasurement": f" {self._progress:g}",
        }
        if self._run is not None:
            said["CurrentLevel"] = f" {self.GetCurrentLevel()}"
            said["ElapsedIterations"] = f" {self.GetElapsedIterations()}"
            said["CurrentConvergenceMeasurement"] = f" {self.GetCurrentConvergenceMeasurement():g}"
        lines = super().__str__().splitlines()
        named = [(line, line.partition(":")[0].strip()) for line in lines]
        return "\n".join(f"  {n}:{said[n]}" if n in said else line for line, n in named) + "\n"

    # ---- what they need ----------------------------------------------------------------------

    def _prepared(self, image: Any, mask: Any, weights: Any) -> _Run:
        """Everything that Execute is to work on, checked."""
        scan = _opened("image", image)
        others = [
            None if given is None else _opened(name, given, scan)
            for name, given in (("maskImage", mask), ("weights", weights))
        ]
        region, confidence = (None if other is None else other.voxels for other in others)
        label = None
        if region is not None and self.GetUseMaskLabel():
            label = self.GetMaskLabel()
            _check_label(region, label)
        return _Run(
            self._settings(scan.voxels.ndim, label),
            arrays=(scan.voxels, "all" if region is None else region, confidence),
            spaces=Spaces(*(_place(other or scan) for other in (scan, *others))),
            num_threads=self._threads(),
        )

    def _settings(self, ndim: int, label: int | None) -> N4Settings:
        points = self.GetNumberOfControlPoints()[:ndim]
        return N4Settings(
            iters=self.GetMaximumNumberOfIterations(),
            conv_threshold=self.GetConvergenceThreshold(),
            nbins=self.GetNumberOfHistogramBins(),
            fwhm=self.GetBiasFieldFullWidthAtHalfMaximum(),
            wiener=self.GetWienerFilterNoise(),
            spline_order=self.GetSplineOrder(),
            control_points=points if self._spline_distance is None else None,
            spline_distance=self._spline_distance,
            shrink_factor=self._shrink_factor,
            mask_label=label,
            voxel_order="F",
        )

    def _threads(self) -> int:
        """As many as asked for, but no more than help: SimpleITK's default is all processors."""
        from n4ax.engines.cpu.threads import MOST_THREADS, available_cpus

        return min(self.GetNumberOfThreads() or MOST_THREADS, MOST_THREADS, available_cpus())

    def _iterated(self, level: int, iteration: int, _: int, measure: float) -> None:
        self._stand = _Stand(int(level), int(iteration), float(measure))
        self._notify(sitk.sitkIterationEvent)

    def _finish(self, result: N4Result) -> None:
        self._field = result.field
        elapsed = result.iterations[-1] + 1
        self._stand = _Stand(len(result.iterations), elapsed, _last_measure(result))
        if self._aborted:
            self._progress = 1.0
            self._notify(sitk.sitkProgressEvent)
        self._notify(sitk.sitkEndEvent)

    def _field_so_far(self, run: _Run) -> BiasField:
        level, elapsed, _ = self._stand
        if elapsed == 0:
            raise RuntimeError("GetLogBiasFieldAsImage: no iteration has been done yet")
        # While an XLA program waits for a command, no other can run.
        return run.solved(iters=(*run.settings.iters[:level], elapsed), engine="cpu").field

    def _latest(self, method: str) -> _Run:
        if self._run is None:
            raise RuntimeError(f"{method}: there is nothing to tell yet; call Execute first")
        return self._run

    def _living_commands(self) -> list[tuple[int, _Command]]:
        return [(event, found) for event, command in self._commands if (found := command())]

    def _notify(self, event: int) -> None:
        for wanted, command in self._living_commands():
            if wanted in (event, sitk.sitkAnyEvent):
                try:
                    command()
                except Exception as error:
                    raise RuntimeError(
                        f"a command for {_EVENTS[event]} raised {type(error).__name__}: {error}"
                    ) from error


def N4BiasFieldCorrection(
    image: sitk.Image,
    *values: Any,
    weights: sitk.Image | npt.NDArray[Any] | None = None,
    shrinkFactor: PerAxis = 1,
    splineDistance: float = 0,
    **parameters: Any,
) -> sitk.Image:
    """Correct the bias field of an image as ``SimpleITK.N4BiasFieldCorrection`` does.

    Called as ``N4BiasFieldCorrection(image, convergenceThreshold, ...)`` or
    ``N4BiasFieldCorrection(image, maskImage, convergenceThreshold, ...)``. SimpleITK takes its
    arguments by position only; here they may be named. The defaults are those of
    :class:`N4BiasFieldCorrectionImageFilter`.

    Parameters
    ----------
    image : SimpleITK.Image
        One real number a voxel, of any pixel type.
    maskImage : SimpleITK.Image or array, optional
        Voxels to use; by default all.
    convergenceThreshold, biasFieldFullWidthAtHalfMaximum, wienerFilterNoise : float
    maximumNumberOfIterations, numberOfControlPoints : sequence of int
    numberOfHistogramBins, splineOrder, maskLabel : int
    useMaskLabel : bool
        What the filter's setters of these names take. By position in SimpleITK's order.
    weights : SimpleITK.Image or array, optional
        Confidence of each voxel in the fit. By keyword, as are the two that follow.
    shrinkFactor : int or sequence of int
        Estimate on every n-th voxel.
    splineDistance : float
        Length of a mesh element at the first level in mm.

    Returns
    -------
    SimpleITK.Image
        float64 for a float64 image and float32 otherwise.

    Raises
    ------
    TypeError, RuntimeError, ValueError
        As for :class:`N4BiasFieldCorrectionImageFilter`.
    """
    if values and isinstance(values[0], Real):  # the form without a mask
        values = (None, *values)
    given = _SIGNATURE.bind_partial(*values, **parameters).arguments
    mask = given.pop("maskImage", None)
    n4 = N4BiasFieldCorrectionImageFilter()
    n4.SetShrinkFactor(shrinkFactor)
    n4.SetSplineDistance(splineDistance)
    for name, value in given.items():
        getattr(n4, f"Set{name[0].upper()}{name[1:]}")(value)
    return n4.Execute(image, mask, weights=weights)


@contextmanager
def _refusing_as_simpleitk() -> Iterator[None]:
    """What n4ax refuses as the kind of exception that scripts around SimpleITK expect."""
    try:
        yield
    except ValueError as error:
        raise RuntimeError(str(error)) from error


def _check_is_image(name: str, given: Any) -> None:
    if not isinstance(given, sitk.Image):
        kind = type(given).__name__
        raise TypeError(f"{name} is of type {kind}; expected a SimpleITK.Image (else: n4ax.n4)")


def _opened(name: str, given: Any, image: OpenedImage | None = None) -> OpenedImage:
    """Voxels, axes x, y, z, and their place; of mask and weights that of the image, checked."""
    if image is not None and isinstance(given, np.ndarray):
        scan = OpenedImage(given.copy().T, image.space)
    else:
        _check_is_image(name, given)
        if "label" in given.GetPixelIDTypeAsString():  # asked for its voxels it ends the process
            raise ValueError(f"{name} is a label map: pass SimpleITK.LabelMapToLabel of it")
        scan = open_image(given, name)
    if image is None:
        return scan
    if scan.voxels.shape != image.voxels.shape:
        raise ValueError(f"{name} has size {scan.voxels.shape}, the image {image.voxels.shape}")
    gap = _gap(_place(image), _place(scan))
    if gap is not None:
        raise ValueError(
            f"image and {name} do not occupy the same physical space: {gap}. Resample one onto the "
            f"other; or, if only its header is wrong, copy it: {name}.CopyInformation(image)"
        )
    return scan


def _place(scan: OpenedImage) -> Space:
    assert scan.space is not None
    return scan.space


def _gap(ours: Space, theirs: Space) -> str | None:
    """What differs by more than SimpleITK tolerates, in words."""
    for kind, other in (
        ("Coordinate", Space(theirs.spacing, theirs.origin, ours.direction)),
        ("Direction", Space(ours.spacing, ours.origin, theirs.direction)),
    ):
        tolerance = getattr(sitk.ProcessObject, f"GetGlobalDefault{kind}Tolerance")()
        gap = ours.differs_from(other, tolerance)
        if gap is not None:
            return (
                f"{gap}; the tolerance is {tolerance:g} "
                f"(SimpleITK.ProcessObject.SetGlobalDefault{kind}Tolerance)"
            )
    return None


def _check_label(mask: npt.NDArray[Any], label: int) -> None:
    if (mask == label).any():
        return
    found = np.unique(mask)
    others = found[found != 0]
    advice = ": to use all that are not 0, UseMaskLabelOff()" if len(others) else ""
    if len(others) == 1 and others[0] in range(256):
        advice += f"; to use those of {others[0]:g}, SetMaskLabel({others[0]:g})"
    values = ", ".join(f"{value:g}" for value in found[:8])
    raise ValueError(f"maskImage has no voxel equal to MaskLabel {label} (found: {values}){advice}")


def _last_measure(result: N4Result) -> float:
    return (result.convergence[-1] or [_NO_ITERATION])[-1]


def _image(voxels: npt.NDArray[Any], reference: sitk.Image) -> sitk.Image:
    """An image of voxels, axes x, y, z, in the place of another."""
    image = sitk.GetImageFromArray(np.ascontiguousarray(voxels.T), isVector=False)
    image.CopyInformation(reference)
    return image
