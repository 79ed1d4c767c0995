"""Settings that are chosen for the image, or the choice to leave it as it is.

N4 takes anatomy for shading: the rim of a brain is grey matter and its middle is white. How much of
it ends up in the field depends on the mesh, the FWHM and the number of iterations, and so does how
strong a field can be followed. :func:`choose` weighs one against the other. With maps of tissues it
tries settings and takes the one that makes the tissues most even (:mod:`n4ax.auto.tissues`).
Without them it looks how strong the shading is (:mod:`n4ax.auto.shading`). One setting for all
images of a study is found by :mod:`n4ax.tuning`.
"""

from n4ax.auto.choice import Choice, Solve, Trial, choose
from n4ax.auto.view import View, look_at

__all__ = ["Choice", "Solve", "Trial", "View", "choose", "look_at"]
