"""The images of a study: from their files to what the search works on."""

from collections.abc import Sequence

from n4ax.correction.recipe import Recipe, Task
from n4ax.correction.work import find_volumes
from n4ax.errors import InputError
from n4ax.inputs import Run
from n4ax.scan import How, read_scan, view_scan
from n4ax.tuning.choice import Look


def look_at_images(recipe: Recipe, tasks: Sequence[Task]) -> list[Look]:
    """Look at images on coarse grids. Of each image no more than its grid stays in memory.

    Parameters
    ----------
    recipe
        The settings, which are to be chosen for all images, and what a field is estimated on.
    tasks
        The images with their masks and tissues. Nothing is written for them.

    Raises
    ------
    InputError
        N4 cannot work with an image. The message names it.
    ValueError
        A file cannot be read. The message names it.
    """
    if recipe.series in ("each", "4d"):
        raise InputError(
            "{series} is {0!r}, and one setting is looked for: give mean, first, b0, the number of "
            "a volume, or several such as 0,5,10",
            recipe.series,
        )
    return [_look_at(recipe, task) for task in tasks]


def _look_at(recipe: Recipe, task: Task) -> Look:
    try:
        scan = read_scan(task.image)
        if recipe.series is None and scan.volumes > 1:
            raise InputError(
                "{image} is a series of {0} volumes: say with {series} what the field is estimated "
                'on, such as {series:"mean"}, {series:"first"} or {series:0}',
                scan.volumes,
            )
        how = How(find_volumes(recipe, task, scan), tissues=task.tissues)
        run = Run("cpu", recipe.threads)
        return Look(str(task.image), *view_scan(recipe.settings, scan, task.mask, how, run))
    except InputError as error:
        raise error.about(str(task.image)) from None
