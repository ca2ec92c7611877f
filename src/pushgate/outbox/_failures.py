"""What a failed request means for an outbox. Enters: its exception. Leaves: yes or no, a text."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from ..errors import DeliveryError, GatewayRejectedError, GatewayUnreachableError, PushError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = (
    "describe",
    "mark_kept",
    "told",
)


def describe(error: BaseException) -> str:
    """The error in words that hold no secret, fit for the file."""
    if isinstance(error, GatewayUnreachableError):
        text = str(error.reason)
    elif isinstance(error, GatewayRejectedError):
        text = f"{error.code} {error.reason}"
    elif isinstance(error, PushError):
        text = str(error)
    else:  # of a user's handler, whose words may be any
        text = f"{type(error).__name__} {getattr(error, 'strerror', None) or ''}"
    return " ".join(text.split()).encode("utf-8", "backslashreplace").decode()[:500]


def told(
    text: str, url: str, *, method: str = "POST", group: Mapping[str, str] | None = None
) -> DeliveryError:
    """A DeliveryError that says so, about what waits."""
    error = DeliveryError(text, method=method, url=url, group=group)
    error.kept = True
    return error


def mark_kept(error: BaseException, *, kept: bool) -> None:
    """Note on the error whether what was not delivered waits."""
    with suppress(AttributeError):  # of a foreign OSError with slots
        error.kept = kept  # type: ignore[attr-defined]
