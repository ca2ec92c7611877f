"""What a check finds, as a value."""

from __future__ import annotations

from typing import NamedTuple

FAIL = "FAIL"


class Finding(NamedTuple):
    """``level`` is ok, warn or FAIL; ``advice`` says what to do, and is empty where all is well."""

    level: str
    subject: str
    text: str
    advice: str = ""


def ok(subject: str, text: str) -> Finding:
    """All is well."""
    return Finding("ok", subject, text)


def warn(subject: str, text: str, advice: str) -> Finding:
    """Something may be wrong."""
    return Finding("warn", subject, text, advice)


def fail(subject: str, text: str, advice: str = "") -> Finding:
    """Something is wrong. Without ``advice``, the text says what to change."""
    return Finding(FAIL, subject, text, advice)
