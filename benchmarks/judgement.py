"""Goals beside what was measured: the rows of the table of goals, from the figures of its section.

A goal is met if the figure is not beyond it, by not a hair. "As fast as" and "faster than" allow
for 5 %, since two runs of the same program differ by as much.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

SLOWER = 1.05
"""Up to this ratio of two medians, one call is as fast as the other."""

NO_MORE = 1.25
"""Up to this ratio of a first run to a second one, the first has compiled nothing."""

DEFAULT_CALL, FIT = 1.1, SLOWER
SMALL_ITERATION, ITERATION = 0.1e-3, 3e-3
SHRUNKEN_BY = 150.0
FAST = 0.2
FILE_TO_FILE = 3.5
IMPORT, HELP = 60e-3, 150e-3
ITK_BY, OLD_BY = 800.0, 15.0
STUDIES_BEFORE, STUDIES_BY = 52.4, 1.5
"""Times a loop of ANTsPy that n4ax 0.2.0 at 5421ed7 corrected a dataset, and by how much more."""

GPU_SECONDS, GPU_OLD_BY, GPU_SHARE = 10e-3, 10.0, 0.25
GPU_DEFAULT, GPU_OLD_SCHEDULE = "SimpleITK's defaults", "(8,12,12,8) x 1.8"
GPU_ALL, GPU_ITERATIONS = "[50,50,30,20], all", 150


_MEASURE = (
    "the measure that ends a level is predicted in every iteration, and computed in some five of "
    "them, where the prediction cannot tell; iterations have become faster too"
)
WHY: dict[str, str] = {
    "`n4(head)`, full resolution": _MEASURE,
    "the estimation in it alone": _MEASURE,
    "an iteration of a very small image": (
        "what Python does between the kernels takes half of it, and sharpening the histogram a "
        "sixth"
    ),
    "shrink factor 4, the estimation": (
        "SimpleITK takes a shorter time here than on the machine that the goal was set on; ours "
        "takes a third for what does not depend on the size, and two threads help little"
    ),
    "`N4Settings.fast()`": (
        "all iterations have become faster too; the steps on a thinned image are calls of the same "
        "fixed cost"
    ),
    "an iteration at full resolution, 2 threads": (
        "counting the histogram and looking up the expected intensities take a third each, and "
        "their additions and look-ups at scattered places are half of what the machine can do"
    ),
    "an iteration beside SimpleITK's": (
        "SimpleITK takes 1.6 s on this machine, and took 2.9 s on the one that the goal was set on"
    ),
    "`n4ax bids`, a dataset of heads": (
        "the goal was set on another machine, where ANTsPy takes another time; beside the version "
        "before on one machine, a study of 24 images took 1 / 1.53 of the time"
    ),
    "GPU: a volume of 256 × 176 × 256, defaults": "measured before this version on an H100",
    "GPU: that volume with the iterations of n4ax 0.1.1": "measured before this version on an H100",
}
"""Why a goal is missed, by what a user does; a goal that is met does not show it."""


class Row(NamedTuple):
    """A row of the table."""

    what: str
    """What a user does."""
    goal: str
    measured: str
    verdict: str


def list_rows(result: dict[str, Any]) -> list[Row]:
    """All rows, in the order of the goals."""
    rows = []
    for name, judge, titles in PARTS:
        part = result[name]
        if isinstance(part, dict) and "why" in part:
            rows += [Row(*title, "–", f"not measured: {part['why']}") for title in titles]
        else:
            rows += judge(part)
    return [explain(row) for row in rows]


def explain(row: Row) -> Row:
    """Add to a row why its goal is missed, if it is and that is known."""
    if row.what not in WHY or not row.verdict.startswith("missed"):
        return row
    return row._replace(verdict=f"{row.verdict}: {WHY[row.what]}")


def at_most(figure: float, goal: float) -> str:
    """Whether a figure is at most the goal, or by how much it is above."""
    return "met" if figure <= goal else f"missed by {format_excess(figure / goal)}"


def at_least(figure: float, goal: float) -> str:
    """Whether a figure is at least the goal, or by how much it is below."""
    return "met" if figure >= goal else f"missed by {format_excess(goal / figure)}"


def format_excess(ratio: float) -> str:
    """How far a ratio is above 1: in %, or from 2 on as a factor."""
    if ratio >= 1.995:
        return f"a factor of {format_factor(ratio)}"
    percent = 100 * (ratio - 1)
    digits = 0 if percent >= 9.95 else 1
    return f"{percent:.{digits}f} %" if percent >= 0.05 else "less than 0.1 %"


def format_factor(ratio: float) -> str:
    """A factor, with two decimals below 2, one below 10 and none above."""
    return f"{ratio:.2f}" if ratio < 1.995 else f"{ratio:.1f}" if ratio < 9.95 else f"{ratio:,.0f}"


def format_time(seconds: float) -> str:
    """Seconds, or milliseconds, with three digits."""
    value, unit = (seconds, "s") if seconds >= 1 else (1e3 * seconds, "ms")
    digits = 2 if value < 9.995 else 1 if value < 99.95 else 0
    return f"{value:.{digits}f} {unit}"


def format_pair(found: dict[str, Any]) -> str:
    """How many times as long one takes as another, and both times."""
    beside = f"{format_time(found['seconds'])} beside {format_time(found['beside'])}"
    return f"{format_factor(found['ratio'])} times: {beside}"


# ---- calls in memory -----------------------------------------------------------------------------

_DEFAULTS = [
    ("`n4(head)`, full resolution", f"at most {DEFAULT_CALL} times its iterations at threshold 0"),
    ("the estimation in it alone", f"at most {DEFAULT_CALL} times its iterations at threshold 0"),
    ("`fit(head)`, threshold 0", "as fast as `n4(head)`"),
    ("`fit(head)`, defaults", "as fast as `n4(head)`"),
]
_SMALL = [("an iteration of a very small image", f"at most {1e3 * SMALL_ITERATION:.1f} ms")]
_THREADS = [("two threads from 50,000 voxels on", "faster than one")]
_SHRUNKEN = [
    ("shrink factor 4, the estimation", f"at least {SHRUNKEN_BY:.0f} times as fast as SimpleITK")
]
_FAST = [
    ("`N4Settings.fast()`", f"at most {100 * FAST:.0f} % of the time of all iterations, each head")
]


def judge_defaults(found: dict[str, Any]) -> list[Row]:
    """The default call beside its iterations alone, and ``fit`` beside ``n4``."""
    goals = (DEFAULT_CALL, DEFAULT_CALL, FIT, FIT)
    names = ("call", "solve", "fit at threshold 0", "fit at the defaults")
    return [
        Row(*title, format_pair(found[name]), at_most(found[name]["ratio"], goal))
        for title, name, goal in zip(_DEFAULTS, names, goals, strict=True)
    ]


def judge_small(found: dict[str, Any]) -> list[Row]:
    """The part of an iteration that does not depend on the size."""
    seconds, voxels = found["seconds"], found["voxels"]
    measured = f"{1e3 * seconds:.3f} ms, {voxels:,} voxels in the mask"
    return [Row(*_SMALL[0], measured, at_most(seconds, SMALL_ITERATION))]


def judge_threads(found: list[dict[str, Any]]) -> list[Row]:
    """Two threads beside one."""
    each = "; ".join(
        f"{format_factor(one['ratio'])} times as fast on {one['voxels']:,}" for one in found
    )
    return [Row(*_THREADS[0], each, at_least(min(one["ratio"] for one in found), SLOWER))]


def judge_shrunken(found: dict[str, Any]) -> list[Row]:
    """SimpleITK's example beside ours at shrink factor 4."""
    theirs, ours = (found["spread"][name]["median"] for name in ("their_solve", "our_solve"))
    ratio = theirs / ours
    measured = f"{format_factor(ratio)} times: {format_time(ours)} beside {format_time(theirs)}"
    return [Row(*_SHRUNKEN[0], measured, at_least(ratio, SHRUNKEN_BY))]


