"""The class ``N4BiasFieldCorrectionImageFilter`` with the interface of SimpleITK's."""

# The names are SimpleITK's.
# ruff: noqa: N802, N803

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from n4ax.errors import InputError
from n4ax.processors import count_processors
from n4ax.settings import Arithmetic, ItkVersion, N4Settings, PerAxis, is_choice
from n4ax.settings.arithmetic import read_arithmetic, read_itk_version
from n4ax.simpleitk.arithmetic import read_threads
from n4ax.simpleitk.commands import Commands
from n4ax.simpleitk.execution import Execution
from n4ax.simpleitk.inputs import check_is_image, check_mask_label, open_inputs

_NAMES = {
    "iters": "MaximumNumberOfIterations",
    "conv_threshold": "ConvergenceThreshold",
    "nbins": "NumberOfHistogramBins",
    "fwhm": "BiasFieldFullWidthAtHalfMaximum",
    "wiener": "WienerFilterNoise",
    "spline_order": "SplineOrder",
    "control_points": "NumberOfControlPoints",
    "spline_distance": "SplineDistance",
    "shrink_factor": "ShrinkFactor",
    "mask": "maskImage",
    "mask_label": "MaskLabel",
    "num_threads": "NumberOfThreads",
    "arithmetic": "Arithmetic",
    "itk_version": "ItkVersion",
    "itk_threads": "GlobalDefaultNumberOfThreads",
}
"""What SimpleITK calls the parameters of n4ax; error messages use these names."""


