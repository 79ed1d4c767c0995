"""One setting for several images of a study, found on a few of them.

The search is that of :mod:`n4ax.auto`. Here every image is tried with the same settings, or gives
its first estimate, and one setting is taken for all. The answer does not depend on the order of the
images, and for a single image it is that of ``preset="auto"``.
"""

from n4ax.tuning.choice import Look, Tuning, find_settings

__all__ = ["Look", "Tuning", "find_settings"]
