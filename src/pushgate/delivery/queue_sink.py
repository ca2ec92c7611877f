"""Reports to a gateway from a process that must not wait, such as a scheduler."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, cast

# The modules named _… are imported before the thread that needs them starts: a process that is
# forked while a thread imports has half of a module, and waits for ever if it imports that, too.
from ..log import RateLimitedLogger
from ..outbox import flush as _flush  # noqa: F401
from ..outbox import folder as _folder  # noqa: F401
from ..outbox import ordered_send as _ordered_send  # noqa: F401
from ..protocol import groups as _groups  # noqa: F401
from ..transport import error_mapping as _error_mapping  # noqa: F401
from ..transport import handler as _handler  # noqa: F401
from ..transport import http_parser as _http_parser  # noqa: F401
from ..transport import redaction as _redaction  # noqa: F401
from ..transport.made_once import MadeOnce
from .batch import BatchDelivery
from .report import deadline_report, end_reports, heartbeat_report, start_report
from .work_queue import WorkQueue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ..gateway.client import Gateway
    from ..jobs.runs import JobRun, Outcome
    from ..outbox.outbox import Outbox
    from ..protocol.grouping_key import GroupingKey
    from .report import Own, Report


class QueueSink(WorkQueue):
    """Hands reports to a daemon thread: each method returns in microseconds, and none raises.

    ``gateway`` is a Gateway, or is called for one in the thread. In an outage the newest state of
    each group waits, up to ``size`` reports. What does not fit goes to ``outbox``, by default the
    gateway's own; so does all after a minute, and at the end of the process. Whatever waits there
    is delivered when the gateway is back, and looked for each minute. ``timeout`` bounds each push,
    in seconds.
    The end of the process waits ``patience`` seconds for the last pushes; keeping what is left
    takes milliseconds. ``log`` takes the lines of what fails, each once a minute; without it they
    go to the logger ``pushgate``.

    With an ``interval``, what happens to a job again and again is pushed once in so many seconds at
    most. An end unlike the last one does not wait.

    Safe to share between threads and over a fork: a forked child begins with nothing waiting.
    """

    def __init__(
        self,
        gateway: Gateway | Callable[[], Gateway],
        *,
        outbox: Outbox | None = None,
        size: int = 10_000,
        timeout: float = 10.0,
        patience: float = 10.0,
        interval: float = 0.0,
        log: RateLimitedLogger | None = None,
    ) -> None:
        log = log or RateLimitedLogger(interval=60.0)
        if outbox is None and not callable(gateway):
            outbox = cast("Outbox | None", gateway.outbox)
        self._last_news: dict[GroupingKey, str] = {}
        made = MadeOnce(gateway if callable(gateway) else lambda: gateway)
        delivery = BatchDelivery(made, outbox, timeout=timeout, log=log)
        super().__init__(
            delivery.deliver,
            delivery.keep,
            size=size,
            patience=patience,
            interval=interval,
            log=log,
        )

    def started(self, run: JobRun) -> None:
        """``run`` has started."""
        self._put(run, "start", lambda: [start_report(run)])

    def finished(self, run: JobRun, outcome: Outcome, own: Own = None) -> None:
        """``run`` has ended. ``own`` is as a Sink's, and is called in the thread."""
        # By status: a success is not replaced by the failure of the run after it.
        status = getattr(outcome, "status", None)
        self._put(run, f"end: {status}", lambda: end_reports(run, outcome, own))

    def alive(self, run: JobRun) -> None:
        """``run`` goes on."""
        self._put(run, "alive", lambda: [heartbeat_report(run)])

    def missed_deadline(self, run: JobRun, at: float) -> None:
        """``run`` had not ended at ``at``, in Unix seconds."""
        self._put(run, "deadline", lambda: [deadline_report(run, at)])

    def _put(self, run: JobRun, news: str, make: Callable[[], Iterable[Report]]) -> None:
        at = time.time()
        self.put(
            (run.key, news),
            lambda: (report._replace(at=at) for report in make()),
            is_urgent=not self._interval or self._is_urgent(run.key, news),
        )

    def _is_urgent(self, key: GroupingKey, news: str) -> bool:
        """Whether it is the first that is told of a job, or an end unlike the last one."""
        before = self._last_news.get(key)
        if before is None or news != "start":
            self._last_news[key] = news
        return before is None or news not in ("start", before)
