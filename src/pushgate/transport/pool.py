"""One HTTP/1.1 exchange under one wall-clock deadline, on pooled connections.

Enters: a :class:`Request`. Leaves: a :class:`Response` of any status, or OSError as the standard
library raises it; http_handler.py maps that in one place.

The request is serialised here and sent in one piece; http.client parses what is more than a plain
acceptance. Against urllib3 and http.client's own sending that is what reaches the floor of a bare
socket, and it lets the deadline bound every step (tests/benchmarks has the figures).

Safe across threads: a deque of idle connections, whose pop and append are atomic, and no lock that
a fork could copy while it is held. Safe across fork: a connection belongs to the process that
opened it; another one closes its copy of the descriptor, which sends nothing.
"""

from __future__ import annotations

import atexit
import os
import re
import select
import socket
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from ..errors import SettingsError
from .connect import dial
from .deadline import Deadline, Response, is_closed, is_tls_error, send
from .proxies import Proxy, proxy_for

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterable

__all__ = ("Origin", "Request", "close_idle", "exchange")

_IDLE_SECONDS = 60.0  # below the idle timeouts of common load balancers and NAT gateways
_IDLE_PER_ORIGIN = 8
_ORIGINS = 32

# A Pushgateway's answer to what it accepted: whole, without a body, connection kept. Recognising it
# saves a third of a push's CPU, and http.client's import; any other answer is left to that.
_ACCEPTED = re.compile(
    rb"HTTP/1\.1 (20[02]) [^\r\n]*\r\nDate: [^\r\n]*\r\nContent-Length: 0\r\n\r\n\Z"
)
_CHUNK = 8192

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")  # RFC 9110, section 5.6.2
_UNFIT = re.compile(r"[\r\n\0]|[^\0-\xff]")  # in a header's value


class Origin(NamedTuple):
    """Where a connection leads. ``host`` is without brackets, ``scheme`` http or https."""

    scheme: str
    host: str
    port: int

    @property
    def authority(self) -> str:
        """``host[:port]`` as the Host header has it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        default = 443 if self.scheme == "https" else 80
        return host if self.port == default else f"{host}:{self.port}"


class Request(NamedTuple):
    """``target`` is path and query; ``headers`` are complete but for the connection's own."""

    origin: Origin
    method: str
    target: str
    headers: Iterable[tuple[str, str | bytes]]
    body: bytes
    tls: ssl.SSLContext | None  # for https


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
    AnswerError, and SettingsError for a header or proxy that can't be used.
    """
    proxy = proxy_for(request.origin.scheme, request.origin.authority)
    key = (request.origin, request.tls, proxy)
    data = _serialise(request, proxy)
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
            response = _early_answer(connection, refusal, method, deadline, max_body)
            connection.sock.close()
            return response
        response = _receive(connection.sock, method, deadline, max_body)
    except BaseException:
        connection.sock.close()
        raise
    if connection.sock.fileno() != -1:
        _put_idle(key, connection)
    return response


def _receive(
    sock: socket.socket, method: str, deadline: Deadline, max_body: int | None
) -> Response:
    """Read one response, and close the socket if it can't be used again."""
    sock.settimeout(deadline.remaining())
    start = sock.recv(_CHUNK)
    if plain := _ACCEPTED.match(start):
        return Response(int(plain[1]), "", None, b"")
    from .response import receive_any

    return receive_any(sock, start, method, deadline, max_body)


def _early_answer(
    connection: _Connection,
    refusal: OSError,
    method: str,
    deadline: Deadline,
    max_body: int | None,
) -> Response:
    """What the server said (413, 431, 401, a TLS alert) before it closed on the rest of the body.

    Raises ``refusal`` if that is nothing, or a success, which can't be about what it did not read.
    """
    try:
        response = _receive(connection.sock, method, deadline, max_body)
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
        # The process exits, or another thread has just closed what was idle: nobody would find it.
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


def _serialise(request: Request, proxy: Proxy | None) -> bytes:
    target, headers = request.target, list(request.headers)
    if proxy is not None and request.origin.scheme == "http":
        target = f"http://{request.origin.authority}{target}"
        headers += proxy.headers
    # Of several headers of one name the last is sent, as urllib.request does. The body's length is
    # ours to say: another one would make the rest of the body a request of its own.
    given = {name.lower(): (name, value) for name, value in headers}
    given["content-length"] = ("Content-Length", str(len(request.body)))
    if not _TOKEN.match(request.method):
        raise SettingsError(f"{request.method!r} is no HTTP method")
    lines = [f"{request.method} {target} HTTP/1.1"]
    if "host" not in given:
        lines.append(f"Host: {request.origin.authority}")
    lines += [_header_line(name, value) for name, value in given.values()]
    return "\r\n".join([*lines, "\r\n"]).encode("latin-1") + request.body


def _header_line(name: str, value: object) -> str:
    text = value.decode("latin-1") if isinstance(value, bytes) else str(value)
    if not _TOKEN.match(name) or name.lower() == "transfer-encoding":
        raise SettingsError(f"HTTP does not allow the header name {name.partition(':')[0]!r} here")
    if _UNFIT.search(text):
        raise SettingsError(
            f"the value of the header {name!r} holds a line break, a NUL or a character outside"
            " Latin-1; one that was read from a file often ends with a line break"
        )
    return f"{name}: {text}"
