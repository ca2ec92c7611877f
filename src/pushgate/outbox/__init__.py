"""What could not be delivered, on disk, shared by all processes of a host.

Names are looked up on first use: a push needs most of it only where something waits or fails, and
`pushgate run --lock` needs only ``files`` before it starts the command.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .outbox import FOLDER_NAME, Outbox
    from .record import Flushed, WaitingGroup

__all__ = ("FOLDER_NAME", "Flushed", "Outbox", "WaitingGroup")


def __getattr__(name: str) -> object:
    from importlib import import_module

    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = "record" if name in ("Flushed", "WaitingGroup") else "outbox"
    return getattr(import_module(f".{module}", __name__), name)
