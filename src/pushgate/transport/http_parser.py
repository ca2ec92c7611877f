"""A server's response, parsed: all that is more than a plain acceptance.

http.client parses the status and the headers once they are all there; the body is cut into its
pieces here. Apart from response.py because importing http.client takes longer than a push: a
process that pushes once and is accepted does without.
"""

from __future__ import annotations

import io
import re
from contextlib import contextmanager, suppress
from http.client import HTTPException, HTTPMessage, HTTPResponse, IncompleteRead
from typing import TYPE_CHECKING

from ..errors import is_success
from .response import BodyStream, Response, ResponseError
from .socket_io import receive_some

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

    from .backend import Backend
    from .deadline import Deadline
    from .request import Request

_LONGEST_FAILURE = 64 * 1024  # bytes of its body; a Pushgateway's longest complaint is far below
_FAILURE_SECONDS = 0.5  # a body that takes longer is not worth the job's time
_PIECE = 64 * 1024  # bytes
_LONGEST_LINE, _MOST_HEADERS = 64 * 1024, 100  # bytes; http.client has the same limits
_ENDLESS = 1 << 62
_STATUS_LINE = re.compile(rb"HTTP/(?:1\.\S*|0\.9) +([1-9])\d\d\s")
_HEAD_END = re.compile(rb"\n\r?\n")
_LINE_ENDS = (b"\r\n", b"\n")
# What http.client raises for sizes and lengths that make no sense, beside its own exceptions.
_UNREADABLE = (HTTPException, ValueError, ArithmeticError, MemoryError)


async def receive_any(
    backend: Backend, sock: socket.socket, start: bytes, request: Request, deadline: Deadline
) -> Response:
    """Read the response that begins with ``start``; close the socket if it can't be used again.

    The status of a failure counts also where its headers or its body can't be read: of the body,
    64 KiB are read at most, in half a second at most. Errors are those of ``receive``.
    """
    source = _Source(backend, sock, deadline, start)
    with _as_response_error():
        head = await _begin(source, request.method)
    content, body = _Body(source, head), b""
    if request.streamed and is_success(head.status):
        stream = BodyStream(content.checked_piece, sock.close)
        return Response(head.status, head.reason, head.headers, b"", stream)
    if not is_success(head.status):
        source.deadline = deadline.within(_FAILURE_SECONDS)
        body = await content.readable_part()
    elif request.method != "GET" and head.length is None and not head.chunked:
        # A success that names no length lasts until the server closes, and a push needs no
        # body: only what has come already is looked at.
        source.has_ended = True
        body = await content.readable_part()
    else:
        with _as_response_error():
            body = await content.read(request.max_body)
    if head.will_close or not content.is_whole or source.received:
        sock.close()
    return Response(head.status, head.reason, head.headers, body)


async def receive_connected(backend: Backend, sock: socket.socket, deadline: Deadline) -> int:
    """The status of a proxy's response to CONNECT, which has no body, also where headers say so."""
    with _as_response_error():
        return (await _begin(_Source(backend, sock, deadline), "CONNECT")).status


async def _begin(source: _Source, method: str) -> HTTPResponse:
    """Read the status and the headers."""
    head = await source.head()
    while (line := _STATUS_LINE.match(head)) and line[1] == b"1":
        head = await source.head()  # that was interim, such as 103 (RFC 9110, section 15.2)
    response = HTTPResponse(_Received(head), method=method)  # type: ignore[arg-type]
    try:
        response.begin()
    except HTTPException:  # more than a hundred headers, or a header of more than 64 KiB
        status = response.status  # a text, before it came
        if not isinstance(status, int) or status < 200 or is_success(status):
            raise
        response.headers, response.chunked, response.length = HTTPMessage(), False, 0
        response.will_close = True
    finally:
        response.close()
    return response


def _is_unreadable(head: bytearray) -> bool:
    """Whether http.client refuses what has come of a head, so that the rest need not be awaited."""
    line_end = head.rfind(b"\n")
    return (
        len(head) - line_end > _LONGEST_LINE + 1
        or head.count(b"\n") > _MOST_HEADERS + 1
        or (line_end >= 0 and not _STATUS_LINE.match(head))
    )


class _Received:
    """What HTTPResponse needs of a socket, where all that it reads has come."""

    def __init__(self, head: bytes) -> None:
        self._head = head

    def makefile(self, _mode: str) -> io.BytesIO:
        return io.BytesIO(self._head)


