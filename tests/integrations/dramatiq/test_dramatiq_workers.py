"""dramatiq's own workers on a real redis: what the gateway then holds."""

import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from importlib.util import module_from_spec, spec_from_file_location
from itertools import count
from pathlib import Path

import dramatiq
import pytest

from pushgate import Gateway, job_rows
from support import brokers
from support.gateways import NEW
from support.workers import PATIENCE, until

pytestmark = pytest.mark.end_to_end
HERE = Path(__file__).parent
# What each actor leaves: the row's outcome, and why it failed.
ENDS = {
    "load": ("succeeded", ""),
    "load_later": ("succeeded", ""),
    "charge": ("failed", "KeyError"),
    "reject": ("failed", "LookupError"),
    "flaky": ("succeeded", ""),
    "waits_for_its_retry": ("retrying", "OSError"),
    "too_long": ("failed", "TimeLimitExceeded"),
    "too_old": ("skipped", ""),
    "unknown": ("failed", "ActorNotFound"),
}
_databases = count()


@pytest.fixture(scope="module")
def redis_url():
    with brokers.redis() as url:
        yield url


class Site:
    """A redis database of the test's own, and workers on it."""

    def __init__(self, gateway, folder, stack):
        self.gateway, self.folder, self._stack = gateway, folder, stack
        self._log = folder / "log"
        spec = spec_from_file_location("dramatiq_work", HERE / "dramatiq_work.py")
        self.actors = module_from_spec(spec)
        spec.loader.exec_module(self.actors)

    def start(self, *options, program="dramatiq", **environment):
        """dramatiq's command, with the processes that it starts."""
        program = Path(sys.executable).parent / program
        command = [program, "dramatiq_work", "--path", HERE, "--threads", "2", *options]
        with self._log.open("ab") as log:
            process = subprocess.Popen(
                command,
                env={**os.environ, "PUSHGATE_GATEWAY": self.gateway, **environment},
                cwd=self.folder,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._stack.callback(self.kill, process)
        return process

    def kill(self, process):
        """The whole group of processes, at once."""
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def stop(self, process):
        process.terminate()
        assert process.wait(PATIENCE) == 0, self.log()
        return self.log()

    def log(self):
        return self._log.read_text()

    def send_waiting(self):
        """A message whose actor waits for the file ``go``: the worker's pid."""
        self.actors.tell_and_wait.send(str(self.folder))
        return self.pid()

    def pid(self):
        file = self.folder / "pid"
        until(file.exists, self.log)
        return int(file.read_text())

    def groups(self):
        return {g.labels["task"]: g for g in Gateway(self.gateway).groups()}

    def rows(self):
        """What `pushgate status` says of each actor: the outcome, and why it failed."""
        rows = {n: job_rows([g], now=time.time())[0] for n, g in self.groups().items()}
        return {name: (row.outcome, row.info.get("exception", "")) for name, row in rows.items()}

    def until_rows(self, rows):
        until(lambda: self.rows() == rows, lambda: f"{self.rows()}\n{self.log()}")


@pytest.fixture
def site(redis_url, shared_gateway, tmp_path, monkeypatch):
    monkeypatch.setenv("REDIS_URL", f"{redis_url}/{next(_databases)}")
    gateway = shared_gateway(NEW)
    gateway.wipe()
    with ExitStack() as stack:
        yield Site(gateway.url, tmp_path, stack)


@pytest.mark.parametrize(
    ("options", "more"),
    [
        (["--processes", "2"], {}),
        (["--processes", "1", "--use-spawn"], {"PUSHGATE_FIRST": "1"}),
        (["--processes", "1"], {"program": "dramatiq-gevent"}),
    ],
    ids=["fork", "spawn, before Retries", "gevent"],
)
def test_each_end_is_told(site, options, more):
    actors = site.actors
    actors.too_old.send()
    for name in ENDS.keys() - {"load", "too_old", "unknown"}:
        getattr(actors, name).send()
    unknown = dramatiq.Message(
        queue_name="default", actor_name="unknown", args=(), kwargs={}, options={}
    )
    actors.broker.enqueue(unknown)
    piped = actors.load.message(1) | actors.load.message()
    piped.run()
    together = dramatiq.group([actors.load.message(i) for i in range(3)]).run()
    worker = site.start(*options, **more)
    until(lambda: piped.completed and together.completed, site.log)
    assert piped.get_result() == 3
    assert list(together.get_results()) == [1, 2, 3]
    site.until_rows(ENDS)
    site.stop(worker)
    assert site.rows() == ENDS
    groups = site.groups()
    assert groups["load"].value("batch_job_expected_interval_seconds") == 3600
    assert groups["load_later"].value("batch_job_expected_interval_seconds") == 24 * 3600
    assert "the schedule ['each night'] is not published" in site.log()
    assert groups["too_long"].value("batch_job_last_timed_out") == 1
    assert groups["flaky"].value("batch_job_last_try_number") == 2
    assert groups["flaky"].value("batch_job_last_retry_timestamp_seconds")
    assert groups["too_old"].value("batch_job_last_start_timestamp_seconds") is None


def test_an_actor_that_the_workers_end_interrupts_is_tried_again(site):
    worker = site.start("--processes", "1")
    site.send_waiting()
    site.stop(worker)
    assert (site.folder / "interrupted").exists()
    assert site.rows() == {"tell_and_wait": ("retrying", "Shutdown")}


def test_what_a_killed_worker_had_is_running_until_the_next_one_ends_it(site):
    worker = site.start("--processes", "1")
    first = site.send_waiting()
    site.until_rows({"tell_and_wait": ("running", "")})
    site.kill(worker)
    (row,) = job_rows(site.groups().values(), now=time.time() + 86_400 + 60)
    assert row.stuck

    (site.folder / "pid").unlink()
    site.start("--processes", "1")
    assert site.pid() != first
    (site.folder / "go").touch()
    site.until_rows({"tell_and_wait": ("succeeded", "")})


def test_messages_are_processed_while_the_gateway_is_down_and_told_later(site, server):
    site.gateway = server.url
    server.stop()
    site.actors.charge.send()
    worker = site.start("--processes", "1")
    site.send_waiting()
    (site.folder / "go").touch()
    site.stop(worker)
    server.start()
    site.actors.load.send()
    site.start("--processes", "1")
    told = {name: ENDS[name] for name in ("load", "charge")}
    site.until_rows(told | {"tell_and_wait": ("succeeded", "")})


def test_a_worker_without_a_gateway_says_so_and_works(site):
    site.gateway = ""
    worker = site.start("--processes", "1")
    site.send_waiting()
    log = site.stop(worker)
    assert "this worker's messages are not reported: no gateway is configured" in log
