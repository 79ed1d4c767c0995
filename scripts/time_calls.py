"""Time calls of ``n4ax correct``, each a process of its own, and print them as JSON, in seconds.

    python scripts/time_calls.py FOLDER [NUMBER]

The packaged head is corrected into FOLDER. In a new environment, the first call shows whether
anything is compiled or written then.
"""

import json
import subprocess
import sys
import time
from importlib.resources import files
from pathlib import Path


def main(folder: str, number: str = "7") -> None:
    """Correct the head again and again."""
    head = str(files("n4ax") / "data" / "head.nii.gz")
    target = str(Path(folder) / "head_n4.nii.gz")
    command = [str(Path(sys.executable).with_name("n4ax")), "correct", head, "-o", target, "-q"]
    times = []
    for _ in range(int(number)):
        start = time.perf_counter()
        subprocess.run(command, check=True)
        times.append(round(time.perf_counter() - start, 3))
    print(json.dumps(times))


if __name__ == "__main__":
    main(*sys.argv[1:])
