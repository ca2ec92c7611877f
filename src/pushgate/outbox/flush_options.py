"""How a flush is asked for."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ("FlushOptions",)


class FlushOptions(NamedTuple):
    """How to flush; see Outbox.flush. ``in_passing``: nobody has asked for it."""

    timeout: float | None = None
    unseen: bool = False
    dry_run: bool = False
    former_url: str | None = None
    in_passing: bool = False
