"""Ages for people to read."""

from __future__ import annotations

__all__ = ("roughly",)

_SECONDS = {"d": 86_400, "h": 3600, "m": 60}


def roughly(seconds: float) -> str:
    """``seconds`` in its largest unit of which there are two: ``9d``, ``47h``, ``90s``, ``0s``."""
    for unit, length in _SECONDS.items():
        if seconds >= 2 * length:
            return f"{int(seconds // length)}{unit}"
    return f"{max(0, int(seconds))}s"
