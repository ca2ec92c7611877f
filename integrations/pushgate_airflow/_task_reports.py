"""Reports from the process in which a task or a callback runs, within a deadline.

The gateway's own time-out covers a push with its DNS, TLS and retries. It can't cover the look-up
of the connection, which asks Airflow's supervisor, a secrets backend or a database, on sockets
without a time-out that are not ours; nor what a user's label function or collector does. So all of
it happens in daemon threads, which are left behind when time is up. A thread that waits for the
supervisor holds the task's one channel to it; but then the supervisor, which serves one request
after the other, is what hangs, and the task's next request would wait just as long.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from typing import TYPE_CHECKING, TypeVar

from pushgate import DirectSink, Report, failure, own_metrics_key
from pushgate_airflow._events import DEADLINE_MISSED, RUNNING, job_run, outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from prometheus_client import Metric

    from pushgate import Gateway, GroupingKey
    from pushgate_airflow._events import Event

__all__ = ("log_failure", "report", "report_own", "within")

T = TypeVar("T")

# With a gateway that hangs, a task waits at its start and at its end, and no longer than the
# deadline in both. The end tells the start again.
_FOR_THE_START = 1 / 3
_FOR_KEEPING = 0.15  # of the end's time; it takes about 20 ms


def report(
    event: Event,
    key: GroupingKey,
    gateway: Callable[[], Gateway],
    *,
    deadline: float,
    spent: float = 0.0,
    expires_at: float | None = None,
    own: Callable[[], Sequence[Metric] | None] | None = None,
) -> None:
    """Push ``event`` to ``gateway()``. What can't be delivered is kept in its outbox. Never raises.

    A task's start and end share ``deadline`` seconds, of which ``spent`` are gone. ``expires_at``,
    in Unix seconds, is for a key that names the run. ``own()`` collects the task's own metrics,
    once the outcome is pushed.
    """
    run = job_run(event, key)._replace(expires_at=expires_at)
    if event.state == RUNNING:
        wait = max(0.0, deadline * _FOR_THE_START - spent)
        DirectSink(gateway, timeout=deadline, wait_for_start=wait).started(run)
        return
    sink = _sink_for_an_end(gateway, deadline, spent)
    if (ended := outcome(event)) is not None:
        sink.finished(run, ended, own)
    elif event.state == DEADLINE_MISSED and event.ended_at is not None:
        sink.missed_deadline(run, event.ended_at)


def report_own(
    key: GroupingKey,
    gateway: Callable[[], Gateway],
    *,
    deadline: float,
    own: Callable[[], Sequence[Metric] | None],
) -> None:
    """Push a task's own metrics, and not how it ended. Never raises."""

    def reports() -> Iterator[Report]:
        if families := own():
            yield Report("PUT", own_metrics_key(key), families, time.time())

    sink = _sink_for_an_end(gateway, deadline, 0.0)
    sink.deliver(reports, f"the push of the task's own metrics for {key}")


def _sink_for_an_end(gateway: Callable[[], Gateway], deadline: float, spent: float) -> DirectSink:
    share = max(0.01, deadline * (1 - _FOR_THE_START) - spent)
    return DirectSink(
        gateway, timeout=share * (1 - _FOR_KEEPING), keep_timeout=share * _FOR_KEEPING
    )


def within(seconds: float, function: Callable[[], T]) -> T:
    """What ``function()`` returns or raises. Raises TimeoutError after ``seconds``."""
    results: queue.SimpleQueue[tuple[list[T], BaseException | None]] = queue.SimpleQueue()

    def run() -> None:
        try:
            results.put(([function()], None))
        except BaseException as error:  # a SystemExit would end the task
            results.put(([], error if isinstance(error, Exception) else RuntimeError(repr(error))))

    threading.Thread(target=run, name="pushgate", daemon=True).start()
    try:
        found, error = results.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError(f"it did not end within {seconds:.3g} s") from None
    if error is not None:
        raise error
    return found[0]


def log_failure(what: str, error: BaseException) -> None:
    """Log one warning that ``what`` failed."""
    logging.getLogger("pushgate").warning("%s", failure(what, error))
