"""Receiving a response: a Pushgateway's plain acceptance at once, others by http.client."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from .socket_io import receive_some

if TYPE_CHECKING:
    import socket
    from email.message import Message

    from .deadline import Deadline

__all__ = ("Response", "ResponseError", "receive")

# A Pushgateway's response to what it accepted: whole, without a body, connection kept. Recognising
# it saves a third of a push's CPU, and http.client's import; any other is left to that.
_ACCEPTED = re.compile(
    rb"HTTP/1\.1 (20[02]) [^\r\n]*\r\nDate: [^\r\n]*\r\nContent-Length: 0\r\n\r\n\Z"
)
_CHUNK = 8192  # bytes


class ResponseError(OSError):
    """A response that is cut short, or not HTTP. The text may repeat what the server has sent."""


class Response(NamedTuple):
    """``body`` may be cut after the bytes asked for; ``headers`` are None on a plain acceptance."""

    status: int
    reason: str
    headers: Message | None
    body: bytes


def receive(sock: socket.socket, method: str, deadline: Deadline, max_body: int | None) -> Response:
    """Read one response, and close the socket if it can't be used again.

    Raises OSError, ResponseError among them.
    """
    start = receive_some(sock, _CHUNK, deadline)
    if plain := _ACCEPTED.match(start):
        return Response(int(plain[1]), "", None, b"")
    from .http_parser import receive_any  # http.client takes longer to import than a push takes

    return receive_any(sock, start, method, deadline, max_body)
