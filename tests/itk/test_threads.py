"""The number of threads that ITK would use."""

import os

import pytest

from n4ax.itk.threads import find_default_threads

ITK = "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({ITK: "3"}, 3),
        ({ITK: " 5 threads"}, 5),
        ({"NSLOTS": "4"}, 4),
        ({"NSLOTS": "4", ITK: "2"}, 2),
        ({"NSLOTS": "4", "SLURM_CPUS": "9", "ITK_NUMBER_OF_THREADS_ENV_LIST": "SLURM_CPUS"}, 9),
        ({ITK: "1000"}, 128),
        ({}, os.cpu_count()),
        ({ITK: "many"}, os.cpu_count()),
        ({"NSLOTS": "4", ITK: "0"}, os.cpu_count()),
    ],
)
def test_the_last_variable_that_is_set_decides(environ: dict[str, str], expected: int) -> None:
    assert find_default_threads(environ) == expected
