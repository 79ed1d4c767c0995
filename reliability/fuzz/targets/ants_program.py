"""The program ``N4BiasFieldCorrection`` with words from a grammar, and with changed good ones."""

from os.path import normpath
from pathlib import Path
from random import Random
from re import sub

from n4ax.ants.grammar import CLOSING, OPENING
from n4ax.ants.options import FLAGS, read_options
from n4ax.ants.program import main
from n4ax.images.names import find_files
from reliability.fuzz.checks import Call
from reliability.fuzz.folders import draw_input_name, draw_output_name, fill_folder
from reliability.fuzz.texts import draw_number_text, draw_vector, draw_word, mutate

SHARE = 4.0
SECONDS = 20.0

GOOD = (
    "-s 1 -c [2x2,1e-7] -b [200]",
    "-s 1 -c [1x1x1x1x1,1e-7] -b [200] -r -w weights.nii",
    "-b [200] -x mask.nii -r -s 1 -c [1,0]",
    "-s 2 -c [2x1,1e-7]",
    "-s 1 -c [2]",
    "-s 1 -c [2x2,1e-7] -b [1x1x1,3]",
    "-x mask.nii -s 2 -c [2x2,1e-10] -b [200] -w weights.nii",
    "-w mask.nii -s 2 -b [100,3] -c [5,0.0]",
    "-s 1 -c [2x2x2,0.001] -x otsu -t [0.15,0.01,200]",
    "-b [200] -s 2 -c [2x2x1x1,1e-8] -r 0",
    "-b [300] -s 1 -c [2x2x2x2,1e-6]",
    "-s 2 -w weights.nii -x mask.nii -b [200] -c [3x3,1e-4]",
    "-s 1 -c [2x1x1,1e-4] -x otsu",
    "-b [600] -s 1 -c [1x1]",
)
"""What pipelines pass, with fewer iterations since the images are tiny."""

_HUGE = "[1000000x1,1e30]"  # the threshold ends it after an iteration


def try_input(random: Random, folder: Path) -> str:
    """Call the program; it corrects the image, or says in one line why not."""
    place = fill_folder(random, folder)
    words = make_words(random)
    environment = draw_environment(random)
    call = Call(main, words, place, environment)
    if call.said.status:
        assert call.said.status == 1, call.said
        call.check_refusal("N4BiasFieldCorrection (n4ax): error: ")
    elif call.changed:
        _check_written(call, words, place)
    return sub(r"Elapsed time: \S+", "", call.summarise())


def _check_written(call: Call, words: list[str], place: Path) -> None:
    """Check that what changed was named by ``-o``, and that no mask and no weights did."""
    options = read_options(words)
    named = [path for path in (options.corrected, options.bias) if path is not None]
    outputs = {normpath(place / file) for path in named for file in find_files(path)}
    assert set(call.changed) <= outputs, f"{words} changed {call.changed}"
    kept = {normpath(place / str(path)) for path in (options.mask, options.weights)}
    assert not kept & set(call.changed), f"{words} changed {call.changed}"


def draw_environment(random: Random) -> dict[str, str]:
    """Variables that the program reads; most of the time there are none."""
    if random.random() < 0.9:
        return {}
    name = random.choice(
        ("N4AX_ARITHMETIC", "N4AX_ITK_VERSION", "N4AX_ENGINE", "NSLOTS",
         "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS", "ITK_GLOBAL_DEFAULT_THREADER",
         "ITK_NUMBER_OF_THREADS_ENV_LIST", "ITK_USE_THREADPOOL", "OMP_NUM_THREADS")
    )  # fmt: skip
    known = random.choice(("itk", "limit", "5", "6", "cpu", "pool", "platform", "2", "OFF"))
    value = known if random.random() < 0.6 else draw_word(random)
    return {name: value.replace("\0", "")}


