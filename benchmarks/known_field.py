"""Quality compared with the truth: a flat head is multiplied by a known field, which is recovered.

Two heads of 2.3 mm are made from the packaged head. "corrected" is that head after a correction by
N4, with all the texture of a real image. If N4 mistook anatomy for shading, or shading for anatomy,
the mistake stays in this head, so the error without any field is not zero. In "classes", each voxel
is set to the mean of its class of four, and the image is blurred for partial volume. This head is
flat by construction and no method's answer, but simpler than a real head. The field is that of a
few coils around the head, and no spline. Noise is added after the field, as in the scanner.
"""

import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
from scipy.cluster.vq import kmeans2
from scipy.ndimage import binary_erosion, gaussian_filter

import n4ax
from benchmarks import plots, volumes
from benchmarks.peers import Worker, prepare_peer
from n4ax.settings import N4Settings

STRENGTHS = (1.0, 1.1, 1.4, 2.0)
"""Strengths of the field: its 95th over its 5th percentile in the mask. The first is no field."""

NOISE = 0.025
"""Sigma of the Rician noise, as a fraction of the intensity of white matter."""

BLUR = 0.6
"""Sigma of the blur that stands for partial volume, in voxels."""

COILS = ((-1.5, 0.3, 0.9), (-0.4, 1.7, -1.0), (0.8, -1.6, 0.6), (1.8, 0.5, -0.5))
"""Positions of the coils, in half extents of the volume; a coil's field is 1 / (1 + d^2)^1.5."""

_DEFAULTS = N4Settings().keywords()
FAST = {k: v for k, v in N4Settings.fast().keywords().items() if v != _DEFAULTS[k]}
WAYS: dict[str, tuple[str, dict[str, Any]]] = {
    "SimpleITK, shrink 2": ("SimpleITK", {"shrink_factor": 2}),
    "n4ax, shrink 2": ("n4ax", {"shrink_factor": 2}),
    "n4ax by XLA, shrink 2": ("n4ax by XLA", {"shrink_factor": 2}),
    "n4ax, all voxels": ("n4ax", {}),
    "n4ax, threshold 0, all voxels": ("n4ax", {"conv_threshold": 0.0}),
    "n4ax fast, all voxels": ("n4ax", FAST),
    "n4ax 0.1.1, all voxels": ("n4ax 0.1.1", {}),
}
"""The peer and the keywords of each way. Defaults are SimpleITK's; 0.1.1 has its own."""

REFERENCE = "SimpleITK, shrink 2"
SHOWN = ("classes", 1.4)
"""The head and the strength of which the middle slice is drawn."""

Volume = npt.NDArray[np.float64]


class Head(NamedTuple):
    """A flat head, its mask, and the inner voxels of its white matter-like class."""

    image: Volume
    mask: npt.NDArray[np.bool_]
    white: npt.NDArray[np.bool_]


def measure(quick: bool, rounds: int) -> dict[str, Any]:
    """Recover all fields; ``rounds`` is not used, since the answers are the same every time."""
    del rounds
    heads = make_heads()
    names = ("classes",) if quick else tuple(heads)
    rows, picture = [], None
    with tempfile.TemporaryDirectory() as folder:
        workers = {name: Worker(prepare_peer(name)) for name in {way[0] for way in WAYS.values()}}
        try:
            for name in names:
                unshaded = None
                for strength in STRENGTHS[::2] if quick else STRENGTHS:
                    truth = make_field(heads[name].mask, strength)
                    image = shade(heads[name], truth)
                    fields = recover(image, heads[name].mask, workers, Path(folder))
                    unshaded = unshaded or fields
                    rows += judge(name, strength, heads[name], image, truth, fields, unshaded)
                    if (name, strength) == SHOWN:
                        picture = pick_slices(truth, fields, heads[name].mask)
                    print(f"  {name} {strength}: {summarise(rows[-len(fields) :])}", flush=True)
        finally:
            for worker in workers.values():
                worker.__exit__()
    described = {"shape": list(heads[names[0]].image.shape), "noise": NOISE}
    described |= {name: int(heads[name].mask.sum()) for name in names}
    return {"heads": described, "rows": rows, "shown": list(SHOWN), "picture": picture}


def summarise(rows: list[dict[str, Any]]) -> str:
    """The mean error of each way in percent, and in brackets that of the added field."""
    return ", ".join(
        f"{row['way']} {100 * row['error']['mean']:.2f} ({100 * row['added']['mean']:.2f}) %"
        for row in rows
    )


