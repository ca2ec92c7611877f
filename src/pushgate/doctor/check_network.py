"""Checks the way to the gateway: proxy, name, connection, TLS."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING

from ..errors import SettingsError
from ..jobs.ages import roughly
from ..transport.auth import TLS
from ..transport.backend import BLOCKING, completed
from ..transport.connect import dial
from ..transport.deadline import Deadline
from ..transport.proxies import proxy_for
from ..transport.socket_io import is_tls_error
from ..transport.urls import parse
from .finding import Finding, fail, ok, warn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..settings.loader import Settings
    from ..transport.proxies import Proxy
    from ..transport.urls import Address

_SOON = 14 * 86_400.0  # seconds: a certificate that ends before is worth a warning


def check_network(settings: Settings) -> Iterator[Finding]:
    """Connect once, as a push does, and close the connection."""
    address = parse(settings.gateway or "")
    try:
        proxy = proxy_for(address.origin)
        files = (settings.cafile, settings.certfile, settings.keyfile)
        secure = address.scheme == "https"
        context = TLS(*files, settings.insecure_skip_verify).context() if secure else None
    except SettingsError as error:
        yield fail("network", str(error))
        return
    if proxy is not None:
        yield _check_proxy(address, proxy)
    began = time.monotonic()
    try:
        deadline = Deadline(settings.timeout)
        sock = completed(dial(BLOCKING, address.host, address.port, context, proxy, deadline))
    except (OSError, UnicodeError) as error:
        yield fail("network", *_explained(error, address, proxy, settings.timeout))
        return
    with sock:
        took = (time.monotonic() - began) * 1000
        to = "" if proxy else f" ({sock.getpeername()[0]})"
        how = f"{sock.version()}, " if context else ""  # type: ignore[attr-defined]
        yield ok("network", f"connected to {address.host}:{address.port}{to}, {how}{took:.0f} ms")
        certificate = sock.getpeercert() if context else None  # type: ignore[attr-defined]
    if certificate and "notAfter" in certificate:
        yield _check_certificate(certificate["notAfter"])


def _check_proxy(address: Address, proxy: Proxy) -> Finding:
    text = f"requests go through the proxy {proxy.host}:{proxy.port}, by {address.scheme}_proxy"
    if address.host == "localhost" or address.host.startswith(("127.", "::1")):
        return warn("network", f"{text}, also to this host", f"add {address.host} to no_proxy")
    return ok("network", text)


def _check_certificate(not_after: str) -> Finding:
    import ssl

    left = ssl.cert_time_to_seconds(not_after) - time.time()
    text = f"the server's certificate is trusted, and valid for {roughly(left)}"
    if left < _SOON:
        return warn("network", text, "renew it: pushes stop when it ends")
    return ok("network", text)


def _explained(
    error: Exception, address: Address, proxy: Proxy | None, timeout: float
) -> tuple[str, str]:
    where = f"{address.host}:{address.port}"
    reason = str(getattr(error, "strerror", None) or error)
    if proxy is not None and not (isinstance(error, OSError) and is_tls_error(error)):
        return (
            f"{where} can't be reached through the proxy: {reason}",
            f"if the gateway is not behind the proxy, add {address.host} to no_proxy",
        )
    if isinstance(error, (socket.gaierror, UnicodeError)):
        return (
            f"the name {address.host!r} can't be looked up: {reason}",
            "check its spelling, and that this host's (or container's) DNS knows it",
        )
    if isinstance(error, TimeoutError):
        return (
            f"no answer from {where} in {timeout:g}s",
            "check the address, and that no firewall drops packets to it",
        )
    if isinstance(error, ConnectionRefusedError):
        return (
            f"nothing listens on {where}",
            "start the Pushgateway, or correct the port: its usual one is 9091",
        )
    if isinstance(error, OSError) and is_tls_error(error):
        return _explained_tls(error, where)
    return f"{where} can't be reached: {reason}", "check the address, and the network to it"


def _explained_tls(error: OSError, where: str) -> tuple[str, str]:
    if why := getattr(error, "verify_message", None):
        return (
            f"the certificate of {where} is not trusted: {why}",
            "give its authority by --cafile, and use the host name that it was issued for",
        )
    reason = getattr(error, "reason", None) or error
    return (
        f"TLS with {where} failed: {reason}",
        "if the gateway speaks plain HTTP there, write http:// in place of https://",
    )
