"""An Airflow connection as pushgate's settings.

Enters: a connection, Airflow's or its SDK's. Leaves: Settings, or a SettingsError that names the
connection and its field, never a secret. ``file:/path`` is no way to give a secret here: whoever
may edit a connection could have any file of a worker sent to a host of theirs.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pushgate import Gateway, Settings, SettingsError, parse_duration
from pushgate_airflow._configuration import closest
from pushgate_airflow._form import CONN_TYPE

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ("EXTRAS", "settings_of")

_LONGEST_TIMEOUT = 86_400.0
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, section 5.6.2
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_TOKEN = re.compile(r"[\x21-\x7e]+")


def settings_of(connection: Any) -> Settings:
    """The settings in ``connection``. An empty field or extra counts as not set."""
    try:
        extras = _extras(connection.extra)
        login, password = connection.login or None, connection.password or None
        _refuse_conflicts(login, password, extras)
        url = _url(connection)
        Gateway(url)  # raises for what is no URL
        return Settings(gateway=url, username=login, password=password, **extras)
    except ValueError as error:
        raise SettingsError(f"the connection {connection.conn_id!r}: {error}") from None


def _url(connection: Any) -> str:
    host = (connection.host or "").strip()
    if not host:
        raise ValueError("there is no host; give the gateway's host name, or its whole URL")
    if "@" in host:
        raise ValueError(
            "the host holds a user name or password, and everybody who sees the connection can"
            " read it; move them to login and password"
        )
    scheme = _scheme(connection)
    given, separator, rest = host.partition("://")
    if not separator:
        bare = host.count(":") > 1 and not host.startswith("[")  # an IPv6 address
        given, rest = scheme or "http", f"[{host}]" if bare else host
    elif scheme and scheme != given.lower():
        raise ValueError(f"the schema is {scheme!r}, but the host begins with {given!r}; keep one")
    url = f"{given}://{rest}"
    return _with_port(url, int(connection.port)) if connection.port else url


def _scheme(connection: Any) -> str | None:
    """http or https; in the URI https://host:9091 of a variable, Airflow takes it for a type."""
    scheme = (connection.schema or "").lower() or None
    if scheme is None and connection.conn_type in ("http", "https"):
        return str(connection.conn_type)
    if scheme not in (None, "http", "https"):
        raise ValueError(
            f"the schema is {scheme!r}; it is http or https, and a path goes into the host, as in"
            " https://example.com/pushgateway (in a connection's URI, Airflow takes what follows"
            " the host for the schema: give the connection as JSON)"
        )
    return scheme


def _with_port(url: str, port: int) -> str:
    parts = urlsplit(url)
    if parts.port not in (None, port):
        raise ValueError(f"the port is {port}, but the host says {parts.port}; keep one")
    netloc = parts.netloc.removesuffix(":")
    return url if parts.port else parts._replace(netloc=f"{netloc}:{port}").geturl()


def _extras(text: str | None) -> dict[str, Any]:
    try:
        document = json.loads(text) if text else {}
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise ValueError('the extra is no JSON object; write it as {"timeout": 3}')
    extras = {}
    for key, value in document.items():
        name = key.removeprefix(f"extra__{CONN_TYPE}__")  # as forms before Airflow 2.3 named them
        if name not in EXTRAS:
            raise ValueError(f"there is no extra {name!r}; did you mean {closest(name, EXTRAS)!r}?")
        if value in (None, "", {}):
            continue
        try:
            extras[name] = EXTRAS[name](value)
        except ValueError as error:
            raise ValueError(f"extra {name!r}: {error}") from None
    return extras


def _refuse_conflicts(login: str | None, password: str | None, extras: dict[str, Any]) -> None:
    names = [name.lower() for name, _ in extras.get("headers", ())]
    ways = {
        "login": login is not None,
        "the extra 'token'": "token" in extras,
        "an Authorization header": "authorization" in names,
    }
    used = [way for way, is_used in ways.items() if is_used]
    if len(used) > 1:
        raise ValueError(f"{' and '.join(used)} both say who we are; keep one")
    if (login is None) != (password is None):
        there, missing = ("login", "password") if login else ("password", "login")
        raise ValueError(f"there is a {there}, but no {missing}; basic auth needs both")
    if login and ":" in login:
        raise ValueError("the login holds a colon, which basic auth does not allow (RFC 7617)")
    if "keyfile" in extras and "certfile" not in extras:
        raise ValueError("there is an extra 'keyfile', but no 'certfile'; give the certificate too")


def _path(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("give the path of a file")
    return value


def _token(value: object) -> str:
    if not isinstance(value, str) or not _TOKEN.fullmatch(value):
        raise ValueError("a token has no spaces, line breaks or characters outside ASCII")
    return value


def _switch(value: object) -> bool:
    text = str(value).lower()
    if text not in ("true", "false", "1", "0", "yes", "no", "on", "off"):
        raise ValueError(f"{value!r} is neither true nor false")
    return text in ("true", "1", "yes", "on")


def _count(value: object) -> int:
    text = str(value)
    if isinstance(value, bool) or not (text.isascii() and text.isdecimal() and len(text) < 4):
        raise ValueError(f"{value!r} is not a whole number from 0 to 999")
    return int(text)


def _timeout(value: object) -> float:
    seconds = parse_duration(str(value))
    if not 0 < seconds <= _LONGEST_TIMEOUT:
        raise ValueError(f"{value!r} is not above 0 and at most 1d")
    return seconds


def _compression(value: object) -> str | None:
    name = str(value).lower()
    if name not in ("none", "gzip", "snappy"):
        raise ValueError(f"{value!r} is not one of gzip, snappy, none")
    return None if name == "none" else name


def _headers(value: object) -> tuple[tuple[str, str], ...]:
    """An object of names and values; also as text, which is what a connection's URI can hold."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            value = None
    if not isinstance(value, dict):
        raise ValueError('give an object of names and values, such as {"X-Scope-OrgID": "batch"}')
    for name, text in value.items():
        if not _HEADER_NAME.fullmatch(name):
            raise ValueError("a header's name has a character that HTTP does not allow")
        if not isinstance(text, str) or not _HEADER_VALUE.fullmatch(text):
            raise ValueError(f"the header {name!r} is no text that HTTP allows")
    return tuple(value.items())


EXTRAS: dict[str, Callable[[object], Any]] = {
    "token": _token,
    "cafile": _path,
    "certfile": _path,
    "keyfile": _path,
    "insecure_skip_verify": _switch,
    "timeout": _timeout,
    "compression": _compression,
    "headers": _headers,
    "redirects": _count,
    "retries": _count,
}
"""How each extra is read; they have the names of pushgate's settings."""
