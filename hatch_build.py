"""The step of the package's build that makes the library of kernels."""

import sys
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SOURCE = Path(__file__).parent / "src"


class KernelsHook(BuildHookInterface):
    """Makes the library of kernels, and puts it into the wheel, which is then for this platform.

    Where the library cannot be made, the wheel does without it, and numba compiles the kernels
    when they are first used.
    """

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Make the library in the source tree; an editable installation loads it from there."""
        sys.path.insert(0, str(SOURCE))
        from n4ax.engines.compiled.library import FOLDER
        from n4ax.kernels import BuildError, build

        try:
            library = build(FOLDER)
        except BuildError as error:
            self.app.display_warning(f"no library of kernels: {error}")
            return
        if version == "standard":
            platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
            build_data["pure_python"] = False
            build_data["tag"] = f"py3-none-{platform}"
            build_data["artifacts"].append(str(library.relative_to(SOURCE.parent)))
