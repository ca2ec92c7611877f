"""All that a Gateway needs, from flags, the environment and the configuration file."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import PushError, SettingsError
from ..transport.urls import parse, without_credentials
from . import readers
from .config_file import SYSTEM_FILE, read_config_file
from .environment import state_directory
from .option_table import OptionSource, read_options

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..gateway.client import Gateway
    from ..log import RateLimitedLogger
    from ..outbox.outbox import Outbox
    from ..protocol.compression import Compression
    from ..transport.auth import BasicAuth, BearerToken

_TABLE: Mapping[str, Callable[[Any, OptionSource], Any]] = {
    "gateway": readers.gateway,
    "username": readers.username,
    "password": readers.password,
    "token": readers.token,
    "cafile": readers.path,
    "certfile": readers.path,
    "keyfile": readers.path,
    "insecure_skip_verify": readers.switch,
    "headers": readers.headers,
    "redirects": readers.count(),
    "timeout": readers.timeout,
    "compression": readers.compression,
    "retries": readers.count(),
    "outbox": readers.outbox,
    "utf8_names": readers.switch,
    "protobuf": readers.switch,
}
_OF_OTHER_TOOLS = {
    # In no agreed order.
    "gateway": ("PUSHGATEWAY_URL", "PROMETHEUS_PUSHGATEWAY_URL", "PROMETHEUS_PUSHGATEWAY"),
    "username": ("PUSHGATEWAY_USERNAME",),
    "password": ("PUSHGATEWAY_PASSWORD",),
}
VARIABLES: Mapping[str, tuple[str, ...]] = {
    name: (f"PUSHGATE_{name.upper()}", *_OF_OTHER_TOOLS.get(name, ())) for name in _TABLE
}
"""The variables of each setting, the one that counts most first."""

_LACKING = (
    "there is no password; set both ('pushgate run' passes PUSHGATE_PASSWORD on to its command only"
    " where it is file:/path)"
)
_FLAGS = {"insecure_skip_verify": "insecure", "headers": "header", "utf8_names": "utf8-names"}


class Settings(NamedTuple):
    """What was set, with defaults for the rest. Prints without secrets.

    ``origins`` says for each setting that was set where: ``--gateway``, ``PUSHGATE_GATEWAY`` or
    the file's path. ``timeout`` is in seconds, ``redirects`` in hops, ``retries`` in tries more.
    ``outbox`` is a folder's path or "off", None for the usual place.
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
        flags: Mapping[str, Any] | OptionSource,
        environ: Mapping[str, str],
        *,
        system_file: str = SYSTEM_FILE,
    ) -> Settings:
        """The settings, each from the first that has it: ``flags``, environment, file.

        ``flags`` are a command's, or another source of options that goes first. They have the
        fields' names, and ``config`` for the file's path; None is not given. Headers may be a list
        of ``Name: value``. An empty variable counts as not set. Raises SettingsError.
        """
        config = None
        if not isinstance(flags, OptionSource):
            values = dict(flags)
            config = values.pop("config", None)
            home = environ.get("HOME", "")
            flags = OptionSource(values, _flag, holds_secrets=False, home=home)
        file = read_config_file(config, environ, system_file)
        return cls.read(flags, _source_of(environ), *([file] if file else []))

    @classmethod
    def read(cls, *sources: OptionSource) -> Settings:
        """The settings in ``sources``, each from the first that has it. Raises SettingsError."""
        values, origins = read_options(_TABLE, *sources)
        settings = cls(**values, origins=MappingProxyType(origins))
        settings._refuse_conflicts()
        return settings

    @property
    def url(self) -> str | None:
        """The gateway's URL without credentials."""
        return self.gateway and without_credentials(self.gateway)

    def to_outbox(self, log: RateLimitedLogger | None = None) -> Outbox | None:
        """Where what can't be delivered waits; nothing is made. ``log`` gets the outbox's lines.

        None where it is switched off, and where there is no place for it, which is logged.
        """
        if self.outbox == "off":
            return None
        import os

        from ..outbox.outbox import Outbox

        if self.outbox is not None:
            return Outbox(self.outbox, log=log)
        try:
            return Outbox(os.path.join(state_directory(os.environ), "outbox"), log=log)
        except OSError as error:
            from ..log import RateLimitedLogger

            text = f"there is no home directory for an outbox: {error.strerror}"
            advice = "set PUSHGATE_OUTBOX to a folder of your own, or to off"
            (log or RateLimitedLogger()).warning(f"{text}; {advice}")
        except PushError:  # Windows has none, and nobody asked for one
            pass
        return None

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
        """Raise SettingsError for settings that are right alone and wrong together."""
        user = self._url_user()
        ways = {
            "token": self.token is not None,
            "username": self.username is not None,
            "gateway": user is not None,
            "headers": any(name.lower() == "authorization" for name, _ in self.headers),
            "password": self.password is not None and self.username is None and user is None,
        }
        used = [self.origins.get(name, name) for name, is_used in ways.items() if is_used]
        if len(used) > 1:
            raise SettingsError(
                f"set either {' or '.join(used)}, not both: a request has one of a token, a user"
                " name, a user in the URL, and an Authorization header"
            )
        if self.password is not None and user is not None and user[1] != "":
            raise self._conflict("password", "the URL has another password; remove one")
        if self.password is not None and self.username is None and user is None:
            raise self._conflict("password", "there is no user name; set both")
        if self.username is not None and self.password is None:
            raise self._conflict("username", _LACKING)
        if self.keyfile is not None and self.certfile is None:
            raise self._conflict("keyfile", "there is no certificate; set certfile, too")

    def _conflict(self, name: str, text: str) -> SettingsError:
        return SettingsError(f"{self.origins.get(name, name)} is set, but {text}")


def _flag(name: str) -> str:
    return f"--{_FLAGS.get(name, name)}"


def _source_of(environ: Mapping[str, str]) -> OptionSource:
    """The variables that are set, by the names of their settings."""
    set_by = {
        name: variable
        for name, variables in VARIABLES.items()
        if (variable := next(filter(environ.get, variables), None))
    }
    values = {name: environ[variable] for name, variable in set_by.items()}
    return OptionSource(values, set_by.__getitem__, home=environ.get("HOME", ""))
