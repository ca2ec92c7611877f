"""Opening a connection: look-up, connection, proxy tunnel and TLS handshake, within one deadline.

Errors are those of the standard library. Where one is raised, no socket stays open.
"""

from __future__ import annotations

import socket
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from .socket_io import send

if TYPE_CHECKING:
    import ssl
    from typing import Any

    from .deadline import Deadline
    from .proxies import Proxy

_LONGEST_LABEL = 64  # characters; RFC 1035, section 2.3.4, allows one fewer


def dial(
    host: str, port: int, tls: ssl.SSLContext | None, proxy: Proxy | None, deadline: Deadline
) -> socket.socket:
    """A socket connected to ``host``, through ``proxy`` if there is one, encrypted if ``tls``.

    Raises OSError, ResponseError of a proxy among them, or UnicodeError for a host name that no
    resolver takes.
    """
    if proxy is None:
        sock = _open_socket(host, port, deadline)
    else:
        try:
            sock = _open_socket(proxy.host, proxy.port, deadline)
        except TimeoutError:
            raise
        except OSError as error:
            raise OSError(
                f"the proxy {proxy.host}:{proxy.port} can't be reached: {error.strerror or error}"
            ) from error
    try:
        if tls is None:
            sock.setblocking(False)
            return sock
        if proxy is not None:
            _tunnel(sock, host, port, proxy, deadline)
        sock = tls.wrap_socket(sock, server_hostname=host, do_handshake_on_connect=False)
        sock.settimeout(deadline.remaining())
        sock.do_handshake()
        return sock
    except BaseException:
        sock.close()
        raise


def _tunnel(sock: socket.socket, host: str, port: int, proxy: Proxy, deadline: Deadline) -> None:
    target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
    lines += [f"{name}: {value}" for name, value in proxy.headers]
    send(sock, "\r\n".join([*lines, "\r\n"]).encode("latin-1"), deadline)
    from http.client import responses

    from .http_parser import receive_connected

    status = receive_connected(sock, deadline)
    if status != 200:
        raise OSError(
            f"the proxy {proxy.host}:{proxy.port} refused the tunnel to {target}:"
            f" {status} {responses.get(status, '')}"
        )


def _open_socket(host: str, port: int, deadline: Deadline) -> socket.socket:
    error: OSError | None = None
    addresses = _resolve(host, port, deadline)
    for untried, (family, kind, protocol, _, address) in zip(
        range(len(addresses), 0, -1), addresses, strict=True
    ):
        try:
            sock = socket.socket(family, kind, protocol)
        except OSError as failure:  # a family that this machine does not have
            error = failure
            continue
        try:
            left = deadline.remaining()
            # An address that swallows packets must leave the others their share.
            sock.settimeout(left and left / untried)
            sock.connect(address)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return sock
        except BaseException as failure:
            sock.close()
            if not isinstance(failure, OSError):
                raise
            error = failure
    raise error or OSError(f"no address found for {host}")


def _resolve(host: str, port: int, deadline: Deadline) -> list[Any]:
    """getaddrinfo, which takes no time-out, in a thread that can be left behind."""
    left = deadline.remaining()
    if not all(0 < len(label) < _LONGEST_LABEL for label in host.removesuffix(".").split(".")):
        raise UnicodeError("a part of the host name is empty or too long")
    # As bytes: for a str, getaddrinfo imports the codec "idna", which takes longer than a push.
    name = host.encode()

    def found(flags: int = 0) -> list[Any]:
        return socket.getaddrinfo(name, port, type=socket.SOCK_STREAM, flags=flags)

    with suppress(socket.gaierror):
        return found(socket.AI_NUMERICHOST)  # an address needs no look-up
    # No thread would ever start once the interpreter finalizes, when a __del__ may push.
    if left is None or sys.is_finalizing():
        return found()
    outcome: list[Any] = []

    def look_up() -> None:
        try:
            outcome.append(found())
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
    addresses: list[Any] = outcome[0]
    return addresses
