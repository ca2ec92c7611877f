"""Bytes in and out of a connected socket, within one wall-clock deadline.

Enters: a socket and a deadline. Leaves: what was sent, or a :class:`Response`; http.client parses
it, from a file that gives each read only the time that is left, so a dripping server is bounded.
"""

from __future__ import annotations

import io
import re
import time
from email.message import Message
from http.client import HTTPResponse
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import socket
    from typing import Any

__all__ = ("Deadline", "Response", "receive", "receive_connected", "send")

_FOREVER = 2_000_000.0  # seconds; poll() takes milliseconds in a C int, which ends a little above
# A Pushgateway's answer to what it accepted: whole, without a body, connection kept. Recognising it
# saves http.client's parser, which is a third of a push's CPU; any other answer is left to that.
_ACCEPTED = re.compile(
    rb"HTTP/1\.1 (20[02]) [^\r\n]*\r\nDate: [^\r\n]*\r\nContent-Length: 0\r\n\r\n\Z"
)
_NO_HEADERS = Message()
_CHUNK = 8192


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


class Response(NamedTuple):
    """``body`` is cut after ``max_body`` bytes; ``headers`` may be left out on success."""

    status: int
    reason: str
    headers: Message
    body: bytes


def send(sock: socket.socket, data: bytes, deadline: Deadline) -> None:
    """Send all of ``data``."""
    view = memoryview(data)
    while view:
        sock.settimeout(deadline.remaining())
        view = view[sock.send(view) :]


def receive(sock: socket.socket, method: str, deadline: Deadline, max_body: int | None) -> Response:
    """Read one response, and close the socket if it can't be used again."""
    sock.settimeout(deadline.remaining())
    start = sock.recv(_CHUNK)
    if plain := _ACCEPTED.match(start):
        return Response(int(plain[1]), "", _NO_HEADERS, b"")
    source = _Source(sock, deadline, start)
    response = HTTPResponse(source, method=method)  # type: ignore[arg-type]
    try:
        response.begin()
        while response.status < 200:
            # An interim answer, such as 103: http.client skips only 100.
            response.headers = None  # type: ignore[assignment]
            response.begin()
        body = response.read(max_body)
        whole = response.isclosed() or not response.read(1)
    finally:
        response.close()
    if response.will_close or not whole or source.surplus:
        sock.close()
    return Response(response.status, response.reason, response.headers, body)


def receive_connected(sock: socket.socket, deadline: Deadline) -> int:
    """The status of a proxy's answer to CONNECT: it has no body, whatever its headers say."""
    answer = HTTPResponse(_Source(sock, deadline), method="CONNECT")  # type: ignore[arg-type]
    try:
        answer.begin()
        return answer.status
    finally:
        answer.close()


class _Source(io.RawIOBase):
    """What HTTPResponse needs of a socket: ``start``, received before, and more in the deadline."""

    def __init__(self, sock: socket.socket, deadline: Deadline, start: bytes | None = None) -> None:
        self._sock = sock
        self._deadline = deadline
        self._start = start
        self._ended = False
        self.surplus = False

    def makefile(self, _mode: str) -> io.BufferedReader:
        return _Buffered(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self._ended:
            return 0
        if self._start is not None:
            count = min(len(buffer), len(self._start))
            buffer[:count] = self._start[:count]
            self._start = self._start[count:] or None
            return count
        self._sock.settimeout(self._deadline.remaining())
        return self._sock.recv_into(buffer)

    def end(self, buffered: _Buffered) -> None:
        """HTTPResponse has all it wants: note whether the server has said more than that."""
        self._ended = True
        self.surplus = self._start is not None or bool(buffered.peek(1))


class _Buffered(io.BufferedReader):
    raw: _Source

    def close(self) -> None:
        if not self.closed:
            self.raw.end(self)
        super().close()
