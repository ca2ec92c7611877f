"""PushgatewayHook: an Airflow connection of type ``pushgateway`` as a pushgate Gateway.

Enters: a connection's id. Leaves: a Gateway, and what the Test button of its form says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pushgate_airflow import _form
from pushgate_airflow._airflow import BaseHook
from pushgate_airflow._configuration import configuration
from pushgate_airflow._connection import agateway, gateway
from pushgate_airflow._connection_settings import settings_of
from pushgate_airflow._probe import probe

if TYPE_CHECKING:
    from pushgate import Gateway

__all__ = ("PushgatewayHook",)


class PushgatewayHook(BaseHook):
    """A Pushgateway, by the connection ``pushgateway_conn_id``.

    :meth:`get_conn` returns a :class:`pushgate.Gateway`, which pushes, deletes and reads. None is
    the configured connection (``[pushgate] conn_id``); where that is not defined, or ``[pushgate]
    gateway`` is set, it is the gateway of Airflow's or of pushgate's own configuration.
    """

    conn_name_attr = "pushgateway_conn_id"
    default_conn_name = "pushgateway_default"
    conn_type = _form.CONN_TYPE
    hook_name = "Prometheus Pushgateway"

    def __init__(self, pushgateway_conn_id: str | None = None) -> None:
        super().__init__()
        self.pushgateway_conn_id = pushgateway_conn_id

    def get_conn(self) -> Gateway:
        """The gateway. Raises pushgate's SettingsError, or AirflowNotFoundException."""
        return gateway(self.pushgateway_conn_id)

    async def aget_conn(self) -> Gateway:
        """The gateway, looked up without blocking an event loop; its own methods do block."""
        return await agateway(self.pushgateway_conn_id)

    def test_connection(self) -> tuple[bool, str]:
        """Whether a Pushgateway answers there and takes our credentials, and what is wrong else."""
        try:
            name = self.pushgateway_conn_id or configuration().conn_id
            settings = settings_of(self.get_connection(name))
            return probe(settings)
        except Exception as error:  # Airflow shows the text; none of pushgate's holds a secret
            return False, str(error)

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """The form's fields, for Airflow before 3.2."""
        return _form.widgets()

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """The form's labels and placeholders, for Airflow before 3.2."""
        return {name.replace("-", "_"): value for name, value in _form.BEHAVIOUR.items()}
