"""Doors that take images: of libraries, by their paths, and with SimpleITK's class."""

import warnings
from typing import Any

import numpy as np
import SimpleITK as sitk

import n4ax
import n4ax.simpleitk
from n4ax import N4Settings
from reliability.differential.given import (
    PLAIN,
    Given,
    InapplicableError,
    check_same,
    describe,
    to_array,
)

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import torch


def read_by_simpleitk(given: Given) -> None:
    """Images of SimpleITK."""
    found = n4ax.fit(
        given.read("image"),
        given.read("mask"),
        weights=given.read("weights"),
        **given.problem.keywords,
    )
    check_same(describe(found), given.of_images)


def give_the_path(given: Given) -> None:
    """The names of files."""
    paths = {name: str(path) for name, path in given.paths.items()}
    found = n4ax.fit(
        paths["image"],
        given.load("mask") if given.random.random() < 0.5 else paths.get("mask", given.mask),
        weights=paths.get("weights"),
        **given.problem.keywords,
    )
    check_same(describe(found), given.of_images)


def mix_libraries(given: Given) -> None:
    """A mask and weights of another library than that of the image."""
    weights: Any = given.problem.weights
    if given.random.random() < 0.5 and weights is not None:
        weights = torch.from_numpy(weights.copy())
    mask = given.mask if given.random.random() < 0.5 else given.read("mask")
    image = given.load("image")
    found = n4ax.fit(image, mask, weights=weights, **given.problem.keywords)
    check_same(describe(found), given.of_images)


def use_the_filter(given: Given) -> None:
    """SimpleITK's class, with its names and its number of threads."""
    plain = given.keep(PLAIN)
    keywords = plain.problem.keywords
    if keywords.get("itk_tool") == "ants":
        raise InapplicableError
    threads, settings = keywords.get("itk_threads"), N4Settings(**keywords)
    n4 = n4ax.simpleitk.N4BiasFieldCorrectionImageFilter()
    n4.SetMaximumNumberOfIterations(settings.iters)
    n4.SetConvergenceThreshold(settings.conv_threshold)
    n4.SetNumberOfHistogramBins(settings.nbins)
    n4.SetBiasFieldFullWidthAtHalfMaximum(settings.fwhm)
    n4.SetWienerFilterNoise(settings.wiener)
    n4.SetSplineOrder(settings.spline_order)
    mesh = np.broadcast_to(keywords["mesh"], given.problem.ndim)
    n4.SetNumberOfControlPoints([int(n) + settings.spline_order for n in mesh])
    n4.SetShrinkFactor(settings.shrink_factor)
    n4.SetUseMaskLabel(settings.mask_label is not None)
    n4.SetMaskLabel(settings.mask_label or 1)
    n4.SetArithmetic(settings.arithmetic)
    n4.SetItkVersion(settings.itk_version)
    mask, image = plain.read("mask"), plain.read("image")
    if isinstance(mask, str):
        single = sitk.Cast(image, sitk.sitkFloat32)  # as N4 takes it; 8 bits have other bins
        mask = n4ax.otsu_mask(single) if mask == "otsu" else None
    before = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    try:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(threads or 1)
        corrected = n4.Execute(image, mask, weights=plain.read("weights"))
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(before)
    found = {"corrected": corrected, "log_bias": n4.GetLogBiasFieldAsImage(image)}
    check_same({name: to_array(voxels) for name, voxels in found.items()}, plain.of_images)


DOORS = (read_by_simpleitk, give_the_path, mix_libraries, use_the_filter)
