"""The methods of a bias field, and of what a correction returns."""

from functools import cache
from os.path import normpath
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

import n4ax
from reliability.fuzz.arguments import SHAPES, draw_good_image, draw_image, draw_mask, draw_thing
from reliability.fuzz.listings import find_changes, list_folder
from reliability.fuzz.refusals import call_or_refuse, freeze
from reliability.fuzz.targets.arrays import digest

SHARE = 1.5
SECONDS = 10.0


@cache
def _find_fields() -> list[n4ax.BiasField]:
    """Fields of images of every shape, which every process makes once."""
    fields: list[n4ax.BiasField] = []
    for number, shape in enumerate(SHAPES):
        image = np.random.default_rng(number).uniform(40, 90, shape).astype("f4")
        order = ("C", "F")[number % 2]
        keywords: dict[str, Any] = {"arithmetic": "itk"} if number == 3 else {}
        affine = {"spacing": 1.5} if number % 3 == 0 else {}
        fields.append(
            n4ax.fit(image, "all", iters=(1,), voxel_order=order, **affine, **keywords).field
        )
    return fields


def try_input(random: Random, folder: Path) -> str:
    """Call a method; it gives what belongs to the field, or refuses what cannot be used."""
    field = random.choice(_find_fields())
    before = freeze(field.control_points)
    method = random.choice((_evaluate, _evaluate_at, _apply, _apply, _save, _load, _change))
    text = method(random, field, folder)
    assert before == freeze(field.control_points), "the field was changed"
    return text


def _draw_shape(random: Random, field: n4ax.BiasField) -> Any:
    choice = random.random()
    if choice < 0.3:
        return field.shape
    if choice < 0.7:
        return tuple(random.choice((0, 1, 2, 3, 7, 9)) for _ in field.shape)
    if choice < 0.8:
        return (10 ** random.randint(12, 30),) * len(field.shape)
    thing = draw_thing(random)
    return 3 if isinstance(thing, int) and 10**6 < thing < 2**36 else thing  # a huge line is a grid


def _evaluate(random: Random, field: n4ax.BiasField, _folder: Path) -> str:
    shape = _draw_shape(random, field)
    keywords: dict[str, Any] = {}
    if random.random() < 0.3:
        keywords["num_threads"] = random.choice((1, 2, draw_thing(random)))
    if random.random() < 0.05:
        keywords["engine"] = draw_thing(random)
    result, refusal = call_or_refuse(lambda: field.evaluate(shape, **keywords))
    return refusal if result is None else _check_values(result, field, shape)


def _evaluate_at(random: Random, field: n4ax.BiasField, _folder: Path) -> str:
    shape = _draw_shape(random, field)
    affine = random.choice(
        (None, np.eye(4), np.diag([2.0, 2, 2, 1]), np.zeros((4, 4)), np.full((4, 4), np.nan),
         np.eye(3), np.eye(4) * 1e300, draw_thing(random))
    )  # fmt: skip
    result, refusal = call_or_refuse(lambda: field.evaluate_at(shape, affine))
    return refusal if result is None else _check_values(result, field, shape)


def _check_values(result: Any, field: n4ax.BiasField, shape: Any) -> str:
    wanted = field.shape if shape is None else tuple(shape)
    assert result.shape == wanted, (result.shape, wanted)
    assert result.dtype == np.float32
    assert np.isfinite(result).all()
    return digest(result)


def _apply(random: Random, field: n4ax.BiasField, _folder: Path) -> str:
    shape = field.shape if random.random() < 0.6 else random.choice(SHAPES)
    image = draw_image(random, shape) if random.random() < 0.5 else draw_good_image(random, shape)
    keywords: dict[str, Any] = {}
    if random.random() < 0.6:
        keywords["outside"] = random.choice(("divide", "keep", "zero", draw_thing(random)))
    if random.random() < 0.6:
        keywords["mask"] = draw_mask(random, shape)
    if random.random() < 0.2:
        keywords["num_threads"] = random.choice((1, 2, draw_thing(random)))
    before = [freeze(value) for value in (image, *keywords.values())]
    result, refusal = call_or_refuse(lambda: field.apply(image, **keywords))
    assert before == [freeze(value) for value in (image, *keywords.values())], "changed"
    if result is None:
        return refusal
    assert result.shape == np.shape(image), (result.shape, np.shape(image))
    return digest(result)


def _save(random: Random, field: n4ax.BiasField, folder: Path) -> str:
    name = random.choice(
        ("f.npz", "f.nii", "f.nii.gz", "f", "new/f.npz", "f.NPZ", "a b.npz", "é.npz", "f.mgz",
         "f" * 300 + ".npz", "", ".", draw_thing(random))
    )  # fmt: skip
    path = str(folder / name) if isinstance(name, str) else name
    before = list_folder(folder)
    if not isinstance(path, str) or "\0" in path:
        return call_or_refuse(lambda: n4ax.BiasField.load(path))[1]
    _, refusal = call_or_refuse(lambda: field.save(path))
    changed = find_changes(before, list_folder(folder))
    assert changed == ([] if refusal else [normpath(name)]), (name, changed, refusal)
    if refusal:
        return refusal
    again = n4ax.BiasField.load(path)
    assert digest(again.control_points) == digest(field.control_points)
    assert repr(again) == repr(field)
    return digest(again.evaluate())


def _load(random: Random, field: n4ax.BiasField, folder: Path) -> str:
    path = folder / random.choice(("f.npz", "f.nii", "f.nii.gz"))
    field.save(path)
    content = bytearray(path.read_bytes())
    for _ in range(random.choice((1, 1, 3, 20))):
        content[random.randrange(len(content))] = random.randrange(256)
    if random.random() < 0.3:
        del content[random.randrange(len(content)) :]
    path.write_bytes(content)
    again, refusal = call_or_refuse(lambda: n4ax.BiasField.load(path))
    return refusal if again is None else f"{again!r} {digest(again.control_points)}"


def _change(random: Random, field: n4ax.BiasField, _folder: Path) -> str:
    names = ("control_points", "order", "shape", "axes", "voxel_order", "affine", "arithmetic",
             "itk_tool")  # fmt: skip
    given = {name: getattr(field, name) for name in (*names, "axes_known")}
    given[random.choice(names)] = draw_thing(random)
    made, refusal = call_or_refuse(lambda: n4ax.BiasField(**given))
    return refusal if made is None else repr(made)
