"""Sending and receiving within a deadline on a socket that does not block.

With a socket's own time-out, Python asks the kernel three times more in each exchange.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket

    from .backend import Backend
    from .deadline import Deadline


async def send(backend: Backend, sock: socket.socket, data: bytes, deadline: Deadline) -> None:
    """Send all of ``data``."""
    deadline.remaining()
    rest: bytes | memoryview = data
    while True:
        try:
            sent = sock.send(rest)
        except OSError as error:
            await wait_for(backend, sock, error, deadline, is_sending=True)
        else:
            if sent == len(rest):
                return
            rest = memoryview(rest)[sent:]


async def receive_some(
    backend: Backend, sock: socket.socket, size: int, deadline: Deadline
) -> bytes:
    """Up to ``size`` bytes, none at the connection's end. Raises TimeoutError."""
    left = deadline.remaining()
    has_some = is_tls(sock) and sock.pending()  # type: ignore[attr-defined]  # received before
    if not has_some and not await backend.readable(sock, left):
        raise TimeoutError("timed out")
    while True:
        try:
            return sock.recv(size)
        except OSError as error:
            await wait_for(backend, sock, error, deadline)


async def wait_for(
    backend: Backend,
    sock: socket.socket,
    error: OSError,
    deadline: Deadline,
    *,
    is_sending: bool = False,
) -> None:
    """Wait until what raised ``error`` can go on. Raises it, or TimeoutError, where it can't."""
    kind = type(error).__name__  # not by their classes, so that nothing imports ssl: 5 MiB, 10 ms
    if kind not in ("BlockingIOError", "SSLWantReadError", "SSLWantWriteError"):
        raise error
    is_for_writing = kind == "SSLWantWriteError" or (is_sending and kind == "BlockingIOError")
    wait = backend.writable if is_for_writing else backend.readable
    if not await wait(sock, deadline.remaining()):
        raise TimeoutError("timed out")


def is_tls(sock: socket.socket) -> bool:
    """Whether it is an ssl.SSLSocket."""
    return hasattr(sock, "pending")


def is_closed(error: OSError) -> bool:
    """Whether the other side has closed the connection."""
    if isinstance(error, ConnectionError):
        return True
    # After a reset while it sent, newer OpenSSLs raise an SSLError that has no class of its own.
    is_end = getattr(error, "reason", "") == "UNEXPECTED_EOF_WHILE_READING"
    return is_end or type(error).__name__ in ("SSLEOFError", "SSLZeroReturnError")


def is_tls_error(error: OSError) -> bool:
    """Whether it is an ssl.SSLError."""
    return type(error).__module__ == "ssl"
