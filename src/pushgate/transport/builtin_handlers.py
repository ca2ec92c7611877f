"""The built-in handlers, with prometheus_client's names and signatures.

Enters: a call of the handler protocol. Leaves: the callable that performs the request. Each is one
setting of :class:`HTTPHandler`, which combines them.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable

from .auth import TLS, BasicAuth
from .handler import Handler, HTTPHandler, default_handler

__all__ = (
    "HTTPHandler",
    "Handler",
    "basic_auth_handler",
    "default_handler",
    "passthrough_redirect_handler",
    "tls_auth_handler",
)

_FOLLOWING = HTTPHandler(redirects=10)


def passthrough_redirect_handler(
    url: str,
    method: str,
    timeout: float | None,
    headers: list[tuple[str, str]],
    data: bytes,
) -> Callable[[], None]:
    """As default_handler, but follows up to 10 redirects (301, 302, 303, 307, 308).

    Method and body stay the same on every hop. Authorization and headers other than the content's
    do not travel to another origin. Use it only for a gateway whose redirects you trust.
    """
    return _FOLLOWING(url, method, timeout, headers, data)


def basic_auth_handler(
    url: str,
    method: str,
    timeout: float | None,
    headers: list[tuple[str, str]],
    data: bytes,
    username: str | None = None,
    password: str | None = None,
) -> Callable[[], None]:
    """As default_handler, with HTTP basic authentication if both user name and password are set."""
    if username is None or password is None:
        return default_handler(url, method, timeout, headers, data)
    return HTTPHandler(auth=BasicAuth(username, password))(url, method, timeout, headers, data)


def tls_auth_handler(
    url: str,
    method: str,
    timeout: float | None,
    headers: list[tuple[str, str]],
    data: bytes,
    certfile: str,
    keyfile: str,
    cafile: str | None = None,
    protocol: int = ssl.PROTOCOL_TLS_CLIENT,
    insecure_skip_verify: bool = False,
) -> Callable[[], None]:
    """As default_handler, with a client certificate; the arguments are those of :class:`TLS`.

    Raises TLSFileError at once for files that can't be used.
    """
    tls = TLS(cafile, certfile, keyfile, insecure_skip_verify, protocol)
    tls.context()
    return HTTPHandler(tls=tls)(url, method, timeout, headers, data)
