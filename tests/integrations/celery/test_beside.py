"""Workers as others run them, and beside what others install: the totals stay exact."""

import os
import shutil
import signal
import subprocess
import sys
from datetime import datetime, timedelta
from importlib.util import find_spec
from zoneinfo import ZoneInfo

import pytest

from pushgate.embedded import EmbeddedGateway
from support.workers import APPS, PATIENCE, until

pytestmark = pytest.mark.end_to_end

SOON = {"interval": 0.2, "task_interval": 0.2}


@pytest.fixture
def gateway():
    with EmbeddedGateway() as server:
        yield server


def run_some(site):
    names = ("ok", "fails", "retries", "ok")
    site.finish([site.send(name) for name in names])


def test_pool_control_loses_nothing_and_is_no_loss(site, gateway, totals_of):
    worker = site.worker(gateway, options=SOON, conf={"worker_pool_restarts": True})

    def concurrency():
        return totals_of(gateway).sum("celery_worker_concurrency")

    run_some(site)
    site.client.control.pool_grow(2)
    until(lambda: concurrency() == 4, lambda: f"it grows: {concurrency()}\n{worker.log}")
    run_some(site)
    site.client.control.pool_shrink(1)
    until(lambda: concurrency() == 3, lambda: f"it shrinks: {concurrency()}\n{worker.log}")
    run_some(site)
    before = set(worker.descendants())
    site.client.control.pool_restart()
    until(lambda: set(worker.descendants()) - before, lambda: f"it restarts\n{worker.log}")
    run_some(site)
    worker.stop(signal.SIGTERM)

    totals = totals_of(gateway)
    assert totals.as_ledger == site.ledger
    assert totals.sum("celery_worker_children_lost_total") == 0


def test_sentrys_patches_beside_ours(site, gateway, totals_of):
    if not find_spec("sentry_sdk"):
        pytest.skip("sentry-sdk is not installed")
    worker = site.worker(gateway, more={"sentry": "http://key@127.0.0.1:1/1"})
    run_some(site)
    site.finish([site.send("killed"), site.send("soft")])
    worker.stop(signal.SIGTERM)
    assert totals_of(gateway).as_ledger == site.ledger


def test_redbeat_says_when_its_tasks_are_due_again(site, gateway, totals_of):
    if not find_spec("redbeat"):
        pytest.skip("celery-redbeat is not installed")
    site.worker(gateway, options=SOON)
    conf = {
        "beat_schedule": {"each second": {"task": "ledger.ok", "schedule": 1.0}},
        "redbeat_redis_url": site.url,
        "beat_max_loop_interval": 1,
    }
    site.beat(gateway, "-S", "redbeat.RedBeatScheduler", conf=conf)
    group = until(lambda: totals_of(gateway).task_group("ok"), "it has run")
    assert group.value("batch_job_expected_interval_seconds") == pytest.approx(1, abs=0.2)


DJANGO = """
from datetime import UTC, datetime, timedelta
from pathlib import Path
SECRET_KEY = "test"
INSTALLED_APPS = ["django_celery_beat"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3",
                         "NAME": Path(__file__).with_name("db")}}
USE_TZ = True
TIME_ZONE = "UTC"
if __name__ == "__main__":
    import django, os
    from django.core.management import call_command
    os.environ["DJANGO_SETTINGS_MODULE"] = "shop_settings"
    django.setup()
    call_command("migrate", verbosity=0)
    from django_celery_beat.models import CrontabSchedule, IntervalSchedule, PeriodicTask
    second = IntervalSchedule.objects.create(every=1, period="seconds")
    PeriodicTask.objects.create(name="often", task="ledger.ok", interval=second)
    nine = CrontabSchedule.objects.create(minute="0", hour="9", timezone="Asia/Kolkata")
    PeriodicTask.objects.create(name="daily", task="ledger.adds", crontab=nine,
                                last_run_at=datetime.now(UTC) - timedelta(days=2))
"""


def test_django_celery_beat_says_when_its_tasks_are_due_again(
    site, gateway, totals_of, monkeypatch
):
    if not find_spec("django_celery_beat"):
        pytest.skip("django-celery-beat is not installed")
    site.worker(gateway, options=SOON)
    settings = site.folder / "shop_settings.py"
    settings.write_text(DJANGO)
    subprocess.run([sys.executable, settings], check=True, timeout=PATIENCE)
    monkeypatch.setenv("PYTHONPATH", str(site.folder))
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "shop_settings")
    site.beat(gateway, "-S", "django")

    def group_of(task):
        return until(lambda: totals_of(gateway).task_group(task), "it has run")

    interval = "batch_job_expected_interval_seconds"
    assert group_of("ok").value(interval) == 1
    daily = group_of("adds")
    next_run = daily.value("batch_job_last_start_timestamp_seconds") + daily.value(interval)
    due = datetime.fromtimestamp(next_run, ZoneInfo("Asia/Kolkata"))
    nine = due.replace(hour=9, minute=0, second=0, microsecond=0)
    assert abs(due - nine) < timedelta(minutes=1)


def test_celery_multi_and_its_detached_workers(site, gateway, totals_of):
    # Its folder and its configuration are those of a worker that is gone.
    worker = site.worker(gateway, options=SOON)
    worker.stop(signal.SIGTERM)
    gateway.wipe()

    options = ("--pidfile=%n.pid", "--logfile=%n.log", "--without-mingle")

    def multi(*arguments):
        subprocess.run(
            [sys.executable, "-m", "celery", "-A", "ledger", "multi", *arguments, *options],
            cwd=worker.folder,
            env={**os.environ, "PYTHONPATH": str(APPS), "PUSHGATE_STATE_DIR": str(site.folder)},
            capture_output=True,
            check=True,
            timeout=PATIENCE,
        )

    multi("start", "one", "two", "-c", "1")
    try:
        until(lambda: len(totals_of(gateway).workers) == 2, "two are there")
        run_some(site)
    finally:
        multi("stopwait", "one", "two")
    until(lambda: totals_of(gateway).sum("celery_worker_up") == 0, "both have ended")
    totals = totals_of(gateway)
    assert totals.as_ledger == site.ledger
    assert totals.sum("celery_worker_crashed") == 0


def test_a_worker_that_is_the_first_process_of_a_container(site, gateway, totals_of):
    unshare = shutil.which("unshare")
    as_first = ["--user", "--map-root-user", "--pid", "--fork", "--kill-child"]
    if not unshare or subprocess.run([unshare, *as_first, "true"], check=False).returncode:
        pytest.skip("this machine makes no process namespaces")
    worker = site.worker(gateway, options=SOON, prefix=[unshare, *as_first])
    run_some(site)
    site.finish([site.send("killed")])
    site.client.control.shutdown()
    worker.wait()
    totals = totals_of(gateway)
    assert totals.as_ledger == site.ledger
    assert (totals.sum("celery_worker_up"), totals.sum("celery_worker_crashed")) == (0, 0)
