"""The listener in a task's own process: each event is pushed before the call returns.

Enters: a RuntimeTaskInstance. Leaves: a push of what its context tells, and of the task's own
metrics, within the deadline; what the gateway does not take is kept in this host's outbox.
"""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any

from pushgate_airflow._configuration import configuration
from pushgate_airflow._connection import gateway
from pushgate_airflow._context import event_of
from pushgate_airflow._identity import OWN_METRICS, grouping_key
from pushgate_airflow._metrics import families_of
from pushgate_airflow._once import first
from pushgate_airflow._report import left, log_failure, report, share, within

if TYPE_CHECKING:
    from pushgate import GroupingKey
    from pushgate_airflow._event import Event

__all__ = ("report_task",)


def report_task(ti: Any) -> None:
    """Push the event that ``ti`` is at, unless a callback of the task did so already.

    An instance of a mapped task tells that it started, failed or will be tried again, which the
    task as a whole then did, too. That it succeeded or skipped says nothing of the others: this is
    told of all of them when the run ends.
    """
    options = configuration()
    event = event_of(ti.get_template_context())
    deadline = share(event) * options.deadline
    key = grouping_key(event, job=options.job)
    if not first(event, key):
        return
    if event.map_index >= 0 and event.state in ("success", "skipped"):
        _report_own(event, key.with_labels(**OWN_METRICS), deadline)
        return
    # Collected late: a collector of the task's may raise or hang, and the outcome is pushed before.
    report(
        event,
        key=key,
        gateway=partial(gateway, keeping=True),
        deadline=deadline,
        extra=lambda: families_of(event),
    )


def _report_own(event: Event, key: GroupingKey, deadline: float) -> None:
    due = time.monotonic() + deadline

    def push() -> None:
        if own := families_of(event):
            gateway(keeping=True).push(key, own, timeout=left(due))

    try:
        within(deadline, push)
    except Exception as error:
        log_failure(f"the report of {key}", error)
