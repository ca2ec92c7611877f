"""Pushing an event, in so many seconds and not one more, whatever hangs.

Enters: an event, its group, and a way to a gateway. Leaves: a push, or a warning in the log and the
error as a value; never an exception. With an outbox in the gateway, what did not arrive is kept in
the same time.

The gateway's own time-out covers a push with its DNS, TLS and retries. It can't cover looking the
gateway up: that asks Airflow's supervisor, a secrets backend or a database, on sockets without a
time-out that are not ours. So all of it is done in a daemon thread, which is left behind when time
is up. A thread that waits for the supervisor holds the task's one channel to it; but then the
supervisor, which serves one request after the other, is what hangs, and the task's next request
would wait just as long.
"""

from __future__ import annotations

import contextvars
import logging
import threading
import time
from typing import TYPE_CHECKING, TypeVar

from pushgate import DeliveryError, JobRun, Outcome, PushError, Reporter, Status
from pushgate_airflow._event import DEADLINE_MISSED, RUNNING
from pushgate_airflow._identity import OWN_METRICS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pushgate import Family, Gateway, GroupingKey
    from pushgate_airflow._event import Event

__all__ = ("job_run", "left", "log_failure", "outcome", "report", "share", "within")

T = TypeVar("T")

_MARGIN = 0.02  # of the time left: the push's own time-out, which says more, comes first

_STATUS = {
    "success": Status.SUCCESS,
    "failed": Status.FAILURE,
    "up_for_retry": Status.RETRY,
    "skipped": Status.SKIPPED,
    "upstream_failed": Status.SKIPPED,
    "removed": Status.SKIPPED,
}
_NEVER_BEGAN = ("upstream_failed", "removed")
_START_SHARE = 1 / 3
_OWN_SHARE = 1 / 4  # of the time left at an end: a gateway that hangs takes all that it is given


def share(event: Event) -> float:
    """Which part of the deadline is for this report of a task's run.

    With a gateway that hangs a task waits at its start and at its end, and no longer than the
    deadline in both. The end tells the start again.
    """
    return _START_SHARE if event.state == RUNNING else 1 - _START_SHARE


def job_run(event: Event, key: GroupingKey) -> JobRun:
    """The run that ``event`` is about."""
    return JobRun(key, event.started_at, event.expected_interval)


def outcome(event: Event) -> Outcome | None:
    """How the run ended; None where it goes on. Without ``ended_at`` it ended now."""
    status = _STATUS.get(event.state)
    if status is None:
        return None
    ended_at = time.time() if event.ended_at is None else event.ended_at
    began = None if event.state in _NEVER_BEGAN else event.started_at
    wait = None
    if began is not None and event.queued_at is not None:
        wait = max(0.0, began - event.queued_at)
    return Outcome(
        status,
        ended_at,
        duration=None if began is None else max(0.0, ended_at - began),
        try_number=event.try_number,
        queue_wait=wait,
    )


def report(
    event: Event,
    *,
    key: GroupingKey,
    gateway: Callable[[], Gateway],
    deadline: float,
    expires_at: float | None = None,
    extra: Callable[[], Sequence[Family]] | Sequence[Family] = (),
) -> Exception | None:
    """Push ``event`` to ``gateway()``, all within ``deadline`` seconds. Never raises.

    ``expires_at``, in Unix seconds, is for a key that names the run. ``extra`` are the task's own
    metrics, or collects them when the outcome was pushed; they replace those of earlier runs, in a
    group of their own. Returns what kept any of it from arriving, after logging it; what is lost
    goes before what waits in the gateway's outbox.
    """
    due = time.monotonic() + deadline
    run = job_run(event, key)._replace(expires_at=expires_at)
    try:
        error = within(deadline, lambda: _push(event, run, gateway(), due, extra))
    except Exception as failed:
        error = failed
    if error is not None:
        log_failure(f"the report of {key}", error)
    return error


def within(seconds: float, function: Callable[[], T]) -> T:
    """What ``function()`` returns or raises. Raises TimeoutError after ``seconds``, and leaves its
    thread behind."""
    ended = threading.Event()
    results: list[T] = []
    errors: list[Exception] = []

    def run() -> None:
        try:
            results.append(function())
        except Exception as error:
            errors.append(error)
        except BaseException as error:  # a SystemExit would end the task, not the thread
            errors.append(RuntimeError(repr(error)))
        finally:
            ended.set()

    context = contextvars.copy_context()  # Airflow's log lines say which task they are of
    threading.Thread(target=context.run, args=(run,), name="pushgate", daemon=True).start()
    if not ended.wait(seconds):
        raise TimeoutError(f"it did not end within {seconds:.3g} s")
    if errors:
        raise errors[0]
    return results[0]


def left(due: float) -> float:
    """The seconds for a push that must end before ``due``, by the monotonic clock."""
    seconds = due - time.monotonic()
    if seconds <= 0:
        raise TimeoutError("no time was left for the push")
    return seconds * (1 - _MARGIN)


def log_failure(what: str, error: BaseException) -> None:
    """One warning of the logger ``pushgate``; of an error that was kept, it says so."""
    text = str(error) if isinstance(error, (PushError, TimeoutError)) else ""
    if not text:
        text = f"{type(error).__name__}: {error}"
    if _is_kept(error):
        text += "; it waits in the outbox and will be delivered later"
    logging.getLogger("pushgate").warning("%s failed: %s", what, " ".join(text.split()))


def _push(
    event: Event,
    run: JobRun,
    gateway: Gateway,
    due: float,
    extra: Callable[[], Sequence[Family]] | Sequence[Family],
) -> Exception | None:
    share = 1 if event.state == RUNNING else 1 - _OWN_SHARE
    error = _push_outcome(event, run, Reporter(gateway, on_error=_leave_it), share * left(due))
    try:
        own = extra() if callable(extra) else extra  # may call collectors of the user's
        if own:
            gateway.push(run.key.with_labels(**OWN_METRICS), own, timeout=left(due))
    except Exception as failed:
        if error is None or (_is_kept(error) and not _is_kept(failed)):
            return failed
    return error


def _push_outcome(
    event: Event, run: JobRun, reporter: Reporter, timeout: float
) -> Exception | None:
    how = outcome(event)
    if how is not None:
        return reporter.finished(run, how, timeout=timeout)
    if event.state == RUNNING:
        return reporter.started(run, timeout=timeout)
    if event.state == DEADLINE_MISSED and event.ended_at is not None:
        return reporter.missed_deadline(run, event.ended_at, timeout=timeout)
    return ValueError(f"nothing is reported of a run that is {event.state!r}")


def _leave_it(_run: JobRun, _error: Exception) -> None:
    """It is logged once, with what keeps the task's own metrics from arriving."""


def _is_kept(error: BaseException) -> bool:
    return isinstance(error, DeliveryError) and error.kept
