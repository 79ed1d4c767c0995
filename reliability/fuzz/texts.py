"""Words that go wrong on a command line, drawn from a random source."""

from random import Random

NUMBERS = (
    "0", "1", "2", "3", "4", "-1", "-0", "+5", "007", "1.0", "2.5", ".5", "5.", "-.5", "1e-7",
    "1e400", "-1e400", "1e-400", "1e38", "3.5e38", "1e-39", "nan", "NaN", "-nan", "inf",
    "-Infinity", "0x10", "1_000", "１２", "٣", "²", "½", "1,5", "1 000", " 4 ", "4\t", "\u00a04",
    "4\n", "1e", "e5", "--4", "+-1", "1e1e1", "2147483647", "2147483648", "4294967296",
    "9223372036854775808", "-9223372036854775809", "1" + "0" * 30, "9" * 5000, "0" * 5000 + "1",
    "0." + "0" * 400 + "1", "1j", "True", "None", "1/2", "1%", "0b1", "1L",
)  # fmt: skip
WORDS = (
    "", " ", "-", "--", "=", "x", "otsu", "OTSU", "all", "none", "None", "true", "off", "auto",
    "*", "?", "~", "$HOME", "{stem}", "{folder}", "{", "}", "{}", "{0}", "{0!r:>{1}}", "%s",
    "%(x)s", "\\", "\\n", "\n", "\t", "a\nb", "a\rb", "\x1b[31m", "\x07", "\u202e", "\u2028",
    "\ufeff", "é", "e\u0301", "İ", "ß", "日本", "😀", "\udcff", "\udc80x", "a" * 300, "a" * 70000,
    "'", '"', "`x`", ";", "|", "&", "!", "[", "]", "[]", "[[]]", "[,]", "(", "<", ">", "#", "@x",
    "@",
)  # fmt: skip
SMALL = ("1", "2", "3", "1x1", "2x1", "1x2x1", "2x2x2", "4", "50x50", "0", "1x0", "3x0x1")
"""Numbers that are right for most options, and quickly done."""


def draw_number_text(random: Random) -> str:
    """A number as text, often one that is none after all."""
    choice = random.random()
    if choice < 0.4:
        return random.choice(NUMBERS)
    if choice < 0.6:
        return str(random.randint(-3, 12))
    if choice < 0.8:
        return f"{random.uniform(-1, 10):.3g}"
    return f"{10.0 ** random.uniform(-45, 45):.17g}"


def draw_vector(random: Random) -> str:
    """Numbers with an ``x`` between them, most of them small and some not."""
    count = random.choice((1, 1, 2, 2, 3, 3, 4, 5, 6, 30))
    sign = random.choice(("x",) * 8 + ("X", ",", "xx", "×"))
    parts = [
        draw_number_text(random) if random.random() < 0.15 else str(random.randint(0, 3))
        for _ in range(count)
    ]
    return sign.join(parts) + random.choice(("",) * 8 + ("x", " "))


def draw_word(random: Random) -> str:
    """Any word that a shell can pass."""
    choice = random.random()
    if choice < 0.5:
        return random.choice(WORDS)
    if choice < 0.7:
        return draw_number_text(random)
    if choice < 0.8:
        return draw_vector(random)
    letters = "abcx019.,-+[](){}<>=/*& |!\n é😀\\'\""
    return "".join(random.choices(letters, k=random.randint(1, 12)))


def mutate(random: Random, word: str) -> str:
    """A word with a letter dropped, doubled, exchanged or added, or with its case changed."""
    at = random.randrange(len(word) + 1)
    extra = random.choice("[](){}<>,x-+ .0e9\n\té")
    return random.choice(
        (
            word[:at] + word[at + 1 :],
            word[:at] + word[at : at + 1] * 2 + word[at + 1 :],
            word[:at] + extra + word[at + 1 :],
            word[:at] + extra + word[at:],
            word.upper(),
            word + word,
            word[:at],
        )
    )
