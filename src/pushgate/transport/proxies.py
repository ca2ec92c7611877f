"""Which proxy leads to an origin, by the environment (macOS and Windows: also the system).

The rules are urllib.request's, so that what held for prometheus_client holds here: ``http_proxy``,
``https_proxy``, ``no_proxy``.
"""

from __future__ import annotations

import os
import sys
from typing import NamedTuple

from .. import imported
from ..errors import SettingsError
from .auth import BasicAuth
from .urls import parse


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
    request = imported("urllib.request")  # 30 ms: only for those who have a proxy
    url = request.getproxies().get(scheme)
    if not url or request.proxy_bypass(authority):
        return None
    return _parse(url, name)


_WITH_SYSTEM = ("darwin", "win32")


def _parse(url: str, name: str) -> Proxy:
    from string import punctuation
    from urllib.parse import quote

    # CONNECT goes to the proxy in plain text also where its URL says https, as urllib has it: many
    # an https_proxy is written so for a proxy that speaks no TLS itself.
    schemes = ("http", "https") if name == "https_proxy" else ("http",)
    try:
        address = parse(quote(url if "://" in url else f"http://{url}", punctuation))
        if address.scheme not in schemes:
            raise ValueError
    except ValueError:
        raise SettingsError(
            f"{name} does not name a usable proxy; write it as http://host:port or"
            " http://user:password@host:port"
        ) from None
    headers: tuple[tuple[str, str], ...] = ()
    if address.credentials is not None:
        headers = (("Proxy-Authorization", BasicAuth(*address.credentials).header()),)
    return Proxy(address.host, address.port, headers)
