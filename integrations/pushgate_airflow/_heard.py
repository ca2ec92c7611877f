"""The listener in a scheduler or an api-server: what it heard waits in this process's queue.

Enters: DAG runs and task instances of the database, on a thread that schedules or answers. Leaves:
plain values in the queue, which is made with its thread when the first one comes. Nothing here asks
for a connection, sends anything or waits: a scheduler whose listener did never left ``queued``.
"""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from pushgate_airflow._configuration import configuration
from pushgate_airflow._connection import gateway, outbox
from pushgate_airflow._delivery import Delivery
from pushgate_airflow._listener_events import run_end, run_event, task_event
from pushgate_airflow._preload import preload
from pushgate_airflow._queue import Item, Queue
from pushgate_airflow._reports import Heard
from pushgate_airflow._schedule import expected_interval
from pushgate_airflow._selection import selected

if TYPE_CHECKING:
    from pushgate_airflow._event import Event

__all__ = ("run", "stop", "task")

# A worker tells Airflow of a success before it runs the callbacks and the listener, so its push may
# still be on the way when the run ends. A second after its deadline it has arrived or never will.
_SETTLED = 1.0

_queues: dict[int, Queue] = {}  # by process: a forked one begins with none of its own


def task(ti: Any, state: str) -> None:
    """A task instance that no worker speaks for: killed, or marked by somebody."""
    _put(task_event(ti, state), marked=True)


def run(dag_run: Any, state: str) -> None:
    """A run that began or ended, and at its end all of its tasks."""
    options = configuration()
    values = vars(dag_run)
    if selected(options, values["dag_id"], None):
        event = run_event(dag_run, state)
        interval = expected_interval(values.get("dag"), SimpleNamespace(**values))
        # What is marked in an api-server may have ended long ago; the scheduler's runs end now.
        _put(event._replace(expected_interval=interval))
    if state != "running" and options.listener and options.listener_tasks:
        end = run_end(dag_run)
        if end is not None and (end.tasks or end.mapped):
            item = Item((end.dag_id, end.run_id), end, len(end.tasks) + len(end.mapped))
            _of_this_process().put(item, delay=options.deadline + _SETTLED)


def stop() -> None:
    """Try once more to deliver what waits, and say what is lost."""
    if queue := _queues.get(os.getpid()):
        queue.stop()


def _put(event: Event, *, marked: bool = False) -> None:
    # One place for each state of a group: a success does not vanish because another run began.
    slot = (event.dag_id, event.task_id, event.state, event.map_index)
    _of_this_process().put(Item(slot, Heard(event, marked)))


def _of_this_process() -> Queue:
    queue = _queues.get(os.getpid())
    if queue is None:
        options = configuration()
        preload()
        delivery = Delivery(options, gateway, outbox())
        made = Queue(
            delivery,
            size=options.queue_size,
            patience=options.deadline,
            keep=delivery.keep,
        )
        queue = _queues.setdefault(os.getpid(), made)
    return queue