# ---- the truth ----------------------------------------------------------------------------------


def make_heads() -> dict[str, Head]:
    """The packaged head after one correction, and the head made of its four classes."""
    given = volumes.load_volume(volumes.PACKAGED)
    inside = given.mask != 0
    corrected = np.maximum(n4ax.n4(given.image, given.mask, engine="cpu").astype(float), 0.0)
    # The classes, from dark to bright: dark, grey, white, and brighter than white (fat, vessels).
    start = np.percentile(corrected[inside], [5, 40, 80, 99])
    centres, label = kmeans2(corrected[inside], start, minit="matrix")
    white = np.zeros_like(inside)
    white[inside] = label == 2
    white = binary_erosion(white)
    classes = np.zeros_like(corrected)
    classes[inside] = centres[label]
    classes[~inside] = np.minimum(corrected[~inside], centres[0] / 4)
    return {
        "corrected": Head(corrected, inside, white),
        "classes": Head(gaussian_filter(classes, BLUR), inside, white),
    }


def make_field(inside: npt.NDArray[np.bool_], strength: float) -> Volume:
    """The log field of a few coils, scaled to ``strength``, with a mean of 0 in the mask."""
    axes = np.meshgrid(*(np.linspace(-1, 1, n) for n in inside.shape), indexing="ij", sparse=True)
    fields = [
        (1 + sum((axis - at) ** 2 for axis, at in zip(axes, coil, strict=True))) ** -3.0
        for coil in COILS
    ]
    log_field = 0.5 * np.log(sum(fields))
    low, high = np.percentile(log_field[inside], [5, 95])
    return (log_field - log_field[inside].mean()) * np.log(strength) / (high - low)


def shade(head: Head, truth: Volume) -> npt.NDArray[np.float32]:
    """The head multiplied by the field, with Rician noise."""
    random = np.random.default_rng(0)
    sigma = NOISE * head.image[head.white].mean()
    real, imaginary = sigma * random.standard_normal((2, *head.image.shape))
    return np.hypot(head.image * np.exp(truth) + real, imaginary).astype(np.float32)


# ---- the recovered fields -----------------------------------------------------------------------


def recover(
    image: npt.NDArray[np.float32],
    inside: npt.NDArray[np.bool_],
    workers: dict[str, Worker],
    folder: Path,
) -> dict[str, Volume]:
    """The log field that each way finds."""
    given = folder / "shaded.npz"
    np.savez(given, image=image, mask=inside.astype(np.uint8))
    fields = {}
    for way, (name, keywords) in WAYS.items():
        output = folder / "field.npy"
        workers[name].ask(do="correct", input=str(given), keywords=keywords, output=str(output))
        fields[way] = np.load(output).astype(float)
    return fields


def judge(
    name: str,
    strength: float,
    head: Head,
    image: npt.NDArray[np.float32],
    truth: Volume,
    fields: dict[str, Volume],
    unshaded: dict[str, Volume],
) -> list[dict[str, Any]]:
    """The errors of the fields and the spread of the white matter, one row for each way.

    ``unshaded`` has the fields that each way finds in the head without a field, because it mistakes
    anatomy for shading.
    """
    rows = []
    white = {"flat": variation(image / np.exp(truth), head.white)}
    white["before"] = variation(image, head.white)
    for way, field in fields.items():
        gap = (field - truth)[head.mask]
        added = (field - unshaded[way] - truth)[head.mask]
        rows.append(
            {
                "head": name,
                "strength": strength,
                "way": way,
                "error": summarise_gap(gap - gap.mean()),
                "with_level": summarise_gap(gap),
                "added": summarise_gap(added - added.mean()),
                "uncorrected": summarise_gap(truth[head.mask]),
                "white": white | {"after": variation(image / np.exp(field), head.white)},
                "to_reference": volumes.compare_fields(field, fields[REFERENCE], head.mask),
            }
        )
    return rows


def summarise_gap(gap: npt.NDArray[np.float64]) -> dict[str, float]:
    """The mean and the 95th percentile of the absolute differences."""
    return {"mean": float(np.abs(gap).mean()), "p95": float(np.percentile(np.abs(gap), 95))}


def variation(image: npt.NDArray[Any], where: npt.NDArray[np.bool_]) -> float:
    """The coefficient of variation of the intensities at the voxels ``where``."""
    return float(image[where].std() / image[where].mean())


# ---- plots --------------------------------------------------------------------------------------


