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
import select
import socket
import threading
import time
from collections import deque
from typing import TYPE_CHECKING

from .connect import dial
from .proxies import Proxy, proxy_for
from .request import Request, head_of
from .response import Response, receive
from .socket_io import is_closed, is_tls_error, send
from .urls import Origin

if TYPE_CHECKING:
    import ssl

    from .deadline import Deadline

__all__ = ("close_idle", "exchange")

_IDLE_SECONDS = 60.0  # below the idle timeouts of common load balancers and NAT gateways
_IDLE_PER_ORIGIN = 8
_ORIGINS = 32


class _Connection:
    """A connected socket. Used by one thread at a time."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.pid = os.getpid()
        self.idle_since = 0.0

    def usable(self) -> bool:
        """Whether an idle connection is ours, young, and not closed by the server."""
        if self.pid != os.getpid() or time.monotonic() - self.idle_since > _IDLE_SECONDS:
            return False
        # An idle HTTP/1.1 connection has nothing to say: readable means closed, or out of step.
        decrypted = getattr(self.sock, "pending", None)  # of an SSLSocket
        if decrypted is not None and decrypted():
            return False
        return not _readable(self.sock)


_PoolKey = tuple[Origin, "ssl.SSLContext | None", "Proxy | None"]
_idle: dict[_PoolKey, deque[_Connection]] = {}


def exchange(request: Request, deadline: Deadline, max_body: int | None = None) -> Response:
    """Send the request and read the response, on an idle connection where there is one.

    An idle connection that the server closed meanwhile is replaced once, silently: requests to a
    Pushgateway are idempotent. Raises OSError, of which TimeoutError past the deadline and
    ResponseError, and SettingsError for a header or proxy that can't be used.
    """
    proxy = proxy_for(request.origin.scheme, request.origin.authority)
    key = (request.origin, request.tls, proxy)
    data = head_of(request, proxy) + request.body
    connection = _take_idle(key)
    if connection is not None:
        try:
            return _attempt(connection, key, request.method, data, deadline, max_body)
        except OSError as error:
            if not is_closed(error):
                raise
            _close_all(_idle.get(key))
    origin = request.origin
    connection = _Connection(dial(origin.host, origin.port, request.tls, proxy, deadline))
    return _attempt(connection, key, request.method, data, deadline, max_body)


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
    method: str,
    data: bytes,
    deadline: Deadline,
    max_body: int | None,
) -> Response:
    try:
        try:
            send(connection.sock, data, deadline)
        except OSError as refusal:
            if not is_closed(refusal):
                raise
            response = _early_response(connection, refusal, method, deadline, max_body)
            connection.sock.close()
            return response
        response = receive(connection.sock, method, deadline, max_body)
    except BaseException:
        connection.sock.close()
        raise
    if connection.sock.fileno() != -1:
        _put_idle(key, connection)
    return response


def _early_response(
    connection: _Connection,
    refusal: OSError,
    method: str,
    deadline: Deadline,
    max_body: int | None,
) -> Response:
    """The response (413, 431, 401, a TLS alert) of a server that closed on the rest of the body.

    Raises ``refusal`` if there is none, or a success, which can't be about what it did not read.
    """
    try:
        response = receive(connection.sock, method, deadline, max_body)
    except OSError as error:
        if is_tls_error(error) and not is_closed(error):
            raise
        raise refusal from None
    if response.status < 300:
        raise refusal
    return response


def _take_idle(key: _PoolKey) -> _Connection | None:
    connections = _idle.get(key)
    while connections:
        try:
            connection = connections.pop()
        except IndexError:
            return None
        if connection.usable():
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


def _readable(sock: socket.socket) -> bool:
    if hasattr(select, "poll"):
        poll = select.poll()
        poll.register(sock, select.POLLIN)
        return bool(poll.poll(0))
    return bool(select.select([sock], [], [], 0)[0])
