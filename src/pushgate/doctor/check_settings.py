"""Checks the settings: where each was set, and which have no effect. Never shows a secret."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..settings.environment import CONFIG
from ..settings.loader import VARIABLES
from ..settings.option_table import did_you_mean
from ..transport.urls import parse
from .finding import Finding, ok, warn

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ..settings.loader import Settings

_SECRET = ("password", "token")
_KNOWN = {
    *(name for names in VARIABLES.values() for name in names),
    *(CONFIG, "PUSHGATE_STATE_DIR", "PUSHGATE_METRICS_FILE"),
}


def check_settings(settings: Settings, environ: Mapping[str, str]) -> Iterator[Finding]:
    """What was set, variables that are not used, and credentials that others can read."""
    for name, origin in settings.origins.items():
        yield ok("settings", f"{name} = {_shown(settings, name)}, from {origin}")
        for variable in VARIABLES[name] if origin in VARIABLES[name] else ():
            if environ.get(variable) and environ[variable] != environ[origin]:
                yield warn(
                    "settings",
                    f"{variable} is set as well and not used: {origin} goes first",
                    f"remove {variable}, or {origin}",
                )
    for variable in sorted(environ):
        if variable.startswith("PUSHGATE_") and variable not in _KNOWN:
            advice = did_you_mean(variable, _KNOWN).removeprefix("; ") or "remove it"
            yield warn("settings", f"{variable} is set, and nothing reads it", advice)
    if settings.gateway is None:
        return
    address = parse(settings.gateway)
    secret = settings.password or settings.token or (address.credentials and address.credentials[1])
    if address.scheme == "http" and secret and not _is_local(address.host):
        yield warn(
            "settings",
            f"credentials go to {settings.url} in plain text",
            "use https://, if the gateway or a proxy in front of it speaks TLS",
        )
    if settings.insecure_skip_verify:
        yield warn(
            "settings",
            "the server's certificate is not checked: anybody may answer in its place",
            "give the authority's certificate by --cafile in place of --insecure",
        )


def _shown(settings: Settings, name: str) -> str:
    value = getattr(settings, name)
    if name == "gateway":
        return str(settings.url)
    if name in _SECRET:
        return "*** (hidden)"
    if name == "headers":
        return ", ".join(f"{header}: *** (hidden)" for header, _ in value)
    if name == "timeout":
        return f"{value:g}s"
    return str(value)


def _is_local(host: str) -> bool:
    return host in ("localhost", "::1") or host.startswith("127.")
