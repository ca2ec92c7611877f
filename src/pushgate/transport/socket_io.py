"""Sending and receiving within a deadline, and telling how a connection failed.

A plain socket does not block: with a time-out, Python asks the kernel three times more in each
exchange. A TLS socket has the time that is left as its time-out.
"""

from __future__ import annotations

import select
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket

    from .deadline import Deadline


def send(sock: socket.socket, data: bytes, deadline: Deadline) -> None:
    """Send all of ``data``."""
    left = deadline.remaining()
    if is_tls(sock):
        sock.settimeout(left)
    try:
        sent = sock.send(data)
    except BlockingIOError:
        sent = 0
    if sent == len(data):
        return
    view = memoryview(data)[sent:]
    while view:
        sock.settimeout(deadline.remaining())
        view = view[sock.send(view) :]
    sock.setblocking(False)


def receive_some(sock: socket.socket, size: int, deadline: Deadline) -> bytes:
    """Up to ``size`` bytes, none at the connection's end. Raises TimeoutError."""
    while True:
        left = deadline.remaining()
        if is_tls(sock):
            sock.settimeout(left)
        elif not is_readable(sock, left):
            raise TimeoutError("timed out")
        try:
            return sock.recv(size)
        except BlockingIOError:  # it was readable to no end
            continue


def is_readable(sock: socket.socket, timeout: float | None) -> bool:
    """Whether there is something to read, or the end, within ``timeout`` seconds."""
    if hasattr(select, "poll"):
        poll = select.poll()
        poll.register(sock, select.POLLIN)
        return bool(poll.poll(None if timeout is None else timeout * 1000))
    return bool(select.select([sock], [], [], timeout)[0])


def is_tls(sock: socket.socket) -> bool:
    """Whether it is an ssl.SSLSocket."""
    return hasattr(sock, "pending")  # not by its class, so that nothing imports ssl: 5 MiB, 10 ms


def is_closed(error: OSError) -> bool:
    """Whether the other side has closed the connection."""
    names = ("SSLEOFError", "SSLZeroReturnError")
    return isinstance(error, ConnectionError) or type(error).__name__ in names


def is_tls_error(error: OSError) -> bool:
    """Whether it is an ssl.SSLError."""
    return type(error).__module__ == "ssl"
