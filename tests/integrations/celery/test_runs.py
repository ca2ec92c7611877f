"""What a gateway holds of a task's runs: Celery's own tracer and signals, in this process."""

import os
import signal
import threading
import time
from datetime import UTC, datetime, timedelta
from threading import Event
from types import SimpleNamespace

import pytest
from billiard.exceptions import SoftTimeLimitExceeded, TimeLimitExceeded, WorkerLostError
from celery import signals
from celery.exceptions import Ignore, Reject, Retry
from kombu import Exchange, Queue
from kombu.common import Broadcast

from pushgate import Gateway
from pushgate.embedded import EmbeddedGateway
from pushgate_celery import install, per_run
from support.celery_inline import Seen, make_app, observed, request_of, run

ENDS = ("success", "failure", "retry", "ignored", "rejected")
RAISED = {"failure": "KeyError", "retry": "ValueError", "rejected": "OSError"}


def nothing():
    pass


@pytest.fixture
def app():
    app = make_app()

    @app.task(name="ends", bind=True, shared=False)
    def ends(self, how="success"):
        if how == "retry":
            raise self.retry(exc=ValueError("again"), countdown=0)
        raised = {"failure": KeyError(), "ignored": Ignore(), "rejected": Reject(OSError())}
        if how in raised:
            raise raised[how]
        return "done"

    app.finalize()
    return app


@pytest.fixture
def ends(app):
    return app.tasks["ends"]


@pytest.fixture
def seen(app):
    with observed(app) as seen:
        yield seen


@pytest.mark.parametrize("how", ENDS)
def test_a_run_is_counted_once_and_is_its_tasks_last_outcome(ends, seen, how):
    began = time.time()
    run(ends, how, request=request_of(ends, retries=1))

    assert seen.counts("celery_task_started_total", "task", "queue") == {("ends", "default"): 1}
    if how == "retry":
        assert seen.counts("celery_task_retried_total", "task") == {("ends",): 1}
        assert not seen.ends
    else:
        assert seen.ends == {("ends", how): 1}
    assert seen.exceptions == ({("ends", RAISED[how]): 1} if how in RAISED else {})
    outcome = seen.task("ends")
    assert began <= outcome["last_start_timestamp"] <= time.time()
    name = "skipped" if how in ("ignored", "rejected") else how
    assert outcome[f"last_{name}_timestamp"] >= outcome["last_start_timestamp"]
    assert outcome.get("last_run_success") == {"success": 1, "failure": 0}.get(how)
    assert ("last_completion_timestamp" in outcome) == (how != "retry")
    assert outcome.get("last_try_number") == (None if how == "retry" else 2)


def test_a_failure_keeps_the_success_before_it(ends, seen):
    run(ends)
    success = seen.task("ends")["last_success_timestamp"]
    run(ends, "failure")

    assert seen.task("ends")["last_success_timestamp"] == success
    assert seen.task("ends")["last_run_success"] == 0


def test_waits_and_latencies_are_those_that_the_publishers_header_tells(ends, seen):
    now = time.time()
    run(ends, request=request_of(ends, pushgate=[now - 5, now - 60, 300.0, "nightly"]))
    run(ends, "failure", request=request_of(ends, pushgate=[now + 9, now + 9]))  # another's clock

    assert 5 <= seen.total("celery_task_queue_wait_seconds_sum") < 60
    assert seen.total("celery_task_queue_wait_seconds_count") == 2
    assert 60 <= seen.total("celery_task_latency_seconds_sum") < 600
    assert seen.total("celery_task_latency_seconds_count") == 1
    assert seen.task("ends")["expected_interval"] == 300
    assert seen.task("ends")["last_queue_wait"] == 0


@pytest.mark.parametrize("naive", [False, True])
def test_a_task_with_an_eta_waits_from_then_on(ends, seen, naive):
    eta = datetime.now(UTC) - timedelta(seconds=10)
    text = (eta.replace(tzinfo=None) if naive else eta).isoformat()
    published = time.time() - 1000
    run(ends, request=request_of(ends, eta=text, pushgate=[published, published]))

    assert 10 <= seen.total("celery_task_queue_wait_seconds_sum") < 500


@pytest.mark.parametrize(
    "header",
    [None, [], [None, 1.0], "x", {"a": 1}, [float("nan")] * 2, [1, 2, 3], ["x" * 999] * 2],
)
def test_without_a_header_that_makes_sense_the_wait_is_not_known(ends, seen, header):
    run(ends, request=request_of(ends, pushgate=header))

    assert seen.ends == {("ends", "success"): 1}
    assert not seen.total("celery_task_queue_wait_seconds_count")


def test_a_redelivered_message_is_told_from_others(ends, seen):
    delivery = {"exchange": "", "routing_key": "default", "redelivered": True}
    run(ends, request=request_of(ends, delivery_info=delivery))

    assert seen.counts("celery_task_redelivered_total", "task") == {("ends",): 1}


