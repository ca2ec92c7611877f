"""One HTTP/1.1 exchange under one deadline, on connections that are kept.

The request is sent in one piece, and a plain acceptance is read without http.client. Against
urllib3 and http.client's own sending that is what reaches the floor of a bare socket, and it lets
the deadline bound every step (tests/benchmarks has the figures).

Safe across threads and event loops: a list of idle connections, whose methods are atomic, and no
lock that a fork could copy while it is held. Idle, a connection is a socket that no loop watches.
Safe across fork: a connection belongs to the process that opened it; another one closes its copy
of the descriptor, which sends nothing.
"""

from __future__ import annotations

import atexit
import os
import socket
import threading
import time
from typing import TYPE_CHECKING

from ..errors import closes_idle_connection, is_success
from .backend import is_readable
from .connect import dial
from .proxies import proxy_for
from .response import Response, receive
from .socket_io import is_closed, is_tls, is_tls_error, send

if TYPE_CHECKING:
    import ssl

    from .backend import Backend
    from .deadline import Deadline
    from .proxies import Proxy
    from .request import Request
    from .urls import Origin

    _Key = tuple[Origin, ssl.SSLContext | None]

_IDLE_SECONDS = 60.0  # below the idle timeouts of common load balancers and NAT gateways
_MOST_IDLE = 16


class _Connection:
    """A connected socket, and the proxy it goes through. Used by one thread at a time."""

    __slots__ = ("idle_since", "key", "pid", "proxy", "sock")

    def __init__(self, key: _Key, sock: socket.socket, proxy: Proxy | None) -> None:
        self.key = key
        self.sock = sock
        self.proxy = proxy
        self.pid = os.getpid()
        self.idle_since = 0.0

    def is_usable(self) -> bool:
        """Whether an idle connection is ours, young, and not closed by the server."""
        if self.pid != os.getpid() or time.monotonic() - self.idle_since > _IDLE_SECONDS:
            return False
        # On an idle HTTP/1.1 connection nothing comes: readable means closed, or out of step.
        if is_tls(self.sock) and self.sock.pending():  # type: ignore[attr-defined]
            return False
        return not is_readable(self.sock, 0)


_idle: list[_Connection] = []


async def exchange(backend: Backend, request: Request, deadline: Deadline) -> Response:
    """Send the request and read the response, on an idle connection where there is one.

    An idle connection that is dead, or that the server closed meanwhile, is replaced once: requests
    to a Pushgateway are idempotent. One that is dead without a sign gets half of the time. Which
    proxy leads to the origin is looked up for a new connection. Raises OSError, of which
    TimeoutError past the deadline and ResponseError, and SettingsError for a method or proxy that
    can't be used.
    """
    origin, data = request.origin, request.encoded()
    key = (origin, request.tls)
    connection = _take_idle(key)
    if connection is not None:
        try:
            half = deadline.reserving(0.5, float("inf"))
            response = await _attempt(backend, connection, request, data, deadline, half)
            if not closes_idle_connection(response.status):
                return response
        except TimeoutError:
            deadline.remaining()  # raises it where there is no other half
        except OSError as error:
            if not is_closed(error):
                raise
        close_idle(origin)
    proxy = proxy_for(origin)
    sock = await dial(backend, origin.host, origin.port, request.tls, proxy, deadline)
    return await _attempt(backend, _Connection(key, sock, proxy), request, data, deadline)


async def _attempt(
    backend: Backend,
    connection: _Connection,
    request: Request,
    data: bytes,
    deadline: Deadline,
    patience: Deadline | None = None,
) -> Response:
    """``patience`` is an earlier deadline for the beginning of the response."""
    sock = connection.sock
    if connection.proxy is not None and request.tls is None:
        data = request.encoded(connection.proxy)
    try:
        try:
            await send(backend, sock, data, patience or deadline)
        except OSError as refusal:
            if not is_closed(refusal):
                raise
            response = await _early_response(backend, sock, refusal, request, deadline)
            sock.close()
            return response
        response = await receive(backend, sock, request, deadline, patience)
    except BaseException:
        sock.close()
        raise
    if response.chunks is None and sock.fileno() != -1:
        _put_idle(connection)
    return response


async def _early_response(
    backend: Backend,
    sock: socket.socket,
    refusal: OSError,
    request: Request,
    deadline: Deadline,
) -> Response:
    """The response (413, 431, 401, a TLS alert) of a server that closed on the rest of the body.

    Raises ``refusal`` if there is none, or a success, which can't be about what it did not read.
    """
    try:
        response = await receive(backend, sock, request, deadline)
    except OSError as error:
        if is_tls_error(error) and not is_closed(error):
            raise
        raise refusal from None
    if is_success(response.status):
        raise refusal
    return response


def _take_idle(key: _Key) -> _Connection | None:
    for connection in reversed(_idle):
        if connection.key == key and _taken(connection):
            if connection.is_usable():
                return connection
            connection.sock.close()
    return None


def _put_idle(connection: _Connection) -> None:
    connection.idle_since = time.monotonic()
    _idle.append(connection)
    for oldest in _idle[:-_MOST_IDLE]:
        if _taken(oldest):
            oldest.sock.close()
    if not _pooling:
        close_idle()


def close_idle(origin: Origin | None = None) -> None:
    """Close the idle connections of this process: those to ``origin``, or all."""
    for connection in _idle.copy():
        if origin in (None, connection.key[0]) and _taken(connection):
            connection.sock.close()


def _taken(connection: _Connection) -> bool:
    """Take it from the idle ones: whether no other thread was first."""
    try:
        _idle.remove(connection)
    except ValueError:
        return False
    return True


def _end_pooling() -> None:
    global _pooling  # noqa: PLW0603 - the interpreter exits once
    _pooling = False
    close_idle()


# Without it, the interpreter's exit would warn of unclosed sockets in a program that did no wrong.
# An atexit hook that is the first to import us, after the main thread's end, registers it in vain.
_pooling = threading.main_thread().is_alive()
atexit.register(_end_pooling)
