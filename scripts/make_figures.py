"""Draw the pictures of the documentation, docs/images/*.webp, and print their captions.

Usage: python -m scripts.make_figures [NAME ...]      such as hero, gallery-flair, parameter-mask

Without names, all pictures are drawn. Volumes are read from ../shared/data. Without that folder,
the packaged head replaces the T1w head, and the pictures of other volumes are skipped. The
captions give the settings of N4; the numbers in pictures and captions come from the run.
"""

import sys
from collections.abc import Callable
from functools import partial

from scripts.figures import choice, gallery, sharpening, spline
from scripts.figures.volumes import SHARED

FIGURES: dict[str, Callable[[], str | None]] = {
    "hero": gallery.draw_hero,
    **{name: partial(gallery.draw_example, name) for name in gallery.GALLERY},
    "choice": choice.draw_choice,
    "parameter-iterations": spline.draw_iterations,
    "parameter-spline-distance": spline.draw_spline_distance,
    "parameter-spline-order": spline.draw_spline_order,
    "parameter-shrink": spline.draw_shrink,
    "parameter-threshold": spline.draw_threshold,
    "parameter-fwhm": sharpening.draw_fwhm,
    "parameter-noise": sharpening.draw_noise,
    "parameter-bins": sharpening.draw_bins,
    "parameter-mask": sharpening.draw_mask,
    "parameter-non-positive": sharpening.draw_non_positive,
    "parameter-outside": sharpening.draw_outside,
}


def main(names: list[str]) -> None:
    unknown = set(names) - FIGURES.keys()
    if unknown:
        raise SystemExit(
            f"there is no picture {', '.join(sorted(unknown))}; choose from {', '.join(FIGURES)}"
        )
    if not SHARED.exists():
        print(
            "../shared/data does not exist: the packaged head is used, other volumes are skipped\n"
        )
    for name in names or FIGURES:
        caption = FIGURES[name]()
        print(f"{name}.webp: {caption or 'skipped, its volume is not in ../shared/data'}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
