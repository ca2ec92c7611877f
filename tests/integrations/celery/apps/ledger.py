"""Tasks that end in every way there is, and count in redis what really happened.

config.json in the current folder says how: ``broker``; ``ledger``, a redis URL; ``gateway`` and
``options``, the arguments of install; ``conf`` of the app; ``installs``, how often to install;
``undone``, whether to uninstall. The redis hash "ledger" maps "<task> <what happened>" to a count.
A task writes just before the event, so a test that counts kills no task that is about to write.
"""

import contextlib
import json
import os
import signal
import sys
import time
from pathlib import Path

import redis
from celery import Celery, bootsteps, chord
from celery.exceptions import Ignore, Reject, SoftTimeLimitExceeded

import pushgate_celery

CONFIG = json.loads(Path("config.json").read_text())
if CONFIG.get("sentry"):
    import sentry_sdk

    sentry_sdk.init(CONFIG["sentry"], traces_sample_rate=1.0, shutdown_timeout=0)
ledger = redis.Redis.from_url(CONFIG["ledger"], decode_responses=True)

app = Celery("ledger", broker=CONFIG["broker"], backend=CONFIG.get("backend") or CONFIG["ledger"])
app.conf.update(
    broker_connection_retry_on_startup=True,
    worker_cancel_long_running_tasks_on_connection_loss=False,
    worker_hijack_root_logger=True,
    task_routes={"ledger.routed": {"queue": "side"}},
    **CONFIG.get("conf", {}),
)


def wrote(task, what, amount=1):
    ledger.hincrby("ledger", f"{task} {what}", amount)


def started(self):
    wrote(self.name, "started")
    ledger.hset("times", self.request.id, time.time())
    ledger.hset("pids", self.request.id, os.getpid())


def ends(self, state, exception=""):
    wrote(self.name, state)
    if exception:
        wrote(self.name, f"raised {exception}")
    ledger.sadd("over", self.request.id)


def again(self, exception):
    wrote(self.name, "retry")
    wrote(self.name, f"raised {exception}")


def task(**options):
    return app.task(bind=True, **options)


@task(name="ledger.ok")
def ok(self):
    started(self)
    ends(self, "success")


@task(name="ledger.noop")
def noop(self):
    pass


@task(name="ledger.routed")
def routed(self):
    started(self)
    ends(self, "success")


@task(name="ledger.fails")
def fails(self):
    started(self)
    ends(self, "failure", "ValueError")
    raise ValueError("secret of the task")


def wait_for(key, seconds):
    deadline = time.monotonic() + seconds
    while not ledger.exists(key) and time.monotonic() < deadline:
        time.sleep(0.02)


@task(name="ledger.waits")
def waits(self, seconds=60.0, key="release"):
    """Runs until ``key`` is in redis, or the seconds are over."""
    started(self)
    wait_for(key, seconds)
    ends(self, "success")


@task(name="ledger.waits_late", acks_late=True)
def waits_late(self, seconds=60.0, key="release"):
    started(self)
    wait_for(key, seconds)
    ends(self, "success")


@task(name="ledger.soft", soft_time_limit=0.5)
def soft(self):
    started(self)
    try:
        time.sleep(30)
    except SoftTimeLimitExceeded:
        ends(self, "failure", "SoftTimeLimitExceeded")
        raise


@task(name="ledger.hard", time_limit=0.5)
def hard(self):
    started(self)
    ends(self, "failure", "TimeLimitExceeded")
    time.sleep(30)


@task(name="ledger.killed")
def killed(self):
    started(self)
    ends(self, "failure", "WorkerLostError")
    os.kill(os.getpid(), signal.SIGKILL)


@task(name="ledger.os_exit")
def os_exit(self):
    started(self)
    ends(self, "failure", "WorkerLostError")
    os._exit(3)


@task(name="ledger.sys_exit")
def sys_exit(self):
    started(self)
    ends(self, "failure", "WorkerLostError")
    sys.exit(1)


@task(name="ledger.closes_descriptors")
def closes_descriptors(self):
    """As a daemon does; what a child needs to go on is closed, too."""
    started(self)
    ends(self, "success")
    os.closerange(3, 1024)


@task(name="ledger.dies_after", ignore_result=True)
def dies_after(self):
    """Its child is killed when the task is over, before the main process knows that it is."""
    started(self)
    ends(self, "success")
    self.backend.process_cleanup = lambda: os.kill(os.getpid(), signal.SIGKILL)


