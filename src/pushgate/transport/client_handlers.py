"""prometheus_client's handlers for basic authentication and client certificates."""

from __future__ import annotations

import ssl
from collections.abc import Callable

from .auth import TLS, BasicAuth
from .handler import HTTPHandler, default_handler


def basic_auth_handler(
    url: str,
    method: str,
    timeout: float | None,
    headers: list[tuple[str, str]],
    data: bytes,
    username: str | None = None,
    password: str | None = None,
) -> Callable[[], object]:
    """As default_handler, with HTTP basic authentication if both user name and password are set."""
    if username is None or password is None:
        return default_handler(url, method, timeout, headers, data)
    auth = BasicAuth(str(username), str(password))  # a number, say, of a YAML file
    return HTTPHandler(auth=auth)(url, method, timeout, headers, data)


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
) -> Callable[[], object]:
    """As default_handler, with a client certificate; the arguments are those of :class:`TLS`.

    Raises TLSFileError at once for files that can't be used.
    """
    tls = TLS(cafile, certfile, keyfile, insecure_skip_verify, protocol)
    tls.context()
    return HTTPHandler(tls=tls)(url, method, timeout, headers, data)
