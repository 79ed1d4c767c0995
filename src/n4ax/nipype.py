"""nipype's N4 interface, run by n4ax: change the import in a workflow, and nothing else.

Import ``N4BiasFieldCorrection`` from ``n4ax.nipype`` instead of ``nipype.interfaces.ants``. This
needs nipype: ``pip install 'n4ax[nipype]'``.
"""

import shlex
import sys

try:
    from nipype.interfaces.ants import N4BiasFieldCorrection as _NipypeInterface
except ImportError as error:
    raise ImportError(
        "n4ax.nipype needs nipype, which cannot be imported here: pip install 'n4ax[nipype]'"
    ) from error


class N4BiasFieldCorrection(_NipypeInterface):
    """Bias field correction with the numbers of ANTs, without ANTs.

    Inputs, defaults and outputs are those of ``nipype.interfaces.ants.N4BiasFieldCorrection``.
    ``num_threads`` sets the number of threads; the result does not depend on it.

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
