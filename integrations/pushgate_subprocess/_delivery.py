"""One run's way to its gateway: now or, by the host's outbox, once that can be reached again.

Encoded metrics enter; requests leave and, for what could not be delivered in time, entries of the
outbox.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from pushgate import (
    GatewayTimeoutError,
    PushError,
    Reporter,
    Settings,
    encode,
    is_permanent,
    start_families,
)
from pushgate_subprocess._failure import was_kept

if TYPE_CHECKING:
    from collections.abc import Callable

    from pushgate import Gateway, GroupingKey, JobRun
    from pushgate_subprocess._options import RunOptions

__all__ = ("Delivery", "configured_delivery")

_RETRIES = 6  # some 5 seconds: a gateway that restarts is back by then

# The part of the end's time that is left for what follows a try in vain: reading the job's own
# metrics and writing them to disk. A share, and at most so many seconds.
_KEEPING = 0.25
_KEEPING_SECONDS = 1.0


class Delivery:
    """Delivers to ``gateway`` or, where that fails, keeps in the gateway's outbox.

    Where it has none, what can't be delivered is lost, and the error tells so. ``waits`` says
    whether the last thing that belongs to the run's end was kept.
    """

    def __init__(self, gateway: Gateway) -> None:
        self.url = gateway.url
        self.waits = False
        self._gateway = gateway
        self._is_ending = False

    def start(self, run: JobRun, timeout: float) -> None:
        """Push that ``run`` has started, in ``timeout`` seconds. A failure raises nothing.

        Past the outbox: what waits there for the job may take seconds to compare and deliver, and
        while one thread does that, no other can push the end. That will deliver all of it.
        """
        text, began = encode(start_families(run), run.key).text, time.time()
        try:
            self._gateway.send_directly("POST", run.key, text, timeout=timeout)
        except Exception as error:
            if not self._is_ending and _may_arrive_later(error):
                self._keep("POST", run.key, text, began)

    def heartbeat(self, run: JobRun, timeout: float) -> None:
        """Push that ``run`` goes on, and what waits if the gateway is back. Raises nothing."""
        Reporter(self._gateway, on_error=_be_silent).alive(run, timeout=timeout)

    def end(self, key: GroupingKey, text: bytes, due: float) -> None:
        """Push how the run ended (POST), by ``due`` on the monotonic clock.

        Raises what kept it from arriving.
        """
        self._is_ending = True
        left = due - time.monotonic()
        reserve = min(_KEEPING * left, _KEEPING_SECONDS) if self._gateway.outbox else 0.0
        self._send("POST", key, text, due - reserve)

    def follow(self, method: str, key: GroupingKey, text: bytes, due: float) -> bool:
        """Push what belongs to the end. Whether it arrived: where the end waits, this does too.

        Raises as `end`, and PushError where it can't be kept with the end.
        """
        if not self.waits:
            self._send(method, key, text, due)
        elif not self.keep(method, key, text):
            raise PushError("the outbox could keep the outcome only")
        return not self.waits

    def keep(self, method: str, key: GroupingKey, text: bytes) -> bool:
        """Whether it waits in the outbox now, without a try to deliver it. Raises nothing."""
        self.waits = self._keep(method, key, text, time.time())
        return self.waits

    def _send(self, method: str, key: GroupingKey, text: bytes, due: float) -> None:
        left = due - time.monotonic()
        try:
            if left <= 0:
                raise self._too_late(method, key, text)
            self._gateway.send(method, key, text, timeout=left)
        except Exception as error:
            self.waits = was_kept(error)
            raise

    def _too_late(self, method: str, key: GroupingKey, text: bytes) -> GatewayTimeoutError:
        error = GatewayTimeoutError("no time is left for the push", method=method, url=self.url)
        error.kept = self.keep(method, key, text)
        return error

    def _keep(self, method: str, key: GroupingKey, text: bytes, at: float) -> bool:
        outbox = self._gateway.outbox
        return outbox is not None and outbox.keep(self.url, [(method, key, text, at)])


def configured_delivery(options: RunOptions, say: Callable[[str], object]) -> Delivery | None:
    """The gateway of the settings; None where there is none and a textfile is the destination.

    ``say`` takes the outbox's lines. Raises SettingsError.
    """
    settings = Settings.load(options.settings, os.environ)
    if "retries" not in settings.origins:
        settings = settings._replace(retries=_RETRIES)
    if settings.gateway is None and options.textfile is not None:
        return None
    return Delivery(settings.to_gateway(settings.to_outbox(say)))


def _may_arrive_later(error: Exception) -> bool:
    """Whether another try of the same request could succeed."""
    return isinstance(error, OSError) and not is_permanent(error)


def _be_silent(_run: JobRun, _error: Exception) -> None:
    """The end will tell."""
