"""One worker in its main process: it connects the signals, and reports its state and its end.

The children of a prefork pool inherit this by fork, and use its handlers of a task's start and end.
"""

from __future__ import annotations

import atexit
import os
from typing import Any

from celery import bootsteps, signals
from celery.concurrency.solo import TaskPool as SoloPool
from celery.worker import state

from pushgate import InlineRelay, RateLimitedLogger, Relay
from pushgate_celery._celery_options import Options
from pushgate_celery._main_signals import MainSignals, is_ending
from pushgate_celery._queues import routed_tasks
from pushgate_celery._task_records import GOODBYE, KNOWN, WORKER
from pushgate_celery._task_signals import TaskSignals, log_failure

_MAX_TICK = 5.0  # seconds between two looks at the worker's state
_CHILD_FLUSH = 1.0  # seconds that a child may wait for room in the pipe, when it ends
_KNOWN_AT_ONCE, _KNOWN_NAME = 4, 120  # tasks, and characters of a name: they fit in a record


class Worker:
    """Observes one app's tasks in this process and in those it forks, from :meth:`connect` on.

    ``controller`` is Celery's worker, None outside of one. ``is_over`` says whether the worker's
    end was reported.
    """

    def __init__(
        self,
        app: Any,
        options: Options,
        relay: Relay | InlineRelay,
        log: RateLimitedLogger,
        controller: Any = None,
    ) -> None:
        self._app = app
        self._options = options
        self._relay = relay
        self._log = log
        self._controller = controller
        self._pid = os.getpid()
        self.is_over = False
        self._timer: Any = None
        self._pool: Any = None
        is_inline = options.transport == "inline"
        self._tasks = TaskSignals(app, options.tasks, relay.write, log, eager=is_inline)
        self._main = MainSignals(self._tasks.observes, relay.write, log)
        self._connections = [
            (signals.task_prerun, self._tasks.prerun),
            (signals.task_postrun, self._tasks.postrun),
            (signals.task_failure, self._main.failure),
            (signals.task_retry, self._main.retry),
            (signals.task_revoked, self._main.revoked),
            (signals.task_unknown, self._main.unknown),
            (signals.task_rejected, self._main.rejected),
            (signals.worker_process_init, self._process_begins),
            (signals.worker_process_shutdown, self._process_ends),
            (signals.worker_ready, self._ready),
            (signals.worker_shutdown, self._shut_down),
            (signals.beat_embedded_init, self._beat_begins),
        ]
        self._step = _step_of(self)

    def connect(self) -> None:
        """Begin to observe."""
        for signal, handler in self._connections:
            signal.connect(handler, weak=False)
        self._app.steps["consumer"].add(self._step)
        # On a direct SIGQUIT some pools send no worker_shutdown; and threads that still run are
        # joined before atexit, so only then is everything over.
        atexit.register(self._exit)

    def stop(self) -> None:
        """Stop to observe. The process that began reports the worker's end."""
        for signal, handler in self._connections:
            signal.disconnect(handler)
        self._app.steps["consumer"].discard(self._step)
        signals.task_prerun.disconnect(self._runs_itself)
        atexit.unregister(self._exit)
        self._stop_timer()
        self._main.undo()
        self._goodbye(crashed=False)

    def consumer_begins(self, consumer: Any) -> None:
        """The worker has a connection to its broker, for the first time or again."""
        if self.is_over:
            return
        try:
            self._pool = consumer.pool
            self._main.watch(getattr(consumer.pool, "_pool", None))
            if isinstance(self._pool, SoloPool):
                signals.task_prerun.connect(self._runs_itself, weak=False)
            self._tell_known()
            self._tick()
            # The worker's own timer works in every pool, and without heartbeats too.
            seconds = min(self._options.interval, _MAX_TICK)
            self._stop_timer()  # a lost connection may have cleared it, or not
            self._timer = consumer.timer.call_repeatedly(seconds, self._tick)
        except Exception as error:
            log_failure(self._log, "observing the worker", error)

    def consumer_ends(self, consumer: Any) -> None:
        """The connection is closed. At its end, a worker of most pools stops its timer by that."""
        if consumer.controller.blueprint.state != bootsteps.RUN:
            self._tell_state(is_quiet=True)

    def loop_begins(self, consumer: Any) -> None:
        """The event loop has the pool's children; it has replaced what watched them."""
        if not self.is_over:
            self._main.watch(getattr(consumer.pool, "_pool", None))

    def _process_begins(self, **_: object) -> None:
        self._tasks.pid = os.getpid()

    def _process_ends(self, **_: object) -> None:
        if os.getpid() != self._pid:  # atexit is not run there
            self._relay.flush(_CHILD_FLUSH)

    def _beat_begins(self, **_: object) -> None:
        if os.getpid() != self._pid:
            self._relay.detach()

    def _ready(self, sender: Any, **_: object) -> None:
        self._log.release()
        if getattr(getattr(sender, "controller", None), "task_events", False):
            self._log.warning(
                "this worker sends task events (-E, worker_send_task_events), which cost much"
                " of its throughput and which pushgate does not need; switch them off unless"
                " Flower or an exporter needs them",
            )

    def _tell_known(self) -> None:
        """Write the tasks that may run here, for zeros."""
        tasks = routed_tasks(self._app).items()
        known = [(n[:_KNOWN_NAME], q) for n, q in tasks if self._tasks.observes(n)]
        for at in range(0, len(known), _KNOWN_AT_ONCE):
            self._relay.write((KNOWN, dict(known[at : at + _KNOWN_AT_ONCE])))

    def _runs_itself(self, **_: object) -> None:
        """task_prerun, where the main process runs the task: its timer has to wait."""
        self._tell_state(is_quiet=True)

    def _tick(self) -> None:
        self._tell_state()
        if self._relay.ensure_running():
            self._tell_known()

    def _tell_state(self, *, is_quiet: bool = False) -> None:
        is_quiet = is_quiet and isinstance(self._relay, Relay)
        try:
            active = tuple(state.active_requests)
            prefetched = max(0, len(state.reserved_requests) - len(active))
            starts = [request.time_start for request in active if request.time_start]
            size = int(self._pool.num_processes or 0)
            oldest = min(starts, default=None)
            self._relay.write((WORKER, len(active), prefetched, oldest, size, is_quiet))
        except Exception as error:  # threads change the sets while they are read
            self._log.info(f"looking at the worker's state failed: {error}", subject="tick")

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _shut_down(self, sender: Any = None, **_: object) -> None:
        """worker_shutdown, whose sender is the WorkController."""
        if not state.active_requests and not self._tasks.open:
            self._goodbye(crashed=not is_ending() and bool(getattr(sender, "exitcode", None)))

    def _exit(self) -> None:
        self._goodbye(crashed=self._controller is not None and not is_ending())

    def _goodbye(self, *, crashed: bool) -> None:
        if self.is_over or os.getpid() != self._pid:
            return
        self.is_over = True
        self._log.release()
        try:
            self._relay.write((GOODBYE, crashed))
            if not self._relay.close(self._options.shutdown_timeout):
                self._log.warning(
                    "the last push did not end in time; the pusher goes on with it by itself, if"
                    " it is left running, and keeps it in the outbox: where neither outlives this"
                    " worker, as in a container without a volume, raise pushgate_shutdown_timeout",
                )
        except Exception as error:
            log_failure(self._log, "saying goodbye", error)


def _step_of(worker: Worker) -> type:
    """A step of the consumer's, which begins anew with each connection to the broker.

    https://docs.celeryq.dev/en/stable/userguide/extending.html#consumer
    """

    class Observed(bootsteps.StartStopStep):  # type: ignore[misc,unused-ignore]
        requires = ("celery.worker.consumer.tasks:Tasks",)

        def start(self, consumer: Any) -> None:
            worker.consumer_begins(consumer)

        def stop(self, consumer: Any) -> None:
            worker.consumer_ends(consumer)

        def register_with_event_loop(self, consumer: Any, _hub: Any) -> None:
            worker.loop_begins(consumer)

    return Observed
