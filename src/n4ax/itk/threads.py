"""How ITK would run its threads, as its environment variables say."""

import os
import re
from collections.abc import Mapping
from typing import Literal

from n4ax.processors import count_affinity

MOST_THREADS = 128
"""ITK starts at most this many threads."""

Threader = Literal["platform", "pool"]
"""How ITK runs threads: ``"platform"`` makes one work unit for each, ``"pool"`` makes four."""


def read_thread_count(environ: Mapping[str, str] = os.environ) -> int | None:
    """Read the number of threads that the variables ask ITK for; ``None`` if they ask for none.

    ITK looks at the variables that ``ITK_NUMBER_OF_THREADS_ENV_LIST`` names, or at ``NSLOTS``, and
    then at ``ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS``. The last one that is set decides, even if it
    is no number or 0, which asks for none. A number below 0 asks for the most threads.
    """
    names = environ.get("ITK_NUMBER_OF_THREADS_ENV_LIST", "NSLOTS").split(":")
    number = 0.0
    for name in (*names, "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"):
        if name and name in environ:
            digits = re.match(r"\s*([+-]?\d+)", environ[name])
            number = float(digits[1]) if digits else 0.0  # int reads no more than 4300 digits
    if number < 0:
        return MOST_THREADS
    return int(min(number, MOST_THREADS)) or None


def find_default_threads(environ: Mapping[str, str] = os.environ) -> int:
    """Find ITK's default number of threads.

    It is what :func:`read_thread_count` reads; without that, it is the number of processors that
    the process may run on. ITK does not look at quotas of control groups.
    """
    return read_thread_count(environ) or min(count_affinity(), MOST_THREADS)


def find_default_threader(environ: Mapping[str, str] = os.environ) -> Threader:
    """Find how ITK runs its threads by default, in a build such as that of ANTs.

    ``ITK_GLOBAL_DEFAULT_THREADER`` decides, in capital or small letters; a word that is no threader
    is ignored. Only if it is not set, ITK looks at the older ``ITK_USE_THREADPOOL``. The default of
    such a build is ``"pool"``.
    """
    word = environ.get("ITK_GLOBAL_DEFAULT_THREADER")
    if word is not None:
        return "platform" if word.upper() == "PLATFORM" else "pool"
    declined = environ.get("ITK_USE_THREADPOOL", "").upper() in ("NO", "OFF", "FALSE")
    return "platform" if declined else "pool"