def judge_fast(found: list[dict[str, Any]]) -> list[Row]:
    """The fast preset on all heads."""
    shares = [one["ratio"] for one in found]
    missed = [one for one in found if one["ratio"] > FAST]
    measured = f"{100 * min(shares):.0f} % to {100 * max(shares):.0f} % of the time"
    if not missed:
        return [Row(*_FAST[0], measured, f"met on all {len(found)}")]
    each = ", ".join(f"{one['name']} by {format_excess(one['ratio'] / FAST)}" for one in missed)
    return [Row(*_FAST[0], measured, f"missed on {len(missed)} of {len(found)}: {each}")]


# ---- programs ------------------------------------------------------------------------------------

_PROGRAMS = [
    (
        "niPreps' call of ANTs' program, file to file",
        f"at most {FILE_TO_FILE} times importing NumPy and nibabel",
    ),
    ("niPreps' call, the first on a machine", "compiles nothing, writes nothing to a cache"),
    ("niPreps' call where nothing can be written", "compiles nothing"),
    ("`import n4ax`", f"at most {1e3 * IMPORT:.0f} ms"),
    ("`n4ax --help`", f"at most {1e3 * HELP:.0f} ms"),
]


def judge_programs(found: dict[str, Any]) -> list[Row]:
    """File to file, first runs, and the start of Python."""
    file, first, start = found["file to file"], found["first"], found["start"]
    written = first["files"]
    rows = [
        Row(*_PROGRAMS[0], format_pair(file), at_most(file["ratio"], FILE_TO_FILE)),
        Row(
            *_PROGRAMS[1],
            f"{format_pair(first['first'])} for the second; {written} files written",
            judge_first(first["first"], written),
        ),
        Row(
            *_PROGRAMS[2],
            f"{format_pair(first['unwritable'])} where it can",
            judge_first(first["unwritable"], 0),
        ),
    ]
    for title, goal in zip(_PROGRAMS[3:], (IMPORT, HELP), strict=True):
        one = start[title[0].strip("`")]
        measured = (
            f"{format_time(one['seconds'])}, {format_factor(one['ratio'])} times `python -c pass`"
        )
        rows.append(Row(*title, measured, at_most(one["seconds"], goal)))
    return rows


