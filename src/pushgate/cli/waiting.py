"""What waits in this host's outbox for the gateway, in a line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..jobs.ages import counted
from ..log import RateLimitedLogger
from .exit_status import complain

if TYPE_CHECKING:
    from ..settings.loader import Settings


def waiting_line(settings: Settings) -> str:
    """How many groups wait and what to do; empty where none does."""
    outbox = settings.to_outbox(RateLimitedLogger(complain))
    if outbox is None or outbox.is_empty():
        return ""
    count = len(outbox.waiting(settings.url))
    text = f"{counted(count, 'group')} not delivered yet, in this host's outbox: pushgate flush"
    return text if count else ""
