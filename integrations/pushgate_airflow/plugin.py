"""What Airflow loads in each of its processes: the listener, where it is on.

Every task's process loads its plugins anew, so with the listener off nothing of it is imported.
"""

from __future__ import annotations

import logging
from typing import Any

from pushgate_airflow._configuration import configuration
from pushgate_airflow.version_compat import AirflowPlugin

__all__ = ("PushgatePlugin",)


def _listeners() -> list[Any]:
    try:
        if not configuration().listener:
            return []
    except Exception as error:  # the process must start, also without monitoring
        logging.getLogger("pushgate").error("the listener stays off: %s", error)
        return []
    from pushgate_airflow import listener

    return [listener]


class PushgatePlugin(AirflowPlugin):
    """Has the listener if ``[pushgate] listener`` is on."""

    name = "pushgate"
    listeners = _listeners()
