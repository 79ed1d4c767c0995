"""What ANTs prints with ``-v 1``: lines that people and programs read."""

from collections.abc import Sequence

import numpy as np

from n4ax.method.grid import padding_for_distance
from n4ax.pipeline import N4Result
from n4ax.settings import N4Settings

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


class Report:
    """Prints as the work goes on; nothing unless ``verbose``."""

    def __init__(self, dimension: int, settings: N4Settings, verbose: bool) -> None:
        self._settings = settings
        self._verbose = verbose
        self._say(f"\nRunning N4 for {dimension}-dimensional images.\n")

    def masked(self, given: bool) -> None:
        """Whether there is a mask."""
        if not given:
            self._say("Mask not read.  Using the entire image as the mask.\n")

    def range(self, low: float, high: float) -> None:
        """Least and greatest intensity in the mask."""
        self._say(f"Original intensity range:  [{low:g}, {high:g}]")
        if low <= 0:
            self._say(_NONPOSITIVE)

    def mesh(self, distance: float, shape: Sequence[int], spacing: Sequence[float]) -> None:
        """The mesh that a spline distance in mm leads to."""
        laid = [padding_for_distance(n, s, distance) for n, s in zip(shape, spacing, strict=True)]
        padded = [n + lower + upper for n, (_, lower, upper) in zip(shape, laid, strict=True)]
        points = [spans + self._settings.spline_order for spans, _, _ in laid]
        self._say(f"Specified spline distance: {distance:g}mm")
        self._say(f"  original image size:  {list(shape)}")
        self._say(f"  padded image size:  {padded}")
        self._say(f"  number of control points:  {points}\n")

    def iteration(self, level: int, iteration: int, limit: int, measure: float) -> None:
        """One iteration is done."""
        if iteration == 1:
            self._say(f"Current level = {level + 1}")
        self._say(
            f"  Iteration {iteration} (of {limit}).   Current convergence value = "
            f"{np.float32(measure):g} (threshold = {np.float32(self._settings.conv_threshold):g})"
        )

    def done(self, result: N4Result, seconds: float) -> None:
        """The parameters, as ITK's filter prints them, and the time of the solve."""
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
            self._say(f"     {name}: {value}")
        self._say(f"Elapsed time: {seconds:g}")

    def _say(self, text: str) -> None:
        if self._verbose:
            print(text, flush=True)
