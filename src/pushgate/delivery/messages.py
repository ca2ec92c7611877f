"""The texts of failed deliveries, the same in all adapters."""

from __future__ import annotations

from ..errors import DeliveryError, PushError

WAITS = "it waits in the outbox and will be delivered later"


def was_kept(error: BaseException) -> bool:
    """Whether the outbox holds what ``error`` kept from arriving. Takes any exception."""
    return bool(getattr(error, "kept", False))


def failure(what: str, error: BaseException) -> str:
    """One line: ``what`` failed, why, and whether it waits in the outbox."""
    text = ""
    if isinstance(error, (PushError, OSError)):
        text = str(error)
    if isinstance(error, DeliveryError) and error.url not in text:
        text = f"{error.method} {error.url}: {text}"
    line = f"{what} failed: {text or repr(error)}"
    return one_line(f"{line}; {WAITS}" if was_kept(error) else line)


def one_line(text: str) -> str:
    """``text`` without line ends: an error may repeat what a server has sent."""
    return " ".join(text.split())
