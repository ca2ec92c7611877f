"""dramatiq's messages as values: which run it is, and how it ended. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dramatiq.middleware import TimeLimitExceeded

from pushgate import GroupingKey, JobRun, Outcome, Status, label_value

if TYPE_CHECKING:
    from dramatiq.broker import MessageProxy


def message_run(
    message: MessageProxy, label: str, *, started_at: float | None = None, host: str = ""
) -> JobRun:
    """The run of ``message``: its group is the actor's. ``label`` is the grouping label ``job``."""
    key = GroupingKey(label, {"task": label_value(message.actor_name)})
    return JobRun(key, started_at, host=host, run_id=message.message_id)


@dataclass
class Processing:
    """A message that a worker thread has taken, until it is acknowledged or rejected.

    ``began`` is by a monotonic clock, None where no actor was called. ``was_sent_again``: a
    middleware that tries again, such as Retries, has put the same message into a queue.
    """

    run: JobRun
    began: float | None = None
    try_number: int | None = None
    exception: BaseException | None = None
    was_skipped: bool = False
    was_sent_again: bool = False


def outcome(processing: Processing, *, failed: bool, at: float, now: float) -> Outcome:
    """How a run ended. ``failed``: the message is rejected. ``now`` is by a monotonic clock.

    Without a middleware that tries again, dramatiq acknowledges also what raised.
    """
    exception = processing.exception
    status = Status.SUCCESS
    if processing.was_skipped:
        status = Status.SKIPPED
    elif exception is not None and processing.was_sent_again and not failed:
        status = Status.RETRY
    elif exception is not None or failed:
        status = Status.FAILURE
    return Outcome(
        status,
        at,
        duration=None if processing.began is None else now - processing.began,
        # The next try may be over before this one is told.
        try_number=None if status is Status.RETRY else processing.try_number,
        timed_out=isinstance(exception, TimeLimitExceeded),
        exception="" if exception is None else type(exception).__name__,
    )
