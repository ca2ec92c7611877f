"""Which proxy leads to an origin, by the environment (macOS and Windows: also the system).

The rules are urllib.request's, so that what held for prometheus_client holds here: ``http_proxy``,
``https_proxy``, ``no_proxy``.
"""

from __future__ import annotations

import os
import sys
from typing import NamedTuple

from ..errors import SettingsError

__all__ = ("Proxy", "proxy_for")


class Proxy(NamedTuple):
    """A proxy spoken to by plain HTTP; ``headers`` holds Proxy-Authorization where there is one."""

    host: str
    port: int
    headers: tuple[tuple[str, str], ...]

    def __repr__(self) -> str:
        return f"Proxy({self.host}:{self.port})"


def proxy_for(scheme: str, authority: str) -> Proxy | None:
    """The proxy for ``scheme://authority``. Raises SettingsError for one that can't be used."""
    name = f"{scheme}_proxy"
    environ = os.environ
    if name not in environ and name.upper() not in environ and sys.platform not in _WITH_SYSTEM:
        return None
    # 30 ms to import: only for those who have a proxy.
    from urllib.request import getproxies, proxy_bypass

    url = getproxies().get(scheme)
    if not url or proxy_bypass(authority):
        return None
    return _parse(url, name)


_WITH_SYSTEM = ("darwin", "win32")


def _parse(url: str, name: str) -> Proxy:
    import base64
    from urllib.parse import unquote, urlsplit

    unusable = SettingsError(
        f"{name} does not name a usable proxy; write it as http://host:port or"
        " http://user:password@host:port"
    )
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        port = parts.port or 80
    except ValueError:
        raise unusable from None
    # CONNECT goes to the proxy in plain text also where its URL says https, as urllib has it: many
    # an https_proxy is written so for a proxy that speaks no TLS itself.
    schemes = ("http", "https") if name == "https_proxy" else ("http",)
    if parts.scheme not in schemes or not parts.hostname:
        raise unusable
    headers: tuple[tuple[str, str], ...] = ()
    if parts.username is not None:
        credentials = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        token = base64.b64encode(credentials.encode("utf-8", "surrogateescape")).decode()
        headers = (("Proxy-Authorization", f"Basic {token}"),)
    return Proxy(parts.hostname, port, headers)