class N4BiasFieldCorrectionImageFilter(sitk.N4BiasFieldCorrectionImageFilter):
    """SimpleITK's N4 filter with the same numbers, but much faster.

    Every parameter, its default and its check are inherited from SimpleITK's own class. In
    addition, images and masks may have any real pixel type, and there are weights, a shrink factor
    and a spline distance. The result does not depend on the number of threads, unless the
    arithmetic of ITK is asked for.

    Commands are called at the events at which SimpleITK calls them: at the start, after every
    iteration, at the end, and at any of these. The methods that report on a run raise a
    RuntimeError before the first ``Execute``.

    Examples
    --------
    >>> import SimpleITK as sitk
    >>> from n4ax import simpleitk as sitk_n4
    >>> image = sitk.ReadImage("head.nii.gz", sitk.sitkFloat32)
    >>> n4 = sitk_n4.N4BiasFieldCorrectionImageFilter()
    >>> n4.SetShrinkFactor(4)
    >>> corrected = n4.Execute(image, sitk.OtsuThreshold(image, 0, 1, 200))
    >>> log_bias = n4.GetLogBiasFieldAsImage(image)
    """

    def __init__(self) -> None:
        super().__init__()
        self._shrink_factor: PerAxis = 1
        self._spline_distance: float | None = None
        self._arithmetic: Arithmetic = read_arithmetic() or "limit"
        self._itk_version: ItkVersion = read_itk_version() or 5
        self._commands = Commands()
        self._execution: Execution | None = None
        self._progress = 0.0
        self._aborted = False

    # ---- parameters that SimpleITK does not have ---------------------------------------------

    def SetShrinkFactor(self, ShrinkFactor: PerAxis) -> None:
        """Estimate the field on every n-th voxel: one number, or one each for x, y and z.

        The voxels are those that ``SimpleITK.Shrink`` takes. The result still has the full
        resolution.

        Raises
        ------
        ValueError
            The factors are not whole numbers of at least 1.
        """
        with _using_names_of_simpleitk(ValueError):
            self._shrink_factor = N4Settings(shrink_factor=ShrinkFactor).shrink_factor

    def GetShrinkFactor(self) -> PerAxis:
        """The shrink factor; the default is 1."""
        return self._shrink_factor

    def SetSplineDistance(self, SplineDistance: float) -> None:
        """Set the length of a mesh element at the first level, in mm.

        It replaces the number of control points; 0 goes back to it. The image is padded to a whole
        number of elements, as in ANTs.

        Raises
        ------
        ValueError
            The distance is below 0, or is not a number.
        """
        distance = None if is_choice(SplineDistance, (0,)) else SplineDistance
        with _using_names_of_simpleitk(ValueError):
            self._spline_distance = N4Settings(spline_distance=distance).spline_distance

    def GetSplineDistance(self) -> float:
        """The spline distance in mm; 0, the default, if the number of control points is used."""
        return self._spline_distance or 0.0

    def SetArithmetic(self, Arithmetic: Arithmetic) -> None:
        """Choose between what ITK tends to with many threads, and its answer to the last bit.

        ``"limit"`` does not depend on threads. ``"itk"`` gives what SimpleITK gives with its global
        default number of threads and threader at the time of ``Execute``.

        Raises
        ------
        ValueError
            There is no such arithmetic.
        """
        with _using_names_of_simpleitk(ValueError):
            self._arithmetic = N4Settings(arithmetic=Arithmetic).arithmetic

    def GetArithmetic(self) -> Arithmetic:
        """The arithmetic; the default is the variable ``N4AX_ARITHMETIC``, else ``"limit"``."""
        return self._arithmetic

    def SetItkVersion(self, ItkVersion: ItkVersion) -> None:
        """Follow ITK 5 (SimpleITK to 2.5) or ITK 6.

        Raises
        ------
        ValueError
            The version is neither 5 nor 6.
        """
        with _using_names_of_simpleitk(ValueError):
            self._itk_version = N4Settings(itk_version=ItkVersion).itk_version

    def GetItkVersion(self) -> ItkVersion:
        """The version of ITK; the default is the variable ``N4AX_ITK_VERSION``, else 5."""
        return self._itk_version

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
            The image to correct, with one real number per voxel, of any pixel type.
        maskImage : SimpleITK.Image or array, optional
            The voxels to use: those that equal the mask label (1 by default), or, after
            ``UseMaskLabelOff()``, those that are not 0. Without a mask, all voxels are used. The
            mask may have any real type. An array has its axes in the order of
            ``SimpleITK.GetArrayFromImage``.
        weights : SimpleITK.Image or array, optional
            The confidence in each voxel, used when the field is fitted. Voxels whose weight is
            not above 0 are left out.

        Returns
        -------
        SimpleITK.Image
            The corrected image: float64 for a float64 image, float32 for any other. It lies where
            the image lies, and has no meta-data, as in SimpleITK.

        Raises
        ------
        TypeError
            An argument is not an image.
        RuntimeError
            As in SimpleITK: the input cannot be used, mask or weights do not lie where the image
            does, a parameter is out of range, or a command failed. The message says which.
        """
        with _using_names_of_simpleitk(RuntimeError):
            again, self._execution = self._execution is not None, None
            execution = self._prepare(image, maskImage, weights)
            if again:  # SimpleITK deletes the ITK filter of the previous run here
                self._commands.call(sitk.sitkDeleteEvent)
            self._execution, self._progress = execution, 0.0
            self._commands.call(sitk.sitkStartEvent)
            self._aborted = False
            progress = partial(self._report_iteration, execution) if self._commands else None
            result = execution.solve(progress)
            if self._aborted:
                self._progress = 1.0
                self._commands.call(sitk.sitkProgressEvent)
            self._commands.call(sitk.sitkEndEvent)
            return _make_image(result.corrected, image)

    def GetLogBiasFieldAsImage(self, referenceImage: sitk.Image) -> sitk.Image:
        """The log field on the grid of another image, such as the image before it was shrunk.

        The field is stretched from the first to the last voxel of the reference. A command may
        also ask for the field between two iterations; the iterations so far are then repeated.

        Parameters
        ----------
        referenceImage : SimpleITK.Image
            An image with as many axes as the image that was corrected. Its voxels do not matter.

        Returns
        -------
        SimpleITK.Image
            The log field, float32, where the reference lies.

        Raises
        ------
        TypeError
            The reference is not an image.
        RuntimeError
            There is no field yet, or the reference has another number of axes.
        """
        execution = self._get_execution("GetLogBiasFieldAsImage")
        check_is_image("referenceImage", referenceImage)
        expected, given = execution.inputs.image.ndim, referenceImage.GetDimension()
        if given != expected:
            raise RuntimeError(
                f"referenceImage has {given} axes; expected {expected}, as image has"
            )
        with _using_names_of_simpleitk(RuntimeError):
            size = referenceImage.GetSize()
            log_field = execution.find_field().evaluate(size, num_threads=execution.num_threads)
        return _make_image(log_field, referenceImage)

    def GetCurrentLevel(self) -> int:
        """The level of the most recent iteration, from 0; after the run, the number of levels."""
        return self._get_execution("GetCurrentLevel").level

    def GetElapsedIterations(self) -> int:
        """The number of the most recent iteration, from 1 at each level.

        After the run it is one more than the iterations of the last level, as in SimpleITK.
        """
        return self._get_execution("GetElapsedIterations").elapsed

    def GetCurrentConvergenceMeasurement(self) -> float:
        """The convergence measure of the most recent iteration.

        A run without commands computes the measure only where it can end a level. If the last
        iteration was not such a place, this method computes it.
        """
        return self._get_execution("GetCurrentConvergenceMeasurement").find_measure()

    def GetProgress(self) -> float:
        """0, as SimpleITK's N4 reports no progress; 1 after a run that was asked to abort."""
        return self._progress

    def Abort(self) -> None:
        """Ask the run to end, with the same effect as in SimpleITK.

        SimpleITK's N4 still goes on to its end, with the same result, and calls the commands for
        the progress event once. To end a run early, let a command raise an exception.
        """
        self._aborted = True

    # ---- commands ----------------------------------------------------------------------------

    def AddCommand(self, event: int, command: Any) -> int:  # type: ignore[override]
        """Call a command at an event.

        Parameters
        ----------
        event : int
            An event such as ``SimpleITK.sitkIterationEvent``.
        command : callable or SimpleITK.Command
            It is called without arguments. You must keep a reference to a ``SimpleITK.Command``:
            as in SimpleITK, it is no longer called once it is deleted. If the command raises an
            exception, ``Execute`` ends with a RuntimeError.

        Returns
        -------
        int
            0, as in SimpleITK.

        Raises
        ------
        TypeError
            ``command`` cannot be called.
        RuntimeError
            SimpleITK has no such event.
        """
        self._commands.add(event, command)
        return 0

    def RemoveAllCommands(self) -> None:
        """Remove all commands."""
        self._commands.clear()

    def HasCommand(self, event: int) -> bool:
        """Whether there is a command for an event."""
        return self._commands.has(event)

    def __str__(self) -> str:
        replaced = {
            "MaskLabel": f" {self.GetMaskLabel()}\n  ShrinkFactor: {self._shrink_factor}"
            f"\n  SplineDistance: {self.GetSplineDistance():g}"
            f"\n  Arithmetic: {self._arithmetic}\n  ItkVersion: {self._itk_version}",
            "Commands": self._commands.describe() or " (none)",
            "ProgressMeasurement": f" {self._progress:g}",
        }
        if self._execution is not None:
            replaced["CurrentLevel"] = f" {self.GetCurrentLevel()}"
            replaced["ElapsedIterations"] = f" {self.GetElapsedIterations()}"
            measure = self.GetCurrentConvergenceMeasurement()
            replaced["CurrentConvergenceMeasurement"] = f" {measure:g}"
        lines = []
        for line in super().__str__().splitlines():
            name = line.partition(":")[0].strip()
            lines.append(f"  {name}:{replaced[name]}" if name in replaced else line)
        return "\n".join(lines) + "\n"

    # ---- private -----------------------------------------------------------------------------

    def _prepare(self, image: Any, mask: Any, weights: Any) -> Execution:
        """Check the inputs and collect everything that a run depends on."""
        inputs = open_inputs(image, mask, weights)
        label = None
        if not isinstance(inputs.mask, str) and self.GetUseMaskLabel():
            label = self.GetMaskLabel()
            check_mask_label(inputs.mask, label)
        return Execution(
            self._read_settings(inputs.image.ndim, label), inputs, self._count_threads()
        )

    def _read_settings(self, ndim: int, mask_label: int | None) -> N4Settings:
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
            mask_label=mask_label,
            voxel_order="F",
            arithmetic=self._arithmetic,
            itk_version=self._itk_version,
            **(read_threads() if self._arithmetic == "itk" else {}),
        )

    def _count_threads(self) -> int:
        """The number that the user set, up to the number that helps.

        SimpleITK's default is one thread for each processor.
        """
        from n4ax.engines.cpu.threads import MOST_THREADS

        return min(self.GetNumberOfThreads() or MOST_THREADS, MOST_THREADS, count_processors())

    def _report_iteration(
        self, execution: Execution, level: int, iteration: int, _: int, measure: float
    ) -> None:
        execution.record_iteration(level, iteration, measure)
        self._commands.call(sitk.sitkIterationEvent)

    def _get_execution(self, method: str) -> Execution:
        if self._execution is None:
            raise RuntimeError(f"{method}: there is no result; call Execute first")
        return self._execution


@contextmanager
def _using_names_of_simpleitk(kind: type[Exception]) -> Iterator[None]:
    """Turn an error about input into the kind that SimpleITK raises, with its parameter names."""
    try:
        yield
    except ValueError as error:
        named = error.with_options(_NAMES) if isinstance(error, InputError) else str(error)
        raise kind(named) from error


def _make_image(voxels: npt.NDArray[Any], reference: sitk.Image) -> sitk.Image:
    """An image of voxels with axes x, y, z, which lies where the reference lies."""
    image = sitk.GetImageFromArray(np.ascontiguousarray(voxels.T), isVector=False)
    image.CopyInformation(reference)
    return image
