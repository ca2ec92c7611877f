"""One HTTP/1.1 exchange under one wall-clock deadline, on pooled connections.

Enters: a :class:`Request`. Leaves: a :class:`Response` of any status, or OSError, SSLError or
HTTPException as the standard library raises them; handlers.py maps those in one place.

The request is serialised here and sent in one piece; http.client parses the response. Against
urllib3 and http.client's own sending that is what reaches the floor of a bare socket, and it lets
the deadline bound every step, a dripping server included (tests/benchmarks has the figures).

Safe across threads: a deque of idle connections, whose pop and append are atomic, and no lock that
a fork could copy while it is held. Safe across fork: a connection belongs to the process that
opened it; another one closes its copy of the descriptor, which sends nothing.
"""

from __future__ import annotations

import atexit
import io
import os
import re
import select
import socket
import threading
import time
from collections import deque
from email.message import Message
from http.client import HTTPException, HTTPResponse, RemoteDisconnected
from typing import TYPE_CHECKING, NamedTuple

from .proxies import Proxy, proxy_for

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterable
    from typing import Any

__all__ = ("Deadline", "Origin", "Request", "Response", "close_idle", "exchange")

_IDLE_SECONDS = 60.0  # below the idle timeouts of common load balancers and NAT gateways
_IDLE_PER_ORIGIN = 8
_ORIGINS = 32

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")  # RFC 9110, section 5.6.2
# A Pushgateway's answer to what it accepted: whole, without a body, connection kept. Recognising it
# saves http.client's parser, which is a third of a push's CPU; any other answer is left to that.
_ACCEPTED = re.compile(
    rb"HTTP/1\.1 (20[02]) [^\r\n]*\r\nDate: [^\r\n]*\r\nContent-Length: 0\r\n\r\n\Z"
)
_NO_HEADERS = Message()
_CHUNK = 8192
_LINE_BREAK = re.compile(r"[\r\n\0]")


class Deadline:
    """A point on the monotonic clock, ``timeout`` seconds from now; None never passes."""

    __slots__ = ("_at",)

    def __init__(self, timeout: float | None) -> None:
        self._at = None if timeout is None else time.monotonic() + timeout

    def remaining(self) -> float | None:
        """Seconds left, above 0. Raises TimeoutError when none are."""
        if self._at is None:
            return None
        left = self._at - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        return left


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


class Response(NamedTuple):
    """``body`` is cut after ``max_body`` bytes; ``headers`` may be left out on success."""

    status: int
    reason: str
    headers: Message
    body: bytes


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
        return not _readable(self.sock)

    def send(self, data: bytes, deadline: Deadline) -> None:
        view = memoryview(data)
        while view:
            self.sock.settimeout(deadline.remaining())
            view = view[self.sock.send(view) :]

    def receive(self, method: str, deadline: Deadline, max_body: int | None) -> Response:
        """Read one response; the connection can be used again if ``self.sock`` is still open."""
        self.sock.settimeout(deadline.remaining())
        start = self.sock.recv(_CHUNK)
        if plain := _ACCEPTED.match(start):
            return Response(int(plain[1]), "", _NO_HEADERS, b"")
        readable = _Readable(self.sock, deadline, start)
        response = HTTPResponse(readable, method=method)  # type: ignore[arg-type]
        try:
            response.begin()
            body = response.read(max_body)
            whole = response.isclosed() or not response.read(1)
            if response.will_close or not whole:
                self.sock.close()
            return Response(response.status, response.reason, response.headers, body)
        finally:
            response.close()


class _Readable:
    """What HTTPResponse needs of a socket: a file that reads within the deadline."""

    def __init__(self, sock: socket.socket, deadline: Deadline, start: bytes | None = None) -> None:
        self._reader = _SocketReader(sock, deadline, start)

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(self._reader)


class _SocketReader(io.RawIOBase):
    """Reads ``start``, which was received before, then the socket."""

    def __init__(self, sock: socket.socket, deadline: Deadline, start: bytes | None) -> None:
        self._sock = sock
        self._deadline = deadline
        self._start = start

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self._start is not None:
            count = min(len(buffer), len(self._start))
            buffer[:count] = self._start[:count]
            self._start = self._start[count:] or None
            return count
        self._sock.settimeout(self._deadline.remaining())
        return self._sock.recv_into(buffer)


_PoolKey = tuple[Origin, "ssl.SSLContext | None", "Proxy | None"]
_idle: dict[_PoolKey, deque[_Connection]] = {}


def exchange(request: Request, deadline: Deadline, max_body: int | None = None) -> Response:
    """Send the request and read the response, on an idle connection where there is one.

    An idle connection that the server closed meanwhile is replaced once, silently: requests to a
    Pushgateway are idempotent. Raises OSError (TimeoutError past the deadline), ssl.SSLError,
    http.client.HTTPException, and ValueError for a header that can't be sent.
    """
    proxy = proxy_for(request.origin.scheme, request.origin.authority)
    key = (request.origin, request.tls, proxy)
    data = _serialise(request, proxy)
    connection = _take_idle(key)
    if connection is not None:
        try:
            return _attempt(connection, key, request.method, data, deadline, max_body)
        except (ConnectionError, RemoteDisconnected):
            _close_all(_idle.pop(key, ()))
    connection = _connect(request, proxy, deadline)
    return _attempt(connection, key, request.method, data, deadline, max_body)


