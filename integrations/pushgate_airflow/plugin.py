"""What Airflow loads in each of its processes: the listener and the extra link, where wanted.

Enters: the configuration. Leaves: a plugin whose lists are empty unless it says otherwise. Every
task's process loads its plugins anew, so with the listener off nothing else is imported.
"""

from __future__ import annotations

import logging
from typing import Any

from pushgate_airflow._configuration import Configuration, configuration

try:
    from airflow.sdk.plugins_manager import AirflowPlugin
except ImportError:  # before 3.2
    from airflow.plugins_manager import AirflowPlugin  # type: ignore[assignment, unused-ignore]

__all__ = ("PushgatePlugin",)


def _options() -> Configuration:
    try:
        return configuration()
    except Exception as error:  # a process without monitoring is better than one that complains
        logging.getLogger("pushgate").warning("the listener stays off: %s", error)
        return Configuration()


def _listeners(options: Configuration) -> list[Any]:
    if not options.listener:
        return []
    from pushgate_airflow import listener

    return [listener]


def _links(options: Configuration) -> list[Any]:
    if options.ui_url is None and not (options.listener and options.gateway):
        return []
    from pushgate_airflow.links import GroupLink

    return [GroupLink()]


class PushgatePlugin(AirflowPlugin):
    """The listener if ``[pushgate] listener`` is on; the link to a task's group on the gateway's
    page if ``ui_url`` is set, or the listener is on and ``gateway`` is set."""

    name = "pushgate"
    listeners = _listeners(_options())
    global_operator_extra_links = _links(_options())
