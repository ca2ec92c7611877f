"""RQ's own workers on a real redis: what the gateway then holds."""

import os
import signal
import subprocess
import sys
import time
import uuid
from contextlib import ExitStack
from pathlib import Path

import pytest
from redis import Redis
from rq import Queue, Repeat, Retry
from rq.command import send_stop_job_command
from rq.cron import CronScheduler

from pushgate import Gateway, job_rows
from support import brokers
from support.gateways import NEW
from support.workers import PATIENCE, until

pytestmark = pytest.mark.end_to_end
RQ = Path(sys.executable).parent / "rq"
WORKER = ("worker", "-w", "pushgate_rq.PushgateWorker")
HORSES = {
    "killed": ("failed", "signal 9"),
    "exits": ("failed", "exit 3"),
    "closes_the_pipe": ("succeeded", ""),
}
# What each job leaves: the row's outcome, and why it failed.
ENDS = {
    "load": ("succeeded", ""),
    "charge": ("failed", "KeyError"),
    "flaky": ("succeeded", ""),
    "give_up": ("failed", "Retry"),
    "too_long": ("failed", "JobTimeoutException"),
}


@pytest.fixture(scope="module")
def redis():
    with brokers.redis_server() as server, Redis(port=server.port) as connection:
        yield connection


class Site:
    """A queue of the test's own, and workers on it."""

    def __init__(self, redis, gateway, folder, stack):
        self.redis, self.gateway, self.folder, self._stack = redis, gateway, folder, stack
        self.queue = Queue(uuid.uuid4().hex, connection=redis)
        self._log = folder / "log"

    def start(self, *command):
        """A process of its own, with what it starts."""
        url = f"redis://127.0.0.1:{self.redis.connection_pool.connection_kwargs['port']}"
        with self._log.open("ab") as log:
            process = subprocess.Popen(
                [RQ, *command, "--url", url, "--path", Path(__file__).parent, self.queue.name],
                env={**os.environ, "PUSHGATE_GATEWAY": self.gateway},
                cwd=self.folder,
                stdout=log,
                stderr=log,
            )
        self._stack.callback(process.wait)
        self._stack.callback(process.kill)
        return process

    def run(self, *command):
        """A worker that ends when its queue is empty. Returns what it logged."""
        assert self.start(*command, "--burst").wait(PATIENCE) == 0, self._log.read_text()
        return self._log.read_text()

    def enqueue(self, name, *arguments, **options):
        return self.queue.enqueue(f"rq_work.{name}", *arguments, **options)

    def enqueue_waiting(self, **options):
        """A job that waits for the file ``go``."""
        return self.enqueue("tell_and_wait", str(self.folder), **options)

    def horse(self):
        """The pid of the process that runs the waiting job, once it does."""
        file = self.folder / "pid"
        until(file.exists, self._log.read_text)
        return int(file.read_text())

    def value(self, name, metric):
        group = self.groups().get(name)
        return group and group.value(f"batch_job_{metric}")

    def groups(self):
        """The groups of this redis's functions, by function."""
        groups = Gateway(self.gateway).groups()
        return {g.labels["task"].removeprefix("rq_work."): g for g in groups}

    def rows(self):
        """What `pushgate status` says of each function: the outcome, and why it failed."""
        groups = self.groups()
        rows = {name: job_rows([g], now=time.time())[0] for name, g in groups.items()}
        return {name: (row.outcome, row.info.get("exception", "")) for name, row in rows.items()}

    def until_rows(self, rows):
        until(lambda: self.rows() == rows, lambda: f"{self.rows()}\n{self._log.read_text()}")


@pytest.fixture
def site(redis, shared_gateway, tmp_path):
    gateway = shared_gateway(NEW)
    gateway.wipe()
    with ExitStack() as stack:
        yield Site(redis, gateway.url, tmp_path, stack)


