"""The solver with a random rounding after one of its stages, or after all of them.

The solver's page asks an engine for each stage. Here an engine stands between the two, which hands
on every question, and rounds the answer of the stages that are to be perturbed. The product itself
knows nothing of it.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from n4ax import N4Settings
from n4ax.engines.cpu.engine import CpuEngine
from n4ax.engines.cpu.threads import Threads, make_threads
from n4ax.engines.itk.engine import ItkEngine
from n4ax.inputs import Inputs
from n4ax.method.solver import ChannelState, Parameters, make_start_state, solve
from n4ax.pipeline import PosedImage, correct_image, pose_image
from reliability.stability.programs import ITERS, ITK_1, KEYWORDS, OURS, RULES, Outcome, keep
from reliability.stability.rounding import round_number, round_randomly
from reliability.stability.scans import Scan

LOG, FIELD, WIDTH, HISTOGRAM, SHARPENING, FIT, UPDATE, MESH, MEASURE = STAGES = (
    "log image",
    "field on the voxels",
    "width of the bins",
    "histogram",
    "sharpening",
    "sums of the fit",
    "update of the control points",
    "halving of the mesh",
    "convergence measure",
)
EVERY = "every stage"

STAGED = (ITK_1, OURS)
"""The programs whose stages are perturbed."""


class RoundedEngine:
    """An engine of one image, and its channel, with a random rounding after some stages.

    Parameters
    ----------
    engine
        The engine that does the work.
    stage
        One of ``STAGES``, ``EVERY``, or ``None`` for no perturbation.
    random
        Decides the roundings.
    """

    def __init__(
        self, engine: CpuEngine | ItkEngine, stage: str | None, random: np.random.Generator
    ) -> None:
        self._engine: Any = engine
        self._stage = stage
        self._random = random
        if self._is_rounded(LOG):
            log = engine.rows.log if isinstance(engine, CpuEngine) else engine._log
            log[...] = round_randomly(log, random)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def _is_rounded(self, stage: str) -> bool:
        return self._stage in (stage, EVERY)

    def _round(self, stage: str, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return round_randomly(values, self._random) if self._is_rounded(stage) else values

    def channels(self, mesh: Any, field: Any) -> list[ChannelState[Any, Any, Any]]:
        """The engine is the only channel too."""
        channel: Any = self
        return [ChannelState(channel, mesh, field)]

    def refine(self, level: int, lattice: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """The lattice on the mesh of a level, rounded if the mesh was halved."""
        refined = self._engine.refine(level, lattice)
        return self._round(MESH, refined) if level else refined

    def expand(self, mesh: Any, lattice: npt.NDArray[np.float32]) -> Any:
        """The field of a lattice; the solver, which has just made it, goes on with its rounding."""
        lattice[...] = self._round(UPDATE, lattice)
        field = self._engine.expand(mesh, lattice)
        is_cpu = isinstance(self._engine, CpuEngine)
        values = field.sheets.value.values if is_cpu else field.rows.values
        values[...] = self._round(FIELD, values)
        return field

    def extremes(self, field: Any) -> tuple[np.float32, np.float32]:
        """The least intensity is exact; the greatest moves, and the width of the bins with it."""
        lowest, highest = self._engine.extremes(field)
        if self._is_rounded(WIDTH):
            highest = round_number(highest, self._random)
        return lowest, highest

    def histogram(self, binned: Any) -> npt.NDArray[Any]:
        """The rounded counts."""
        return self._round(HISTOGRAM, self._engine.histogram(binned))

    def sharpen(self, histogram: Any, bins: Any, parameters: Parameters) -> npt.NDArray[Any]:
        """The rounded expected log intensities."""
        return self._round(SHARPENING, self._engine.sharpen(histogram, bins, parameters))

    def residual_fit(self, mesh: Any, binned: Any, expected: Any) -> npt.NDArray[Any]:
        """The rounded delta of the fit."""
        return self._round(FIT, self._engine.residual_fit(mesh, binned, expected))

    def change(self, field: Any, before: Any, threshold: float) -> float:
        """The rounded convergence measure."""
        measure = self._engine.change(field, before, threshold)
        return float(round_number(measure, self._random)) if self._is_rounded(MEASURE) else measure


def pose_scan(scan: Scan, program: str, rule: str) -> PosedImage:
    """Pose the problem of a scan as it is, for a program that is one of ``STAGED``."""
    settings = N4Settings(
        iters=ITERS,
        conv_threshold=RULES[rule],
        shrink_factor=scan.shrink,
        **KEYWORDS[program],
    )
    return pose_image(settings, Inputs(scan.image, scan.mask, spacing=scan.spacing), "cpu")


def run_stage(scan: Scan, posed: PosedImage, stage: str | None, seed: tuple[int, ...]) -> Outcome:
    """Solve a posed problem with roundings after a stage, and correct the image.

    Parameters
    ----------
    scan, posed
        The image, and its problem.
    stage
        As for :class:`RoundedEngine`.
    seed
        The seeds of the roundings.
    """
    settings, problem = posed.settings, posed.pose.problem
    with make_threads([problem], None) as threads:
        plain = _make_engine(posed, threads)
        engine: Any = RoundedEngine(plain, stage, np.random.default_rng(seed))
        start = make_start_state(engine, len(settings.iters), max(settings.iters))
        state = solve(engine, Parameters.of(settings, every_measure=False), start)
    corrected, field = correct_image(posed, state.lattice)
    log_bias = field.evaluate_like(posed.volume)
    return keep(scan, np.asarray(log_bias), np.asarray(corrected), list(state.done))


def _make_engine(posed: PosedImage, threads: Threads) -> CpuEngine | ItkEngine:
    kind = ItkEngine if posed.settings.arithmetic == "itk" else CpuEngine
    return kind(posed.pose.problem, posed.settings, threads)
