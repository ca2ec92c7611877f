"""Jobs of real schedulers and executors: what the gateway holds of them afterwards."""

import logging.handlers
import queue
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from unittest.mock import Mock

import pytest

pytest.importorskip("apscheduler")

from apscheduler import events
from apscheduler.executors.debug import DebugExecutor
from apscheduler.executors.pool import ProcessPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.schedulers.blocking import BlockingScheduler
from apscheduler.triggers.interval import IntervalTrigger

import pushgate_apscheduler
from pushgate import Gateway, QueueSink, job_rows

PATIENCE = 60.0
OPTIONS = {"timezone": "UTC", "job_defaults": {"misfire_grace_time": 60}}
DAY = 86_400.0
HOURLY = IntervalTrigger(hours=1)
FAILS = {"func": "operator:truediv", "args": (1, 0)}


class Site:
    """A scheduler that reports to a gateway."""

    def __init__(self, url, scheduler):
        self.gateway = Gateway(url)
        self.sink = QueueSink(Gateway(url))
        self.scheduler = scheduler
        self.uninstall = pushgate_apscheduler.install(scheduler, sink=self.sink)
        self._heard = []
        self._change = threading.Condition()
        scheduler.add_listener(self._hear)

    def _hear(self, event):
        with self._change:
            self._heard.append(event.code)
            self._change.notify_all()

    def wait_for(self, *codes):
        """Wait until all of them have been heard since the last call."""
        with self._change:
            assert self._change.wait_for(lambda: set(codes) <= set(self._heard), PATIENCE)
            self._heard.clear()

    def row(self, task, *, later=0.0):
        """The job as `pushgate status` tells of it, now or so many seconds later."""
        while self.sink.flush(PATIENCE):
            pass  # other threads tell more meanwhile
        [row] = [
            row
            for row in job_rows(self.gateway.groups(), now=time.time() + later)
            if row.labels == {"job": "apscheduler", "task": task}
        ]
        return row

    def run_now(self, job_id, *, late=0.0):
        at = datetime.now(UTC) - timedelta(seconds=late)
        self.scheduler.modify_job(job_id, next_run_time=at)

    @contextmanager
    def running(self, **options):
        self.scheduler.start(**options)
        try:
            yield self
        finally:
            self.scheduler.shutdown()
            self.uninstall()
            self.sink.close()


@pytest.fixture
def site(server):
    with Site(server.url, BackgroundScheduler(**OPTIONS)).running() as site:
        yield site


@pytest.mark.parametrize(
    "make",
    [
        BackgroundScheduler,
        BlockingScheduler,
        # Here runs end before it is told that they were submitted.
        partial(BackgroundScheduler, executors={"default": DebugExecutor()}),
    ],
    ids=["background", "blocking", "debug"],
)
def test_a_success_and_a_failure_of_any_scheduler_are_told(make, gateway_url):
    site = Site(gateway_url, make(**OPTIONS))
    now = datetime.now(UTC)
    site.scheduler.add_job(time.sleep, args=[0.1], id="a mail", name="send")
    site.scheduler.add_job(**FAILS, trigger=HOURLY, id="prices", next_run_time=now)
    thread = threading.Thread(target=site.scheduler.start)
    thread.start()
    site.wait_for(events.EVENT_JOB_SUBMITTED)
    site.scheduler.shutdown()  # waits for the ends
    thread.join(PATIENCE)

    sent = site.row("send")  # a job that runs once goes by its name
    assert (sent.outcome, sent.interval) == ("succeeded", None)
    assert sent.duration > 0
    prices = site.row("prices")
    assert (prices.outcome, prices.interval) == ("failed", 3600)
    assert prices.due == pytest.approx((now + timedelta(hours=1)).timestamp())
    assert prices.info["exception"] == "ZeroDivisionError"
    assert prices.info["run_id"] == now.isoformat()


@pytest.mark.parametrize(
    ("job", "exception"),
    [
        ({"func": "signal:raise_signal", "args": [9]}, "BrokenProcessPool"),
        ({"func": "threading:Lock"}, "TypeError"),  # can't be pickled
    ],
)
def test_a_run_that_its_process_takes_along_has_failed(job, exception, site):
    log = queue.SimpleQueue()
    logger = logging.getLogger("apscheduler.executors.processes")
    logger.addHandler(logging.handlers.QueueHandler(log))
    other, its_sink = BackgroundScheduler(**OPTIONS), Mock()
    for scheduler, trigger in (other, HOURLY), (site.scheduler, None):
        scheduler.add_executor(ProcessPoolExecutor(1), "processes")
        scheduler.add_job(**job, trigger=trigger, id="1", name="lost", executor="processes")
    pushgate_apscheduler.install(other, sink=its_sink)
    other.start(paused=True)
    site.wait_for(events.EVENT_JOB_SUBMITTED)
    log.get(timeout=PATIENCE)
    other.shutdown()
    assert its_sink.mock_calls == []
    row = site.row("lost")
    assert (row.outcome, row.info["exception"]) == ("failed", exception)


def test_a_run_is_skipped_while_the_one_before_goes_on(site):
    goes_on = threading.Event()
    site.scheduler.add_job(goes_on.wait, "interval", seconds=0.1, id="slow")
    site.wait_for(events.EVENT_JOB_MAX_INSTANCES)
    site.scheduler.pause()
    try:
        row = site.row("slow")
    finally:
        goes_on.set()  # else the scheduler would never end
    assert (
        row.numbers["last_skipped_timestamp_seconds"] > row.numbers["last_start_timestamp_seconds"]
    )
    assert row.numbers.get("last_completion_timestamp_seconds") is None