@task(name="ledger.leaves_daemon")
def leaves_daemon(self):
    """Leaves a process behind, which has all of the child's descriptors."""
    started(self)
    pid = os.fork()
    if pid == 0:
        os.setsid()
        if os.fork() == 0:
            ledger.close()
            time.sleep(600)
        os._exit(0)
    os.waitpid(pid, 0)
    ends(self, "success")


@task(name="ledger.ignores")
def ignores(self):
    started(self)
    ends(self, "ignored")
    raise Ignore()


@task(name="ledger.rejects", acks_late=True)
def rejects(self):
    started(self)
    ends(self, "rejected")
    raise Reject("no", requeue=False)


@task(name="ledger.retries", max_retries=5)
def retries(self, times=2, countdown=0.0):
    started(self)
    if self.request.retries < times:
        again(self, "KeyError")
        raise self.retry(exc=KeyError("again"), countdown=countdown)
    ends(self, "success")


@task(name="ledger.gives_up", max_retries=1, default_retry_delay=0)
def gives_up(self):
    started(self)
    if self.request.retries < self.max_retries:
        again(self, "KeyError")
    else:
        ends(self, "failure", "KeyError")
    raise self.retry(exc=KeyError("again"), countdown=0)


@task(
    name="ledger.autoretries",
    autoretry_for=(OSError,),
    max_retries=3,
    retry_backoff=False,
    default_retry_delay=0,
)
def autoretries(self):
    started(self)
    if self.request.retries < 1:
        again(self, "OSError")
        raise OSError("flaky")
    ends(self, "success")


@task(name="ledger.redelivered", acks_late=True, reject_on_worker_lost=True)
def redelivered(self):
    """Killed in its first run, well in its second."""
    started(self)
    if ledger.incr(f"runs {self.request.id}") == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    ends(self, "success")


@task(name="ledger.replaces")
def replaces(self):
    started(self)
    ends(self, "ignored")
    raise self.replace(ok.s())


@task(name="ledger.adds")
def adds(self, *_):
    started(self)
    ends(self, "success")
    return 1


@task(name="ledger.sums")
def sums(self, numbers):
    started(self)
    assert sum(numbers) == len(numbers)
    ends(self, "success")


@task(name="ledger.chords")
def chords(self):
    started(self)
    chord([adds.s(), adds.s(), adds.s()])(sums.s())
    ends(self, "success")


@task(name="ledger.calls_eagerly")
def calls_eagerly(self):
    """Runs other tasks in this one: they are no tasks of the worker."""
    started(self)
    noop.apply()
    noop()
    with contextlib.suppress(ZeroDivisionError):
        eager_failure.apply(throw=True)
    eager_failure.apply(task_id=self.request.id)
    ends(self, "success")


@task(name="ledger.eager_failure")
def eager_failure(self):
    return 1 / 0


@task(name="ledger.catches_limit", soft_time_limit=0.5)
def catches_limit(self):
    started(self)
    try:
        time.sleep(30)
    except SoftTimeLimitExceeded:
        ends(self, "success")


@task(name="ledger.counts")
def counts(self):
    """In-task metrics."""
    started(self)
    current = pushgate_celery.current()
    current.inc("rows_loaded", 3, table="orders")
    current.observe("row_bytes", 100.0, table="orders")
    current.set("rows_left", 7, table="orders")
    current.set("rows_left", 9, table="users")
    ends(self, "success")


@app.task(bind=True, name="ledger.per_run")
@pushgate_celery.per_run(grouping="day", lifetime=2.0)
def per_run(self, day):
    started(self)
    ends(self, "success")


for number in range(CONFIG.get("many", 0)):

    @task(name=f"ledger.many{number}", ignore_result=True)
    def many(self):
        ledger.incr("many")


class Broken(bootsteps.StartStopStep):
    requires = ("celery.worker.consumer.tasks:Tasks",)

    def start(self, consumer):
        raise RuntimeError("a step of the project")


if CONFIG.get("broken_step"):
    app.steps["consumer"].add(Broken)

for _ in range(CONFIG.get("installs", 1)):
    installation = pushgate_celery.install(app, CONFIG.get("gateway"), **CONFIG.get("options", {}))
if CONFIG.get("undone"):
    installation.uninstall()
