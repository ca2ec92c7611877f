"""dramatiq's messages to a Pushgateway: ``broker.add_middleware(Pushgate())``."""

from __future__ import annotations

import socket
import threading
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from dramatiq.errors import ActorNotFound
from dramatiq.middleware import Middleware

from pushgate import RateLimitedLogger, configured_sink, readers, with_schedule
from pushgate_dramatiq._actor_messages import Processing, message_run, outcome

if TYPE_CHECKING:
    from dramatiq import Broker, Message, Worker
    from dramatiq.broker import MessageProxy

    from pushgate import JobRun, Sink

__all__ = ("Pushgate",)


class Pushgate(Middleware):
    """Tells a gateway how each actor's messages end; only workers do, and in a thread.

    ``job`` is the grouping label ``job``. ``sink`` takes the runs; without one they go to the
    gateway that is configured, as by PUSHGATE_GATEWAY. An actor's option ``schedule`` says how
    often something sends it a message: seconds, a timedelta, or a cron expression. The place among
    the other middleware does not matter. Raises ValueError for a ``job`` that is no text.
    """

    def __init__(self, sink: Sink | None = None, *, job: str = "dramatiq") -> None:
        self._sink = sink
        self._job = readers.job(job)
        self._host = socket.gethostname()
        self._log = RateLimitedLogger()
        self._thread = threading.local()  # a message is processed by one thread, to its end

    @property
    def actor_options(self) -> set[str]:
        """The options that this middleware reads."""
        return {"schedule"}

    def before_worker_boot(self, broker: Broker, worker: Worker) -> None:
        """A worker's process begins: it pushes, and one that only sends messages never does."""
        if self._sink is None:
            self._sink = configured_sink("this worker's messages", self._log)

    def after_worker_shutdown(self, broker: Broker, worker: Worker) -> None:
        """The worker's messages are done: push or keep what is left."""
        if self._sink is not None:
            self._sink.close()

    def before_process_message(self, broker: Broker, message: MessageProxy) -> None:
        """A run begins."""
        run = self._run(broker, message)
        try_number = message.options.get("retries", 0) + 1
        self._thread.processing = Processing(run, time.monotonic(), try_number)
        if self._sink is not None:
            self._sink.started(run)

    def after_process_message(
        self,
        broker: Broker,
        message: MessageProxy,
        *,
        result: Any = None,
        exception: BaseException | None = None,
    ) -> None:
        """The actor is done; whether its message is tried again is not known yet."""
        if (processing := self._processing()) is not None:
            processing.exception = exception

    def after_skip_message(self, broker: Broker, message: MessageProxy) -> None:
        """A middleware such as AgeLimit skipped the message, mostly before the run began."""
        processing = self._processing()
        if processing is None:
            run = self._run(broker, message)._replace(started_at=None)
            processing = self._thread.processing = Processing(run)
        processing.was_skipped = True

    def after_enqueue(self, broker: Broker, message: Message[Any], delay: int) -> None:
        """A message was sent, maybe the one that this thread processes, to be tried again."""
        processing = self._processing()
        if processing is not None and processing.run.run_id == message.message_id:
            processing.was_sent_again = True

    def before_ack(self, broker: Broker, message: MessageProxy) -> None:
        """All middleware is done with the message."""
        if (processing := self._processing()) is not None:
            self._end(processing, failed=False)

    def before_nack(self, broker: Broker, message: MessageProxy) -> None:
        """All middleware is done with the message, which goes to the dead letters."""
        processing = self._processing()
        if processing is None:  # no worker thread saw it
            run = self._run(broker, message)._replace(started_at=None)
            processing = Processing(run, exception=ActorNotFound(message.actor_name))
        self._end(processing, failed=True)

    def _processing(self) -> Processing | None:
        return getattr(self._thread, "processing", None)

    def _run(self, broker: Broker, message: MessageProxy) -> JobRun:
        actor = broker.actors.get(message.actor_name)
        schedule = None if actor is None else actor.options.get("schedule")
        if isinstance(schedule, timedelta):
            schedule = schedule.total_seconds()
        run = message_run(message, self._job, started_at=time.time(), host=self._host)
        return with_schedule(run, schedule, self._log.warning)

    def _end(self, processing: Processing, *, failed: bool) -> None:
        self._thread.processing = None
        if self._sink is not None:
            now, at = time.monotonic(), time.time()
            self._sink.finished(processing.run, outcome(processing, failed=failed, at=at, now=now))
