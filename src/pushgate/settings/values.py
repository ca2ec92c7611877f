"""What a setting's text means. Enters: a value as it was written, and its source. Leaves: the value
as Gateway takes it, or a ValueError that never holds a secret."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from ..transport.urls import base_url, parse
from .durations import parse_duration

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ("READERS", "Source")

_LONGEST_TIMEOUT = 86_400.0  # a socket's own limit is 24 days
_TRUE, _FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off")
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, section 5.6.2
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_TOKEN = re.compile(r"[\x21-\x7e]+")
_SECRET_HEADERS = ("auth", "cookie", "token", "secret", "api-key", "apikey")


class Source(NamedTuple):
    """Where a value was written: a flag, a variable or a file, by its name.

    ``private`` says that secrets may stand there: an environment is readable by its user only,
    while the arguments of a process are for all to see and a file gets copied and committed.
    ``folder`` is what relative paths start from, ``home`` what ``~/`` stands for.
    """

    name: str
    private: bool
    folder: str = ""
    home: str = "~"

    def path(self, text: str) -> str:
        """``text`` as a path that can be opened."""
        if text.startswith("~/"):
            text = self.home + text[1:]
        return os.path.join(self.folder, text)


def _gateway(raw: object, source: Source) -> str:
    url = base_url(_text(raw, source))
    address = parse(url)
    if address.credentials and address.credentials[1] and not source.private:
        raise ValueError(f"the URL holds a password, which does not belong here; {_ELSEWHERE}")
    if "/metrics/job" in address.target:
        raise ValueError(
            "the URL names a group; end it before /metrics/job, since the job is a setting of its"
            " own"
        )
    return url


def _text(raw: object, _source: Source) -> str:
    if not isinstance(raw, str) or not raw or not raw.isprintable():
        raise ValueError("give it as text on one line" if raw else "it is empty; leave it out")
    return raw


def _username(raw: object, source: Source) -> str:
    name = _text(raw, source)
    if ":" in name:
        raise ValueError("a user name can't hold a colon (RFC 7617)")
    return name


def _path(raw: object, source: Source) -> str:
    if not isinstance(raw, str) or not raw:
        raise ValueError("give it as the path of a file")
    return source.path(raw)


_ELSEWHERE = (
    "write it into a file that only this user can read and give password = 'file:/path', or set"
    " PUSHGATE_PASSWORD"
)


def _password(raw: object, source: Source) -> str:
    return _secret(raw, source, "password")


def _token(raw: object, source: Source) -> str:
    token = _secret(raw, source, "token")
    if not _TOKEN.fullmatch(token):
        raise ValueError("a token has no spaces, line breaks or characters outside ASCII")
    return token


def _secret(raw: object, source: Source, name: str) -> str:
    """The text, or with ``file:/path`` that file's, less its last line break."""
    if not isinstance(raw, str):
        raise ValueError("give it as text, 'file:/path'")
    if raw.startswith("file:"):
        return _content(source.path(raw.removeprefix("file:")))
    if not source.private:
        raise ValueError(
            "a secret does not belong here; write it into a file that only this user can read and"
            f" give 'file:/path', or set PUSHGATE_{name.upper()}"
        )
    try:
        raw.encode()
    except UnicodeEncodeError:
        raise ValueError("it is not valid UTF-8") from None
    return raw


def _content(path: str) -> str:
    try:
        with open(path, "rb") as file:
            text = file.read().decode()
    except OSError as error:
        raise ValueError(f"the file {path!r} can't be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError(f"the file {path!r} is not valid UTF-8") from None
    text = text.removesuffix("\n").removesuffix("\r")
    if not text:
        raise ValueError(f"the file {path!r} is empty")
    return text


def _headers(raw: object, source: Source) -> tuple[tuple[str, str], ...]:
    """Lines ``Name: value`` as one text or a list, or a table; a value may be ``file:/path``."""
    if isinstance(raw, dict):
        pairs = list(raw.items())
    else:
        lines = raw.splitlines() if isinstance(raw, str) else raw
        if not isinstance(lines, (list, tuple)):
            raise ValueError("give a table of names and values")
        parts = [str(line).partition(":") for line in lines if str(line).strip()]
        if not all(colon for _, colon, _ in parts):
            raise ValueError("a header is written 'Name: value'")
        pairs = [(name.strip(), value.strip()) for name, _, value in parts]
    return tuple((name, _header_value(name, value, source)) for name, value in pairs)


def _header_value(name: str, value: object, source: Source) -> str:
    if not _HEADER_NAME.fullmatch(name):
        raise ValueError("a header's name has a character that HTTP does not allow")
    from ..transport.headers import refuse_headers_of_the_request

    refuse_headers_of_the_request((name,))
    if not isinstance(value, str):
        raise ValueError(f"give the header {name!r} as text")
    if value.startswith("file:"):
        value = _content(source.path(value.removeprefix("file:")))
    elif not source.private and any(part in name.lower() for part in _SECRET_HEADERS):
        raise ValueError(
            f"the value of the header {name!r} is a secret and does not belong here; give it as"
            " 'file:/path', or set PUSHGATE_PASSWORD, PUSHGATE_TOKEN or PUSHGATE_HEADERS"
        )
    if not _HEADER_VALUE.fullmatch(value):
        raise ValueError(f"the header {name!r} has a character that HTTP does not allow")
    return value


def _switch(raw: object, _source: Source) -> bool:
    text = str(raw).lower()
    if text not in (*_TRUE, *_FALSE):
        raise ValueError(f"{raw!r} is neither true nor false")
    return text in _TRUE


def _count(raw: object, _source: Source) -> int:
    text = str(raw)
    if isinstance(raw, bool) or not (text.isascii() and text.isdecimal() and len(text) < 4):
        raise ValueError(f"{raw!r} is not a whole number from 0 to 999")
    return int(text)


def _timeout(raw: object, _source: Source) -> float:
    seconds = parse_duration(str(raw))
    if not 0 < seconds <= _LONGEST_TIMEOUT:
        raise ValueError(f"{raw!r} is not above 0 and at most 1d")
    return seconds


def _compression(raw: object, _source: Source) -> str | None:
    name = str(raw).lower()
    if name not in ("none", "gzip", "snappy"):
        raise ValueError(f"{raw!r} is not one of gzip, snappy, none")
    return None if name == "none" else name


def _outbox(raw: object, source: Source) -> str:
    """A path, or off; false is what TOML has for that."""
    if raw is False or (isinstance(raw, str) and raw.lower() in _FALSE):
        return "off"
    return _path(raw, source)


READERS: Mapping[str, Callable[[object, Source], Any]] = {
    "gateway": _gateway,
    "username": _username,
    "password": _password,
    "token": _token,
    "cafile": _path,
    "certfile": _path,
    "keyfile": _path,
    "insecure_skip_verify": _switch,
    "headers": _headers,
    "redirects": _count,
    "timeout": _timeout,
    "compression": _compression,
    "retries": _count,
    "outbox": _outbox,
    "utf8_names": _switch,
    "protobuf": _switch,
}
"""How each setting is read."""