def pick_slices(
    truth: Volume, fields: dict[str, Volume], inside: npt.NDArray[np.bool_]
) -> dict[str, list[str]]:
    """Every other voxel of the middle slice, of the true field and the fields without their level.

    Each row is a string of whole numbers, in units of 1e-4 of the log field; "." is outside the
    mask.
    """
    middle = (slice(None, None, 2), inside.shape[1] // 2, slice(None, None, 2))
    shown = {"truth": truth} | {
        way: field - (field - truth)[inside].mean()
        for way, field in fields.items()
        if "threshold" not in way  # its slice looks like that of fast
    }
    return {
        name: [
            " ".join(str(round(1e4 * v)) if there else "." for v, there in zip(*line, strict=True))
            for line in zip(field[middle], inside[middle], strict=True)
        ]
        for name, field in shown.items()
    }


def parse_slice(lines: list[str]) -> Volume:
    """A slice from its strings; NaN outside the mask."""
    return np.array([[np.nan if v == "." else 1e-4 * int(v) for v in x.split()] for x in lines])


def draw(result: dict[str, Any], folder: Path) -> None:
    """Draw both plots."""
    draw_errors(result, folder / "exactness-known-field-errors.svg")
    draw_slices(result, folder / "exactness-known-field.svg")


def draw_errors(result: dict[str, Any], path: Path) -> None:
    """Plot the errors of the field and the spread of white matter against the field's strength."""
    heads = list(dict.fromkeys(row["head"] for row in result["rows"]))
    figure, axes = plt.subplots(
        3, len(heads), figsize=(4 * len(heads) + 2.4, 8), squeeze=False, sharex=True
    )
    labels = ["mean error of the field, %", "of the added field, %", "variation in white matter, %"]
    for head, column in zip(heads, axes.T, strict=True):
        for way, (name, _) in WAYS.items():
            rows = [row for row in result["rows"] if (row["head"], row["way"]) == (head, way)]
            strengths = [row["strength"] for row in rows]
            shrunken = "shrink" in way
            look = {
                "color": plots.COLOURS[name], "label": way, "linestyle": "-" if shrunken else "--",
                "marker": choose_marker(way),
                "markerfacecolor": "none", "markersize": {"SimpleITK": 11, "n4ax": 8}.get(name, 5),
            }  # fmt: skip
            values = [
                [row["error"]["mean"], row["added"]["mean"], row["white"]["after"]] for row in rows
            ]
            for axis, line in zip(column, np.transpose(values), strict=True):
                axis.plot(strengths, 100 * line, **look)
        for what, style, label in (("before", "-", "uncorrected"), ("flat", ":", "no field")):
            values = [100 * row["white"][what] for row in rows]
            column[2].plot(strengths, values, style, color="0.7", label=label)
        for axis, label in zip(column, labels, strict=True):
            axis.set(ylabel=label, ylim=(0, 1.05 * axis.get_ylim()[1]))
        column[0].set_title(head)
        column[2].set_xlabel("strength of the field, p95 / p5")
    handles, names = axes[2, 0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside right center", fontsize=8)
    plots.save(figure, path)
    plt.close(figure)


def choose_marker(way: str) -> str:
    marks = {"fast": "s", "threshold": "D", "shrink": "o"}
    return next((mark for word, mark in marks.items() if word in way), "x")


def draw_slices(result: dict[str, Any], path: Path) -> None:
    """Draw the true field and the recovered fields in one slice, with their errors below."""
    slices = {name: parse_slice(lines) for name, lines in result["picture"].items()}
    truth = slices.pop("truth")
    limit, error = np.nanmax(np.abs(truth)), 0.12
    figure, axes = plt.subplots(2, len(slices) + 1, figsize=(2 * len(slices) + 2.6, 4.4))
    for axis, title, field in zip(axes[0], ["truth", *slices], [truth, *slices.values()],
                                  strict=True):  # fmt: skip
        shades = axis.imshow(field[::-1], cmap="RdBu_r", vmin=-limit, vmax=limit)
        axis.set_title(title.replace(", ", ",\n"), fontsize=8)
    axes[1, 0].set_visible(False)
    for axis, field in zip(axes[1, 1:], slices.values(), strict=True):
        errors = axis.imshow((field - truth)[::-1], cmap="PuOr_r", vmin=-error, vmax=error)
    for axis in axes.flat:
        axis.set_axis_off()
    figure.colorbar(shades, ax=axes[0], label="log field", shrink=0.8)
    figure.colorbar(errors, ax=axes[1], label="difference to the truth", shrink=0.8)
    plots.save(figure, path)
    plt.close(figure)
