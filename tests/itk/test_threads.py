"""The number of threads that ITK would use, and how it would run them."""

import json
import os
import subprocess
import sys

import pytest

from n4ax.itk.threads import find_default_threader, find_default_threads, read_thread_count

ITK = "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"
LIST = "ITK_NUMBER_OF_THREADS_ENV_LIST"
PROCESSORS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
NUMBERS: list[tuple[dict[str, str], int | None]] = [
    ({ITK: "3"}, 3),
    ({ITK: " 5 threads"}, 5),
    ({"NSLOTS": "4"}, 4),
    ({"NSLOTS": "4", ITK: "2"}, 2),
    ({"NSLOTS": "4", "SLURM_CPUS": "9", LIST: "SLURM_CPUS"}, 9),
    ({"FIRST": "7", "SECOND": "9", LIST: "FIRST:SECOND:THIRD"}, 9),
    ({"NSLOTS": "5", LIST: ""}, None),
    ({ITK: "1000"}, 128),
    ({ITK: "-3"}, 128),
    ({ITK: "9" * 5000}, 128),
    ({ITK: "0" * 5000 + "2"}, 2),
    ({}, None),
    ({ITK: "many"}, None),
    ({"NSLOTS": "4", ITK: "0"}, None),
    ({"NSLOTS": "4", ITK: ""}, None),
]


@pytest.mark.parametrize(("environ", "expected"), NUMBERS)
def test_the_last_variable_that_is_set_decides(
    environ: dict[str, str], expected: int | None
) -> None:
    assert read_thread_count(environ) == expected
    assert find_default_threads(environ) == (expected or PROCESSORS)


@pytest.mark.parametrize(("environ", "_"), NUMBERS)
def test_simpleitk_has_that_number_too(environ: dict[str, str], _: int | None) -> None:
    pytest.importorskip("SimpleITK")
    others = {name: value for name, value in os.environ.items() if name not in (ITK, "NSLOTS")}
    program = "import SimpleITK; print(SimpleITK.ProcessObject.GetGlobalDefaultNumberOfThreads())"
    done = subprocess.run(
        [sys.executable, "-c", program], env=others | environ, capture_output=True, check=True
    )
    assert find_default_threads(environ) == json.loads(done.stdout)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="Linux alone has affinities")
def test_the_default_is_the_processors_that_the_process_may_use() -> None:
    pytest.importorskip("SimpleITK")
    program = (
        "import os; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))]);"
        "from n4ax.itk.threads import find_default_threads; from SimpleITK import ProcessObject;"
        "print([find_default_threads({}), ProcessObject.GetGlobalDefaultNumberOfThreads()])"
    )
    others = {name: value for name, value in os.environ.items() if name not in (ITK, "NSLOTS")}
    done = subprocess.run(
        [sys.executable, "-c", program], env=others, capture_output=True, check=True
    )
    assert json.loads(done.stdout) == [1, 1]


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, "pool"),
        ({"ITK_GLOBAL_DEFAULT_THREADER": "platform"}, "platform"),
        ({"ITK_GLOBAL_DEFAULT_THREADER": "Platform"}, "platform"),
        ({"ITK_GLOBAL_DEFAULT_THREADER": "POOL"}, "pool"),
        ({"ITK_GLOBAL_DEFAULT_THREADER": "none"}, "pool"),
        ({"ITK_USE_THREADPOOL": "No"}, "platform"),
        ({"ITK_USE_THREADPOOL": "yes"}, "pool"),
        ({"ITK_GLOBAL_DEFAULT_THREADER": "none", "ITK_USE_THREADPOOL": "off"}, "pool"),
    ],
)
def test_the_threader_is_the_pool_unless_a_variable_names_the_platform(
    environ: dict[str, str], expected: str
) -> None:
    assert find_default_threader(environ) == expected