class _Source:
    """What was ``received`` and is not used yet, and more of it in the deadline."""

    def __init__(
        self, backend: Backend, sock: socket.socket, deadline: Deadline, start: bytes | None = None
    ) -> None:
        self.deadline = deadline
        self.received = bytearray(start or b"")
        self.has_ended = start == b""
        """Nothing more is received."""
        self._backend = backend
        self._sock = sock

    async def head(self) -> bytes:
        """A status line and headers, as far as they come."""
        received, seen = self.received, 0
        while (end := _HEAD_END.search(received, max(0, seen - 3))) is None:
            seen = len(received)
            if _is_unreadable(received) or not await self._receive():
                return self._take(seen)
        return self._take(end.end())

    async def line(self) -> bytes:
        """A line with its end. Raises ValueError for one that is too long."""
        while (end := self.received.find(b"\n")) < 0:
            if len(self.received) > _LONGEST_LINE:
                raise ValueError("a line between chunks is too long")
            if not await self._receive():
                return self._take(len(self.received))
        return self._take(end + 1)

    async def some(self, most: int) -> bytes:
        """Up to ``most`` bytes, none at the end."""
        if not self.received:
            await self._receive()
        return self._take(most)

    async def _receive(self) -> bool:
        """Whether more has come."""
        if not self.has_ended:
            data = await receive_some(self._backend, self._sock, _PIECE, self.deadline)
            self.received += data
            self.has_ended = not data
        return not self.has_ended

    def _take(self, count: int) -> bytes:
        taken = bytes(self.received[:count])
        del self.received[:count]
        return taken


class _Body:
    """The body after a head (RFC 9112, section 6)."""

    def __init__(self, source: _Source, head: HTTPResponse) -> None:
        self._source = source
        self._is_chunked = bool(head.chunked)
        self._left = 0 if self._is_chunked else head.length  # None: until the server closes
        self._is_first = True
        self.is_whole = not self._is_chunked and head.length == 0

    async def read(self, most: int | None) -> bytes:
        """All of it, cut after ``most`` bytes. Raises where the server cuts it short."""
        pieces: list[bytes] = []
        await self._read_into(pieces, _ENDLESS if most is None else most)
        return b"".join(pieces)

    async def readable_part(self) -> bytes:
        """The beginning, as far as it can be read."""
        pieces: list[bytes] = []
        with suppress(OSError, *_UNREADABLE):
            await self._read_into(pieces, _LONGEST_FAILURE)
        return b"".join(pieces)

    async def checked_piece(self) -> bytes:
        """The next piece, empty at the end. Raises OSError, ResponseError among them."""
        with _as_response_error():
            return await self._piece(_PIECE)

    async def _read_into(self, pieces: list[bytes], left: int) -> None:
        while left > 0 and (piece := await self._piece(min(left, _PIECE))):
            pieces.append(piece)
            left -= len(piece)

    async def _piece(self, most: int) -> bytes:
        if self._left == 0 and self._is_chunked and not self.is_whole:
            await self._begin_chunk()
        if self._left is None:
            piece = await self._source.some(most)
            self.is_whole = not piece
            return piece
        if self._left == 0:
            return b""
        piece = await self._source.some(min(most, self._left))
        if not piece:
            raise IncompleteRead(b"")  # a size may have too many digits to be shown
        self._left -= len(piece)
        self.is_whole = self._left == 0 and not self._is_chunked
        return piece

    async def _begin_chunk(self) -> None:
        if not self._is_first and (await self._source.line()) not in _LINE_ENDS:
            raise ValueError("a chunk is longer than its size")
        self._is_first = False
        size, _, _ = (await self._source.line()).partition(b";")
        self._left = int(size, 16)
        if self._left < 0:
            raise ValueError("a chunk of less than nothing")
        if self._left == 0:
            while (await self._source.line()) not in (*_LINE_ENDS, b""):
                pass  # a trailer
            self.is_whole = True


@contextmanager
def _as_response_error() -> Iterator[None]:
    """Raise ResponseError for a response that is not HTTP."""
    try:
        yield
    except OSError:  # RemoteDisconnected is one
        raise
    except _UNREADABLE as error:
        raise ResponseError(
            f"the response was cut short or is not HTTP ({type(error).__name__}: {error})"
        ) from None
