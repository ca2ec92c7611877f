"""RQ jobs to a Pushgateway, by workers that tell how each job ended.

``rq worker -w pushgate_rq.PushgateWorker``; before a class of your own, PushgateWorkerMixin.
"""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rq import SimpleWorker, Worker
from rq.cron import CronScheduler
from rq.exceptions import StopRequested
from rq.worker import SpawnWorker

from pushgate import (
    JobRun,
    Outcome,
    RateLimitedLogger,
    Status,
    configured_sink,
    with_schedule,
)
from pushgate_rq._rq_jobs import (
    cause_of_death,
    job_run,
    known_outcome,
    outcome,
    packed,
    queue_wait,
    read_outcome,
    schedules_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rq.executions import Execution
    from rq.job import Job
    from rq.queue import Queue

    from pushgate import Sink

    _Base = Worker
else:
    _Base = object

__all__ = ("PushgateSimpleWorker", "PushgateSpawnWorker", "PushgateWorker", "PushgateWorkerMixin")

_PIPE = "PUSHGATE_RQ_PIPE"  # until the horse has begun; the job does not see it


class PushgateWorkerMixin(_Base):
    """Tells a gateway how each job ends. Put it before a worker class of RQ.

    The worker's process pushes, in a thread. A work horse ends with ``os._exit``, so it writes how
    its job ended to a pipe. ``pushgate_job`` is the grouping label ``job``. ``pushgate_sink`` takes
    the runs; without one they go to the gateway that is configured, as by PUSHGATE_GATEWAY.
    """

    pushgate_job = "rq"
    pushgate_sink: Sink | None = None

    _pushgate_log = RateLimitedLogger()
    _run: JobRun | None = None  # whose end was not told yet
    _queue_wait: float | None = None  # of that run, in seconds: RQ then changes what tells it
    _cause = ""
    _reader: int | None = None  # of the pipe, in the worker
    _writer: int | None = None  # in the horse
    _schedules: dict[str, float | str] = {}  # noqa: RUF012 - replaced, never changed

    def bootstrap(self, *args: Any, **options: Any) -> None:
        """The worker begins: make the sink, whose thread starts with the first run."""
        super().bootstrap(*args, **options)
        with self._unharmed():
            self._open_sink()

    def teardown(self) -> None:
        """The worker ends: push or keep what is left."""
        try:
            super().teardown()
        finally:
            if self.pushgate_sink is not None and not self.is_horse:
                self.pushgate_sink.close()

    def prepare_execution(self, job: Job) -> Execution:
        """A run begins. From here on a signal waits for its end."""
        execution = super().prepare_execution(job)
        with self._unharmed():
            self._began(job)
        return execution

    def fork_work_horse(self, job: Job, queue: Queue) -> None:
        """Start a work horse, which gets a pipe."""
        writer = None
        with self._unharmed():
            self._reader, writer = os.pipe()
            os.set_inheritable(writer, True)  # the horse of a SpawnWorker is another program
            os.environ[_PIPE] = str(writer)
        try:
            super().fork_work_horse(job, queue)
        finally:
            os.environ.pop(_PIPE, None)
            if writer is not None:
                os.close(writer)

    def main_work_horse(self, job: Job, queue: Queue) -> None:
        """In the work horse: run the job."""
        with self._unharmed():
            if self._reader is not None:
                os.close(self._reader)  # else a write would succeed where the worker is gone
            self._writer = int(os.environ.pop(_PIPE))
            os.set_inheritable(self._writer, False)
        super().main_work_horse(job, queue)

    def monitor_work_horse(self, job: Job, *args: Any, **options: Any) -> None:
        """Wait for the work horse, and tell what it wrote."""
        super().monitor_work_horse(job, *args, **options)
        with self._unharmed():
            self._read_end(job)

    def handle_exception(self, job: Job, *exc_info: Any) -> None:
        """A job raised."""
        self._cause = getattr(exc_info[0], "__name__", "")
        super().handle_exception(job, *exc_info)

    def handle_work_horse_killed(
        self, job: Job, retpid: int, ret_val: int | None, rusage: Any
    ) -> None:
        """A work horse ended before it could say how its job did."""
        self._cause = cause_of_death(ret_val)
        super().handle_work_horse_killed(job, retpid, ret_val, rusage)

    def handle_job_success(self, job: Job, *args: Any, **options: Any) -> None:
        """A job succeeded."""
        super().handle_job_success(job, *args, **options)
        with self._unharmed():
            self._tell(job, outcome(job, Status.SUCCESS, time.time()))

    def handle_job_failure(self, job: Job, *args: Any, **options: Any) -> None:
        """A job failed, was stopped, or lost its work horse; RQ may try it again."""
        super().handle_job_failure(job, *args, **options)
        with self._unharmed():
            self._tell(job, known_outcome(job, time.time(), cause=self._cause))

    def handle_job_retry(self, job: Job, *args: Any, **options: Any) -> None:
        """A job returned a Retry."""
        super().handle_job_retry(job, *args, **options)
        with self._unharmed():
            self._tell(job, known_outcome(job, time.time(), cause="Retry"))

    def run_maintenance_tasks(self) -> None:
        """Each ten minutes: tell of jobs whose workers are gone, and read the schedules."""
        # First, since a handler that returns False ends the row. RQ has no method for that.
        self._exc_handlers.insert(0, self._lost)
        try:
            super().run_maintenance_tasks()
        finally:
            self._exc_handlers.remove(self._lost)
        with self._unharmed():
            schedulers = CronScheduler.all(self.connection, cleanup=False)
            self._schedules = schedules_of(job for each in schedulers for job in each.get_jobs())

    def _lost(self, job: Job, *exc_info: Any) -> None:
        """RQ found that a job's worker is gone; what it makes of the job comes after this."""
        with self._unharmed():
            status = Status.RETRY if job.should_retry else Status.FAILURE
            # The run that was lost began long ago, and others may have since.
            end = Outcome(status, time.time(), exception=exc_info[0].__name__)
            self._finished(job_run(job, self.pushgate_job), end)

    def _began(self, job: Job) -> None:
        now, host = time.time(), self.hostname or ""
        run = job_run(job, self.pushgate_job, started_at=now, host=host)
        schedule = self._schedules.get(run.key.labels["task"])
        self._run = with_schedule(run, schedule, self._pushgate_log.warning)
        self._queue_wait = queue_wait(job, now)
        if self.pushgate_sink is not None:
            self.pushgate_sink.started(self._run)

    def _tell(self, job: Job, end: Outcome) -> None:
        run = self._run
        if run is None or run.run_id != job.id:  # a SpawnWorker's horse, or one that never began
            run = job_run(job, self.pushgate_job, host=self.hostname or "")
        if self._writer is None:
            self._finished(run, end)
            return
        try:
            os.write(self._writer, packed(end))
        except BrokenPipeError:  # the worker was killed, and the horse went on: nobody waits for it
            self._open_sink()
            self._finished(run, end)
            if self.pushgate_sink is not None:
                self.pushgate_sink.close()
        except OSError:  # the job closed the pipe, so the worker asks RQ
            pass

    def _read_end(self, job: Job) -> None:
        """Tell what the horse wrote; what this process told is newer."""
        reader, self._reader = self._reader, None
        end = None if reader is None else read_outcome(reader)
        if self._run is None:
            return
        if end is None:  # it was killed in between, or the job closed the pipe
            job.refresh()
            end = known_outcome(job, time.time())
        self._finished(self._run, end)

    def _finished(self, run: JobRun, end: Outcome) -> None:
        end = end._replace(queue_wait=self._queue_wait)
        self._run, self._queue_wait, self._cause = None, None, ""
        if self.pushgate_sink is not None:
            self.pushgate_sink.finished(run, end)

    def _open_sink(self) -> None:
        if self.pushgate_sink is None:
            self.pushgate_sink = configured_sink("this worker's jobs", self._pushgate_log)

    @contextmanager
    def _unharmed(self) -> Iterator[None]:
        """A mistake of ours is logged: neither the job nor its worker fails by it."""
        try:
            yield
        except StopRequested:  # a signal's
            raise
        except Exception as error:
            self._pushgate_log.error(f"a job is not reported: {error!r}", subject=repr(type(error)))


class PushgateWorker(PushgateWorkerMixin, Worker):
    """RQ's Worker: each job in a process of its own."""


class PushgateSimpleWorker(PushgateWorkerMixin, SimpleWorker):
    """RQ's SimpleWorker: the jobs run in the worker's process."""


class PushgateSpawnWorker(PushgateWorkerMixin, SpawnWorker):
    """RQ's SpawnWorker: each job in a new program."""
