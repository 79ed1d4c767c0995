"""nipype's N4 interface, run by n4ax: change the import in a workflow, and nothing else.

Import ``N4BiasFieldCorrection`` from ``n4ax.nipype`` instead of ``nipype.interfaces.ants``. This
needs nipype: ``pip install 'n4ax[nipype]'``.
"""

import shlex
import sys
from typing import Any

from n4ax.extras import need_extra

with need_extra("nipype", "n4ax.nipype"):
    from nipype.interfaces.ants import N4BiasFieldCorrection as _NipypeInterface


class N4BiasFieldCorrection(_NipypeInterface):
    """Bias field correction with the numbers of ANTs, without ANTs.

    Inputs, defaults and outputs are those of ``nipype.interfaces.ants.N4BiasFieldCorrection``.
    ``num_threads`` sets the number of threads. The result does not depend on it, unless the
    variable ``N4AX_ARITHMETIC`` is ``itk``: then it is what ANTs computes with these threads. The
    variable may be set in the environment, or in the input ``environ``. Names of files may have
    blanks, brackets and quotes.

    Examples
    --------
    >>> node = N4BiasFieldCorrection(input_image="t1w.nii.gz", dimension=3, shrink_factor=4)
    >>> outputs = node.run().outputs
    """

    _cmd = f"{shlex.quote(sys.executable)} -P -m n4ax.ants"

    @property
    def version(self) -> None:
        """Always ``None``, so that requirements on the version of ANTs do not apply."""
        return

    def _format_arg(self, name: str, trait_spec: Any, value: Any) -> Any:
        """Quote the names of outputs for the shell; nipype itself quotes those of inputs alone."""
        if name != "output_image":
            return super()._format_arg(name, trait_spec, value)
        names = [value, self._out_bias_file] if self._out_bias_file else [value]
        quoted = ", ".join(map(shlex.quote, names))
        return trait_spec.argstr % (f"[ {quoted} ]" if len(names) > 1 else quoted)
