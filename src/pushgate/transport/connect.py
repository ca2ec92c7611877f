"""Opening a connection: look-up, connection, proxy tunnel and TLS handshake, within one deadline.

Errors are those of the standard library. Where one is raised, no socket stays open.
"""

from __future__ import annotations

import errno
import os
import socket
from contextlib import suppress
from typing import TYPE_CHECKING

from .socket_io import send, wait_for

if TYPE_CHECKING:
    import ssl
    from typing import Any

    from .backend import Backend
    from .deadline import Deadline
    from .proxies import Proxy

_HEAD_START = 0.25  # seconds of one address before the next one
_LONGEST_LABEL = 64  # characters; RFC 1035, section 2.3.4, allows one fewer


async def dial(
    backend: Backend,
    host: str,
    port: int,
    tls: ssl.SSLContext | None,
    proxy: Proxy | None,
    deadline: Deadline,
) -> socket.socket:
    """A socket connected to ``host``, through ``proxy`` if there is one, encrypted if ``tls``.

    It does not block. Raises OSError, ResponseError of a proxy among them, or UnicodeError for a
    host name that no resolver takes.
    """
    if proxy is None:
        sock = await _open_socket(backend, host, port, deadline)
    else:
        try:
            sock = await _open_socket(backend, proxy.host, proxy.port, deadline)
        except TimeoutError:
            raise
        except OSError as error:
            raise OSError(
                f"the proxy {proxy.host}:{proxy.port} can't be reached: {error.strerror or error}"
            ) from error
    try:
        if tls is None:
            return sock
        if proxy is not None:
            await _tunnel(backend, sock, host, port, proxy, deadline)
        sock = secure = tls.wrap_socket(sock, server_hostname=host, do_handshake_on_connect=False)
        while True:
            try:
                secure.do_handshake()
                return sock
            except OSError as error:
                await wait_for(backend, sock, error, deadline)
    except BaseException:
        sock.close()
        raise


async def _tunnel(
    backend: Backend,
    sock: socket.socket,
    host: str,
    port: int,
    proxy: Proxy,
    deadline: Deadline,
) -> None:
    target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
    lines += [f"{name}: {value}" for name, value in proxy.headers]
    await send(backend, sock, "\r\n".join([*lines, "\r\n"]).encode("latin-1"), deadline)
    from http.client import responses

    from .http_parser import receive_connected

    status = await receive_connected(backend, sock, deadline)
    if status != 200:
        raise OSError(
            f"the proxy {proxy.host}:{proxy.port} refused the tunnel to {target}:"
            f" {status} {responses.get(status, '')}"
        )


async def _open_socket(backend: Backend, host: str, port: int, deadline: Deadline) -> socket.socket:
    """A socket connected to the first address that answers.

    One that swallows packets holds up the next one for a moment only, and is waited for beside it:
    https://www.rfc-editor.org/rfc/rfc8305#section-5
    """
    addresses = [*await _resolve(backend, host, port, deadline)]  # others may have the same list
    connecting: list[socket.socket] = []
    error = OSError(f"no address found for {host}")
    try:
        while addresses or connecting:
            try:
                sock = _begin_to_connect(addresses.pop(0)) if addresses else connecting.pop(0)
            except OSError as failure:  # also of a family that this machine does not have
                error = failure
                continue
            connecting.append(sock)
            left = deadline.remaining()
            if addresses or len(connecting) > 1:
                left = min(left or _HEAD_START, _HEAD_START)
            if not await backend.writable(sock, left):
                continue
            connecting.remove(sock)
            if code := sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                sock.close()
                error = _os_error(code)
                continue
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return sock
    finally:
        for sock in connecting:
            sock.close()
    raise error


def _begin_to_connect(found: Any) -> socket.socket:
    """A socket on its way to ``found``, an address as getaddrinfo returns it. Raises OSError."""
    family, kind, protocol, _, address = found
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setblocking(False)
        code = sock.connect_ex(address)
        if code not in (0, errno.EINPROGRESS, errno.EWOULDBLOCK, errno.EINTR):
            raise _os_error(code)
    except BaseException:
        sock.close()
        raise
    return sock


def _os_error(code: int) -> OSError:
    texts = getattr(socket, "errorTab", {})  # on Windows, whose strerror knows none of these
    return OSError(code, texts.get(code) or os.strerror(code))


async def _resolve(backend: Backend, host: str, port: int, deadline: Deadline) -> list[Any]:
    """getaddrinfo, which takes no time-out."""
    left = deadline.remaining()
    if not all(0 < len(label) < _LONGEST_LABEL for label in host.removesuffix(".").split(".")):
        raise UnicodeError("a part of the host name is empty or too long")
    # As bytes: for a str, getaddrinfo imports the codec "idna", which takes longer than a push.
    name = host.encode()

    def found(flags: int = 0) -> list[Any]:
        return socket.getaddrinfo(name, port, type=socket.SOCK_STREAM, flags=flags)

    with suppress(socket.gaierror):
        return found(socket.AI_NUMERICHOST)  # an address needs no look-up
    try:
        return await backend.look_up((name, port), found, left)
    except TimeoutError:
        raise TimeoutError(f"timed out while looking up {host}") from None