def judge_first(found: dict[str, Any], written: int) -> str:
    """Whether a first run took no longer than a second one, and left nothing behind."""
    if found["ratio"] > NO_MORE:
        return f"missed by {format_time(found['seconds'] - found['beside'])}"
    return f"missed by {written} files" if written else "met"


# ---- the iteration, and studies ------------------------------------------------------------------

_ITERATIONS = [
    ("an iteration at full resolution, 2 threads", f"at most {1e3 * ITERATION:.0f} ms"),
    ("an iteration beside SimpleITK's", f"at least {ITK_BY:.0f} times as fast as SimpleITK"),
    ("an iteration beside n4ax 0.1.1's", f"at least {OLD_BY:.0f} times as fast as n4ax 0.1.1"),
]
_STUDIES = [
    (
        "`n4ax bids`, a dataset of heads",
        f"at least {STUDIES_BY * STUDIES_BEFORE:.0f} times a loop of ANTsPy, {STUDIES_BY} times as "
        f"many as the {STUDIES_BEFORE:.0f} of before",
    )
]


def judge_iterations(found: dict[str, Any]) -> list[Row]:
    """An iteration at full resolution beside the peers."""
    times = {name: peer["spread"]["median"] for name, peer in found["peers"].items()}
    ours = times["n4ax"]
    rows = [Row(*_ITERATIONS[0], format_time(ours), at_most(ours, ITERATION))]
    peers = (("SimpleITK", ITK_BY), ("n4ax 0.1.1", OLD_BY))
    for title, (name, goal) in zip(_ITERATIONS[1:], peers, strict=True):
        ratio = times[name] / ours
        measured = f"{format_factor(ratio)} times, which takes {format_time(times[name])}"
        rows.append(Row(*title, measured, at_least(ratio, goal)))
    return rows


def judge_studies(found: dict[str, Any]) -> list[Row]:
    """Images a minute, as a multiple of ANTsPy's, which is the same on other machines."""
    ratio = found["faster_by"]["median"]
    theirs, ours = (found["spread"][name]["median"] for name in ("theirs", "ours"))
    measured = f"{format_factor(ratio)} times: {ours:.0f} images a minute beside {theirs:.1f}"
    if "origin" in found:
        origin = found["origin"]
        where = f"{origin['processor']}, {origin['date']}, {origin['revision']}"
        measured += f" (not of this run: {where})"
    return [Row(*_STUDIES[0], measured, at_least(ratio, STUDIES_BY * STUDIES_BEFORE))]