def make_words(random: Random) -> list[str]:
    """A command line."""
    choice = random.random()
    if choice < 0.35:
        return _change_good(random)
    words = [] if choice > 0.95 else ["-i", draw_input_name(random), "-s", "1"]
    for _ in range(random.choice((0, 1, 1, 2, 2, 3, 5))):
        words += _draw_option(random)
    if choice < 0.95:
        words += ["-o", _draw_outputs(random)]
        if "-c" not in words and "--convergence" not in words:
            words += ["-c", random.choice(("[1]", "[2x1,0.1]", _HUGE))]
    return words or [draw_word(random)]


def _change_good(random: Random) -> list[str]:
    """A command line that is right, with some words changed, dropped, doubled or moved."""
    words = [
        *random.choice((("-d", "3"), (), ("-d", "2"), ("-d", "4"))),
        *("-i", random.choice(("i.nii", "i.nii", "i.nii.gz", "slice.nii", "series.nii"))),
        *random.choice(GOOD).split(),
        *("-o", random.choice(("o.nii", "[o.nii,b.nii]", "o.nii.gz"))),
        *random.choice(((), ("-v", "1"), ("-v",))),
    ]  # fmt: skip
    for _ in range(random.choice((0, 1, 1, 1, 2, 3))):
        at = random.randrange(len(words))
        choice = random.random()
        if choice < 0.5:
            words[at] = mutate(random, words[at])
        elif choice < 0.65:
            del words[at]
        elif choice < 0.75:
            words.insert(at, words[at])
        elif choice < 0.85:
            words[at] = draw_word(random)
        else:
            words.insert(random.randrange(len(words)), words.pop(at))
    return words


def _draw_option(random: Random) -> list[str]:
    flag = random.choice([*FLAGS])
    name = FLAGS[flag] if random.random() < 0.3 else flag
    if random.random() < 0.05:
        return [
            random.choice((mutate(random, name), "-h", "--help", "--version", draw_word(random)))
        ]
    if random.random() < 0.07:
        return [name]
    return [name, *_draw_value(random, flag)]


def _draw_value(random: Random, flag: str) -> list[str]:
    if random.random() < 0.1:
        return [draw_word(random)]
    if flag in ("-i", "-x", "-w"):
        return [draw_input_name(random)]
    if flag == "-o":
        return [_draw_outputs(random)]
    if flag in ("-c", "-b", "-t"):
        return _draw_brackets(random, _draw_parameters(random, flag))
    if flag in ("-d", "-s", "-r", "-v") and random.random() < 0.7:
        return [random.choice("01234")]
    return [draw_number_text(random)]


def _draw_parameters(random: Random, flag: str) -> list[str]:
    """What stands in the brackets; iterations are few, or the threshold ends them."""
    if flag == "-c":
        if random.random() < 0.1:
            return [random.choice(("1000000x1", "99999999999x1")), "1e30"]
        counts = "x".join(random.choices("01123", k=random.choice((1, 1, 2, 3, 4, 5, 12, 40))))
        return [counts, draw_number_text(random)][: random.choice((1, 2, 2))]
    first = random.choice((draw_vector, draw_number_text))(random)
    return [first, *(draw_number_text(random) for _ in range(random.choice((0, 1, 1, 2, 3))))]


def _draw_brackets(random: Random, parameters: list[str]) -> list[str]:
    """Parameters in brackets, which may be of any kind, apart, nested, or not closed."""
    sign = random.choice((",",) * 8 + (", ", " ,", ",,", ";"))
    kind = random.randrange(4)
    start, end = OPENING[kind], CLOSING[kind if random.random() < 0.9 else random.randrange(4)]
    text = sign.join(parameters)
    choice = random.random()
    if choice < 0.7:
        return [f"{start}{text}{end}"]
    if choice < 0.8:
        return f"{start} {text} {end}".split(" ")
    return [
        random.choice((text, start + text, text + end, start * 2 + text + end * 2, start + end))
    ]


def _draw_outputs(random: Random) -> str:
    names = [draw_output_name(random) for _ in range(random.choice((1, 1, 1, 2, 2, 3)))]
    if len(names) == 1 and random.random() < 0.7:
        return names[0]
    return _draw_brackets(random, names)[0]
