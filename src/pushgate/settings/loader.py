"""Everything a Gateway needs, from flags, the environment and the configuration file.

Enters: flags as a mapping and the environment; a TOML file is looked for. Leaves: a frozen
:class:`Settings` that knows where each value came from, or a SettingsError that names the setting
and its source, never a secret. Nothing else in pushgate reads settings.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import SettingsError
from ..transport.urls import parse, without_credentials
from .config_file import SYSTEM_FILE, find_config_file
from .environment import VARIABLES, state_directory
from .values import READERS, Source

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from ..gateway.client import Gateway
    from ..outbox import Outbox
    from ..protocol.compression import Compression
    from ..transport.auth import BasicAuth, BearerToken

__all__ = ("Settings",)

_FLAGS = {
    "insecure_skip_verify": "--insecure",
    "headers": "--header",
    "utf8_names": "--utf8-names",
}


class Settings(NamedTuple):
    """What was set, with defaults for the rest. Prints without secrets.

    ``origins`` says for each setting that was set where: ``--gateway``, ``PUSHGATE_GATEWAY`` or
    the file's path. ``timeout`` is in seconds, ``redirects`` in hops, ``retries`` in tries more.
    ``outbox`` is a file's path or "off", None for the usual place.
    """

    gateway: str | None = None
    username: str | None = None
    password: str | None = None
    token: str | None = None
    cafile: str | None = None
    certfile: str | None = None
    keyfile: str | None = None
    insecure_skip_verify: bool = False
    headers: tuple[tuple[str, str], ...] = ()
    redirects: int = 0
    timeout: float = 10.0
    compression: Compression = None
    retries: int = 3
    outbox: str | None = None
    utf8_names: bool = False
    protobuf: bool = True
    origins: Mapping[str, str] = MappingProxyType({})

    def __repr__(self) -> str:
        return f"Settings({self.url!r}, origins={dict(self.origins)!r})"

    @classmethod
    def load(
        cls,
        flags: Mapping[str, Any],
        environ: Mapping[str, str],
        *,
        system_file: str = SYSTEM_FILE,
    ) -> Settings:
        """The settings, each from the first that has it: flags, environment, file.

        ``flags`` has the fields' names, and ``config`` for the file's path; None is not given.
        Headers may be a list of ``Name: value``. An empty variable counts as not set. Raises
        SettingsError.
        """
        if unknown := flags.keys() - {*VARIABLES, "config"}:
            raise TypeError(f"there are no settings {sorted(unknown)}")
        file = find_config_file(flags.get("config"), environ, system_file)
        values: dict[str, Any] = {}
        origins: dict[str, str] = {}
        home = environ.get("HOME", "~")
        for name in VARIABLES:
            for raw, source in _candidates(name, flags, environ):
                values[name] = _read(name, raw, source, source.name)
                origins[name] = source.name
                break
            else:
                if file and name in file.values:
                    source = Source(file.path, False, file.path.rpartition("/")[0], home)
                    where = f"{file.path}: {name}"
                    values[name] = _read(name, file.values[name], source, where)
                    origins[name] = file.path
        settings = cls(**values, origins=MappingProxyType(origins))
        settings._refuse_conflicts()
        return settings

    @property
    def url(self) -> str | None:
        """The gateway's URL without credentials."""
        return self.gateway and without_credentials(self.gateway)

    def to_outbox(self, say: Callable[[str], object] | None = None) -> Outbox | None:
        """Where what can't be delivered is kept; nothing is made.

        None where it is switched off, and where there is no place for it, which ``say`` is told.
        """
        if self.outbox == "off":
            return None
        import os

        from ..outbox import FILE_NAME, Outbox

        if self.outbox is not None:
            return Outbox(self.outbox, say=say)
        try:
            folder = state_directory(os.environ)
        except OSError as error:
            from ..outbox import say_once

            text = f"there is no home directory for an outbox: {error.strerror}"
            say_once(f"{text}; set PUSHGATE_OUTBOX to a file of your own, or to off", say)
            return None
        return Outbox(os.path.join(folder, FILE_NAME), say=say)

    def to_gateway(self, outbox: Outbox | None = None) -> Gateway:
        """The gateway that is configured, with this outbox. Raises SettingsError where none is."""
        if self.gateway is None:
            raise SettingsError(
                "no gateway is configured: give --gateway URL, or set PUSHGATE_GATEWAY, or write"
                ' gateway = "http://host:9091" into ~/.config/pushgate/config.toml or'
                " /etc/pushgate/config.toml"
            )
        from ..gateway.client import Gateway
        from ..transport.auth import TLS

        tls = TLS(self.cafile, self.certfile, self.keyfile, self.insecure_skip_verify)
        return Gateway(
            self.gateway,
            auth=self._auth(),
            tls=tls,
            headers=self.headers,
            redirects=self.redirects,
            timeout=self.timeout,
            compression=self.compression,
            retries=self.retries,
            outbox=outbox,
            utf8_names=self.utf8_names,
            protobuf=self.protobuf,
        )

    def _auth(self) -> BasicAuth | BearerToken | None:
        from ..transport.auth import BasicAuth, BearerToken

        if self.token is not None:
            return BearerToken(self.token)
        user = self._url_user()
        username = user[0] if user else self.username
        if username is None or self.password is None:
            return None  # or the URL's own
        return BasicAuth(username, self.password)

    def _url_user(self) -> tuple[str, str] | None:
        return parse(self.gateway).credentials if self.gateway else None

    def _refuse_conflicts(self) -> None:
        """Settings that are right alone and wrong together."""
        user = self._url_user()
        header = any(name.lower() == "authorization" for name, _ in self.headers)
        ways = {
            "token": self.token is not None,
            "username": self.username is not None,
            "gateway": user is not None,
            "headers": header,
            "password": self.password is not None and self.username is None and user is None,
        }
        used = [self._named(name) for name, is_used in ways.items() if is_used]
        if len(used) > 1:
            raise SettingsError(
                f"{' and '.join(used)} both say who we are; keep one of a token, a user name,"
                " a user in the URL, and an Authorization header"
            )
        in_url = user is not None and user[1] != ""
        if self.password is not None and (in_url or (self.username is None and user is None)):
            other = "the URL has another password" if in_url else "there is no user name"
            raise SettingsError(
                f"{self._named('password')} is set, but {other}; "
                + ("remove one" if in_url else "set PUSHGATE_USERNAME")
            )
        if self.username is not None and self.password is None:
            raise SettingsError(
                f"{self._named('username')} is set, but there is no password; set PUSHGATE_PASSWORD"
                " to it or to file:/path"
            )
        if self.keyfile is not None and self.certfile is None:
            raise SettingsError(
                f"{self._named('keyfile')} is set, but there is no certificate; set"
                " PUSHGATE_CERTFILE"
            )

    def _named(self, name: str) -> str:
        origin = self.origins.get(name, name)
        return f"{name} in {origin}" if "/" in origin else origin


def _candidates(
    name: str, flags: Mapping[str, Any], environ: Mapping[str, str]
) -> Iterator[tuple[object, Source]]:
    home = environ.get("HOME", "~")
    if flags.get(name) is not None:
        flag = _FLAGS.get(name, f"--{name}")
        yield flags[name], Source(flag, private=False, home=home)
    for variable in VARIABLES[name]:
        if environ.get(variable):
            yield environ[variable], Source(variable, private=True, home=home)


def _read(name: str, raw: object, source: Source, where: str) -> Any:
    try:
        return READERS[name](raw, source)
    except ValueError as error:
        raise SettingsError(f"{where}: {error}") from None
