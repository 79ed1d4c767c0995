"""The process of a peer: ``python worker.py PEER THREADS``.

Two other programs run in a peer's environment: ``python worker.py ants-program WORD ...`` is ANTs'
``N4BiasFieldCorrection`` from ANTsPy, and ``python worker.py simpleitk-example SHRINK INPUT
CORRECTED LOG_BIAS`` is N4 as users of SimpleITK write it.

Requests are lines of JSON on standard input, and answers are lines of JSON on standard output. The
script needs only the standard library, NumPy and the peer. A request that fails ends the process.

``{"do": "correct", "input": NPZ, "keywords": {...}, "output": NPY, "repeats": N}``
    Corrects ``image`` in ``mask`` (C order, so that the last axis is ITK's x) with keywords of
    :func:`n4ax.n4`, and writes the log field. The answer has the seconds of the first call, the
    seconds of all calls ("all"), the iterations per level (null if the peer does not report them)
    and peak_bytes (of the first call, beyond what the process held before). The clock runs from the
    image in the peer's own form to the corrected image.
``{"do": "correct_loop", "inputs": [NPZ, ...], "keywords": {...}}``
    Corrects the images one after the other, and answers the seconds for all of them.
``{"do": "correct_batch", "inputs": [NPZ, ...], "keywords": {...}}``
    Corrects the images in one call of ``n4ax.n4_batch``, and answers its seconds.
``{"do": "ants_field", "input": NPZ, "keywords": {...}, "output": NPZ}``
    Passes the keywords to ``ants.n4_bias_field_correction`` itself, with arrays in nibabel's axis
    order and their ``spacing``, and writes the log field and the corrected image.
``{"do": "call", "function": "n4", "input": NPZ, "keywords": {...}, "masked": true}``
    Calls a function of n4ax on ``image``, with ``mask`` if "masked" is true, and answers its
    seconds: "n4", "fit" (also the iterations per level), or "solve", which is the part of both that
    estimates the field. "num_threads" may replace the number of threads.
``{"do": "solve", "program": "n4ax.cli", "words": [...], "repeats": N}``
    Runs the main function of one of our programs, and answers the seconds of the solver alone.
``{"do": "versions"}``
    Answers the versions of the installed packages.
"""

import ctypes
import gc
import json
import os
import sys
import time
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

Corrected = tuple[Any, Callable[[], tuple[Any, list[int] | None]]]
"""The corrected image, and a function for the log field and the iterations, which is not timed."""


def main(peer: str, threads: int) -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # so that output of ITK does not mix with the answers
    for line in sys.stdin:
        request = json.loads(line)
        answer = answer_request(peer, threads, request)
        print(json.dumps(answer), file=answers, flush=True)


def answer_request(peer: str, threads: int, request: dict[str, Any]) -> dict[str, Any]:
    what = request["do"]
    if what == "correct":
        return correct(peer, threads, request)
    if what == "correct_loop":
        return correct_loop(peer, threads, request)
    if what == "correct_batch":
        return correct_batch(peer, threads, request)
    if what == "ants_field":
        return ants_field(request)
    if what == "call":
        return call_function(threads, request)
    if what == "solve":
        return solve(request)
    if what == "versions":
        return list_versions()
    raise ValueError(f"unknown request {what!r}")


def correct(peer: str, threads: int, request: dict[str, Any]) -> dict[str, Any]:
    given = np.load(request["input"])
    call = prepare_call(peer, threads, given["image"], given["mask"], request["keywords"])
    held = restart_peak()
    seconds, (corrected, read_field) = time_call(call)
    peak = read_memory("VmHWM") - held
    field, iterations = read_field()
    if "output" in request:
        np.save(request["output"], np.asarray(field))
    every = [seconds]
    del corrected, read_field, field
    for _ in range(request.get("repeats", 1) - 1):
        every.append(time_call(call)[0])
    return {"seconds": seconds, "iterations": iterations, "peak_bytes": peak, "all": every}


def correct_loop(peer: str, threads: int, request: dict[str, Any]) -> dict[str, Any]:
    calls = []
    for path in request["inputs"]:
        given = np.load(path)
        calls.append(
            prepare_call(peer, threads, given["image"], given["mask"], request["keywords"])
        )
    start = time.perf_counter()
    done = [call()[0] for call in calls]
    return {"seconds": time.perf_counter() - start, "images": len(done)}


def correct_batch(peer: str, threads: int, request: dict[str, Any]) -> dict[str, Any]:
    import n4ax

    given = [np.load(path) for path in request["inputs"]]
    images: Any = [one["image"] for one in given]
    masks: Any = [one["mask"] for one in given]
    keywords = dict(request["keywords"])
    if peer == "n4ax by XLA":
        images, masks = put_on_device(images), put_on_device(masks)
        keywords["engine"] = "xla"
    else:
        keywords |= {"engine": "cpu", "num_threads": threads}
    start = time.perf_counter()
    done = n4ax.n4_batch(images, masks, **keywords)
    if peer == "n4ax by XLA":
        wait_for(done)
    return {"seconds": time.perf_counter() - start, "images": len(done)}


