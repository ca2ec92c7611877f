"""Credentials and TLS files, as values that never print a secret."""

from __future__ import annotations

import base64
import os
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from .. import imported
from ..errors import SettingsError, TLSFileError

if TYPE_CHECKING:
    from ssl import SSLContext


class _Credentials:
    """A value that shows no secret, also to what walks or serialises values."""

    __slots__ = ("_parts",)
    _parts: tuple[str, ...]

    def __init__(self, *parts: str) -> None:
        if not all(isinstance(part, str) for part in parts):
            raise TypeError(f"the parts of a {type(self).__name__} are strings, none is missing")
        object.__setattr__(self, "_parts", parts)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a {type(self).__name__} is immutable: cannot set {name!r}")

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other._parts == self._parts

    def __hash__(self) -> int:
        return hash((type(self), self._parts))

    def __reduce__(self) -> tuple[type[_Credentials], tuple[str, ...]]:
        return type(self), self._parts


class BasicAuth(_Credentials):
    """User name and password, sent as UTF-8 (RFC 7617). A user name can't hold a colon."""

    __slots__ = ()

    def __init__(self, username: str, password: str) -> None:
        super().__init__(username, password)

    @property
    def username(self) -> str:
        """The user name."""
        return self._parts[0]

    def __repr__(self) -> str:
        return f"BasicAuth({self.username!r})"

    def header(self) -> str:
        """The value of the Authorization header."""
        try:
            credentials = ":".join(self._parts).encode()
        except UnicodeEncodeError:  # which holds the password
            raise SettingsError("the user name or password is not valid Unicode") from None
        return "Basic " + base64.b64encode(credentials).decode()


class BearerToken(_Credentials):
    """A bearer token (RFC 6750)."""

    __slots__ = ()

    def __init__(self, token: str) -> None:
        super().__init__(token)

    def __repr__(self) -> str:
        return "BearerToken()"

    def header(self) -> str:
        """The value of the Authorization header."""
        return f"Bearer {self._parts[0]}"


class TLS(NamedTuple):
    """Files in PEM format. Each is optional: a custom CA needs no client certificate.

    ``cafile`` holds the authorities to trust instead of the system's; ``certfile`` and
    ``keyfile`` the client certificate (the key may be in ``certfile``). ``protocol`` is as in
    ``ssl.SSLContext``, by default PROTOCOL_TLS_CLIENT. A file that changes on disk is read again,
    so rotation needs no restart.
    """

    cafile: str | None = None
    certfile: str | None = None
    keyfile: str | None = None
    insecure_skip_verify: bool = False
    protocol: int | None = None

    def context(self) -> SSLContext:
        """The context, shared by all equal values. Raises TLSFileError for unusable files."""
        files = (self.cafile, self.certfile, self.keyfile)
        # OpenSSL's own defaults come from these two, and tests and containers set them late.
        system = (os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))
        return _context(self, tuple(map(_version_of, files)), system)


def _version_of(path: str | None) -> tuple[int, int] | None:
    if path is None:
        return None
    try:
        found = os.stat(path)
    except OSError as error:
        raise TLSFileError(f"the TLS file {path!r} can't be read: {error.strerror}") from error
    return found.st_mtime_ns, found.st_size


@lru_cache(maxsize=8)
def _context(tls: TLS, _versions: object, _system: object) -> SSLContext:
    ssl = imported("ssl")  # 10 ms and 5 MiB, which plain HTTP does without
    context: SSLContext = ssl.SSLContext(
        ssl.PROTOCOL_TLS_CLIENT if tls.protocol is None else tls.protocol
    )
    try:
        if tls.cafile is not None:
            context.load_verify_locations(tls.cafile)
        else:
            context.load_default_certs()
        if tls.insecure_skip_verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if tls.certfile is not None:
            # Without the callable, OpenSSL would ask for a pass phrase on the terminal.
            context.load_cert_chain(tls.certfile, tls.keyfile, password=_refuse_to_ask)
    except (OSError, ValueError) as error:
        files = ", ".join(filter(None, (tls.cafile, tls.certfile, tls.keyfile)))
        raise TLSFileError(f"the TLS files {files} can't be used: {error}") from error
    return context


def _refuse_to_ask() -> str:
    raise ValueError("the private key is encrypted; give it without a pass phrase")
