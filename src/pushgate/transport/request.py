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

    Headers = Mapping[str, tuple[str, str | bytes]]

__all__ = ("Request", "head_of", "refuse_headers_of_the_request")

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105 - of RFC 9110, section 5.6.2
_VALUE = r"[^\r\n\0\u0100-\U0010ffff]*"
_HEAD = re.compile(rf"{_TOKEN} \S+ HTTP/1\.1\r\n(?:{_TOKEN}: {_VALUE}\r\n)*")
# They say how a body ends, what it is packed in, or where it goes: a second one breaks the push.
_OF_THE_REQUEST = (
    "connection",
    "content-encoding",
    "content-length",
    "host",
    "transfer-encoding",
)


class Request(NamedTuple):
    """``target`` is path and query. ``headers`` are by their names in lower case."""

    origin: Origin
    method: str
    target: str
    headers: Headers
    body: bytes
    tls: ssl.SSLContext | None  # for https


def refuse_headers_of_the_request(names: Iterable[str]) -> None:
    """Raise ValueError for a header that each request sets itself."""
    for name in names:
        if name.lower() in _OF_THE_REQUEST:
            advice = "set the compression" if "encoding" in name.lower() else "leave it out"
            raise ValueError(f"the header {name!r} is one that each request sets itself; {advice}")


def head_of(request: Request, proxy: Proxy | None = None) -> bytes:
    """The head, with the headers that say where it goes and how long the body is.

    ``proxy`` is one that gets the request itself, and not a tunnel.
    Raises SettingsError for a method or header that HTTP does not allow.
    """
    authority, target, headers = request.origin.authority, request.target, request.headers
    if proxy is not None:
        target = f"http://{authority}{target}"
        headers = {**headers, **{name.lower(): (name, value) for name, value in proxy.headers}}
    lines = [f"{request.method} {target} HTTP/1.1"]
    if "host" not in headers:
        lines.append(f"Host: {authority}")
    for key, (name, value) in headers.items():
        # The body's length is ours to say: another would make its rest a request of its own.
        if key != "content-length":
            lines.append(f"{name}: {value if type(value) is str else _text(value)}")
    lines.append(f"Content-Length: {len(request.body)}\r\n")
    head = "\r\n".join(lines)
    # A value that holds a line break makes one line more.
    is_sound = _HEAD.fullmatch(head) and head.count("\n") == len(lines)
    if not is_sound or "transfer-encoding" in headers:
        raise _refusal(request)
    return f"{head}\r\n".encode("latin-1")


def _refusal(request: Request) -> SettingsError:
    """What is wrong with the head, without the value of a header."""
    if not re.fullmatch(_TOKEN, request.method):
        return SettingsError(f"{request.method!r} is no HTTP method")
    for name, _ in request.headers.values():
        if not re.fullmatch(_TOKEN, name) or name.lower() == "transfer-encoding":
            shown = name.partition(":")[0]
            return SettingsError(f"HTTP does not allow the header name {shown!r} here")
    name = next(
        (
            name
            for name, value in request.headers.values()
            if not re.fullmatch(_VALUE, _text(value))
        ),
        "",
    )
    return SettingsError(
        f"the value of the header {name!r} holds a line break, a NUL or a character outside"
        " Latin-1; one that was read from a file often ends with a line break"
    )


def _text(value: str | bytes) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)