def prepare_call(
    peer: str, threads: int, image: Any, mask: Any, keywords: dict[str, Any]
) -> Callable[[], Corrected]:
    """A function that corrects an image, which is already in the peer's own form."""
    if peer == "SimpleITK":
        return prepare_simpleitk(threads, image, mask, keywords)
    if peer == "ANTsPy":
        return prepare_antspy(image, mask, keywords)
    if peer == "n4ax 0.1.1":
        return prepare_old_n4ax(image, mask, keywords)
    return prepare_n4ax(peer, threads, image, mask, keywords)


def prepare_n4ax(
    peer: str, threads: int, image: Any, mask: Any, keywords: dict[str, Any]
) -> Callable[[], Corrected]:
    """``n4ax.n4``, called by the function beneath it, which also reports the iterations."""
    from n4ax.inputs import Inputs, Run
    from n4ax.pipeline import fit_image
    from n4ax.settings import N4Settings

    by_xla = peer == "n4ax by XLA"
    machine: dict[str, Any] = {"engine": "xla"} if by_xla else {"engine": "cpu"}
    if by_xla:
        image, mask = put_on_device([image, mask])
    else:
        machine["num_threads"] = threads

    def call() -> Corrected:
        result = fit_image(N4Settings(**keywords), Inputs(image, mask), Run(**machine))
        if by_xla:
            wait_for(result.corrected)
        return result.corrected, lambda: (result.log_bias, result.iterations)

    return call


def prepare_old_n4ax(image: Any, mask: Any, keywords: dict[str, Any]) -> Callable[[], Corrected]:
    import n4ax

    assert not hasattr(n4ax, "fit"), "this is not n4ax 0.1"
    image, mask = put_on_device([image, mask])

    def call() -> Corrected:
        corrected, bias = wait_for(n4ax.n4(image, mask, return_bias=True, **keywords))
        return corrected, lambda: (bias, None)

    return call


def prepare_simpleitk(
    threads: int, image: Any, mask: Any, keywords: dict[str, Any]
) -> Callable[[], Corrected]:
    """SimpleITK as users call it: shrunken if asked for, with the field on the original grid."""
    import SimpleITK as sitk

    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)
    given = sitk.GetImageFromArray(np.asarray(image, np.float32))
    inside = sitk.GetImageFromArray(np.asarray(mask, np.uint8))
    shrink = keywords.get("shrink_factor", 1)
    factors = [shrink] * image.ndim if isinstance(shrink, int) else shrink[::-1]

    def call() -> Corrected:
        corrector = make_simpleitk_filter(threads, keywords)
        levels: list[list[float]] = [[] for _ in corrector.GetMaximumNumberOfIterations()]
        corrector.AddCommand(
            sitk.sitkIterationEvent,
            lambda: levels[corrector.GetCurrentLevel()].append(0.0),
        )
        if max(factors) == 1:
            corrected = corrector.Execute(given, inside)
            field = None
        else:
            corrector.Execute(sitk.Shrink(given, factors), sitk.Shrink(inside, factors))
            field = corrector.GetLogBiasFieldAsImage(given)
            corrected = given / sitk.Exp(field)

        def read_field() -> tuple[Any, list[int]]:
            found = corrector.GetLogBiasFieldAsImage(given) if field is None else field
            return sitk.GetArrayFromImage(found), [len(level) for level in levels]

        return corrected, read_field

    return call


def make_simpleitk_filter(threads: int, keywords: dict[str, Any]) -> Any:
    import SimpleITK as sitk

    corrector = sitk.N4BiasFieldCorrectionImageFilter()
    corrector.SetNumberOfThreads(threads)
    setters = {
        "iters": corrector.SetMaximumNumberOfIterations,
        "conv_threshold": corrector.SetConvergenceThreshold,
        "nbins": corrector.SetNumberOfHistogramBins,
        "fwhm": corrector.SetBiasFieldFullWidthAtHalfMaximum,
        "wiener": corrector.SetWienerFilterNoise,
        "spline_order": corrector.SetSplineOrder,
        "control_points": lambda points: corrector.SetNumberOfControlPoints(points[::-1]),
        "shrink_factor": lambda _: None,  # the caller shrinks the image
    }
    for name, value in keywords.items():
        setters[name](value)
    return corrector


def prepare_antspy(image: Any, mask: Any, keywords: dict[str, Any]) -> Callable[[], Corrected]:
    """ANTsPy's function, which needs a second run for the field."""
    import ants

    given, inside = (
        ants.from_numpy(np.ascontiguousarray(np.asarray(array, np.float32).T))
        for array in (image, mask)
    )
    convergence = {
        "iters": list(keywords.get("iters", (50, 50, 50, 50))),
        "tol": keywords.get("conv_threshold", 1e-3),
    }
    shrink = keywords.get("shrink_factor", 1)

    def run(bias: bool) -> Any:
        return ants.n4_bias_field_correction(
            given, inside, shrink_factor=shrink, convergence=convergence, return_bias_field=bias
        )

    def call() -> Corrected:
        return run(False), lambda: (np.log(run(True).numpy().T), None)

    return call


