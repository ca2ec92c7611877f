"""Receiving a response: a Pushgateway's plain acceptance at once, others by http.client."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from .socket_io import receive_some

if TYPE_CHECKING:
    import socket
    from email.message import Message

    from .deadline import Deadline
    from .http_parser import BodyStream

__all__ = ("Response", "ResponseError", "receive")

# A Pushgateway's response to what it accepted: whole, without a body, connection kept. Recognising
# it saves a third of a push's CPU, and http.client's import; any other is left to that.
_ACCEPTED = re.compile(
    rb"HTTP/1\.1 (20[02]) [^\r\n]*\r\nDate: [^\r\n]*\r\nContent-Length: 0\r\n\r\n\Z"
)
_CHUNK = 8192  # bytes
_LONGEST_WORD = 64  # bytes, of a body such as "OK"


class ResponseError(OSError):
    """A response that is cut short, or not HTTP. The text may repeat what the server has sent."""


class Response(NamedTuple):
    """``body`` may be cut after the bytes asked for; ``headers`` are None on a plain acceptance.

    ``chunks`` are the body of a response that was asked for as a stream, and is a success.
    """

    status: int
    reason: str
    headers: Message | None
    body: bytes
    chunks: BodyStream | None = None

    def is_of_another_server(self, method: str) -> bool:
        """Whether this success can't be a Pushgateway's: a web page, or any page after a push.

        A Pushgateway answers a push with an empty body. A short word is let pass.
        """
        if self.headers is None:
            return False
        kind, length = self.headers.get_content_type(), self.headers.get("Content-Length")
        if "html" in kind:
            return length != "0"
        if method == "GET":
            return False
        is_word = kind == "text/plain" and len(self.body) <= _LONGEST_WORD
        return not is_word or self.body.lstrip().startswith(b"<")


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