TOPIC = Exchange("topic", "topic")
QUEUES = [
    Queue("default"),
    Queue("one", TOPIC, "a.#"),
    Queue("two", TOPIC, "*.b"),
    Broadcast("all"),
]


@pytest.mark.parametrize(
    ("exchange", "routing_key", "queue"),
    [
        ("", "default", "default"),
        ("topic", "a.x.y", "one"),
        ("topic", "a.#", "one"),
        ("topic", "c.b", "two"),
        ("topic", "c.d", ""),
        ("all", "", "all"),
    ],
)
def test_a_run_has_the_name_of_the_queue_that_its_message_came_from(exchange, routing_key, queue):
    app = make_app(task_queues=QUEUES)
    task = app.task(name="ends", shared=False)(nothing)
    delivery = {"exchange": exchange, "routing_key": routing_key}
    with observed(app) as seen:
        run(task, request=request_of(task, delivery_info=delivery))
        assert seen.counts("celery_task_started_total", "queue") == {(queue,): 1}


def test_runs_that_overlap_do_not_move_the_last_start_back(app, ends, seen):
    @app.task(name="outer", shared=False)
    def outer(depth):
        if depth:
            run(app.tasks["outer"], depth - 1)

    run(app.tasks["outer"], 1)

    last = seen.task("outer")
    assert last["last_start_timestamp"] <= last["last_completion_timestamp"]
    assert seen.ends == {("outer", "success"): 2}


def test_tasks_can_be_chosen_by_name(app, ends):
    with observed(app, tasks=["other.*"]) as seen:
        run(ends)
        assert not seen.ends
        assert seen.group(task="ends") is None


def test_an_exceptions_name_may_come_from_a_message(app, seen):
    odd_error = type('evil"} 1\n' * 50, (Exception,), {})

    @app.task(name="odd", shared=False)
    def odd():
        raise odd_error

    run(app.tasks["odd"])

    ((_, name),) = seen.exceptions
    assert name.isidentifier()
    assert len(name) == 80


def test_eager_tasks_are_observed_where_install_is_told_to_push_inline(app, ends, seen):
    ends.apply()
    ends.apply(("failure",))

    assert seen.ends == {("ends", "success"): 1, ("ends", "failure"): 1}


# Results that can't be stored


def broken(*args, **kwargs):
    raise ConnectionError("backend")


@pytest.mark.filterwarnings("ignore:.*outside body")
def test_what_celery_calls_a_failure_after_a_success_is_one_failure(ends, seen, monkeypatch):
    monkeypatch.setattr(ends.backend, "mark_as_done", broken)
    run(ends)

    assert seen.ends == {("ends", "failure"): 1}
    assert seen.exceptions == {("ends", "ConnectionError"): 1}


@pytest.mark.filterwarnings("ignore:.*outside body")
@pytest.mark.parametrize("how", ["success", "failure", "retry"])
def test_a_run_whose_result_nobody_takes_ends_as_its_code_did(app, ends, monkeypatch, how):
    for name in ("mark_as_done", "mark_as_failure", "mark_as_retry"):
        monkeypatch.setattr(ends.backend, name, broken)
    with EmbeddedGateway() as server:
        installation = install(app, Gateway(server.url), transport="inline")
        with pytest.raises(ConnectionError):
            run(ends, how)
        installation.uninstall()  # no other word will come
        seen = Seen(server.url)
        assert seen.ends == ({} if how == "retry" else {("ends", how): 1})
        assert seen.exceptions == ({("ends", RAISED[how]): 1} if how in RAISED else {})


def test_a_task_that_exits_in_a_thread_has_failed(app, seen):
    @app.task(name="leaves", shared=False)
    def leaves():
        raise SystemExit(1)

    with pytest.raises(SystemExit):
        run(app.tasks["leaves"])

    assert seen.ends == {("leaves", "failure"): 1}
    assert seen.exceptions == {("leaves", "SystemExit"): 1}


def test_a_gateway_that_fails_does_not_reach_the_task(app, ends, caplog):
    def handler(**_):
        raise RuntimeError("no disk")

    installation = install(app, Gateway("h", handler=handler), transport="inline")
    assert run(ends).retval == "done"
    installation.uninstall()
    assert "no disk" in caplog.text


# What the main process tells


def fail(task, task_id, error):
    signals.task_failure.send(sender=task, task_id=task_id, exception=error)


def test_a_lost_run_that_is_told_twice_counts_once(ends, seen):
    for error in (TimeLimitExceeded(1), TimeLimitExceeded(1), WorkerLostError()):
        fail(ends, "unseen", error)

    assert seen.ends == {("ends", "failure"): 1}
    assert seen.exceptions == {("ends", "TimeLimitExceeded"): 1}


