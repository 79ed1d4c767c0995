"""What the solver takes from the settings."""

import numpy as np

from n4ax.method.solver import Parameters
from n4ax.settings import N4Settings


def test_the_threshold_is_in_single_precision_in_the_arithmetic_of_itk_alone() -> None:
    for arithmetic, threshold in (("limit", 0.001), ("itk", float(np.float32(0.001)))):
        settings = N4Settings(conv_threshold=0.001, arithmetic=arithmetic)  # type: ignore[arg-type]
        found = Parameters.of(settings, every_measure=False).conv_threshold
        assert found.dtype == np.float64
        assert float(found) == threshold


def test_other_parameters_are_in_single_precision() -> None:
    settings = N4Settings(iters=(7, 5), over_relax=1.1, fwhm=0.3, wiener=0.07)
    found = Parameters.of(settings, every_measure=False)
    assert found.iters.dtype == np.int32
    assert found.iters.tolist() == [7, 5]
    for name, value in (("over_relax", 1.1), ("fwhm", 0.3), ("wiener", 0.07)):
        assert getattr(found, name).dtype == np.float32
        assert getattr(found, name) == np.float32(value)
