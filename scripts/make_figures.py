"""Draw the pictures of the documentation, docs/images/*.webp, and print their captions.

Usage: python -m scripts.make_figures [NAME ...]      such as hero, gallery-flair, parameter-mask

Without names all are drawn. Volumes are looked for in ../shared/data; without that folder the
packaged head stands in for the T1w head, and pictures of the others are skipped. The settings of
N4 are in the captions, the numbers in pictures and captions come from the run.
"""

import sys
from collections.abc import Callable
from functools import partial

from scripts.figures import gallery, sharpening, spline
from scripts.figures.volumes import SHARED

FIGURES: dict[str, Callable[[], str | None]] = {
    "hero": gallery.hero,
    **{name: partial(gallery.example, name) for name in gallery.GALLERY},
    "parameter-iterations": spline.iterations,
    "parameter-spline-distance": spline.spline_distance,
    "parameter-spline-order": spline.spline_order,
    "parameter-shrink": spline.shrink,
    "parameter-threshold": spline.threshold,
    "parameter-fwhm": sharpening.fwhm,
    "parameter-noise": sharpening.noise,
    "parameter-bins": sharpening.bins,
    "parameter-mask": sharpening.mask,
    "parameter-non-positive": sharpening.non_positive,
    "parameter-outside": sharpening.outside,
}


def main(names: list[str]) -> None:
    unknown = set(names) - FIGURES.keys()
    if unknown:
        raise SystemExit(f"no picture {', '.join(sorted(unknown))}; there are {', '.join(FIGURES)}")
    if not SHARED.exists():
        print("../shared/data is not there: the packaged head is used, other volumes are skipped\n")
    for name in names or FIGURES:
        caption = FIGURES[name]()
        print(f"{name}.webp: {caption or 'skipped, its volume is not in ../shared/data'}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
