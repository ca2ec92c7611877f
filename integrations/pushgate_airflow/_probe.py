"""Whether a Pushgateway can be used: what the Test button of a connection says.

Enters: settings. Leaves: yes or no, and a text for people, without secrets. Nothing is changed at
the gateway.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pushgate import (
    DeliveryError,
    GatewayDisconnectedError,
    GatewayRejectedError,
    PushError,
    explain,
)

if TYPE_CHECKING:
    from pushgate import Settings

__all__ = ("probe",)

_LONGEST = 10.0  # seconds: somebody waits
# Deleting a group that is not there changes nothing, and needs leave to write: a proxy in front of
# a gateway often asks only for that.
_NOBODYS = "pushgate-test-of-a-connection"


def probe(settings: Settings) -> tuple[bool, str]:
    """Ask the gateway for its version, and for leave to write.

    Raises SettingsError for settings that can't be used.
    """
    settings = settings._replace(timeout=min(settings.timeout, _LONGEST), retries=0)
    gateway = settings.to_gateway()
    try:
        version = gateway.version()
        gateway.delete(_NOBODYS)
    except GatewayRejectedError as error:
        return False, _refused(error, settings)
    except DeliveryError as error:
        return False, f"{error}{_hint(error, gateway.url)}"
    except PushError as error:
        return False, f"{error}: is it the address of a Pushgateway?"
    return True, f"Pushgateway {version} at {gateway.url}{_as_whom(settings)}"


def _refused(error: GatewayRejectedError, settings: Settings) -> str:
    meaning, advice = explain(error, has_credentials=_has_credentials(settings))
    return f"{settings.url}: {meaning + ': ' if meaning else ''}{error}; {advice}"


def _hint(error: DeliveryError, url: str) -> str:
    port = url.rpartition("//")[2].partition("/")[0].rpartition("]")[2].partition(":")[2]
    if isinstance(error, GatewayDisconnectedError) and not port:
        return " (no port is given; a Pushgateway's own is 9091)"
    return ""


def _has_credentials(settings: Settings) -> bool:
    names = [name.lower() for name, _ in settings.headers]
    return bool(settings.username or settings.token or "authorization" in names)


def _as_whom(settings: Settings) -> str:
    if settings.username:
        return f", as the user {settings.username!r}"
    return ", with a bearer token" if settings.token else ""
