"""Runs n4ax 0.1.1 in a process of its own: `python old_worker.py FOLDER`, requests on stdin.

A request is a line of JSON: the .npz file with image and mask, and keywords; the answer is a line
of JSON with the seconds it took, and the log field in OUTPUT if one is named.
"""

import json
import sys
import time

import numpy as np

sys.path.insert(0, sys.argv[1])

import n4ax


def main() -> None:
    assert not hasattr(n4ax, "fit"), "this is not n4ax 0.1"
    for line in sys.stdin:
        request = json.loads(line)
        data = np.load(request["input"])
        start = time.perf_counter()
        corrected, bias = n4ax.n4(
            data["image"], data["mask"], return_bias=True, **request["keywords"]
        )
        corrected.block_until_ready()
        seconds = time.perf_counter() - start
        if "output" in request:
            np.save(request["output"], np.asarray(bias))
        print(json.dumps({"seconds": seconds}), flush=True)


if __name__ == "__main__":
    main()
