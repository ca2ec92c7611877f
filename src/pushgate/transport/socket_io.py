"""Sending on a socket within a deadline, and telling how a connection failed."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket

    from .deadline import Deadline

__all__ = ("is_closed", "is_tls_error", "send")


def send(sock: socket.socket, data: bytes, deadline: Deadline) -> None:
    """Send all of ``data``."""
    sock.settimeout(deadline.remaining())
    sent = sock.send(data)
    if sent == len(data):
        return
    view = memoryview(data)[sent:]
    while view:
        sock.settimeout(deadline.remaining())
        view = view[sock.send(view) :]


def is_closed(error: OSError) -> bool:
    """Whether the other side has closed the connection."""
    # By name, so that a push by plain HTTP does not import ssl: 5 MiB and 10 ms.
    names = ("SSLEOFError", "SSLZeroReturnError")
    return isinstance(error, ConnectionError) or type(error).__name__ in names


def is_tls_error(error: OSError) -> bool:
    """Whether it is an ssl.SSLError."""
    return type(error).__module__ == "ssl"
