"""What a failed request means for an outbox. Enters: its exception. Leaves: yes or no, a text."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from ..errors import DeliveryError, GatewayRejectedError, GatewayUnreachableError, PushError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = (
    "describe",
    "is_of_the_group",
    "is_refused",
    "is_unanswered",
    "mark_kept",
    "not_readable",
    "told",
)

# The gateway says no to what it was sent, and would again.
_REFUSED = (400, 413, 415, 422)
# What says no to reading may take pushes: a proxy that lets nothing else through, an old gateway.
_NOT_READABLE = (401, 403, 404, 405)


def is_refused(error: BaseException) -> bool:
    """Whether no later try of the same can succeed."""
    return getattr(error, "code", None) in _REFUSED


def is_unanswered(error: BaseException) -> bool:
    """Whether the gateway may have done it, or may yet do it, all the same."""
    status = getattr(error, "code", None)
    if isinstance(status, int):
        return status >= 500 or status == 408  # of a proxy in front of it
    cause = error.__cause__
    not_sent = isinstance(error, ConnectionRefusedError) or isinstance(
        cause, ConnectionRefusedError
    )
    # By name, so that nobody imports ssl for it.
    return not not_sent and type(cause).__name__ not in ("gaierror", "SSLCertVerificationError")


def is_of_the_group(error: BaseException) -> bool:
    """Whether it is about what was sent, so that the gateway may take something else."""
    status = getattr(error, "code", None)
    if isinstance(status, int):
        return status not in (401, 403, 407, 408, 429, 502, 503, 504)
    return not isinstance(error, OSError)


def not_readable(error: BaseException) -> bool:
    """Whether the gateway's groups can't be read, and could not be later."""
    return isinstance(error, GatewayRejectedError) and error.code in _NOT_READABLE


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
    error = DeliveryError(text)
    error._describe(method, url, group, retryable=True)
    error.kept = True
    return error


def mark_kept(error: BaseException, *, kept: bool) -> None:
    """Note on the error whether what was not delivered waits."""
    with suppress(AttributeError):  # of a foreign OSError with slots
        error.kept = kept  # type: ignore[attr-defined]
