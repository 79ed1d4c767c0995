"""nipype's interface to N4, run by n4ax: swap the import, and nothing else.

``from n4ax.nipype import N4BiasFieldCorrection`` instead of nipype's own from
``nipype.interfaces.ants``. Needs nipype: ``pip install 'n4ax[nipype]'``.
"""

import shlex
import sys

try:
    from nipype.interfaces.ants import N4BiasFieldCorrection as _Nipypes
except ImportError as error:
    raise ImportError(
        "n4ax.nipype needs nipype, which cannot be imported here: pip install 'n4ax[nipype]'"
    ) from error


class N4BiasFieldCorrection(_Nipypes):
    """Bias field correction with ANTs' numbers, without ANTs.

    Inputs, defaults and outputs are those of ``nipype.interfaces.ants.N4BiasFieldCorrection``;
    ``num_threads`` is honoured, and the result does not depend on it.
    """

    _cmd = f"{shlex.quote(sys.executable)} -P -m n4ax.ants"

    @property
    def version(self) -> None:
        """None: requirements on the version of ANTs do not apply."""
        return
