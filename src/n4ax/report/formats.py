"""How the pages write numbers; a number that is not known is a dash."""

import re

from markupsafe import Markup, escape

_UNKNOWN = "–"


def format_number(value: float | None) -> str:
    """Write a number with three or more digits."""
    if value is None:
        return _UNKNOWN
    decimals = 3 if abs(value) < 10 else 1 if abs(value) < 1000 else 0
    return f"{value:.{decimals}f}".replace("-", "−")


def format_seconds(value: float | None) -> str:
    """Write a time, which is given in seconds."""
    if value is None:
        return _UNKNOWN
    return f"{value:.1f} s" if value < 100 else f"{value:.0f} s"


def format_sentence(text: str) -> Markup:
    """Write a message with a capital letter, and options such as ``--mask`` as code."""
    escaped = str(escape(text[:1].upper() + text[1:]))
    marked = re.sub(r"(?<![\w-])--[a-z][\w-]*", r"<code>\g<0></code>", escaped)
    # All that is from outside is escaped by now.
    return Markup(marked)  # noqa: S704  # nosec B704
