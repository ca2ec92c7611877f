"""A server's response, received: a plain acceptance at once, all others by http.client."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from .. import imported
from .backend import completed
from .socket_io import receive_some

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Coroutine
    from email.message import Message
    from typing import Any

    from .backend import Backend
    from .deadline import Deadline
    from .request import Request

# A Pushgateway's response to what it accepted: whole, without a body, connection kept. Recognising
# it saves a third of a push's CPU, and http.client's import; any other is left to that.
_ACCEPTED = re.compile(
    rb"HTTP/1\.1 (20[02]) [^\r\n]*\r\nDate: [^\r\n]*\r\nContent-Length: 0\r\n\r\n\Z"
)
_WORD = re.compile(rb"[A-Za-z]{0,64}[.!]?")
_CHUNK = 8192  # bytes


def is_a_word(body: bytes) -> bool:
    """Whether it is what a server may say to what it accepts: one word, such as ``OK``, or none."""
    return _WORD.fullmatch(body.strip()) is not None


class ResponseError(OSError):
    """A response that is cut short, or not HTTP. The text may repeat what the server has sent."""


class BodyStream:
    """The body of a success in pieces. ``close`` is called after it, or with this object.

    ``receive`` is called for the next piece, which is empty at the end. ``explain`` makes of an
    OSError the error that is raised.
    """

    def __init__(
        self, receive: Callable[[], Coroutine[Any, Any, bytes]], close: Callable[[], None]
    ) -> None:
        self.explain: Callable[[OSError], Exception] = lambda error: error
        self._receive = receive
        self.close = close

    def __iter__(self) -> BodyStream:
        return self

    def __next__(self) -> bytes:
        if piece := completed(self.piece()):
            return piece
        raise StopIteration

    async def piece(self) -> bytes:
        """The next piece, empty at the end."""
        piece = b""
        try:
            piece = await self._receive()
        except OSError as error:
            raise self.explain(error) from None
        finally:
            if not piece:
                self.close()
        return piece

    def __del__(self) -> None:
        self.close()


def empty_stream() -> BodyStream:
    """The body of a response that has none."""

    async def receive() -> bytes:
        return b""

    return BodyStream(receive, lambda: None)


class Response(NamedTuple):
    """``body`` may be cut after the bytes asked for; ``headers`` are None on a plain acceptance.

    ``chunks`` are the body of a response that was asked for as a stream, and is a success.
    """

    status: int
    reason: str
    headers: Message | None
    body: bytes
    chunks: BodyStream | None = None


async def receive(
    backend: Backend,
    sock: socket.socket,
    request: Request,
    deadline: Deadline,
    patience: Deadline | None = None,
) -> Response:
    """Read one response, and close the socket if it can't be used again.

    ``patience`` is an earlier deadline for its beginning. Raises OSError, ResponseError among them.
    """
    start = await receive_some(backend, sock, _CHUNK, patience or deadline)
    if plain := _ACCEPTED.match(start):
        return Response(int(plain[1]), "", None, b"")
    # http.client takes longer to import than a push takes.
    others: Response = await imported("pushgate.transport.http_parser").receive_any(
        backend, sock, start, request, deadline
    )
    return others
