"""What the verdict looks for, in the words of a page."""

CHECKS = {
    "two-values": "The image has up to three different intensities in the mask.",
    "few-samples": "The field was estimated on fewer than 200 voxels.",
    "small-mask": "The mask is less than 1 % of the image.",
    "otsu-mask": "Otsu’s threshold kept less than 60 % of what is brighter than the air.",
    "non-positive": "Intensities in the mask are negative, or 0 in more than 0.5 % of it.",
    "strong-field": "The field in the mask reaches over more than a factor of 5.",
    "flat-field": "The field in the mask spans less than 2 %.",
    "fine-mesh": "The finest mesh is as fine as anatomy.",
    "iteration-limit": "A level ended at its limit while the field was still changing.",
    "uneven-tissues": "The tissues can be told apart less well after the correction than before.",
    "already-corrected": "The scanner or n4ax has corrected the image before.",
}
"""What is seen, by the codes of :class:`n4ax.verdict.Message`."""
