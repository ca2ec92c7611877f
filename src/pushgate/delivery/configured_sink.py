"""The sinks of adapters to the gateway that is configured."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ..errors import PushError
from ..log import RateLimitedLogger
from ..settings.loader import Settings
from .direct_sink import DirectSink
from .queue_sink import QueueSink

if TYPE_CHECKING:
    from ..gateway.client import Gateway
    from ..settings.option_table import OptionSource

_INTERVAL = 2.0  # seconds between two pushes of what happens to a job again and again


def configured_sink(
    what: str, log: RateLimitedLogger | None = None, options: OptionSource | None = None
) -> QueueSink | None:
    """A QueueSink to the gateway of ``options``, the environment and the configuration file.

    Raises nothing: a wrong setting must not stop the program that runs the jobs. Where there is no
    gateway, or something is wrong, None is returned, and one line says why ``what`` are not
    reported: to ``log``, by default the logger ``pushgate``.
    """
    if (found := _gateway(what, log, options)) is None:
        return None
    gateway, timeout = found
    return QueueSink(gateway, timeout=timeout, patience=timeout, interval=_INTERVAL)


def configured_direct_sink(
    what: str, log: RateLimitedLogger | None = None, options: OptionSource | None = None
) -> DirectSink | None:
    """As :func:`configured_sink`, for a process that ends with its job."""
    if (found := _gateway(what, log, options)) is None:
        return None
    gateway, timeout = found
    return DirectSink(gateway, timeout=timeout)


def _gateway(
    what: str, log: RateLimitedLogger | None, options: OptionSource | None
) -> tuple[Gateway, float] | None:
    try:
        settings = Settings.load(options or {}, os.environ)
        return settings.to_gateway(settings.to_outbox()), settings.timeout
    except (PushError, OSError) as error:
        (log or RateLimitedLogger()).error(f"{what} are not reported: {error}")
        return None
