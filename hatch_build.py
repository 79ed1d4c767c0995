"""The step of the package's build that makes the libraries of kernels."""

import platform
import sys
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SOURCE = Path(__file__).parent / "src"

NUMBA = "numba>=0.61"


class KernelsHook(BuildHookInterface):
    """Makes the libraries of kernels, and puts them into a wheel for this platform.

    Where they cannot be made, the wheel does without them. It then depends on numba, which
    compiles the kernels when they are first used.
    """

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Make the libraries in the source tree; an editable installation loads them from there."""
        sys.path.insert(0, str(SOURCE))
        from n4ax.engines.compiled.library import FOLDER
        from n4ax.kernels import BuildError, build

        try:
            libraries = build(FOLDER)
        except BuildError as error:
            self.app.display_warning(f"no libraries of kernels: {error}")
            build_data["dependencies"].append(NUMBA)
            return
        if version == "standard":
            build_data["pure_python"] = False
            build_data["tag"] = f"py3-none-{find_platform()}"
            paths = [str(library.relative_to(SOURCE.parent)) for library in libraries]
            build_data["artifacts"].extend(paths)


def find_platform() -> str:
    """Find the platforms that a wheel made here is for.

    The libraries call a few functions of the C library that are as old as glibc 2.17.
    """
    name = sysconfig.get_platform().replace("-", "_").replace(".", "_")
    if platform.libc_ver()[0] == "glibc":
        return name.replace("linux_", "manylinux_2_17_", 1)
    return name
