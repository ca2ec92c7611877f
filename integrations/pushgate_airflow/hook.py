"""PushgatewayHook: an Airflow connection of type ``pushgateway`` as a pushgate Gateway."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from asgiref.sync import sync_to_async  # Airflow's way from a thread to its supervisor

from pushgate import (
    DeliveryError,
    GatewayDisconnectedError,
    GatewayRejectedError,
    PushError,
    explain,
)
from pushgate_airflow._configuration import configuration
from pushgate_airflow._gateway_lookup import connection_settings, gateway
from pushgate_airflow.get_provider_info import CONN_TYPE
from pushgate_airflow.version_compat import BaseHook

if TYPE_CHECKING:
    from pushgate import Gateway, Settings

__all__ = ("PushgatewayHook",)

_LONGEST_TEST = 10.0  # seconds: a person waits
# Deleting a group that does not exist changes nothing and needs leave to write, which is all that
# a proxy in front of a gateway often asks for.
_NO_GROUP = "pushgate-test-of-a-connection"


class PushgatewayHook(BaseHook):
    """A Pushgateway, by the connection ``pushgateway_conn_id``.

    :meth:`get_conn` returns a :class:`pushgate.Gateway`, which pushes, deletes and reads. None is
    the configured connection (``[pushgate] conn_id``). Where that does not exist, or ``[pushgate]
    gateway`` is set, it is the gateway of Airflow's or of pushgate's own configuration.
    """

    conn_name_attr = "pushgateway_conn_id"
    default_conn_name = "pushgateway_default"
    conn_type = CONN_TYPE
    hook_name = "Prometheus Pushgateway"

    def __init__(self, pushgateway_conn_id: str | None = None) -> None:
        super().__init__()
        self.pushgateway_conn_id = pushgateway_conn_id

    def get_conn(self) -> Gateway:
        """The gateway. Raises pushgate's SettingsError, or AirflowNotFoundException."""
        return gateway(self.pushgateway_conn_id)

    async def aget_conn(self) -> Gateway:
        """The gateway, looked up without blocking an event loop. Its own methods do block."""
        return await sync_to_async(self.get_conn, thread_sensitive=False)()

    def test_connection(self) -> tuple[bool, str]:
        """Whether a Pushgateway answers there and takes our credentials, and else what is wrong."""
        try:
            name = self.pushgateway_conn_id or configuration().conn_id
            return _tested(connection_settings(self.get_connection(name)))
        except Exception as error:  # Airflow shows the text; none of pushgate's holds a secret
            return False, str(error)


def _tested(settings: Settings) -> tuple[bool, str]:
    settings = settings._replace(timeout=min(settings.timeout, _LONGEST_TEST), retries=0)
    gateway = settings.to_gateway()
    try:
        version = gateway.version()
        gateway.delete(_NO_GROUP)
    except GatewayRejectedError as error:
        given = [settings.username, settings.token, *(name for name, _ in settings.headers)]
        meaning, advice = explain(error, has_credentials=any(given))
        return False, f"{meaning}: {error}; {advice}" if meaning else f"{error}; {advice}"
    except DeliveryError as error:
        if isinstance(error, GatewayDisconnectedError) and urlsplit(gateway.url).port is None:
            return False, f"{error} (no port is given; a Pushgateway listens on 9091)"
        return False, str(error)
    except PushError as error:
        return False, f"{error}: is it the address of a Pushgateway?"
    user = f", as the user {settings.username!r}" if settings.username else ""
    return True, f"Pushgateway {version} at {gateway.url}{user}"
