"""One HTTP/1.1 exchange under one deadline, on connections that are kept.

The request is sent in one piece, and a plain acceptance is read without http.client. Against
urllib3 and http.client's own sending that is what reaches the floor of a bare socket, and it lets
the deadline bound every step (tests/benchmarks has the figures).

Safe across threads: a deque of idle connections, whose pop and append are atomic, and no lock that
a fork could copy while it is held. Safe across fork: a connection belongs to the process that
opened it; another one closes its copy of the descriptor, which sends nothing.
"""

from __future__ import annotations

import atexit
import os
import socket
import threading
import time
from collections import deque
from typing import TYPE_CHECKING

from ..errors import closes_idle_connection, is_success
from .connect import dial
from .proxies import proxy_for
from .receiving import receive
from .request import Request, head_of
from .response import Response
from .socket_io import is_closed, is_readable, is_tls, is_tls_error, send
from .urls import Origin

if TYPE_CHECKING:
    import ssl

    from .deadline import Deadline
    from .proxies import Proxy

__all__ = ("close_idle", "exchange")

_IDLE_SECONDS = 60.0  # below the idle timeouts of common load balancers and NAT gateways
_IDLE_PER_ORIGIN = 8
_ORIGINS = 32


class _Connection:
    """A connected socket, and the proxy it goes through. Used by one thread at a time."""

    __slots__ = ("idle_since", "pid", "proxy", "sock")

    def __init__(self, sock: socket.socket, proxy: Proxy | None) -> None:
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


_PoolKey = tuple[Origin, "ssl.SSLContext | None"]
_idle: dict[_PoolKey, deque[_Connection]] = {}


def exchange(
    request: Request, deadline: Deadline, max_body: int | None = None, *, streamed: bool = False
) -> Response:
    """Send the request and read the response, on an idle connection where there is one.

    An idle connection that is dead, or that the server closed meanwhile, is replaced once: requests
    to a Pushgateway are idempotent. One that is dead without a sign gets half of the time. Which
    proxy leads to the origin is looked up for a new connection. Raises OSError, of which
    TimeoutError past the deadline and ResponseError, and SettingsError for a header or proxy that
    can't be used.
    """
    origin = request.origin
    key = (origin, request.tls)
    data = head_of(request) + request.body
    connection = _take_idle(key)
    if connection is not None:
        try:
            half = deadline.reserving(0.5, float("inf"))
            response = _attempt(
                connection, key, request, data, deadline, max_body, streamed, patience=half
            )
            if not closes_idle_connection(response.status):
                return response
        except TimeoutError:
            deadline.remaining()  # raises it where there is no other half
        except OSError as error:
            if not is_closed(error):
                raise
        _close_all(_idle.get(key))
    proxy = proxy_for(origin.scheme, origin.authority)
    sock = dial(origin.host, origin.port, request.tls, proxy, deadline)
    return _attempt(_Connection(sock, proxy), key, request, data, deadline, max_body, streamed)


def close_idle() -> None:
    """Close every idle connection of this process."""
    while _idle:
        try:
            _close_all(_idle.popitem()[1])
        except KeyError:
            return


def _end_pooling() -> None:
    global _pooling  # noqa: PLW0603 - the interpreter exits once
    _pooling = False
    close_idle()


# Without it, the interpreter's exit would warn of unclosed sockets in a program that did no wrong.
# An atexit hook that is the first to import us, after the main thread's end, registers it in vain.
_pooling = threading.main_thread().is_alive()
atexit.register(_end_pooling)


def _attempt(
    connection: _Connection,
    key: _PoolKey,
    request: Request,
    data: bytes,
    deadline: Deadline,
    max_body: int | None,
    streamed: bool,
    *,
    patience: Deadline | None = None,
) -> Response:
    """``patience`` is an earlier deadline for the beginning of the response."""
    sock, method = connection.sock, request.method
    if connection.proxy is not None and request.tls is None:
        data = head_of(request, connection.proxy) + request.body
    try:
        try:
            send(sock, data, patience or deadline)
        except OSError as refusal:
            if not is_closed(refusal):
                raise
            response = _early_response(sock, refusal, method, deadline, max_body)
            sock.close()
            return response
        response = receive(sock, method, deadline, max_body, streamed=streamed, patience=patience)
    except BaseException:
        sock.close()
        raise
    if response.chunks is None and sock.fileno() != -1:
        _put_idle(key, connection)
    return response


def _early_response(
    sock: socket.socket,
    refusal: OSError,
    method: str,
    deadline: Deadline,
    max_body: int | None,
) -> Response:
    """The response (413, 431, 401, a TLS alert) of a server that closed on the rest of the body.

    Raises ``refusal`` if there is none, or a success, which can't be about what it did not read.
    """
    try:
        response = receive(sock, method, deadline, max_body)
    except OSError as error:
        if is_tls_error(error) and not is_closed(error):
            raise
        raise refusal from None
    if is_success(response.status):
        raise refusal
    return response


def _take_idle(key: _PoolKey) -> _Connection | None:
    connections = _idle.get(key)
    while connections:
        try:
            connection = connections.pop()
        except IndexError:
            return None
        if connection.is_usable():
            return connection
        connection.sock.close()
    return None


def _put_idle(key: _PoolKey, connection: _Connection) -> None:
    connection.idle_since = time.monotonic()
    if len(_idle) > _ORIGINS:
        close_idle()
    connections = _idle.setdefault(key, deque())
    if len(connections) < _IDLE_PER_ORIGIN:
        connections.append(connection)
    else:
        connection.sock.close()
    if not _pooling or _idle.get(key) is not connections:
        # The process exits, or another thread has just closed what was idle.
        _close_all(connections)


def _close_all(connections: deque[_Connection] | None) -> None:
    # Each is popped first: another thread may be taking one, and must not find it closed.
    while connections:
        try:
            connections.pop().sock.close()
        except IndexError:
            return
