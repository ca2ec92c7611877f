"""What a check finds, as a value."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ("FAIL", "OK", "WARN", "Check")

OK, WARN, FAIL = "ok", "warn", "FAIL"


class Check(NamedTuple):
    """One finding. ``level`` is ok, warn or FAIL; ``advice`` says what to do, of ok none."""

    level: str
    subject: str
    text: str
    advice: str = ""
