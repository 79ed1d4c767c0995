"""What says that an image was corrected before it came here.

| by | what is looked for |
|---|---|
| Siemens | ``NORM`` in ``ImageType`` or ``ImageTypeText`` |
| Philips | the word ``CLEAR`` where a scan is described |
| GE | the words ``PURE`` and ``SCIC`` there |
| any tool | an entry such as ``PrescanNormalize`` or ``BiasFieldCorrected`` that is true |
| n4ax | the description in the header, or ``N4`` in the metadata |
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Literal

Already = Literal["skip", "warn", "correct"]
"""What becomes of such an image: it is left out, corrected with a note, or corrected."""

_DESCRIPTIONS = (
    "ImageType", "ImageTypeText", "ScanOptions", "SeriesDescription", "ProtocolName",
    "ImageComments",
)  # fmt: skip
"""Entries of dcm2niix that describe a scan in words."""

_WORDS = {"philips": ("CLEAR",), "ge": ("PURE", "SCIC")}
"""What the vendors call their corrections, by how ``Manufacturer`` begins."""

_SWITCHES = re.compile(
    r"prescannormali|normalizefilter|uniformitycorrect|intensitycorrect|bias(field)?correct"
)
_OFF = ("", "0", "0x0", "false", "n/a", "no", "none", "off")


def find_signs(metadata: Mapping[str, Any], signed: bool = False) -> list[str]:
    """Find what says that an image was corrected before, in words.

    Parameters
    ----------
    metadata
        The entries of the JSON file beside the image, as BIDS and dcm2niix write them.
    signed
        Whether the header of the image says that n4ax made it.
    """
    own = ["the header says that n4ax made it"] if signed else []
    if isinstance(metadata.get("N4"), dict):
        own.append("its JSON file says that N4 corrected it")
    return [*own, *_find_vendors(metadata), *_find_switches(metadata)]


def _find_vendors(metadata: Mapping[str, Any]) -> Iterator[str]:
    for name in ("ImageType", "ImageTypeText"):
        if "NORM" in _split(metadata.get(name)):
            yield f"{name} has NORM"
            break
    vendor = str(metadata.get("Manufacturer", "")).lower()
    for start, words in _WORDS.items():
        for name in _DESCRIPTIONS if re.match(rf"{start}\b", vendor) else ():
            for word in words:
                if word in _split(metadata.get(name)):
                    yield f"{name} has {word}"


def _find_switches(metadata: Mapping[str, Any]) -> Iterator[str]:
    for name, value in metadata.items():
        known = re.sub(r"[^a-z]", "", str(name).lower())
        if _SWITCHES.search(known) and _is_on(value):
            yield f"{name} is {str(value).lower() if isinstance(value, bool) else value}"


def _is_on(value: Any) -> bool:
    if isinstance(value, str):
        return value.strip().lower() not in _OFF
    return isinstance(value, bool | int | float) and bool(value)


def _split(value: Any) -> list[str]:
    """The words of a text or of a list of texts, in capital letters."""
    texts = value if isinstance(value, list) else [value]
    joined = " ".join(text for text in texts if isinstance(text, str))
    return re.split(r"[^A-Z0-9]+", joined.upper())
