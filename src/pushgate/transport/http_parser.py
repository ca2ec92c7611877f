"""A server's response, parsed by http.client: all that is more than a plain acceptance.

Apart from response.py because importing http.client takes longer than a push: a process that pushes
once and is accepted does without.
"""

from __future__ import annotations

import io
from contextlib import contextmanager, suppress
from http.client import HTTPException, HTTPMessage, HTTPResponse, IncompleteRead
from typing import TYPE_CHECKING

from ..errors import is_success
from .response import BodyStream, Response, ResponseError
from .socket_io import receive_some

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator
    from typing import Any

    from .deadline import Deadline
    from .request import Request

_LONGEST_FAILURE = 64 * 1024  # bytes of its body; a Pushgateway's longest complaint is far below
_FAILURE_SECONDS = 0.5  # a body that takes longer is not worth the job's time
_PIECE = 64 * 1024  # bytes
_ENDLESS = 1 << 62
# What http.client raises for sizes and lengths that make no sense, beside its own exceptions.
_UNREADABLE = (HTTPException, ValueError, ArithmeticError, MemoryError)


def receive_any(
    sock: socket.socket, start: bytes, request: Request, deadline: Deadline
) -> Response:
    """Read the response that begins with ``start``; close the socket if it can't be used again.

    The status of a failure counts also where its headers or its body can't be read: of the body,
    64 KiB are read at most, in half a second at most. Errors are those of ``receive``.
    """
    source = _Source(sock, deadline, start)
    response = HTTPResponse(source, method=request.method)  # type: ignore[arg-type]
    chunks = None
    try:
        with _as_response_error():
            _begin(response)
        if not is_success(response.status):
            source.deadline = deadline.within(_FAILURE_SECONDS)
            body = _readable_part(response)
        elif request.streamed:
            body, chunks = b"", _stream(response, sock)
        elif request.method != "GET" and response.length is None and not response.chunked:
            # A success that names no length lasts until the server closes, and a push needs no
            # body: only what has come already is looked at.
            source.is_cut_off = True
            body = _readable_part(response)
            sock.close()
        else:
            with _as_response_error():
                body = b"".join(_body(response, request.max_body))
    finally:
        if chunks is None:
            whole = response.isclosed() or response.length == 0
            response.close()
    if chunks is None and (response.will_close or not whole or source.surplus):
        sock.close()
    return Response(response.status, response.reason, response.headers, body, chunks)


def _begin(response: HTTPResponse) -> None:
    """Read the status and the headers."""
    try:
        response.begin()
        while response.status < 200:
            # An interim response, such as 103: http.client skips only 100.
            response.headers = None  # type: ignore[assignment]
            response.begin()
    except HTTPException:  # more than a hundred headers, or a header of more than 64 KiB
        status = response.status  # a text, before it came
        if not isinstance(status, int) or status < 200 or is_success(status):
            raise
        response.headers, response.chunked, response.length = HTTPMessage(), False, 0
        response.will_close = True


def _body(response: HTTPResponse, most: int | None) -> Iterator[bytes]:
    """The body in pieces, cut after ``most`` bytes. Raises where the server cuts it short."""
    left = _ENDLESS if most is None else most
    while left > 0 and (piece := response.read1(min(left, _PIECE))):
        left -= len(piece)
        yield piece
    if left > 0 and response.length:
        raise IncompleteRead(b"", response.length)


def _readable_part(response: HTTPResponse) -> bytes:
    """The beginning of the body, as far as it can be read."""
    pieces: list[bytes] = []
    with suppress(OSError, *_UNREADABLE):
        pieces.extend(_body(response, _LONGEST_FAILURE))
    return b"".join(pieces)


def _stream(response: HTTPResponse, sock: socket.socket) -> BodyStream:
    def pieces() -> Iterator[bytes]:
        with _as_response_error():
            yield from _body(response, None)

    def close() -> None:
        response.close()
        sock.close()

    return BodyStream(pieces(), close)


def receive_connected(sock: socket.socket, deadline: Deadline) -> int:
    """The status of a proxy's response to CONNECT, which has no body, also where headers say so."""
    response = HTTPResponse(_Source(sock, deadline), method="CONNECT")  # type: ignore[arg-type]
    try:
        with _as_response_error():
            response.begin()
        return response.status
    finally:
        response.close()


@contextmanager
def _as_response_error() -> Iterator[None]:
    """Raise ResponseError for what http.client raises of a response that is not HTTP."""
    try:
        yield
    except OSError:  # RemoteDisconnected is one
        raise
    except _UNREADABLE as error:
        raise ResponseError(
            f"the response was cut short or is not HTTP ({type(error).__name__}: {error})"
        ) from None


class _Source(io.RawIOBase):
    """What HTTPResponse needs of a socket: ``start``, received before, and more in the deadline."""

    def __init__(self, sock: socket.socket, deadline: Deadline, start: bytes | None = None) -> None:
        self.deadline = deadline
        self.is_cut_off = False
        """Nothing more is received."""
        self.surplus = False
        self._sock = sock
        self._start = start
        self._ended = False

    def makefile(self, _mode: str) -> io.BufferedReader:
        return _Buffered(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self._ended:
            return 0
        data = self._start
        if data is None:
            if self.is_cut_off:
                return 0
            data = receive_some(self._sock, min(len(buffer), _PIECE), self.deadline)
        count = min(len(buffer), len(data))
        buffer[:count] = data[:count]
        if self._start is not None:
            self._start = data[count:] or None
        return count

    def end(self, buffered: _Buffered) -> None:
        """HTTPResponse has read enough: note whether the server has sent more than that."""
        self._ended = True
        self.surplus = self._start is not None or bool(buffered.peek(1))


class _Buffered(io.BufferedReader):
    raw: _Source

    def close(self) -> None:
        if not self.closed:
            self.raw.end(self)
        super().close()
