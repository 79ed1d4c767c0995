"""The error of an estimated field beside the true one."""

import numpy as np
import numpy.typing as npt

from benchmarks.truth.phantoms import Case


def error(estimated_log_field: npt.ArrayLike, case: Case) -> float:
    """The standard deviation of the difference of two log fields in the brain, in percent.

    The level of a field is not in the image, so that a constant difference is no error.

    Parameters
    ----------
    estimated_log_field
        The log bias field, in the shape of the case's image; 0 for no correction.
    case
        The case, with its true field.
    """
    given = np.broadcast_to(np.asarray(estimated_log_field, np.float64), case.image.shape)
    return float(100 * np.std((given - case.log_field)[case.brain]))
