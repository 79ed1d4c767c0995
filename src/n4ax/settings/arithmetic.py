"""In which arithmetic N4 is computed, and for how many threads of ITK it stands.

ITK cuts the voxels of a fit into work units, sums each unit in single precision, and adds up the
sums. So its last digits depend on the number of work units, which follows from the number of
threads by a rule that differs between the tools.
"""

import os
from collections.abc import Mapping
from typing import Literal, cast, get_args

from n4ax.errors import InputError
from n4ax.settings.checks import check_whole_number

Arithmetic = Literal["limit", "itk"]
ItkTool = Literal["simpleitk", "ants"]
ItkVersion = Literal[5, 6]

MOST_WORK_UNITS = 128
"""ITK makes at most this many work units, and starts at most this many threads."""


def check_arithmetic(
    arithmetic: Arithmetic, threads: int | None, tool: ItkTool, work_units: int | None
) -> tuple[int | None, int | None]:
    """Check what ITK's arithmetic stands for, and give threads and work units as ints.

    Raises
    ------
    ValueError
        A number is out of its range, both numbers are given, or one is given for the arithmetic
        that does not depend on it.
    """
    given = {"itk_threads": threads, "itk_work_units": work_units}
    for name, number in given.items():
        if number is not None:
            given[name] = check_whole_number(name, number, 1, MOST_WORK_UNITS)
    if threads is not None and work_units is not None:
        raise InputError(
            "{itk_threads} and {itk_work_units} say the same thing: give only one of them"
        )
    if arithmetic == "limit":
        for name, value in (*given.items(), ("itk_tool", None if tool == "simpleitk" else tool)):
            if value is not None:
                raise InputError(
                    f"{{{name}}} is {{0!r}}, which matters in the arithmetic of ITK alone: give "
                    "{arithmetic:itk} too, or leave it out",
                    value,
                )
    return given["itk_threads"], given["itk_work_units"]


def count_work_units(threads: int, tool: ItkTool) -> int:
    """Count the work units that a tool makes with a number of threads.

    SimpleITK makes one for each thread. ANTs, ANTsPy and ITK's own Python package make four for
    each thread, but only one for a single thread.
    """
    if tool == "simpleitk" or threads == 1:
        return threads
    return min(4 * threads, MOST_WORK_UNITS)


def read_arithmetic(environ: Mapping[str, str] = os.environ) -> Arithmetic | None:
    """Read which arithmetic ``N4AX_ARITHMETIC`` asks for; ``None`` if it is not set.

    Raises
    ------
    ValueError
        There is no such arithmetic.
    """
    word = environ.get("N4AX_ARITHMETIC", "").strip()
    if not word:
        return None
    if word not in get_args(Arithmetic):
        raise InputError("N4AX_ARITHMETIC is {0!r}; expected limit or itk", word)
    return cast("Arithmetic", word)


def read_itk_version(environ: Mapping[str, str] = os.environ) -> ItkVersion | None:
    """Read which version of ITK ``N4AX_ITK_VERSION`` asks for; ``None`` if it is not set.

    Raises
    ------
    ValueError
        There is no such version.
    """
    word = environ.get("N4AX_ITK_VERSION", "").strip()
    if not word:
        return None
    if word not in map(str, get_args(ItkVersion)):
        raise InputError("N4AX_ITK_VERSION is {0!r}; expected 5 or 6", word)
    return cast("ItkVersion", int(word))
