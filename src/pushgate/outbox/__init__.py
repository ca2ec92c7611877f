"""What could not be delivered, on disk, shared by all processes of a host.

Enters: pushes and deletes that did not arrive. Leaves: the same state at the gateway, later, unless
somebody has pushed something newer there. Importing it imports neither sqlite3 nor json, and what
a push needs only where something waits is looked up on first use.
"""

from __future__ import annotations

from ._outbox import Outbox
from ._peek import FILE_NAME

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._said import say_once
    from ._values import Flushed, WaitingGroup

__all__ = (
    "FILE_NAME",
    "Flushed",
    "Outbox",
    "WaitingGroup",
    "say_once",
)

_MODULE_OF = {
    "Flushed": "_values",
    "WaitingGroup": "_values",
    "say_once": "_said",
}


def __getattr__(name: str) -> object:
    from importlib import import_module

    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_MODULE_OF[name]}", __name__), name)
