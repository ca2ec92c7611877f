"""What could not be delivered, on disk, shared by all processes of a host.

Enters: pushes and deletes that did not arrive. Leaves: the same state at the gateway, later, unless
somebody has pushed something newer there. Importing it imports neither sqlite3 nor json.
"""

from __future__ import annotations

from ._failures import is_refused, is_unanswered
from ._outbox import Outbox
from ._peek import FILE_NAME
from ._said import say_once
from ._values import Flushed, WaitingGroup

__all__ = (
    "FILE_NAME",
    "Flushed",
    "Outbox",
    "WaitingGroup",
    "is_refused",
    "is_unanswered",
    "say_once",
)
