"""In which arithmetic ANTs' program and functions compute, as the environment says."""

from typing import Any

from n4ax.itk.threads import find_default_threader, find_default_threads
from n4ax.settings import Arithmetic
from n4ax.settings.arithmetic import read_arithmetic, read_itk_version


def choose_arithmetic(asked: Arithmetic | None = None) -> dict[str, Any]:
    """Choose the arithmetic; for that of ITK, also the threads that ANTs would run now.

    Parameters
    ----------
    asked
        The arithmetic that is asked for; ``None`` leaves it to ``N4AX_ARITHMETIC``, and without
        that to n4ax's default.

    Raises
    ------
    ValueError
        A variable has a word that means nothing.
    """
    keywords: dict[str, Any] = {"itk_version": read_itk_version() or 5}
    arithmetic = read_arithmetic() if asked is None else asked
    if arithmetic is not None:
        keywords["arithmetic"] = arithmetic
    if isinstance(arithmetic, str) and arithmetic == "itk":
        keywords["itk_threads"] = find_default_threads()
        keywords["itk_tool"] = "ants" if find_default_threader() == "pool" else "simpleitk"
    return keywords
