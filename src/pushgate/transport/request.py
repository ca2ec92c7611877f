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

__all__ = ("Request", "RequestHeaders", "head_of", "headers_of", "refuse_headers_of_the_request")

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105 - of RFC 9110, section 5.6.2
_VALUE = r"[^\r\n\0]*"
_LINES = re.compile(rf"(?:{_TOKEN}: {_VALUE}\r\n)*")
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

    by_name: Mapping[str, tuple[str, str | bytes]]
    lines: str


class Request(NamedTuple):
    """``target`` is path and query."""

    origin: Origin
    method: str
    target: str
    headers: RequestHeaders
    body: bytes
    tls: ssl.SSLContext | None  # for https


def refuse_headers_of_the_request(names: Iterable[str]) -> None:
    """Raise ValueError for a header that each request sets itself."""
    for name in names:
        if name.lower() in _OF_THE_REQUEST:
            advice = "set the compression" if "encoding" in name.lower() else "leave it out"
            raise ValueError(f"the header {name!r} is one that each request sets itself; {advice}")


def headers_of(pairs: Iterable[tuple[str, str | bytes]]) -> RequestHeaders:
    """Headers for a request: of several of one name the last, as urllib.request sends them.

    Raises SettingsError for those that HTTP does not allow.
    """
    by_name = {name.lower(): (name, value) for name, value in pairs}
    # The body's length is ours to say: another would make its rest a request of its own.
    by_name.pop("content-length", None)
    lines = "".join([f"{name}: {_text(value)}\r\n" for name, value in by_name.values()])
    # A value that holds a line break makes one line more.
    is_sound = _LINES.fullmatch(lines) and lines.count("\n") == len(by_name)
    if not is_sound or not _is_latin(lines) or "transfer-encoding" in by_name:
        raise _refusal(by_name.values())
    return RequestHeaders(by_name, lines)


def head_of(request: Request, proxy: Proxy | None = None) -> bytes:
    """The head, with the headers that say where it goes and how long the body is.

    ``proxy`` is one that gets the request itself, and not a tunnel. Raises SettingsError for a
    method that HTTP does not allow.
    """
    _, method, target, headers, body, _ = request
    if not (method.isascii() and method.isalpha()) and not re.fullmatch(_TOKEN, method):
        raise SettingsError(f"{method!r} is no HTTP method")
    authority, lines = request.origin.authority, headers.lines
    if "host" not in headers.by_name:
        lines = f"Host: {authority}\r\n{lines}"
    if proxy is not None:
        target = f"http://{authority}{target}"
        lines += "".join([f"{name}: {value}\r\n" for name, value in proxy.headers])
    head = f"{method} {target} HTTP/1.1\r\n{lines}Content-Length: {len(body)}\r\n\r\n"
    return head.encode("latin-1")


def _refusal(pairs: Iterable[tuple[str, str | bytes]]) -> SettingsError:
    """Which header is at fault, without its value."""
    for name, _ in pairs:
        if not re.fullmatch(_TOKEN, name) or name.lower() == "transfer-encoding":
            shown = name.partition(":")[0]
            return SettingsError(f"HTTP does not allow the header name {shown!r} here")
    unfit = next(name for name, value in pairs if not _is_fit(_text(value)))
    return SettingsError(
        f"the value of the header {unfit!r} holds a line break, a NUL or a character outside"
        " Latin-1; one that was read from a file often ends with a line break"
    )


def _text(value: str | bytes) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def _is_fit(value: str) -> bool:
    return _is_latin(value) and re.fullmatch(_VALUE, value) is not None


def _is_latin(text: str) -> bool:
    return text.isascii() or max(text) <= "\xff"