@pytest.mark.parametrize(
    "command",
    [
        WORKER,
        ("worker", "-w", "pushgate_rq.PushgateSpawnWorker"),
        ("worker", "-w", "pushgate_rq.PushgateSimpleWorker"),
        ("worker-pool", "-n", "2", "-w", "pushgate_rq.PushgateWorker"),
    ],
    ids=" ".join,
)
def test_each_end_is_told_by_every_kind_of_worker(site, command):
    expected = ENDS if "Simple" in command[-1] else ENDS | HORSES
    for name in expected:
        retry = Retry(max=1) if name == "flaky" else None
        site.enqueue(name, retry=retry, job_timeout=1 if name == "too_long" else 60)
    log = site.run(*command)
    assert site.rows() == expected, log
    assert "is not reported" not in log
    groups = site.groups()
    assert all(g.value("batch_job_last_queue_wait_seconds") >= 0 for g in groups.values())
    assert groups["too_long"].value("batch_job_last_timed_out") == 1
    retried = {n for n, g in groups.items() if g.value("batch_job_last_retry_timestamp_seconds")}
    assert retried == {"flaky", "give_up"}


@pytest.mark.parametrize(
    ("name", "again"), [("flaky", {"retry": Retry(max=1)}), ("load", {"repeat": Repeat(times=1)})]
)
def test_a_run_has_waited_also_where_its_job_is_queued_again(site, name, again):
    site.enqueue(name, **again)
    site.run(*WORKER, "--max-jobs", "1")
    assert site.value(name, "last_queue_wait_seconds") > 0


def test_a_job_that_is_stopped_has_failed(site):
    worker = site.start(*WORKER)
    job = site.enqueue_waiting()
    site.horse()
    send_stop_job_command(site.redis, job.id)
    until(lambda: job.get_status() == "stopped", "it is stopped")
    worker.terminate()
    assert worker.wait(PATIENCE) == 0
    assert site.rows() == {"tell_and_wait": ("failed", "stopped")}


def test_a_horse_whose_worker_was_killed_tells_its_end_itself(site):
    worker = site.start(*WORKER)
    job = site.enqueue_waiting()
    site.horse()
    worker.kill()
    worker.wait()
    (site.folder / "go").touch()
    site.until_rows({"tell_and_wait": ("succeeded", "")})
    assert job.is_finished


@pytest.mark.parametrize(
    ("retry", "outcome"), [(None, "failed"), (Retry(max=1, interval=600), "retrying")]
)
def test_a_job_whose_worker_and_horse_were_killed_fails_when_rq_finds_it(site, retry, outcome):
    worker = site.start(*WORKER)
    site.enqueue_waiting(retry=retry)
    horse = site.horse()
    site.until_rows({"tell_and_wait": ("running", "")})
    worker.kill()
    worker.wait()
    os.kill(horse, signal.SIGKILL)

    registry = site.queue.started_job_registry.key
    for execution in site.redis.zrange(registry, 0, -1):  # a minute and a half is over
        site.redis.zadd(registry, {execution: time.time() - 1})
    site.run(*WORKER)
    assert site.rows() == {"tell_and_wait": (outcome, "AbandonedJobError")}


def test_a_job_of_a_cron_scheduler_has_its_schedule(site):
    scheduler = CronScheduler(site.redis)
    scheduler.register(time.time, site.queue.name, interval=3600)
    scheduler.register(time.monotonic, site.queue.name, cron="0 3 * * *")
    for interval in 60, 90:
        scheduler.register(time.perf_counter, site.queue.name, interval=interval)
    scheduler.register_birth()
    for name in "time", "monotonic", "perf_counter":
        site.queue.enqueue(f"time.{name}")
    log = site.run(*WORKER)
    assert site.value("time.time", "expected_interval_seconds") == 3600
    assert site.value("time.monotonic", "expected_interval_seconds") == 24 * 3600, log
    assert site.value("time.monotonic", "next_run_timestamp_seconds") > time.time()
    assert site.value("time.perf_counter", "last_run_success") == 1
    assert site.value("time.perf_counter", "expected_interval_seconds") is None


def test_jobs_run_while_the_gateway_is_down_and_what_waits_is_delivered_later(site, server):
    site.gateway = server.url
    server.stop()
    site.enqueue("load")
    job = site.enqueue("charge")
    site.run(*WORKER)
    assert job.is_failed
    server.start()
    site.start(*WORKER)
    site.enqueue_waiting()  # a worker that ends at once pushes what is its own alone
    waited = {name: ENDS[name] for name in ("load", "charge")}
    until(lambda: site.rows().items() >= waited.items(), site.rows)


def test_a_worker_without_a_gateway_says_so_and_works(site):
    site.gateway = ""
    job = site.enqueue("load")
    assert "this worker's jobs are not reported: no gateway is configured" in site.run(*WORKER)
    assert job.is_finished
