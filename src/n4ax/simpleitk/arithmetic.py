"""How many threads SimpleITK would run N4 on, and how, on which ITK's last digits depend."""

from typing import Any

import SimpleITK as sitk

from n4ax.settings import ItkTool

_TOOLS: dict[str, ItkTool] = {"PLATFORM": "simpleitk", "POOL": "ants"}
"""The tool whose default is a threader of SimpleITK, by the name of the threader."""


def read_threads() -> dict[str, Any]:
    """Read the threads of ITK from the global defaults of SimpleITK, as settings.

    The numbers of threads and of work units that a filter has itself do not reach the part of ITK
    that depends on them.

    Raises
    ------
    RuntimeError
        The rule by which the threader divides the work is not one that n4ax follows.
    """
    threader = sitk.ProcessObject.GetGlobalDefaultThreader()
    if threader.upper() not in _TOOLS:
        raise RuntimeError(
            f"the global default threader of SimpleITK is {threader!r}, and Arithmetic is 'itk', "
            "which can reproduce Platform and Pool only: call "
            'SimpleITK.ProcessObject.SetGlobalDefaultThreader("Platform"), or '
            'SetArithmetic("limit") of the filter'
        )
    return {
        "itk_threads": sitk.ProcessObject.GetGlobalDefaultNumberOfThreads(),
        "itk_tool": _TOOLS[threader.upper()],
    }
