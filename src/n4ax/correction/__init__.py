"""What ``n4ax correct`` does with image files: one or many, each with its mask and its results.

:mod:`n4ax.correction.plan` finds the images and names the results, :mod:`n4ax.correction.work`
corrects one image and writes all its files, :mod:`n4ax.correction.run` does that for all of them,
and :mod:`n4ax.correction.table` remembers what was done.
"""