def test_what_is_told_of_a_run_that_has_ended_changes_nothing(ends, seen):
    request = request_of(ends)
    run(ends, request=request)
    fail(ends, request["id"], WorkerLostError())

    assert seen.ends == {("ends", "success"): 1}
    assert not seen.exceptions


def test_what_is_told_of_a_run_that_goes_on_is_its_end(app, seen):
    """As a hard time limit under gevent."""
    request = {}

    @app.task(name="long", shared=False)
    def long():
        app.tasks["long"].request_stack.pop()  # the limit's greenlet has another stack
        fail(app.tasks["long"], request["id"], TimeLimitExceeded(1))
        app.tasks["long"].push_request(request)

    request = request_of(app.tasks["long"])
    run(app.tasks["long"], request=request)

    assert seen.ends == {("long", "failure"): 1}
    assert seen.total("celery_task_runtime_seconds_count") == 1


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        ({"terminated": False, "expired": False}, "revoked"),
        ({"terminated": False, "expired": True}, "expired"),
        ({"terminated": True, "expired": False}, "terminated"),
    ],
)
def test_a_revocation_is_an_end_only_of_what_ran(ends, seen, told, reason):
    request = SimpleNamespace(id="1", retries=0)
    signals.task_revoked.send(sender=ends, request=request, signum=None, **told)

    assert seen.counts("celery_task_revoked_total", "task", "reason") == {("ends", reason): 1}
    assert seen.ends == ({("ends", "revoked"): 1} if told["terminated"] else {})


def test_a_retry_for_a_lost_child_is_the_end_of_that_run(ends, seen):
    context = SimpleNamespace(id="1", retries=0, is_eager=False)
    reason = Retry(exc=WorkerLostError())
    signals.task_retry.send(sender=ends, request=context, reason=reason, einfo=None)
    signals.task_retry.send(sender=ends, request=context, reason=None, einfo=None)

    assert seen.counts("celery_task_retried_total", "task") == {("ends",): 1}
    assert seen.exceptions == {("ends", "WorkerLostError"): 1}


def test_messages_that_are_no_known_task_are_counted_without_their_names(seen):
    signals.task_unknown.send(sender=None, name="evil", id="1", message=None, exc=None)
    signals.task_rejected.send(sender=None, message=None, exc=None)

    assert seen.total("celery_task_unknown_total") == 1
    assert seen.total("celery_task_message_rejected_total") == 1


# Soft time limits, which the pool raises from a signal handler


@pytest.fixture
def soft_limit(monkeypatch):
    """Handles the signal as a child of the pool does."""

    def strike(number, frame):
        raise SoftTimeLimitExceeded

    old = signal.signal(signal.SIGUSR1, strike)
    yield lambda: os.kill(os.getpid(), signal.SIGUSR1)
    signal.signal(signal.SIGUSR1, old)


def test_a_limit_that_strikes_before_the_task_strikes_in_it(app, seen, soft_limit, monkeypatch):
    reached, first, begun = Event(), [soft_limit], Event()

    class Timer(threading.Timer):  # a child pushes nothing before its task: it waits for no gateway
        def run(self):
            assert begun.wait(30)
            self.function()

    monkeypatch.setattr(threading, "Timer", Timer)

    def grouping(_arguments):  # which is asked for before the task
        if first:
            first.pop()()
        return {"number": "1"}

    @app.task(name="slow", shared=False)
    @per_run(grouping=grouping, lifetime=60)
    def slow():
        try:
            begun.set()
            for _ in range(300):  # a signal just before a wait does not interrupt it
                reached.wait(0.1)
        except SoftTimeLimitExceeded:
            return "stopped"
        return "lost"

    assert run(app.tasks["slow"]).retval == "stopped"
    assert seen.ends == {("slow", "success"): 1}


# Bounds


def test_beyond_the_bound_sums_stay_right_and_that_is_counted_and_said_once(app, caplog):
    with observed(app, max_series=10) as seen:
        for number in range(15):
            app.task(name=f"t{number}", shared=False)(nothing)
            run(app.tasks[f"t{number}"])
        assert sum(seen.ends.values()) == 15
        assert seen.ends["other", "success"] > 0
        assert seen.total("pushgate_series_overflowed_total") > 0
        groups = [name for name in app.tasks if seen.group(task=name)]
        assert len(groups) == 10
    assert sum("there are max_series=10" in line for line in caplog.messages) == 1


def test_a_task_that_makes_up_exceptions_has_twenty_of_them(app, seen):
    @app.task(name="inventive", shared=False)
    def inventive(number):
        raise type(f"Error{number}", (KeyError,), {})

    for number in range(25):
        run(app.tasks["inventive"], number)

    assert len(seen.exceptions) == 21
    assert seen.exceptions["inventive", "other"] == 5
