"""How many threads ITK would use, as its environment variables say."""

import os
import re
from collections.abc import Mapping

MOST_THREADS = 128


def find_default_threads(environ: Mapping[str, str] = os.environ) -> int:
    """Find ITK's default number of threads.

    ITK looks at the variables that ``ITK_NUMBER_OF_THREADS_ENV_LIST`` names, or at ``NSLOTS``, and
    then at ``ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS``. The last one that is set decides; without
    any, or if it is no number above 0, it is the number of processors.
    """
    names = environ.get("ITK_NUMBER_OF_THREADS_ENV_LIST", "NSLOTS").split(":")
    number = 0
    for name in (*names, "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"):
        if name and name in environ:
            digits = re.match(r"\s*\+?(\d+)", environ[name])
            number = int(digits[1]) if digits else 0
    return min(number or os.cpu_count() or 1, MOST_THREADS)
