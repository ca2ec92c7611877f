"""Ages, spans and counts for people to read."""

from __future__ import annotations

_UNITS = {"d": 86_400, "h": 3600, "m": 60, "s": 1}
_LONGEST = 100 * 365.25 * 86_400  # seconds; anybody may push a longer one
_TOO_LONG = ">100y"


def roughly(seconds: float) -> str:
    """``seconds`` in its largest unit of which there are two: ``9d``, ``47h``, ``90s``, ``0s``."""
    if seconds > _LONGEST:
        return _TOO_LONG
    for unit, length in _UNITS.items():
        if seconds >= 2 * length:
            return f"{int(seconds // length)}{unit}"
    return f"{max(0, int(seconds))}s"


def ago(when: float | None, now: float) -> str:
    """How long ago ``when`` was: ``5m ago``. ``never`` for 0 and None."""
    if not when:
        return "never"
    return f"{roughly(now - when)} ago" if now - when >= 1 else "just now"


def span(seconds: float) -> str:
    """A length of time in one or two units: ``0.34s``, ``12s``, ``2m 5s``, ``3h 20m``, ``9d``."""
    if seconds < 10:
        return f"{seconds:.2g}s" if seconds >= 0.001 else "0s"
    if seconds > _LONGEST:
        return _TOO_LONG
    left = round(seconds)
    parts: list[str] = []
    for unit, length in _UNITS.items():
        count, left = divmod(left, length)
        if count or parts:
            parts.append(f"{count}{unit}" if count else "")
    return " ".join(parts[:2]).strip()


def counted(count: int, thing: str) -> str:
    """``1 group``, ``2 groups``."""
    return f"{count} {thing}" + ("" if count == 1 else "s")
