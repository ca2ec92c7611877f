"""Which proxy leads to an origin, by the environment (macOS and Windows: also the system).

The rules are urllib.request's, so that what held for prometheus_client holds here: ``http_proxy``,
``https_proxy``, ``no_proxy``. As Go has it, ``no_proxy`` may also name networks, such as
``10.0.0.0/8``, and domains as ``*.example.org``.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from .. import imported
from ..errors import GatewayURLError
from .auth import BasicAuth
from .urls import parse

if TYPE_CHECKING:
    from .urls import Origin


class Proxy(NamedTuple):
    """A proxy spoken to by plain HTTP; ``headers`` holds Proxy-Authorization where there is one."""

    host: str
    port: int
    headers: tuple[tuple[str, str], ...]

    def __repr__(self) -> str:
        return f"Proxy({self.host}:{self.port})"


def proxy_for(origin: Origin) -> Proxy | None:
    """The proxy that leads to ``origin``. Raises GatewayURLError for one that can't be used."""
    name = f"{origin.scheme}_proxy"
    environ = os.environ
    if name not in environ and name.upper() not in environ and sys.platform not in _WITH_SYSTEM:
        return None
    request = imported("urllib.request")  # 30 ms: only for those who have a proxy
    proxies = request.getproxies()
    url = proxies.get(origin.scheme)
    if not url or request.proxy_bypass(origin.authority):
        return None
    if _is_exempt(origin.host, proxies.get("no", "")):
        return None
    return _parse(url, name)


_WITH_SYSTEM = ("darwin", "win32")


def _is_exempt(host: str, no_proxy: str) -> bool:
    """Whether ``no_proxy`` exempts ``host`` in a way that urllib.request does not know."""
    from ipaddress import ip_address, ip_network

    for part in no_proxy.replace(",", " ").split():
        if part.startswith("*.") and host.endswith(part[1:].lower()):
            return True
        with suppress(ValueError):
            if ip_address(host) in ip_network(part, strict=False):
                return True
    return False


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
        raise GatewayURLError(
            f"{name} does not name a usable proxy; write it as http://host:port or"
            " http://user:password@host:port"
        ) from None
    headers: tuple[tuple[str, str], ...] = ()
    if address.credentials is not None:
        headers = (("Proxy-Authorization", BasicAuth(*address.credentials).header()),)
    return Proxy(address.host, address.port, headers)
