"""The parsers of all commands, for completion and the page of the manual."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, cast

from . import COMMANDS

if TYPE_CHECKING:
    from .parser import Parser


def all_parsers() -> dict[str, Parser]:
    """By the names of the commands."""
    names = {name: f".cmd_{name.replace('-', '_')}" for name in COMMANDS}
    return {
        name: cast("Parser", import_module(module, __package__).parser())
        for name, module in names.items()
    }
