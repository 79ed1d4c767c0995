"""The program ``n4ax``: all commands, with all options that they have."""

from collections.abc import Callable
from pathlib import Path
from random import Random
from re import sub

import click

from n4ax.cli import main, n4ax_command
from reliability.fuzz.checks import Call
from reliability.fuzz.folders import IMAGES, draw_input_name, draw_output_name, fill_folder
from reliability.fuzz.studies import fill_study
from reliability.fuzz.texts import SMALL, draw_number_text, draw_vector, draw_word, mutate

SHARE = 5.0
SECONDS = 60.0

_WEIGHTS = {"correct": 60, "apply": 14, "ants": 5, "shim": 6, "tune": 3, "bids": 8, "report": 3,
            "demo": 1}  # fmt: skip
_MASKS = (
    "otsu", "all", "none", "mask.nii", "mask.nii=1", "weights.nii>0.5", "otsu & mask.nii",
    "otsu+mask.nii", "mask.nii | weights.nii", "!mask.nii", "(mask.nii", "mask.nii &",
    "{stem}_mask.nii", "mask.nii=1,2", "mask.nii=", "mask.nii>", "mask.nii>1e400", "mask.nii>nan",
    "mask.nii>-", "!!otsu", "((((otsu))))", "(" * 2000 + "otsu" + ")" * 2000, "!" * 3000 + "otsu",
    "mask.nii=" + "9" * 5000, "mask.nii=１", "mask.nii>１", "mask.nii=-1", "mask.nii=1=2",
    "otsu & other.nii", "flat.nii", "zero.nii", "nan.nii", "all & !all", "otsu otsu", "&", "|", "!",
)  # fmt: skip
_SLOW = {"xla"}  # JAX compiles for seconds
_NEVER = {"cluster", "scheduler"}  # start programs of a cluster
_FEW = ("--iters", "1", "--shrink-factor", "1")


def try_input(random: Random, folder: Path) -> str:
    """Call a command; it does its work, or says in one line why not, and writes nothing then."""
    place = fill_folder(random, folder)
    name = random.choices([*_WEIGHTS], weights=[*_WEIGHTS.values()])[0]
    words = _make_words(random, name, place)
    call = Call(lambda given: _ignore_abort(main, given), words, place)
    if call.said.status == 2 and not call.said.err.startswith("Usage: "):  # help without a command
        start = "N4BiasFieldCorrection (n4ax): error: " if words[0] == "ants" else "n4ax: error: "
        call.check_refusal(start)
    unnamed = [one for one in IMAGES if not any(one in word for word in words)]
    kept = {f"{place}/{one}" for one in unnamed} & set(call.changed)
    assert not kept, f"{words} changed {kept}"
    return _drop_times(call.summarise())


def _ignore_abort(run: Callable[..., int], words: list[str]) -> int:
    status = run(words)
    return status if status in (0, 1, 2) else 99


def _drop_times(text: str) -> str:
    """Drop what differs between two runs: seconds, and digests of files that hold them."""
    text = sub(r"[\d.]+ s\b|[\d,.]+ a minute|took [\d:]+", "", text)
    return sub(r"(\.(?:json|tsv|html|png|npz|log|txt)):\d+", r"\1", text)


def _make_words(random: Random, name: str, place: Path) -> list[str]:
    if random.random() < 0.02:
        return [draw_word(random) or "x" for _ in range(random.randint(1, 3))]
    command = n4ax_command.commands[name]
    words = [*_draw_arguments(random, name, place)]
    options = [one for one in command.params if isinstance(one, click.Option)]
    options = [one for one in options if one.name not in _NEVER]
    for option in random.sample(options, min(len(options), random.choice((0, 1, 1, 2, 2, 3, 4)))):
        words += _draw_option(random, option)
    if random.random() < 0.15 and words:
        at = random.randrange(len(words))
        words[at] = mutate(random, words[at])
    if random.random() < 0.05 and words:
        random.shuffle(words)
    return [name, *words, *_keep_short(random, name, words)]


