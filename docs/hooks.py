"""What the site does to its pages while it is built (MkDocs calls these functions by name).

In the text of a page, ``<!-- include FILE -->`` stands for a file of the repository, and
``<!-- help COMMAND -->`` for what the command prints with ``--help``.
"""

import os
import re
import subprocess
import sys
from html import unescape
from pathlib import Path
from typing import Any

import griffe
from latex2mathml.converter import convert

ROOT = Path(__file__).parents[1]
_MATHS = re.compile(r'class="arithmatex">\\([(\[])(.*?)\\[)\]]<', re.DOTALL)
_ROLE = re.compile(r":(?:func|class|meth|mod|data):<code>~?([^<]+)</code>")


class TypesAsWritten(griffe.Extension):
    """Types in the docstrings are words, such as ``"itk" or "mean"``, which Griffe would parse."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Give each parameter and result of an object the type that its docstring has."""
        if obj.docstring is None:
            return
        lines = re.findall(r"^([\w, ]+?) : (.+)$", obj.docstring.value, re.MULTILINE)
        written = {name: types for names, types in lines for name in names.split(", ")}
        for section in obj.docstring.parsed:
            for item in section.value if isinstance(section.value, list) else ():
                if getattr(item, "name", None) in written:
                    item.annotation = written[item.name].removesuffix(", optional")


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Fill in included files and the help of commands."""
    markdown = re.sub(r"<!-- include (\S+) -->", lambda found: _included(found[1]), markdown)
    return re.sub(r"<!-- help ([\w. ]+) -->", lambda found: _help(found[1]), markdown)


def on_page_content(html: str, **_: Any) -> str:
    """Formulas to MathML, which browsers show without a script; Sphinx' roles to links."""
    html = _MATHS.sub(lambda found: f'class="maths">{_mathml(*found.groups())}<', html)
    return _ROLE.sub(lambda found: _linked(found[1]), html)


def _included(name: str) -> str:
    """A file of the repository, whose links are made for the repository's root."""
    return (ROOT / name).read_text(encoding="utf-8").replace("](docs/", "](")


def _help(command: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", *command.split(), "--help"],
        env={**os.environ, "COLUMNS": "80", "PYTHONPATH": str(ROOT / "src"), "NO_COLOR": "1"},
        stdout=subprocess.PIPE, text=True, check=True,  # errors are shown
    )  # fmt: skip
    return f"```text\n{done.stdout.strip()}\n```"


def _mathml(bracket: str, formula: str) -> str:
    return convert(unescape(formula).strip(), display="block" if bracket == "[" else "inline")


def _linked(name: str) -> str:
    """A link to what the reference has of that name, or else the name alone."""
    full = name if name.startswith("n4ax") else f"n4ax.{name}"
    return f'<autoref optional identifier="{full}"><code>{name}</code></autoref>'
