"""``pushgate completion``: a script by which a shell completes commands and options."""

from __future__ import annotations

import argparse

from ..errors import MissingExtraError
from . import COMMANDS
from .all_parsers import all_parsers
from .parsed_options import ParsedOptions
from .parser import Parser

_SHELLS = ("bash", "zsh", "fish")
_FILES = ("FILE", "PATH", "COMMAND")
_EPILOG = """\
  pushgate completion bash > ~/.local/share/bash-completion/completions/pushgate
  pushgate completion zsh > DIR/_pushgate   where DIR is in $fpath
  pushgate completion fish > ~/.config/fish/completions/pushgate.fish
Needs the extra: pip install 'pushgate[cli]'. The script itself needs nothing.
"""


def parser() -> Parser:
    made = Parser(
        "completion",
        "Print a script by which a shell completes pushgate's commands and options.",
        _EPILOG,
    )
    made.add_argument("shell", choices=_SHELLS, metavar="SHELL", help="bash, zsh or fish")
    return made


def run(options: ParsedOptions) -> int:
    """Returns 0. Raises MissingExtraError without shtab."""
    try:
        import shtab
    except ImportError:
        raise MissingExtraError("completion needs shtab", extra="cli") from None
    root = argparse.ArgumentParser(prog="pushgate", description="Outcomes of batch jobs.")
    root.add_argument("-V", "--version", action="store_true", help="show the version")
    commands = root.add_subparsers()
    for name, command in all_parsers().items():
        for action in command._actions:
            if action.metavar in _FILES:
                action.complete = shtab.FILE  # type: ignore[attr-defined]
            elif action.metavar == "DIR":
                action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]
        commands.add_parser(name, parents=[command], add_help=False, help=COMMANDS[name])
    print(shtab.complete(root, options.shell))
    return 0
