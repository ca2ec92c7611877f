"""Receiving a response: a Pushgateway's plain acceptance at once, others by http.client."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from .response import Response
from .socket_io import receive_some

if TYPE_CHECKING:
    import socket

    from .deadline import Deadline

__all__ = ("receive",)

# A Pushgateway's response to what it accepted: whole, without a body, connection kept. Recognising
# it saves a third of a push's CPU, and http.client's import; any other is left to that.
_ACCEPTED = re.compile(
    rb"HTTP/1\.1 (20[02]) [^\r\n]*\r\nDate: [^\r\n]*\r\nContent-Length: 0\r\n\r\n\Z"
)
_CHUNK = 8192  # bytes


def receive(
    sock: socket.socket,
    method: str,
    deadline: Deadline,
    max_body: int | None,
    *,
    streamed: bool = False,
    patience: Deadline | None = None,
) -> Response:
    """Read one response, and close the socket if it can't be used again.

    ``patience`` is an earlier deadline for its beginning. ``max_body`` is how many bytes of the
    body of a success are read, None for all. With ``streamed`` they are read while the result's
    ``chunks`` are. Raises OSError, ResponseError among them.
    """
    start = receive_some(sock, _CHUNK, patience or deadline)
    if plain := _ACCEPTED.match(start):
        return Response(int(plain[1]), "", None, b"")
    from .http_parser import receive_any  # http.client takes longer to import than a push takes

    return receive_any(sock, start, method, deadline, max_body, streamed=streamed)
