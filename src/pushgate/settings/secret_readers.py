"""The readers of credentials and headers, which may be ``file:/path`` and may not stand everywhere.

No error holds a secret. As readers.py, it imports only what is there at Python's start.
"""

from __future__ import annotations

from .named_file import read_named_file
from .option_table import OptionSource

_ANYWHERE = OptionSource({})
_HEADER_NAME = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # RFC 9110, section 5.6.2
_HEADER_VALUE = r"[\t\x20-\x7e\x80-\xff]*"
_BEARER = r"[\x21-\x7e]+"
_SECRET_HEADERS = ("auth", "cookie", "token", "secret", "api-key", "apikey")


def password(value: object, source: OptionSource = _ANYWHERE) -> str:
    """A password, or ``file:/path`` of a file that holds it."""
    return _secret(value, source, "PUSHGATE_PASSWORD")


def token(value: object, source: OptionSource = _ANYWHERE) -> str:
    """A bearer token, or ``file:/path`` of a file that holds it."""
    import re

    secret = _secret(value, source, "PUSHGATE_TOKEN")
    if not re.fullmatch(_BEARER, secret):
        raise ValueError("a token has no spaces, line breaks or characters outside ASCII")
    return secret


def headers(value: object, source: OptionSource = _ANYWHERE) -> tuple[tuple[str, str], ...]:
    """Lines ``Name: value`` as one text or a list, or a mapping. A value may be ``file:/path``."""
    if isinstance(value, dict):
        pairs = list(value.items())
    else:
        lines = value.splitlines() if isinstance(value, str) else value
        if not isinstance(lines, (list, tuple)):
            raise ValueError("give the headers as a table of names and values")
        parts = [str(line).partition(":") for line in lines if str(line).strip()]
        if not all(colon for _, colon, _ in parts):
            raise ValueError("a header is written 'Name: value'")
        pairs = [(name.strip(), given.strip()) for name, _, given in parts]
    return tuple((name, _header_value(name, given, source)) for name, given in pairs)


def _header_value(name: str, value: object, source: OptionSource) -> str:
    import re

    from ..transport.request import refuse_headers_of_the_request

    if not re.fullmatch(_HEADER_NAME, name):
        raise ValueError("a header's name has a character that HTTP does not allow")
    refuse_headers_of_the_request((name,))
    if not isinstance(value, str):
        raise ValueError(f"give the header {name!r} as text")
    if value.startswith("file:") and source.reads_files:
        value = _content(source.path(value.removeprefix("file:")))
    elif not source.holds_secrets and any(part in name.lower() for part in _SECRET_HEADERS):
        raise ValueError(
            f"the value of the header {name!r} is a secret and does not belong here; give it as"
            " 'file:/path', or set PUSHGATE_PASSWORD, PUSHGATE_TOKEN or PUSHGATE_HEADERS"
        )
    if not re.fullmatch(_HEADER_VALUE, value):
        raise ValueError(f"the header {name!r} has a character that HTTP does not allow")
    return value


def _secret(value: object, source: OptionSource, variable: str) -> str:
    if not isinstance(value, str):
        raise ValueError("give it as text, 'file:/path'")
    if value.startswith("file:") and source.reads_files:
        return _content(source.path(value.removeprefix("file:")))
    if not source.holds_secrets:
        raise ValueError(
            "a secret does not belong here; write it into a file that only this user can read and"
            f" give 'file:/path', or set {variable}"
        )
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError("it is not valid UTF-8") from None
    return value


def _content(file_path: str) -> str:
    """What the file holds, without its last line break."""
    try:
        content = read_named_file(file_path).decode()
    except OSError as error:
        raise ValueError(f"the file {file_path!r} can't be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError(f"the file {file_path!r} is not valid UTF-8") from None
    content = content.removesuffix("\n").removesuffix("\r")
    if not content:
        raise ValueError(f"the file {file_path!r} is empty")
    return content
