"""What the Python API takes for a duration and a gateway. Arguments enter; seconds and settings
leave, or a ValueError or TypeError that says what to write.
"""

from __future__ import annotations

from pushgate import Gateway, parse_duration

__all__ = ("period", "seconds", "settings")


def settings(gateway: Gateway | str | None) -> dict[str, str]:
    """The gateway's settings as flags. Raises TypeError."""
    if not isinstance(gateway, (Gateway, str, type(None))):
        raise TypeError(f"gateway={gateway!r}: give a Gateway, a URL or None")
    return {"gateway": gateway} if isinstance(gateway, str) else {}


def seconds(duration: float | str) -> float:
    """``duration`` in seconds. Raises ValueError."""
    if isinstance(duration, str):
        return parse_duration(duration)
    if not 0 <= duration < float("inf"):
        raise ValueError(f"{duration!r} is not a duration; give seconds, or text such as '90s'")
    return duration


def period(duration: float | str) -> float:
    """``duration``, which must not be 0, in seconds. Raises ValueError."""
    if not (above := seconds(duration)):
        raise ValueError("give a duration above 0")
    return above
