"""URLs taken apart, and a gateway's address as people write it.

No error and no representation holds a password.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import SplitResult, unquote, urlsplit

from ..errors import GatewayURLError

# Else it would be a host called "http", whose name may be found some day.
_MISTYPED_SCHEME = re.compile(r"(?i)https?(?://|:/(?!/)|:$)")


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


class Address(NamedTuple):
    """A URL taken apart. ``target`` is path and query, ``shown`` the URL without credentials."""

    origin: Origin
    target: str
    credentials: tuple[str, str] | None
    shown: str

    @property
    def scheme(self) -> str:
        """http or https."""
        return self.origin.scheme

    @property
    def host(self) -> str:
        """The host, without brackets."""
        return self.origin.host

    @property
    def port(self) -> int:
        """The port, also where the URL has none."""
        return self.origin.port

    def __repr__(self) -> str:
        return f"Address({self.shown})"


@lru_cache(maxsize=64)  # a process pushes to few gateways, again and again
def base_url(gateway: str) -> str:
    """``gateway`` with a scheme, http where none is given; without /metrics and slashes at its end.

    Raises GatewayURLError for what is not an http or https URL.
    """
    if not isinstance(gateway, str) or not gateway:
        raise GatewayURLError(
            f"the gateway is {gateway!r}; give host:port or a URL (an unset variable, perhaps?)"
        )
    scheme, separator, _ = gateway.partition("://")
    if _MISTYPED_SCHEME.match(gateway) or (separator and scheme.lower() not in ("http", "https")):
        # Not shown: in "user:a://b@host" it is half a password.
        raise GatewayURLError(
            "the gateway URL begins with neither http:// nor https://; write it as http://host:port"
        )
    if not separator:
        gateway = f"http://{gateway}"
    # Where a scraper's URL ends; the paths below it are ours to add.
    gateway = gateway.rstrip("/").removesuffix("/metrics").rstrip("/")
    parse(gateway)
    if "?" in gateway or "#" in gateway:
        raise GatewayURLError(
            f"the gateway URL {_malformed(gateway)!r} has a query or fragment; leave it out, and"
            " percent-encode '?' and '#' in a user name or password"
        )
    if "/metrics/job" in gateway:
        raise GatewayURLError(
            f"the gateway URL {_malformed(gateway)!r} names a group of the gateway; end it before"
            " /metrics, since the job is an argument of its own"
        )
    if "@" in gateway.partition("://")[2].partition("/")[2]:
        # http://user:12/34@host is host "user", port 12: half the password would be the path.
        raise GatewayURLError(
            f"the gateway URL {_malformed(gateway)!r} has an '@' after a '/'; percent-encode '/'"
            " and '@' in a user name or password (%2F, %40)"
        )
    return gateway


@lru_cache(maxsize=64)
def parse(url: str) -> Address:
    """Take an http or https URL apart. Raises GatewayURLError where that can't be done."""
    if not (url.isascii() and url.isprintable()) or " " in url:
        raise GatewayURLError(
            f"the URL {_malformed(url)!r} holds a space, a control character or a"
            " character outside ASCII; percent-encode it, or write the host as punycode"
        )
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise GatewayURLError(
            f"the URL {_malformed(url)!r} has a bad port or host; write it as"
            " http://host:port, an IPv6 address in brackets, and percent-encode '@', ':' and '/'"
            " in a user name or password"
        ) from None
    scheme = parts.scheme.lower()
    if not parts.hostname or scheme not in ("http", "https"):
        raise GatewayURLError(
            f"the URL {_malformed(url)!r} names no host; write it as http://host:port"
        )
    if port is None:
        port = 443 if scheme == "https" else 80
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    origin = Origin(scheme, parts.hostname, port)
    return Address(origin, target, _credentials(parts), without_credentials(url))


def without_credentials(url: str) -> str:
    """``url`` with the user name and password taken out: fit for logs and errors."""
    return re.sub(r"//[^/?#]*@", "//", url, count=1) if "@" in url else url


def _malformed(url: str) -> str:
    """``url``, which may not be cut where its writer thought, without all that may be a secret."""
    without_userinfo = re.sub(r"(?s)//.*@", "//", url, count=1)
    return re.sub(r"(?s)([?#]).+", r"\1…", without_userinfo)  # a query may be a token


def _credentials(parts: SplitResult) -> tuple[str, str] | None:
    if parts.username is None:
        return None
    return unquote(parts.username), unquote(parts.password or "")
