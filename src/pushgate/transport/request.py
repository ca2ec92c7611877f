"""A request and its head: the request line and headers as they are sent."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from ..errors import SettingsError

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterable, Mapping

    from .proxies import Proxy
    from .urls import Origin

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # of RFC 9110, section 5.6.2
_VALUE = re.compile(r"[^\r\n\0\u0100-\U0010ffff]*")
# They say how a body ends, what it is packed in, or where it goes: a second one breaks the push.
_OF_THE_REQUEST = (
    "connection",
    "content-encoding",
    "content-length",
    "host",
    "transfer-encoding",
)


class RequestHeaders(NamedTuple):
    """Headers by their names in lower case, and the same as the lines that are sent."""

    by_name: Mapping[str, tuple[str, str]]
    lines: str


class Request(NamedTuple):
    """``target`` is path and query, ``tls`` is for https.

    ``max_body`` is how many bytes of a success's body are read, None for all; with ``streamed``
    they are read while the response's ``chunks`` are.
    """

    origin: Origin
    method: str
    target: str
    headers: RequestHeaders
    body: bytes
    tls: ssl.SSLContext | None
    max_body: int | None = None
    streamed: bool = False

    def encoded(self, proxy: Proxy | None = None) -> bytes:
        """All that is sent, with the headers that say where it goes and how long the body is.

        ``proxy`` is one that gets the request itself, and not a tunnel. Raises SettingsError for a
        method that HTTP does not allow.
        """
        if not _TOKEN.fullmatch(self.method):
            raise SettingsError(f"{self.method!r} is no HTTP method")
        authority, target, lines = self.origin.authority, self.target, self.headers.lines
        if "host" not in self.headers.by_name:
            lines = f"Host: {authority}\r\n{lines}"
        if proxy is not None:
            target = f"http://{authority}{target}"
            lines += "".join([f"{name}: {value}\r\n" for name, value in proxy.headers])
        head = f"{self.method} {target} HTTP/1.1\r\n{lines}Content-Length: {len(self.body)}\r\n\r\n"
        return head.encode("latin-1") + self.body


def refuse_headers_of_the_request(names: Iterable[str]) -> None:
    """Raise ValueError for a header that each request sets itself."""
    for name in names:
        if name.lower() in _OF_THE_REQUEST:
            advice = "set the compression" if "encoding" in name.lower() else "leave it out"
            raise ValueError(f"the header {name!r} is one that each request sets itself; {advice}")


def headers_of(pairs: Iterable[tuple[str, str | bytes]]) -> RequestHeaders:
    """Headers for a request: of several of one name the last, as urllib.request sends them.

    Raises SettingsError, without the value, for those that HTTP does not allow.
    """
    by_name = {
        name.lower(): (name, value.decode("latin-1") if isinstance(value, bytes) else str(value))
        for name, value in pairs
    }
    # The body's length is ours to say: another would make its rest a request of its own.
    by_name.pop("content-length", None)
    for name, value in by_name.values():
        if not _TOKEN.fullmatch(name) or name.lower() == "transfer-encoding":
            shown = name.partition(":")[0]
            raise SettingsError(f"HTTP does not allow the header name {shown!r} here")
        if not _VALUE.fullmatch(value):
            raise SettingsError(
                f"the value of the header {name!r} holds a line break, a NUL or a character"
                " outside Latin-1; one that was read from a file often ends with a line break"
            )
    lines = "".join([f"{name}: {value}\r\n" for name, value in by_name.values()])
    return RequestHeaders(by_name, lines)
