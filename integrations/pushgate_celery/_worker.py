"""One worker in its main process: it connects the signals, and reports its state and its end.

The children of a prefork pool inherit this by fork, and use its handlers of a task's start and end.
"""

from __future__ import annotations

import atexit
import json
import os
from typing import Any, Protocol

from celery import signals
from celery.worker import state

from pushgate import RateLimitedLogger
from pushgate_celery._celery_options import Options
from pushgate_celery._children import Children
from pushgate_celery._executing import Executing
from pushgate_celery._main_process import MainProcess
from pushgate_celery._queues import routed_tasks
from pushgate_celery._task_records import GOODBYE, KNOWN, WORKER
from pushgate_celery._task_run import RunFactory, log_failure

__all__ = ("RelayLike", "Worker")

_MAX_TICK = 5.0  # seconds between two looks at the worker's state
_CHILD_FLUSH = 1.0  # seconds that a child may wait for room in the pipe, when it ends
_MAX_KNOWN_BYTES = 3500  # of the 4096 that a record may have


class RelayLike(Protocol):
    """What a worker needs of a relay."""

    def write(self, record: object) -> bool: ...
    def flush(self, timeout: float = 0.0) -> bool: ...
    def ensure_running(self) -> bool: ...
    def detach(self) -> None: ...
    def close(self, timeout: float) -> bool: ...


class Worker:
    """Observes one app's tasks in this process and in those it forks, from :meth:`connect` on.

    ``is_over`` says whether the worker's end was reported.
    """

    def __init__(
        self,
        app: Any,
        options: Options,
        relay: RelayLike,
        log: RateLimitedLogger,
    ) -> None:
        self._app = app
        self._options = options
        self._relay = relay
        self._log = log
        self._pid = os.getpid()
        self.is_over = False
        self._timer: tuple[Any, Any] | None = None
        self._runs = RunFactory(app, options.tasks, relay.write, log)
        self._children = Children(relay.write)
        self._main = MainProcess(self._runs, relay.write, log, killed=self._children.doom)
        self._executing = Executing(
            self._runs,
            relay.write,
            log,
            eager=options.transport == "inline",
            unfinished=self._main.unfinished,
            ended=self._main.ended,
        )
        self._connections = [
            (signals.task_prerun, self._executing.prerun),
            (signals.task_postrun, self._executing.postrun),
            (signals.task_received, self._main.received),
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

    def connect(self) -> None:
        """Begin to observe."""
        for signal, handler in self._connections:
            signal.connect(handler, weak=False)
        # On a direct SIGQUIT some pools send no worker_shutdown; and threads that still run are
        # joined before atexit, so only then is everything over.
        atexit.register(self._exit)

    def stop(self) -> None:
        """Stop to observe. The process that began reports the worker's end."""
        for signal, handler in self._connections:
            signal.disconnect(handler)
        atexit.unregister(self._exit)
        if self._timer is not None:
            timer, entry = self._timer
            timer.cancel(entry)
            self._timer = None
        self._children.undo()
        self._goodbye()

    def _process_begins(self, **_: object) -> None:
        self._executing.in_child = os.getpid() != self._pid

    def _process_ends(self, **_: object) -> None:
        if os.getpid() != self._pid:  # atexit is not run there
            self._relay.flush(_CHILD_FLUSH)

    def _beat_begins(self, **_: object) -> None:
        if os.getpid() != self._pid:
            self._relay.detach()

    def _ready(self, sender: Any, **_: object) -> None:
        """worker_ready, whose sender is the consumer. It is not sent again after a reconnect."""
        self._log.release()
        try:
            if getattr(getattr(sender, "controller", None), "task_events", False):
                self._log.warning(
                    "this worker sends task events (-E, worker_send_task_events), which cost much"
                    " of its throughput and which pushgate does not need; switch them off unless"
                    " Flower or an exporter needs them",
                )
            self._children.watch(getattr(sender.pool, "_pool", None))
            self._tell_known()
            self._tick()
            # The worker's own timer works in every pool, and without heartbeats too.
            seconds = min(self._options.interval, _MAX_TICK)
            self._timer = sender.timer, sender.timer.call_repeatedly(seconds, self._tick)
        except Exception as error:
            log_failure(self._log, "observing the worker", error)

    def _tell_known(self) -> None:
        """Write the tasks that may run here, for zeros, in pieces that fit into a record."""
        piece: dict[str, str] = {}
        size = 0
        for name, queue in routed_tasks(self._app).items():
            if not self._runs.observes(name):
                continue
            room = len(json.dumps([name, queue]))
            if piece and size + room > _MAX_KNOWN_BYTES:
                self._relay.write([KNOWN, piece])
                piece, size = {}, 0
            piece[name] = queue
            size += room
        if piece:
            self._relay.write([KNOWN, piece])

    def _tick(self) -> None:
        try:
            active = tuple(state.active_requests)
            prefetched = max(0, len(state.reserved_requests) - len(active))
            starts = [request.time_start for request in active if request.time_start]
            self._relay.write([WORKER, len(active), prefetched, min(starts, default=None)])
            if self._relay.ensure_running():
                self._tell_known()
        except Exception as error:  # threads change the sets while they are read
            self._log.info(f"looking at the worker's state failed: {error}", subject="tick")

    def _shut_down(self, **_: object) -> None:
        if not state.active_requests and not self._executing.open:
            self._goodbye()

    def _exit(self) -> None:
        self._goodbye()

    def _goodbye(self) -> None:
        if self.is_over or os.getpid() != self._pid:
            return
        self.is_over = True
        self._log.release()
        try:
            self._relay.write([GOODBYE])
            if not self._relay.close(self._options.shutdown_timeout):
                self._log.warning(
                    "the last push did not end in time; the pusher goes on with it by itself, if"
                    " it is left running, and keeps it in the outbox: where neither outlives this"
                    " worker, as in a container without a volume, raise pushgate_shutdown_timeout",
                )
        except Exception as error:
            log_failure(self._log, "saying goodbye", error)
