"""A server's response, parsed by http.client: all that is more than a plain acceptance.

Apart from response.py because importing http.client takes longer than a push: a process that pushes
once and is accepted does without.
"""

from __future__ import annotations

import io
from http.client import HTTPException, HTTPResponse
from typing import TYPE_CHECKING

from .response import Response, ResponseError
from .socket_io import receive_some

if TYPE_CHECKING:
    import socket
    from typing import Any

    from .deadline import Deadline

__all__ = ("receive_any", "receive_connected")

_CHUNK = 64 * 1024  # bytes


def receive_any(
    sock: socket.socket, start: bytes, method: str, deadline: Deadline, max_body: int | None
) -> Response:
    """Read the response that begins with ``start``; close the socket if it can't be used again.

    Raises OSError; ResponseError where the response is cut short or is not HTTP.
    """
    source = _Source(sock, deadline, start)
    response = HTTPResponse(source, method=method)  # type: ignore[arg-type]
    try:
        response.begin()
        while response.status < 200:
            # An interim response, such as 103: http.client skips only 100.
            response.headers = None  # type: ignore[assignment]
            response.begin()
        body = response.read(max_body)
        whole = response.isclosed() or not response.read(1)
    except HTTPException as error:
        raise _response_error(error) from None
    finally:
        response.close()
    if response.will_close or not whole or source.surplus:
        sock.close()
    return Response(response.status, response.reason, response.headers, body)


def receive_connected(sock: socket.socket, deadline: Deadline) -> int:
    """The status of a proxy's response to CONNECT, which has no body, also where headers say so."""
    response = HTTPResponse(_Source(sock, deadline), method="CONNECT")  # type: ignore[arg-type]
    try:
        response.begin()
        return response.status
    except HTTPException as error:
        raise _response_error(error) from None
    finally:
        response.close()


def _response_error(error: HTTPException) -> OSError:
    if isinstance(error, OSError):  # RemoteDisconnected
        return error
    return ResponseError(
        f"the response was cut short or is not HTTP ({type(error).__name__}: {error})"
    )


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
        data = self._start
        if data is None:
            data = receive_some(self._sock, min(len(buffer), _CHUNK), self._deadline)
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
