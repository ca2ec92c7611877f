"""The callback for every slot: how a task or a DAG's run ended, pushed to a Pushgateway.

Airflow's BaseNotifier renders templates into the notifier, puts its fields into the context, and
raises what ``notify`` raises; but one notifier is shared by all tasks of a file through
``default_args``. So here nothing is written, to the notifier or to the context, and nothing raised.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Generator, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseNotifier
from asgiref.sync import sync_to_async

from pushgate import Gateway, failure, in_side_thread
from pushgate_airflow._configuration import configuration
from pushgate_airflow._events import DEADLINE_MISSED, RUNNING, Event, job_run
from pushgate_airflow._gateway_lookup import gateway, gateway_at, is_gateway_configured
from pushgate_airflow._group_labels import check_labels, grouping_key
from pushgate_airflow._metrics_of_task import begin
from pushgate_airflow._real_runs import is_overtaken, is_reported
from pushgate_airflow._run_context import NeedsTaskError, RunContext, run_context
from pushgate_airflow._task_events import event_of, in_task_process
from pushgate_airflow._task_reports import report

if TYPE_CHECKING:
    from airflow.sdk import Context

    from pushgate import JobRun

__all__ = ("PushgatewayNotifier", "push_outcome")

Labels = Mapping[str, object] | Callable[[Event, "Context"], Mapping[str, object]]

# Seconds, where no task waits. The first connection that is looked up in a dag-processor or a
# triggerer has its supervisor make Airflow's execution API, which takes 7 s of CPU; until then it
# answers nobody. A DAG file's processor is killed after 50 s ([dag_processor]
# dag_file_processor_timeout).
_LOOK_UP = 40.0
_TOO_SLOW = f"looking the gateway up took over {_LOOK_UP:g} s"


class PushgatewayNotifier(BaseNotifier):
    """Pushes the outcome of a task or a DAG's run, whichever slot it sits in.

    For ``on_execute_callback``, ``on_success_callback``, ``on_failure_callback``,
    ``on_retry_callback`` and ``on_skipped_callback`` of tasks, also through ``default_args``; for
    ``on_success_callback`` and ``on_failure_callback`` of DAGs; and for a deadline alert, as
    ``AsyncCallback(PushgatewayNotifier)`` or ``SyncCallback(PushgatewayNotifier)``.

    ``conn_id`` is an Airflow connection, ``gateway`` a URL; without either, and for ``job`` and
    ``deadline``, the configuration's section ``[pushgate]`` says. ``labels`` are added to
    ``{job, dag_id, task_id}``: a mapping whose values may be templates, or a callable that gets the
    event and the context and returns one; a value of None leaves a label out. ``by_map_index``
    gives each mapped task instance a group. ``run_id_lifetime``, in seconds or as a timedelta,
    gives each run a group, which may be deleted when that time has passed. ``deadline``, in
    seconds, bounds all that a task's run waits for its reports, a third of it at its start; where
    no task waits, it bounds the push without the look-up of the connection.

    Raises ValueError or TypeError for arguments that can't work. A call raises nothing: what failed
    is a warning of the logger ``pushgate``, and waits in this host's outbox.
    """

    # Rendered into a copy, by `_labels`: BaseNotifier's ways of rendering are overridden below.
    template_fields = ("job", "labels")

    def __init__(
        self,
        conn_id: str | None = None,
        *,
        gateway: str | None = None,
        job: str | None = None,
        labels: Labels | None = None,
        by_map_index: bool = False,
        run_id_lifetime: float | timedelta | None = None,
        deadline: float | None = None,
        context: Context | None = None,
    ) -> None:
        if conn_id is not None and gateway is not None:
            raise ValueError("set either conn_id or gateway, not both: each says where to push")
        if gateway is not None:
            Gateway(gateway)  # raises for what is no URL
        if labels is not None and not callable(labels) and not isinstance(labels, Mapping):
            raise TypeError(f"labels is {labels!r}; give a mapping, or a callable that returns one")
        check_labels(
            job, labels if isinstance(labels, Mapping) else {}, run_id_lifetime is not None
        )
        lifetime = run_id_lifetime
        if isinstance(lifetime, timedelta):
            lifetime = lifetime.total_seconds()
        for name, seconds in (("deadline", deadline), ("run_id_lifetime", lifetime)):
            if seconds is not None and not 0 < seconds < threading.TIMEOUT_MAX:
                raise ValueError(f"{name} is {seconds!r}; give seconds above 0, and not endless")
        super().__init__(context)
        self.conn_id = conn_id
        self.gateway = gateway
        self.job = job
        self.labels = labels
        self.by_map_index = by_map_index
        self.run_id_lifetime = lifetime
        self.deadline = deadline

    def __repr__(self) -> str:
        # Airflow writes it to its log and to a DAG's serialized form: no secrets, no address.
        where = self.conn_id if self.gateway is None else Gateway(self.gateway).url
        return f"PushgatewayNotifier({where!r})"

    def __call__(self, *args: Any) -> None:
        self.notify(args[0] if args else self.context)

    def __await__(self) -> Generator[Any, None, None]:
        return self.async_notify(self.context).__await__()

    def notify(self, context: Context) -> None:
        """Push what ``context`` tells."""
        _notify(self, context, self)

    async def async_notify(self, context: Context) -> None:
        """As :meth:`notify`, for an event loop: the triggerer's."""
        try:
            event = await asyncio.to_thread(self._event, context, self)
            if event is None:
                return
            find = sync_to_async(self._find, thread_sensitive=False)
            try:
                found = await asyncio.wait_for(find(), _LOOK_UP)
            except TimeoutError:
                raise TimeoutError(_TOO_SLOW) from None
            await asyncio.to_thread(self._push, event, context, lambda: found)
        except Exception as error:
            _log_failure("a missed deadline", error)

    def _event(self, context: Context, callback: object) -> Event | None:
        """The event to report; None where nothing is to be reported, or the listener does it.

        The listener sees a task's end in the task's own process, after the callbacks, and a DAG
        run's end in the scheduler. It can't see a missed deadline, nor what the dag-processor tells
        of a lost task.
        """
        event, options = event_of(context, callback), configuration()
        if event.state == RUNNING and in_task_process(context):
            begin(event)
        of_each_run = self.run_id_lifetime is not None
        if not is_reported(context.get("dag_run"), event, has_own_group=of_each_run):
            return None
        is_run_end = event.task_id is None and event.state in ("success", "failed")
        if is_run_end and not is_gateway_configured():
            return event  # the scheduler looks no connection up, so its listener has no gateway
        own = (self.conn_id, self.gateway, self.job, self.labels, self.run_id_lifetime)
        if (
            options.selects(event.dag_id, event.task_id)
            and (is_run_end or in_task_process(context))
            and not self.by_map_index
            and all(option is None for option in own)
        ):
            return None
        return event

    def _push(self, event: Event, context: Context, find: Callable[[], Gateway]) -> None:
        deadline = self.deadline or configuration().deadline
        report(event, lambda: self._run(event, context), find, deadline=deadline)

    def _run(self, event: Event, context: Context) -> JobRun | None:
        """May hang, in the user's label function or a template."""
        labels_context = run_context(context) if event.task_id is None else context
        is_end = event.state != DEADLINE_MISSED and self.run_id_lifetime is None
        if is_end and is_overtaken(context.get("dag"), context.get("dag_run")):
            return None
        job = configuration().job
        key = grouping_key(
            event,
            job=job if self.job is None else self._rendered(self.job, labels_context),
            labels=self._labels(event, labels_context),
            by_map_index=self.by_map_index,
            run_lifetime=self.run_id_lifetime,
        )
        expires_at = None
        if self.run_id_lifetime is not None:
            expires_at = (event.ended_at or time.time()) + self.run_id_lifetime
        return job_run(event, key)._replace(expires_at=expires_at)

    def _labels(self, event: Event, context: Context) -> Mapping[str, object]:
        if self.labels is None:
            return {}
        if callable(self.labels):
            return self.labels(event, context)
        labels = {}
        for name, value in self.labels.items():
            try:
                labels[name] = self._rendered(value, context)
            except NeedsTaskError as error:
                text = "the group of %r is without the label %r: %s"
                logging.getLogger("pushgate").warning(text, event.dag_id, name, error)
        return labels

    def _rendered(self, value: Any, context: Context) -> Any:
        if not isinstance(value, str) or "{" not in value:
            return value
        environment = self.get_template_env(dag=context.get("dag"))
        if isinstance(context, RunContext):
            context.check(value, environment)
        return self.render_template(value, context, environment)

    def _find(self) -> Gateway:
        if self.gateway is not None:
            return gateway_at(self.gateway)
        return gateway(self.conn_id, keeping=True)


def push_outcome(context: Context) -> None:
    """A callback that pushes the outcome of a task or a DAG's run, as the configuration says."""
    _notify(_CONFIGURED, context, push_outcome)


def _notify(notifier: PushgatewayNotifier, context: Context, callback: object) -> None:
    try:
        event = notifier._event(context, callback)
        if event is None:
            return
        if in_task_process(context):
            notifier._push(event, context, notifier._find)
        else:
            try:
                found = in_side_thread(notifier._find).result(_LOOK_UP)
            except TimeoutError:
                raise TimeoutError(_TOO_SLOW) from None
            notifier._push(event, context, lambda: found)
    except Exception as error:
        _log_failure("a callback", error)


def _log_failure(what: str, error: BaseException) -> None:
    logging.getLogger("pushgate").warning("%s", failure(f"the report of {what}", error))


_CONFIGURED = PushgatewayNotifier()
