"""What a verdict consists of: messages, each with its next step, and measures."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from n4ax.errors import InputError

SERIOUS = frozenset(
    {"few-samples", "non-positive", "otsu-mask", "small-mask", "strong-field", "two-values"}
)
"""The codes of messages after which a result should not be used before someone has looked at it."""


class Message:
    """A message: what was seen, and what to do next.

    Parameters
    ----------
    code
        A short word that names the kind of message and stays the same.
    template
        The text. Parameters stand in it as in the messages of :class:`n4ax.errors.InputError`.
    *values
        What ``{0}``, ``{1}`` and so on stand for.
    """

    def __init__(self, code: str, template: str, *values: Any) -> None:
        self.code = code
        self._words = InputError(template, *values)

    @property
    def serious(self) -> bool:
        """Whether the result should not be used before someone has looked at it."""
        return self.code in SERIOUS

    def with_options(self, options: Mapping[str, str]) -> str:
        """The text in the words of a command line.

        Parameters
        ----------
        options
            What each parameter is called there; a parameter that is missing keeps its name.
        """
        return self._words.with_options(options)

    def __str__(self) -> str:
        return str(self._words)

    def __repr__(self) -> str:
        return f"<{self.code}: {self}>"


@dataclass(frozen=True)
class Verdict:
    """What is to be said of a correction.

    Attributes
    ----------
    messages
        What was seen, in a fixed order; none if nothing is suspicious. ``str(message)`` is the
        text, and ``message.code`` names its kind.
    measures
        Numbers that describe the correction; ``None`` for one that cannot be computed.

        - ``cjv_before``, ``cjv_after``: the coefficient of joint variation, (s1 + s2) / |m1 - m2|
          of two classes of voxels. Both are of the same voxels, so that a lower number means more
          even tissues. The classes are cut from the image less its local mean.
        - ``inu_med``, ``inu_range``: the median of the field in the mask, and the distance
          between its 5th and 95th percentile, as MRIQC names them.
        - ``inu_p05``, ``inu_p95``: these percentiles.
    """

    messages: tuple[Message, ...]
    measures: dict[str, float | None]

    @property
    def codes(self) -> list[str]:
        """The codes of the messages."""
        return [message.code for message in self.messages]

    @property
    def is_suspicious(self) -> bool:
        """Whether any message is serious."""
        return any(message.serious for message in self.messages)

    def describe(self, options: Mapping[str, str]) -> dict[str, Any]:
        """The verdict as an object of JSON, its texts in the words of a command line."""
        return {
            "Messages": [
                {
                    "Code": message.code,
                    "Serious": message.serious,
                    "Text": message.with_options(options),
                }
                for message in self.messages
            ],
            "Measures": self.measures,
        }
