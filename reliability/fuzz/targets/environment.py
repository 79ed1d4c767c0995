"""Environment variables of every kind, each in a process of its own."""

import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from random import Random

from benchmarks.peers import ROOT
from reliability.fuzz.folders import make_contents
from reliability.fuzz.texts import draw_number_text, draw_word

SHARE = 1.0
SECONDS = 90.0
FEW = 4  # inputs in the test, since each starts a process

_OWN = ("N4AX_ARITHMETIC", "N4AX_ITK_VERSION", "N4AX_ENGINE")
_THREADS = (
    "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS", "NSLOTS", "OMP_NUM_THREADS", "SLURM_CPUS_PER_TASK",
    "NUMBA_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS",
    "ITK_NUMBER_OF_THREADS_ENV_LIST",    "ITK_GLOBAL_DEFAULT_THREADER", "ITK_USE_THREADPOOL",
)  # fmt: skip
_PLACES = ("HOME", "TMPDIR", "XDG_CACHE_HOME", "N4AX_CACHE_DIR", "NUMBA_CACHE_DIR", "MPLCONFIGDIR")
_WORDS: dict[str, tuple[str, ...]] = {
    "LANG": ("C", "C.UTF-8", "tr_TR.UTF-8", "de_DE.UTF-8", "POSIX", "xx"),
    "LC_ALL": ("C", "C.UTF-8", "tr_TR.UTF-8", "de_DE.UTF-8", "POSIX", "xx"),
    "PYTHONUTF8": ("0", "1"),
    "PYTHONIOENCODING": ("ascii", "latin-1", "utf-16", "ascii:strict"),
    "PYTHONHASHSEED": ("0", "1", "4294967295", "random"),
    "PYTHONWARNINGS": ("error", "default", "ignore"),
    "PYTHONOPTIMIZE": ("1", "2"),
    "PYTHONDONTWRITEBYTECODE": ("1",),
    "PYTHONMALLOC": ("debug", "malloc"),
    "COLUMNS": ("0", "1", "-5", "99999999999", "x"),
    "LINES": ("0", "-1", "x"),
    "TERM": ("dumb", "", "xterm-256color", "nonsense"),
    "NO_COLOR": ("1", ""),
    "FORCE_COLOR": ("1", "3", "x"),
    "NUMBA_DISABLE_JIT": ("0",),
    "NUMBA_CPU_NAME": ("generic",),
    "NUMBA_THREADING_LAYER": ("workqueue", "x"),
    "JAX_PLATFORMS": ("cpu", "gpu", "x"),
    "JAX_ENABLE_X64": ("1", "0"),
    "JAX_DEBUG_NANS": ("1",),
    "XLA_FLAGS": ("--xla_force_host_platform_device_count=2", "--nonsense"),
    "DASK_NUM_WORKERS": ("0", "x"),
    "TZ": ("UTC", "Asia/Kolkata", ":bad", ""),
    "SOURCE_DATE_EPOCH": ("0", "x"),
}


def try_input(random: Random, folder: Path) -> str:
    """Set some variables; the bits stay, and a variable of n4ax with no meaning is named."""
    names = random.sample((*_OWN, *_THREADS, *_PLACES, *_WORDS), random.choice((1, 1, 2, 3)))
    chosen = {name: _draw_value(random, name, folder) for name in names}
    lines, said = _run(folder, chosen)
    plain = _find_plain_lines()
    assert lines[0] == plain[0], f"{chosen}: {lines} and not {plain}"
    for line, usual in zip(lines[1:], plain[1:], strict=True):
        if line == usual or _changes_bits(chosen):
            continue
        assert any(name in said for name in _OWN if name in chosen), f"{chosen}: {line} {said}"
        assert " 0 " not in line, f"{chosen}: {line} and not {usual}"
    for line in said.splitlines():
        assert "error:" in line, f"{chosen}: {said}"
    return f"{lines} {said}"


def _changes_bits(chosen: dict[str, str]) -> bool:
    """Whether variables ask for ITK's arithmetic or for ITK 6, which have bits of their own."""
    asked = chosen.get("N4AX_ARITHMETIC", "").strip(), chosen.get("N4AX_ITK_VERSION", "").strip()
    return asked[0] == "itk" or asked[1] == "6"


def _draw_value(random: Random, name: str, folder: Path) -> str:
    if name in _OWN:
        good = {"N4AX_ARITHMETIC": ("itk", "limit"), "N4AX_ITK_VERSION": ("5", "6")}
        known = (*good.get(name, ("cpu",)), "", " ", "xla " if name != "N4AX_ENGINE" else "CPU")
        return random.choice(known) if random.random() < 0.6 else _draw_possible(random)
    if name in _PLACES:
        (folder / "file").write_bytes(b"")
        choices = (
            "",
            "/",
            "/missing/x",
            f"{folder}/file",
            f"{folder}/new",
            "/proc",
            "/dev/full",
            "~",
            "é",
        )
        return random.choice(choices)
    if name in _WORDS:
        return random.choice(_WORDS[name])
    if name == "NUMBA_NUM_THREADS":  # numba itself stops at others
        return random.choice(("1", "2"))
    return draw_number_text(random)[:1000] if random.random() < 0.7 else _draw_possible(random)


def _draw_possible(random: Random) -> str:
    """A word that the environment of a process can hold."""
    return draw_word(random)[:1000].replace("\0", "")


@cache
def _find_plain_lines() -> list[str]:
    """What the process prints without any of the variables."""
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder:
        return _run(Path(folder), {})[0]


def _run(folder: Path, chosen: dict[str, str]) -> tuple[list[str], str]:
    (folder / "i.nii").write_bytes(make_contents()["i.nii"])
    kept = {name: value for name, value in os.environ.items() if name not in _OWN}
    environment = {**kept, "PYTHONPATH": f"{ROOT}/src:{ROOT}", **chosen}
    done = subprocess.run(
        [sys.executable, "-m", "reliability.fuzz.environment_child", str(folder)],
        cwd=ROOT, env=environment, capture_output=True, timeout=SECONDS, check=False,
    )  # fmt: skip
    said = done.stderr.decode(errors="replace")
    assert done.returncode == 0, f"{chosen}: {done.returncode} {said[-3000:]}"
    encoding = "utf-16" if chosen.get("PYTHONIOENCODING") == "utf-16" else "utf-8"
    return done.stdout.decode(encoding, errors="replace").splitlines(), said
