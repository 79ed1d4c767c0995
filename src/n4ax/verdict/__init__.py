"""Did it help? What is to be said of a correction, in words and in numbers.

:func:`judge` looks at an image before and after its correction and says what is suspicious, each
time with the next step. Nothing is changed by it.
"""

from n4ax.verdict.evidence import Evidence, find_voxel_sizes
from n4ax.verdict.judgement import judge
from n4ax.verdict.messages import Message, Verdict

__all__ = ["Evidence", "Message", "Verdict", "find_voxel_sizes", "judge"]
