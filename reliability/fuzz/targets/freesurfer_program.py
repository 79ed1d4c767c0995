"""The program ``AntsN4BiasFieldCorrectionFs`` with command lines from a grammar."""

from os.path import normpath
from pathlib import Path
from random import Random

from n4ax.ants.freesurfer import main
from n4ax.images.names import find_files
from reliability.fuzz.checks import Call
from reliability.fuzz.folders import draw_input_name, draw_output_name, fill_folder
from reliability.fuzz.targets.ants_program import draw_environment
from reliability.fuzz.texts import draw_number_text, draw_word, mutate

SHARE = 1.5
SECONDS = 20.0

_OPTIONS = {
    "-i": "--input", "-o": "--output", "-s": "--shrink", "-t": "--iters", "-d": "--dtype",
    "-r": "--replace-zeros", "-e": "--threads-nondetermistic",
}  # fmt: skip
_REFUSED = ("-x", "-m", "--mask", "-c", "--rescale", "--rescale-only", "-h", "--help", "--version")


def try_input(random: Random, folder: Path) -> str:
    """Call the program; it corrects the image, or says in one line why not."""
    place = fill_folder(random, folder)
    words = _make_words(random)
    call = Call(main, words, place, draw_environment(random))
    if call.said.status:
        assert call.said.status == 1, call.said
        call.check_refusal("AntsN4BiasFieldCorrectionFs (n4ax): error: ")
    else:
        names = (word.removeprefix("-o") for word in words)  # -oNAME is -o NAME
        files = (place / file for name in names for file in find_files(Path(name or ".")))
        assert set(call.changed) <= set(map(normpath, files)), (words, call.changed)
    return call.summarise()


def _make_words(random: Random) -> list[str]:
    words = ["-i", draw_input_name(random), "-o", draw_output_name(random)]
    words += ["-s", random.choice(("1", "1", "1", "2")), "-t", *random.choices("112", k=2)]
    for _ in range(random.choice((0, 0, 1, 1, 2, 3))):
        words += _draw_option(random)
    if random.random() < 0.25:
        at = random.randrange(len(words))
        words[at] = mutate(random, words[at]) if random.random() < 0.7 else draw_word(random)
    if random.random() < 0.1:
        del words[random.randrange(len(words))]
    return words


def _draw_option(random: Random) -> list[str]:
    flag = random.choice([*_OPTIONS])
    name = _OPTIONS[flag] if random.random() < 0.3 else flag
    if random.random() < 0.08:
        return [random.choice((*_REFUSED, mutate(random, name)))]
    if flag == "-d":
        return [name, random.choice(("float", "uchar", "int", "UCHAR", "short", draw_word(random)))]
    if flag == "-r":
        count = random.choice((0, 2, 3, 3, 3, 3, 4))
        small = ("0", "1", "-1", "0.5", "1e30")
        return [name, *(random.choice((*small, draw_number_text(random))) for _ in range(count))]
    if flag == "-t":
        return [name, *random.choices(("0", "1", "2", "-1", "x", "1.0"), k=random.randint(0, 12))]
    if flag in ("-i", "-o"):
        return [name, random.choice((draw_input_name, draw_output_name))(random)]
    return [name, draw_number_text(random)]
