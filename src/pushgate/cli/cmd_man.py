"""``pushgate man``: the page of the manual, of the same help as ``--help``.

The macros: https://man7.org/linux/man-pages/man7/man.7.html
"""

from __future__ import annotations

import re
import textwrap
from importlib.metadata import version

from . import overview
from .all_parsers import all_parsers
from .parsed_options import ParsedOptions
from .parser import Parser

_GATEWAY = re.compile(r"^gateway:\n((?:  .*\n)+)", re.MULTILINE)


def parser() -> Parser:
    return Parser(
        "man",
        "Print the page of the manual.",
        "  pushgate man | man -l -\n  pushgate man > ~/.local/share/man/man1/pushgate.1",
    )


def run(_options: ParsedOptions) -> int:
    """Returns 0."""
    title, _, text = overview().partition("\n\n")
    name, _, purpose = title.partition(" - ")
    print(f'.TH PUSHGATE 1 "" "pushgate {version("pushgate")}"')
    print(f".SH NAME\n{name} \\- {_escaped(purpose)}")
    print(f".SH DESCRIPTION\n{_verbatim(text)}")
    helps = {command: made.format_help() for command, made in all_parsers().items()}
    for command, help_text in helps.items():
        print(f".SH {command.upper()}\n{_verbatim(_GATEWAY.sub(_names_alone, help_text))}")
    gateway = _GATEWAY.search(helps["push"])  # which has all of them
    print(f".SH GATEWAY OPTIONS\n{_verbatim(gateway[1] if gateway else '')}")
    return 0


def _names_alone(gateway: re.Match[str]) -> str:
    names = ", ".join(re.findall(r"^  (--[a-z0-9-]+)", gateway[1], re.MULTILINE))
    return f"gateway:\n{textwrap.fill(names, 78, initial_indent='  ', subsequent_indent='  ')}\n"


def _verbatim(text: str) -> str:
    return f".nf\n.in 0\n{_escaped(text.rstrip())}\n.in\n.fi"


def _escaped(text: str) -> str:
    """Text of which no character is special to roff."""
    lines = text.replace("\\", "\\e").replace("-", "\\-").splitlines()
    return "\n".join(f"\\&{line}" if line.startswith((".", "'")) else line for line in lines)
