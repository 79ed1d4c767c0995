"""The choice: what is tried on the coarse grid, what is taken, and why, in a sentence."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from n4ax.auto import shading, tissues
from n4ax.auto.view import Floats, View
from n4ax.settings import N4Settings

Solve = Callable[[N4Settings], Floats]
"""Estimates the log field on the grid of a :class:`View` with some settings."""

THRESHOLD = 1e-7
"""Levels that have come to rest end early."""


@dataclass(frozen=True)
class Trial:
    """Settings that were tried.

    Attributes
    ----------
    settings
        The settings, as they are for the whole image.
    spread
        Standard deviation of the log field in the tissue of the mask, in percent.
    cjv
        The coefficient of joint variation of the two tissues after the correction; ``None`` if no
        tissues are known.
    """

    settings: N4Settings
    spread: float
    cjv: float | None = None

    @property
    def leaves(self) -> bool:
        """Whether these settings leave the image as it is."""
        return not any(self.settings.iters)

    def describe(self) -> dict[str, Any]:
        """The trial as an object of JSON."""
        settings = self.settings
        return {
            "Iterations": list(settings.iters),
            **({"SplineDistance": settings.spline_distance} if settings.mesh is None else
               {"Mesh": settings.mesh}),
            "FWHM": settings.fwhm, "SpreadPercent": round(self.spread, 2),
            **({} if self.cjv is None else {"CJV": round(self.cjv, 4)}),
        }  # fmt: skip


@dataclass(frozen=True)
class Choice:
    """What was chosen for an image.

    Attributes
    ----------
    settings
        The settings.
    sentence
        What was chosen and why.
    trials
        All that was tried, in its order.
    """

    settings: N4Settings
    sentence: str
    trials: tuple[Trial, ...]

    def __str__(self) -> str:
        """What was chosen and why."""
        return self.sentence

    @property
    def leaves(self) -> bool:
        """Whether the image is left as it is."""
        return not any(self.settings.iters)

    def describe(self) -> dict[str, Any]:
        """The choice as an object of JSON."""
        return {
            "Sentence": self.sentence,
            "LeftAsItIs": self.leaves,
            "Tried": [trial.describe() for trial in self.trials],
        }


def choose(settings: N4Settings, view: View, solve: Solve) -> Choice:
    """Choose settings for an image.

    Parameters
    ----------
    settings
        The settings of the user, of which those stay that have nothing to do with the choice.
    view
        The image on a coarse grid.
    solve
        Estimates a field on that grid.
    """
    plain = settings.override(adapt=False)
    if view.tissues:
        searched = list_searched(plain, view, view.reach)
        return _choose_by_tissues([try_settings(one, view, solve) for one in searched])
    first = try_settings(make_first(plain, view), view, solve)
    chosen = make_by_shading(plain, view, view.reach, shading.weigh(first.spread, view.fullness))
    return _choose_by_shading(chosen, first)


def list_searched(plain: N4Settings, view: View, reach: float) -> list[N4Settings]:
    """All settings of the search, after those that leave the image as it is.

    Parameters
    ----------
    plain
        The settings of the user, without ``adapt``.
    view
        The image that the shrink factor is for.
    reach
        How far the tissue in the mask reaches, in the unit of the view.
    """
    searched = (make_settings(plain, view, reach, *one) for one in tissues.SEARCHED)
    return [leave(plain, view, reach), *searched]


def make_first(plain: N4Settings, view: View) -> N4Settings:
    """The settings of the first estimate, which shows how strong the shading is."""
    element, iterations, fwhm = shading.FIRST
    return make_settings(plain, view, view.reach, element, shading.LEVELS, iterations, fwhm)


def make_by_shading(
    plain: N4Settings, view: View, reach: float, strength: shading.Strength
) -> N4Settings:
    """The settings that belong to the strength of the shading.

    Parameters
    ----------
    plain, view, reach
        As for :func:`list_searched`.
    strength
        What :func:`n4ax.auto.shading.weigh` found.
    """
    iterations = round(strength.iterations)
    if iterations < shading.FEWEST_ITERATIONS:
        return leave(plain, view, reach)
    fwhm = round(strength.fwhm, 3)
    return make_settings(plain, view, reach, strength.element, shading.LEVELS, iterations, fwhm)


def make_settings(
    plain: N4Settings,
    view: View,
    reach: float,
    element: float,
    levels: int,
    iterations: int,
    fwhm: float,
) -> N4Settings:
    """Make settings with a finest element of a length, as a share of the reach of the mask."""
    distance = float(f"{element * reach * 2 ** (levels - 1):.3g}")
    # Without a voxel size there are no mm.
    mesh: dict[str, Any] = (
        {"spline_distance": distance}
        if view.is_mm
        else {"mesh": view.turn(view.count_elements(distance))}
    )
    return plain.override(
        iters=(iterations,) * levels,
        conv_threshold=THRESHOLD,
        fwhm=fwhm,
        shrink_factor=view.turn(view.shrink),
        **mesh,
    )


def _choose_by_tissues(trials: list[Trial]) -> Choice:
    """Take the settings after which the tissues are most even."""
    before, best = trials[0], min(trials, key=lambda trial: trial.cjv or 0.0)
    if best.leaves:
        sentence = (
            f"The image was left as it is: none of {len(trials) - 1} settings makes the two "
            f"tissues more even (coefficient of joint variation {before.cjv:.3f})."
        )
    else:
        sentence = (
            f"Chosen: {write_settings(best.settings)}, which of {len(trials) - 1} settings makes "
            f"the two tissues most even: the coefficient of joint variation falls from "
            f"{before.cjv:.3f} to {best.cjv:.3f}."
        )
    return Choice(best.settings, sentence, tuple(trials))


def _choose_by_shading(chosen: N4Settings, first: Trial) -> Choice:
    """Say why these settings belong to the strength of the shading."""
    found = f"a first estimate of the field varies by {first.spread:.1f} %"
    if not any(chosen.iters):
        sentence = (
            f"The image was left as it is: {found}, as much as anatomy makes in an even image."
        )
        return Choice(chosen, sentence, (first,))
    return Choice(chosen, f"Chosen: {write_settings(chosen)}, since {found}.", (first,))


def leave(plain: N4Settings, view: View, reach: float) -> N4Settings:
    """The settings that leave an image as it is: no iteration at all."""
    return make_settings(plain, view, reach, 1.0, 1, 0, plain.fwhm)


def try_settings(settings: N4Settings, view: View, solve: Solve) -> Trial:
    """Estimate the field on the coarse grid, unless the settings leave the image as it is."""
    leaves = not any(settings.iters)
    log_bias = None if leaves else solve(_make_coarse(settings, view))
    cjv = tissues.measure_joint_variation(view, log_bias) if view.tissues else None
    return Trial(settings, 0.0 if log_bias is None else shading.measure_spread(view, log_bias), cjv)


def _make_coarse(settings: N4Settings, view: View) -> N4Settings:
    """The same settings for the grid of a view, which has been shrunk and raised already."""
    coarse = settings.override(
        shrink_factor=1, voxel_order="C", mask_label=None, nonfinite="exclude", scale="itk",
        outside="divide", non_positive="exclude", arithmetic="limit", itk_threads=None,
        itk_tool="simpleitk", itk_work_units=None,
    )  # fmt: skip
    own: Any = settings.mesh
    return coarse if own is None else coarse.override(mesh=view.turn(own))


def write_settings(settings: N4Settings) -> str:
    """Settings in words."""
    levels = len(settings.iters)
    mesh = (
        f"a spline distance of {settings.spline_distance:g} mm"
        if settings.spline_distance is not None
        else f"a mesh of {write_factors(settings.mesh)}"
    )
    return (
        f"{mesh}, {levels} "
        f"level{'s' * (levels > 1)} of up to {settings.iters[0]} iterations, FWHM "
        f"{settings.fwhm:g}, shrink factor {write_factors(settings.shrink_factor)}"
    )


def write_factors(factors: Any) -> str:
    """Whole numbers of the axes, as ``4x4x3``."""
    return "x".join(map(str, (factors,) if isinstance(factors, int) else factors))