@pytest.mark.parametrize(
    ("late", "outcome"),
    [(100, "skipped"), (1000, "succeeded")],  # the first one might have begun; the second not
)
def test_a_run_that_is_too_late_has_missed_its_deadline_until_another_ends(late, outcome, site):
    site.scheduler.add_job(time.sleep, HOURLY, args=[0.1], id="load")
    site.run_now("load")
    site.wait_for(events.EVENT_JOB_EXECUTED)
    before = site.row("load")

    site.run_now("load", late=late)
    site.wait_for(events.EVENT_JOB_MISSED)
    row = site.row("load")
    assert (row.outcome, row.missed_deadline, row.stuck) == (outcome, True, False)
    assert (row.last_success, row.duration) == (before.last_success, before.duration)

    site.run_now("load")
    site.wait_for(events.EVENT_JOB_EXECUTED)
    row = site.row("load")
    assert (row.outcome, row.missed_deadline) == ("succeeded", False)


@pytest.mark.parametrize(
    ("way", "job"), [("pause_job", ["load"]), ("remove_job", ["load"]), ("remove_all_jobs", [])]
)
def test_what_runs_no_more_is_never_overdue(way, job, site):
    site.scheduler.add_job(time.sleep, HOURLY, args=[0], id="load")
    site.run_now("load")
    site.wait_for(events.EVENT_JOB_EXECUTED)
    assert site.row("load", later=DAY).overdue

    getattr(site.scheduler, way)(*job)
    assert not site.row("load", later=DAY).overdue
    if way == "pause_job":
        site.scheduler.resume_job("load")
        assert site.row("load", later=DAY).overdue


def test_the_interval_is_that_of_the_clock_on_the_wall(server):
    site = Site(server.url, BackgroundScheduler(timezone="Europe/Berlin"))
    with site.running(paused=True):
        site.scheduler.add_job(time.sleep, "cron", args=[0], hour=12, id="noon")
        site.scheduler.modify_job("noon", next_run_time=datetime(2027, 3, 27, 11, tzinfo=UTC))
        assert site.sink.flush(PATIENCE) == 0
    [group] = site.gateway.groups()
    assert group.value("batch_job_expected_interval_seconds") == 23 * 3600  # summer time begins


KILLED = """if True:
    import os, sys, threading
    from apscheduler.events import EVENT_JOB_SUBMITTED
    from apscheduler.schedulers.blocking import BlockingScheduler
    import pushgate_apscheduler
    from pushgate import Gateway, QueueSink

    def job():
        submitted.wait()
        sink.flush(30)
        os.kill(os.getpid(), 9)

    submitted, scheduler = threading.Event(), BlockingScheduler()
    sink = QueueSink(Gateway(sys.argv[1]))
    pushgate_apscheduler.install(scheduler, sink=sink)
    scheduler.add_listener(lambda _event: submitted.set(), EVENT_JOB_SUBMITTED)
    scheduler.add_job(job, misfire_grace_time=60)
    scheduler.start()
"""


def test_a_job_whose_scheduler_was_killed_is_stuck(server):
    command = [sys.executable, "-c", KILLED, server.url]
    assert subprocess.run(command, check=False, timeout=PATIENCE).returncode == -9
    [row] = job_rows(Gateway(server.url).groups(), now=time.time() + 2 * DAY)
    assert (row.outcome, row.stuck) == ("running", True)


def test_after_uninstall_nothing_is_told(site):
    logger = logging.getLogger("apscheduler.executors.default")
    before = list(logger.filters)
    site.scheduler.add_job(time.sleep, HOURLY, args=[0], id="load")
    site.uninstall()
    site.run_now("load")
    site.wait_for(events.EVENT_JOB_EXECUTED)
    assert site.sink.flush(PATIENCE) == 0
    assert site.gateway.groups() == []
    assert logger.filters == before


@pytest.mark.parametrize("gateway", ["", "ftp://gateway"])
def test_without_a_gateway_that_can_be_used_a_line_says_so_and_jobs_run(
    gateway, caplog, monkeypatch
):
    monkeypatch.setenv("PUSHGATE_GATEWAY", gateway)
    with caplog.at_level(logging.WARNING, "pushgate"):
        uninstall = pushgate_apscheduler.install(BackgroundScheduler())
    [line] = caplog.messages
    assert "this scheduler's jobs are not reported: " in line
    uninstall()


@pytest.mark.parametrize("job", ["", None, "a\nb"])
def test_a_name_that_is_none_is_an_error_where_it_is_given(job):
    with pytest.raises(ValueError, match="text"):
        pushgate_apscheduler.install(BackgroundScheduler(), job=job)


@pytest.mark.parametrize("job_id", ["\udcff", "x" * 300, "a\nb/c d"])
def test_any_id_is_a_label(job_id, gateway_url):
    site = Site(gateway_url, BackgroundScheduler(**OPTIONS))
    site.scheduler.add_job(time.sleep, HOURLY, args=[0], id=job_id)
    with site.running():
        site.run_now(job_id)
        site.wait_for(events.EVENT_JOB_EXECUTED)
        assert site.row(job_id.replace("\udcff", "?")[:200]).outcome == "succeeded"


def test_a_sink_that_raises_reaches_no_executor(caplog):
    class RaisingSink:
        def __getattr__(self, name):
            raise RuntimeError(name)

    scheduler = BackgroundScheduler(**OPTIONS)
    scheduler.add_job(time.sleep, HOURLY, args=[0], id="load")
    pushgate_apscheduler.install(scheduler, sink=RaisingSink())
    scheduler.start(paused=True)
    logger = logging.getLogger("apscheduler.executors.default")
    logger.error("Error running job %s", "load", exc_info=ValueError())
    scheduler.shutdown()
    assert "pushgate" in {record.name for record in caplog.records}