def _keep_short(random: Random, name: str, words: list[str]) -> list[str]:
    """Options that make an input quick to try."""
    if name == "correct" and "--preset" in words and "auto" in words and random.random() < 0.9:
        return ["--preset", "simpleitk", *_FEW]
    if name == "correct":
        return [*_FEW]
    if name == "bids":
        return ["--dry-run"]
    if name == "demo":  # a whole head
        return ["--num-threads", "0"]
    if name == "tune" and random.random() < 0.9:
        return ["--mask", "missing.nii"]
    if name == "ants":
        return ["-s", "1", "-c", "[1]"]
    return []


def _draw_arguments(random: Random, name: str, place: Path) -> list[str]:
    if name in ("correct", "tune"):
        count = random.choice((0, 1, 1, 1, 1, 1, 2, 3))
        return [draw_input_name(random) for _ in range(count)]
    if name == "apply":
        field = random.choice(("field.npz", "field.npz", "i.nii", draw_input_name(random)))
        if random.random() < 0.7:
            (place / "field.npz").write_bytes(_make_field())
        return [field, *(draw_input_name(random) for _ in range(random.choice((0, 1, 1, 2))))]
    if name == "ants":
        return ["-i", draw_input_name(random), "-o", draw_output_name(random)]
    if name == "bids":
        fill_study(place / "study")
        output = random.choice(("study/derivatives/n4ax", "out", draw_output_name(random)))
        level = random.choice(("participant", "participant", "group", draw_word(random)))
        return [
            random.choice(("study", "study", "study", "folder", draw_word(random))),
            output,
            level,
        ]
    if name == "demo":
        return []
    return [random.choice(("folder", "new/x", "missing", draw_output_name(random)))]


def _draw_option(random: Random, option: click.Option) -> list[str]:
    name = random.choice([*option.opts, *option.secondary_opts])
    if option.is_flag:
        return [name if random.random() < 0.95 else f"{name}=1"]
    if random.random() < 0.03:
        return [name]
    value = _draw_value(random, option)
    return (
        [name, value] if random.random() < 0.8 or not name.startswith("--") else [f"{name}={value}"]
    )


def _draw_value(random: Random, option: click.Option) -> str:
    """A value for an option, by what its type or its help says that it takes."""
    if random.random() < 0.12:
        return draw_word(random)
    if isinstance(option.type, click.Choice):
        return str(random.choice([one for one in option.type.choices if one not in _SLOW]))
    metavar = option.metavar or ""
    if option.name == "mask":
        return random.choice(_MASKS)
    if option.name == "jobs":  # threads of the machine
        return random.choice(("0", "1", "2", "-1", "x"))
    if "x" in metavar:  # several numbers
        return random.choice((random.choice(SMALL), draw_vector(random)))
    if any(word in metavar for word in ("FILE", "DIR", "PNG", "TSV", "FIELD")):
        return random.choice((draw_input_name, draw_output_name, draw_output_name))(random)
    if option.name == "series":
        return random.choice(
            ("mean", "first", "each", "b0", "4d", "0", "0,1", "5", "²", "٣", "0,,1")
        )
    good = random.choice(("0", "1", "2", "2.5", "-1", "200", "_c"))
    return good if random.random() < 0.5 else draw_number_text(random)


def _make_field() -> bytes:
    """The file of a field, which every process makes once."""
    if not _FIELD:
        from tempfile import TemporaryDirectory

        import numpy as np

        import n4ax

        with TemporaryDirectory() as folder:
            path = Path(folder) / "field.npz"
            image = np.random.default_rng(0).uniform(40, 90, (6, 5, 4))
            n4ax.fit(image, "all", iters=(1,), affine=np.eye(4), voxel_order="F").field.save(path)
            _FIELD.append(path.read_bytes())
    return _FIELD[0]


_FIELD: list[bytes] = []