# ---- the GPU -------------------------------------------------------------------------------------

_GPU = [
    ("GPU: a volume of 256 × 176 × 256, defaults", f"at most {1e3 * GPU_SECONDS:.0f} ms"),
    (
        "GPU: that volume with the iterations of n4ax 0.1.1",
        f"at least {GPU_OLD_BY:.0f} times as fast as n4ax 0.1.1",
    ),
    (
        f"GPU: that volume, {GPU_ITERATIONS} iterations",
        f"at least {100 * GPU_SHARE:.0f} % of the rate of memory",
    ),
    ("GPU: looks of the host at the device, an iteration", "none"),
    ("GPU: run again, in the process and in another", "the same bits"),
]


def judge_gpu(found: dict[str, Any]) -> list[Row]:
    """What the last run on a GPU has found, as far as it has looked."""
    row = found["row"]
    rows = [judge_gpu_time(row)]
    for title, judge in zip(_GPU[1:3], (judge_gpu_old, judge_gpu_memory), strict=True):
        rows.append(Row(*title, *judge(row, found)))
    return [*rows, judge_gpu_looks(found), judge_gpu_bits(found)]


def judge_gpu_time(row: dict[str, Any]) -> Row:
    seconds = row[GPU_DEFAULT]["median"]
    return Row(*_GPU[0], format_time(seconds), at_most(seconds, GPU_SECONDS))


def judge_gpu_old(row: dict[str, Any], _: dict[str, Any]) -> tuple[str, str]:
    if "old" not in row:
        return "–", "not measured: n4ax 0.1.1 was not given"
    theirs, ours = row["old"]["median"], row[GPU_OLD_SCHEDULE]["median"]
    ratio = theirs / ours
    measured = f"{format_factor(ratio)} times: {format_time(ours)} beside {format_time(theirs)}"
    return measured, at_least(ratio, GPU_OLD_BY)


def judge_gpu_memory(row: dict[str, Any], found: dict[str, Any]) -> tuple[str, str]:
    bound = GPU_ITERATIONS * row["bytes per iteration"] / found["bandwidth"]
    took = row[GPU_ALL]["median"]
    share = bound / took
    measured = f"{100 * share:.0f} %: {format_time(took)}, copies would take {format_time(bound)}"
    return measured, at_least(share, GPU_SHARE)


def judge_gpu_looks(found: dict[str, Any]) -> Row:
    looks = found.get("profile", {}).get("looks")
    if looks is None:
        return Row(*_GPU[3], "–", "not measured: the last run on a GPU had no profile")
    launches = found["profile"]["launches"]
    measured = f"{looks:.1f} looks, {launches:.1f} launches"
    return Row(*_GPU[3], measured, "met" if looks < 0.05 else f"missed by {looks:.1f}")


def judge_gpu_bits(found: dict[str, Any]) -> Row:
    bits = found.get("bits", {})
    if any(bits.get(name) is None for name in ("runs", "processes")):
        return Row(*_GPU[4], "–", "not measured: the last run on a GPU did not compare them")
    unlike = [name for name in ("runs", "processes") if not bits[name]]
    measured = f"they differ between {' and '.join(unlike)}" if unlike else "they are the same"
    return Row(*_GPU[4], measured, "missed" if unlike else "met")


PARTS: tuple[tuple[str, Callable[[Any], list[Row]], list[tuple[str, str]]], ...] = (
    ("defaults", judge_defaults, _DEFAULTS),
    ("small", judge_small, _SMALL),
    ("threads", judge_threads, _THREADS),
    ("shrunken", judge_shrunken, _SHRUNKEN),
    ("fast", judge_fast, _FAST),
    ("programs", judge_programs, _PROGRAMS),
    ("iterations", judge_iterations, _ITERATIONS),
    ("studies", judge_studies, _STUDIES),
    ("gpu", judge_gpu, _GPU),
)
"""The parts of the section, what judges them, and what a user does with which goal."""
