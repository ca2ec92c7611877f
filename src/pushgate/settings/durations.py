"""Durations as people write them: ``90s``, ``15m``, ``2h``, ``1d`` or a number of seconds."""

from __future__ import annotations

__all__ = ("parse_duration",)

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def parse_duration(text: str) -> float:
    """The seconds in ``text``. Raises ValueError, whose text says how to write one."""
    number, unit = (text[:-1], text[-1]) if text[-1:] in _SECONDS else (text, "s")
    # Not left to float() alone: it takes "1_0", "1e3", "nan", blanks and signs.
    digits = number.replace(".", "", 1)
    seconds = float(number) * _SECONDS[unit] if digits.isascii() and digits.isdecimal() else -1.0
    if not 0 <= seconds < float("inf"):
        raise ValueError(
            f"{text!r} is not a duration; write seconds, such as 90 or 2.5, or 90s, 15m, 2h, 1d"
        )
    return seconds
