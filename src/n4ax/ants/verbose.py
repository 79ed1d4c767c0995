"""What ANTs prints with ``-v 1``: lines that people read and programs parse."""

import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from n4ax.ants.steps import AntsResult, Request, Warn, correct_as_ants
from n4ax.inputs import Run
from n4ax.method.grid import padding_for_distance
from n4ax.result import N4Result

_RULE = "*" * 59
_NONPOSITIVE = f"""
{_RULE}
Warning:  The image has nonpositive intensities,
and N4 works on their logarithms. Better:
   1. rescale the image to positive values, e.g. [10,100],
   2. run N4 on that,
   3. rescale the result to the intensities of before.
{_RULE}
"""


def correct_and_print(request: Request, run: Run, warn: Warn) -> AntsResult:
    """Correct an image, and print meanwhile what ANTs prints; see :func:`correct_as_ants`."""
    log = VerboseLog(request)
    log.print_start()
    run = replace(run, progress=log.print_iteration)
    corrected = correct_as_ants(request, run, warn, log.print_range_and_mesh)
    log.print_end(corrected.result)
    return corrected


class VerboseLog:
    """Prints the lines of one correction; the methods are called in the order given here."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._settings = request.settings
        self._started = 0.0

    def print_start(self) -> None:
        """Print the number of axes, and that there is no mask if none was given."""
        _print(f"\nRunning N4 for {self._request.image.voxels.ndim}-dimensional images.\n")
        if self._request.mask is None:
            _print("Mask not read.  Using the entire image as the mask.\n")

    def print_range_and_mesh(self, low: float, high: float) -> None:
        """Print the range of intensities, and the mesh if a distance was given for it."""
        _print(f"Original intensity range:  [{low:g}, {high:g}]")
        if low <= 0:
            _print(_NONPOSITIVE)
        if self._settings.spline_distance is not None:
            image = self._request.image
            distance, spacing = self._settings.spline_distance, image.sampling_space.spacing
            self._print_mesh(distance, image.voxels.shape, spacing)
        # The elapsed time counts from here, because the estimation is next.
        self._started = time.perf_counter()

    def print_iteration(self, level: int, iteration: int, limit: int, measure: float) -> None:
        """Print one iteration, after a heading if it is the first of its level."""
        if iteration == 1:
            _print(f"Current level = {level + 1}")
        _print(
            f"  Iteration {iteration} (of {limit}).   Current convergence value = "
            f"{np.float32(measure):g} (threshold = {np.float32(self._settings.conv_threshold):g})"
        )

    def print_end(self, result: N4Result) -> None:
        """Print the parameters as ITK's filter prints them, and the seconds that it took."""
        elapsed = time.perf_counter() - self._started
        settings, levels = self._settings, len(self._settings.iters)
        axes = len(result.field.control_points.shape)
        spans = [
            (count - settings.spline_order) >> (levels - 1)
            for count in result.field.control_points.shape
        ]
        last = next((m for m in reversed(result.convergence) if m), [float("nan")])[-1]
        for name, value in (
            ("Use Mask Label", 0),
            ("Number of histogram bins", settings.nbins),
            ("Wiener filter noise", f"{settings.wiener:g}"),
            ("Bias field FWHM", f"{settings.fwhm:g}"),
            ("Maximum number of iterations", list(settings.iters)),
            ("Convergence threshold", f"{np.float32(settings.conv_threshold):g}"),
            ("Spline order", settings.spline_order),
            ("Number of fitting levels", [levels] * axes),
            ("Number of control points", [n + settings.spline_order for n in spans]),
            ("CurrentConvergenceMeasurement", f"{np.float32(last):g}"),
            ("CurrentLevel", levels),
            ("ElapsedIterations", result.iterations[-1] + 1),
        ):
            _print(f"     {name}: {value}")
        _print(f"Elapsed time: {elapsed:g}")

    def _print_mesh(self, distance: float, shape: Sequence[int], spacing: Sequence[float]) -> None:
        """Print the mesh that a spline distance in mm leads to."""
        laid = [padding_for_distance(n, s, distance) for n, s in zip(shape, spacing, strict=True)]
        padded = [n + lower + upper for n, (_, lower, upper) in zip(shape, laid, strict=True)]
        points = [spans + self._settings.spline_order for spans, _, _ in laid]
        _print(f"Specified spline distance: {distance:g}mm")
        _print(f"  original image size:  {list(shape)}")
        _print(f"  padded image size:  {padded}")
        _print(f"  number of control points:  {points}\n")


def _print(text: str) -> None:
    print(text, flush=True)
