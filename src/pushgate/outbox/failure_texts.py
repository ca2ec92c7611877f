"""Errors about what waits, and their texts without secrets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import DeliveryError, GatewayRejectedError, GatewayUnreachableError, PushError

if TYPE_CHECKING:
    from collections.abc import Mapping


def describe(error: BaseException) -> str:
    """The reason of a failed request, fit for a file."""
    if isinstance(error, GatewayUnreachableError):
        text = str(error.reason)
    elif isinstance(error, GatewayRejectedError):
        text = f"{error.code} {error.reason}"
    elif isinstance(error, PushError):
        text = str(error)
    else:  # of a user's handler: its text may hold anything
        text = f"{type(error).__name__} {getattr(error, 'strerror', None) or ''}"
    return " ".join(text.split()).encode("utf-8", "backslashreplace").decode()[:500]


def waiting_error(
    text: str, url: str, *, method: str = "POST", group: Mapping[str, str] | None = None
) -> DeliveryError:
    """A DeliveryError about what waits, and goes on waiting."""
    error = DeliveryError(text, method=method, url=url, group=group)
    error.kept = True
    return error
