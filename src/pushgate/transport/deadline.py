"""What transport, dialing and answers share: the deadline, sending, and how a connection fails.

Enters: a timeout; a socket and bytes. Leaves: nothing but what was sent, or the socket's OSError.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import socket
    from email.message import Message

__all__ = ("AnswerError", "Deadline", "Response", "is_closed", "is_tls_error", "send")

_FOREVER = 2_000_000.0  # seconds; poll() takes milliseconds in a C int, which ends a little above


class AnswerError(OSError):
    """An answer that is cut short, or not HTTP. The text may repeat what the server has sent."""


class Deadline:
    """A point on the monotonic clock, ``timeout`` seconds from now; None never passes."""

    __slots__ = ("_at",)

    def __init__(self, timeout: float | None) -> None:
        endless = timeout is None or timeout > _FOREVER
        self._at = None if endless else time.monotonic() + (timeout or 0)

    def remaining(self) -> float | None:
        """Seconds left, above 0. Raises TimeoutError when none are."""
        if self._at is None:
            return None
        left = self._at - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        return left

    def reserving(self, share: float, most: float) -> Deadline:
        """An earlier deadline, so that ``share`` of the time left stays, ``most`` seconds at most.

        For what has to be done after a try that took all the time it was given.
        """
        earlier = Deadline(None)
        if self._at is not None:
            left = max(0.0, self._at - time.monotonic())
            earlier._at = self._at - min(left * share, most)
        return earlier

    def left(self, least: float = 0.001) -> float | None:
        """Seconds left; once it has passed ``least``, in which a request fails and says why."""
        return None if self._at is None else max(least, self._at - time.monotonic())


class Response(NamedTuple):
    """``body`` is cut after ``max_body`` bytes; ``headers`` are None on a plain acceptance."""

    status: int
    reason: str
    headers: Message | None
    body: bytes


def send(sock: socket.socket, data: bytes, deadline: Deadline) -> None:
    """Send all of ``data``."""
    view = memoryview(data)
    while view:
        sock.settimeout(deadline.remaining())
        view = view[sock.send(view) :]


def is_closed(error: OSError) -> bool:
    """Whether the other side has closed the connection."""
    # By name, so that nobody who pushes by plain HTTP imports ssl: 5 MiB and 10 ms.
    names = ("SSLEOFError", "SSLZeroReturnError")
    return isinstance(error, ConnectionError) or type(error).__name__ in names


def is_tls_error(error: OSError) -> bool:
    """Whether it is an ssl.SSLError."""
    return type(error).__module__ == "ssl"