def ants_field(request: dict[str, Any]) -> dict[str, Any]:
    import ants

    given = np.load(request["input"])
    spacing = tuple(given["spacing"].tolist())
    image, mask, weights = (
        ants.from_numpy(np.ascontiguousarray(given[name], np.float32), spacing=spacing)
        if name in given
        else None
        for name in ("image", "mask", "weights")
    )
    field, corrected = (
        ants.n4_bias_field_correction(
            image, mask, weight_mask=weights, return_bias_field=bias, **request["keywords"]
        ).numpy()
        for bias in (True, False)
    )
    np.savez(request["output"], log_bias=np.log(field), corrected=corrected)
    return {}


def call_function(threads: int, request: dict[str, Any]) -> dict[str, Any]:
    """Time ``n4ax.n4``, ``n4ax.fit``, or the solver alone, without its settings and masks."""
    import n4ax
    from n4ax.pipeline import Inputs, Run, pose_image, solve_image

    given, keywords = np.load(request["input"]), request["keywords"]
    image, mask = given["image"], given["mask"] if request["masked"] else None
    threads = request.get("num_threads", threads)
    if request["function"] == "solve":
        posed = pose_image(n4ax.N4Settings(**keywords), Inputs(image, mask), "cpu")
        machine = Run(engine="cpu", num_threads=threads)
        return {"seconds": time_call(lambda: solve_image(posed, machine))[0]}
    function = {"n4": n4ax.n4, "fit": n4ax.fit}[request["function"]]
    options = keywords | {"engine": "cpu", "num_threads": threads}
    seconds, result = time_call(lambda: function(image, mask, **options))
    return {"seconds": seconds, "iterations": getattr(result, "iterations", None)}


def solve(request: dict[str, Any]) -> dict[str, Any]:
    from n4ax import pipeline

    main = import_module(request["program"]).main
    solved, taken = pipeline.solve_image, []

    def noting(*arguments: Any) -> Any:
        seconds, state = time_call(lambda: solved(*arguments))
        taken.append(seconds)
        return state

    pipeline.solve_image = noting
    try:
        for _ in range(request["repeats"]):
            status = main(request["words"])
            assert not status, status
    finally:
        pipeline.solve_image = solved
    return {"seconds": taken[0], "all": taken}


def ants_program(words: list[str]) -> int:
    from ants.internal import get_lib_fn

    return get_lib_fn("N4BiasFieldCorrection")(words)


def simpleitk_example(shrink: int, source: str, corrected: str, log_bias: str) -> None:
    """Correct a file, and print the seconds of the filter."""
    import SimpleITK as sitk

    image = sitk.ReadImage(source, sitk.sitkFloat32)
    mask = sitk.OtsuThreshold(image, 0, 1, 200)
    factors = [shrink] * image.GetDimension()
    corrector = sitk.N4BiasFieldCorrectionImageFilter()
    start = time.perf_counter()
    corrector.Execute(sitk.Shrink(image, factors), sitk.Shrink(mask, factors))
    print(f"Elapsed time: {time.perf_counter() - start}")
    field = corrector.GetLogBiasFieldAsImage(image)
    sitk.WriteImage(image / sitk.Exp(field), corrected)
    sitk.WriteImage(field, log_bias)


def list_versions() -> dict[str, Any]:
    found = {"python": sys.version.split()[0]}
    libraries = (
        "numpy",
        "numba",
        "jax",
        "jaxlib",
        "SimpleITK",
        "antspyx",
        "n4ax",
        "dipy",
        "niimath",
    )
    for name in libraries:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def put_on_device(arrays: list[Any]) -> list[Any]:
    import jax

    return wait_for([jax.device_put(array) for array in arrays])


def wait_for(arrays: Any) -> Any:
    import jax

    return jax.block_until_ready(arrays)


def time_call(call: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    done = call()
    return time.perf_counter() - start, done


def restart_peak() -> int:
    """Restart the count of the peak memory, and return the bytes that the process holds.

    Memory that earlier calls freed is returned to the system first; otherwise a process that has
    worked before would seem to need none.
    """
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")
    return read_memory("VmRSS")


def read_memory(what: str) -> int:
    """The bytes that the process holds now ("VmRSS") or held at its peak ("VmHWM")."""
    with open("/proc/self/status") as status:
        line = next(line for line in status if line.startswith(what))
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    if sys.argv[1] == "ants-program":
        sys.exit(ants_program(sys.argv[2:]))
    elif sys.argv[1] == "simpleitk-example":
        simpleitk_example(int(sys.argv[2]), *sys.argv[3:])
    else:
        main(sys.argv[1], int(sys.argv[2]))