def close_idle() -> None:
    """Close every idle connection of this process."""
    while _idle:
        try:
            _close_all(_idle.popitem()[1])
        except KeyError:
            return


# Without it, the interpreter's exit would warn of unclosed sockets in a program that did no wrong.
atexit.register(close_idle)


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
            connection.send(data, deadline)
        except ConnectionError as refusal:
            # A server may answer (413, 431, 401) and close before it has read all of the body.
            try:
                response = connection.receive(method, deadline, max_body)
            except (OSError, HTTPException):
                raise refusal from None
            connection.sock.close()
            return response
        response = connection.receive(method, deadline, max_body)
    except BaseException:
        connection.sock.close()
        raise
    if connection.sock.fileno() != -1:
        _put_idle(key, connection)
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


def _close_all(connections: Iterable[_Connection]) -> None:
    for connection in tuple(connections):
        connection.sock.close()


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
    given = {name.lower() for name, _ in headers}
    lines = [f"{request.method} {target} HTTP/1.1"]
    if "host" not in given:
        lines.append(f"Host: {request.origin.authority}")
    if "content-length" not in given:
        lines.append(f"Content-Length: {len(request.body)}")
    for name, value in headers:
        text = value.decode("latin-1") if isinstance(value, bytes) else str(value)
        if not _TOKEN.match(name) or _LINE_BREAK.search(text):
            raise ValueError(f"the header {name!r} has a name or value that HTTP does not allow")
        lines.append(f"{name}: {text}")
    return "\r\n".join([*lines, "\r\n"]).encode("latin-1") + request.body


def _connect(request: Request, proxy: Proxy | None, deadline: Deadline) -> _Connection:
    origin = request.origin
    host, port = (proxy.host, proxy.port) if proxy else (origin.host, origin.port)
    sock = _open_socket(host, port, deadline)
    try:
        if request.tls is None:
            return _Connection(sock)
        if proxy is not None:
            _tunnel(sock, origin, proxy, deadline)
        sock = request.tls.wrap_socket(
            sock, server_hostname=origin.host, do_handshake_on_connect=False
        )
        sock.settimeout(deadline.remaining())
        sock.do_handshake()
        return _Connection(sock)
    except BaseException:
        sock.close()
        raise


def _tunnel(sock: socket.socket, origin: Origin, proxy: Proxy, deadline: Deadline) -> None:
    host = f"[{origin.host}]" if ":" in origin.host else origin.host
    target = f"{host}:{origin.port}"
    lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
    lines += [f"{name}: {value}" for name, value in proxy.headers]
    through = _Connection(sock)
    through.send("\r\n".join([*lines, "\r\n"]).encode("latin-1"), deadline)
    # The answer to a CONNECT that succeeded has no body, whatever its headers say.
    answer = HTTPResponse(_Readable(sock, deadline), method="CONNECT")  # type: ignore[arg-type]
    try:
        answer.begin()
        if answer.status != 200:
            raise OSError(
                f"the proxy {proxy.host}:{proxy.port} refused the tunnel to {target}:"
                f" {answer.status} {answer.reason}"
            )
    finally:
        answer.close()


def _open_socket(host: str, port: int, deadline: Deadline) -> socket.socket:
    error: OSError | None = None
    for family, kind, protocol, _, address in _resolve(host, port, deadline):
        sock = socket.socket(family, kind, protocol)
        try:
            sock.settimeout(deadline.remaining())
            sock.connect(address)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return sock
        except OSError as failure:
            sock.close()
            error = failure
    raise error or OSError(f"no address found for {host}")


def _resolve(host: str, port: int, deadline: Deadline) -> list[Any]:
    """getaddrinfo, which takes no timeout, in a thread that can be abandoned."""
    left = deadline.remaining()
    if left is None or _is_address(host):
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    outcome: list[Any] = []

    def look_up() -> None:
        try:
            outcome.append(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except Exception as failure:  # handed to the waiting thread
            outcome.append(failure)

    thread = threading.Thread(target=look_up, name="pushgate-resolve", daemon=True)
    try:
        thread.start()
    except RuntimeError:
        # No new threads while the interpreter shuts down, when an atexit hook may push.
        look_up()
    else:
        thread.join(left)
    if not outcome:
        raise TimeoutError(f"timed out while looking up {host}")
    if isinstance(outcome[0], Exception):
        raise outcome[0]
    found: list[Any] = outcome[0]
    return found


def _is_address(host: str) -> bool:
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, host)
        except OSError:
            continue
        return True
    return False
