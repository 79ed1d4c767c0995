"""How the pages write numbers; a number that is not known is a dash."""

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
