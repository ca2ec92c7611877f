"""What could not be delivered, on disk, shared by all processes of a host.

Importing it imports neither json nor hashlib: what a push needs only where something waits or
fails is looked up on first use.
"""

from __future__ import annotations

from .outbox import FOLDER_NAME, Outbox

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .record import Flushed, WaitingGroup

__all__ = ("FOLDER_NAME", "Flushed", "Outbox", "WaitingGroup")


def __getattr__(name: str) -> object:
    if name not in ("Flushed", "WaitingGroup"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import record

    return getattr(record, name)
