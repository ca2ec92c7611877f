"""An aggregator by its name.

Enters: ``package.module:factory`` and options. Leaves: what the factory makes of them.
"""

from __future__ import annotations

import json
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ._changes import Aggregator

__all__ = ("load", "plain")


def plain(options: Mapping[str, object]) -> str:
    """The options as JSON. Raises TypeError or ValueError for what JSON can't hold."""
    return json.dumps(dict(options))


def load(name: str, options: str) -> Aggregator:
    """Call the factory with the decoded options. Raises what importing and the factory raise."""
    module, colon, factory = name.partition(":")
    if not colon:
        raise ValueError(f"the aggregator is {name!r}; give package.module:factory")
    aggregator: Aggregator = getattr(import_module(module), factory)(json.loads(options))
    return aggregator
