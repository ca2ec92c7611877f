"""Which records come of a task's run, in the process that executes it and in the main one."""

import os
import signal
import time
from datetime import UTC, datetime, timedelta
from threading import Event, Thread
from types import SimpleNamespace

import pytest
from billiard.exceptions import (
    SoftTimeLimitExceeded,
    TimeLimitExceeded,
    WorkerLostError,
)
from celery import signals
from celery.exceptions import Ignore, Reject, Retry

from pushgate_celery._task_records import KNOWN
from support.celery_runs import make_app, observed, request_of, run


def nothing():
    pass


@pytest.fixture
def app():
    app = make_app()

    @app.task(shared=False)
    def work():
        return "done"

    @app.task(bind=True, shared=False)
    def ends(self, how):
        if how == "retry":
            raise self.retry(exc=ValueError("again"), countdown=0)
        raise {
            "failure": KeyError("k"),
            "ignored": Ignore(),
            "rejected": Reject(OSError("o"), requeue=True),
        }[how]

    app.finalize()
    return app


@pytest.fixture
def work(app):
    return app.tasks[f"{__name__}.work"]


@pytest.fixture
def ends(app):
    return app.tasks[f"{__name__}.ends"]


@pytest.fixture
def relay(app):
    with observed(app) as relay:
        yield relay


class Request:
    """What the main process has of a delivery."""

    def __init__(self, task, **fields):
        self.request_dict = request_of(task, **fields)
        self.id = self.request_dict["id"]
        self.task = task
        self.args, self.kwargs = (), {}
        self.time_start = time.time() - 3
        self.worker_pid = 0
        self._apply_result = None


def test_a_success_is_a_start_and_an_end(work, relay):
    now = time.time()
    stamp = [now - 5, now - 60, 300.0, "nightly"]
    request = request_of(work, retries=1, pushgate=stamp)

    assert run(work, request=request).retval == "done"

    (start,) = relay.starts
    (end,) = relay.ends
    assert (start.task, start.queue, start.interval) == (work.name, "default", 300.0)
    assert start.redelivered is False
    assert (end.task, end.queue, end.state, end.exception) == (start.task, "default", "success", "")
    assert (end.try_number, end.interval) == (2, 300.0)
    assert end.started_at == start.started_at
    assert 5 <= end.wait < 60 <= end.latency < 600
    assert 0 <= end.duration < 600


@pytest.mark.parametrize(
    ("how", "exception"),
    [("failure", "KeyError"), ("retry", "ValueError"), ("ignored", ""), ("rejected", "OSError")],
)
def test_every_other_end_is_told_once_too(ends, relay, how, exception):
    run(ends, how)

    (end,) = relay.ends
    assert (end.state, end.exception, end.latency) == (how, exception, None)


def test_without_the_publishers_header_the_wait_is_not_known(work, relay):
    run(work)

    assert relay.ends[0].wait is None
    assert relay.ends[0].latency is None


@pytest.mark.parametrize("header", [[], [None, 1.0], "x", {"a": 1}, [float("nan")] * 2, [1, 2, 3]])
def test_a_header_of_somebody_elses_is_no_header(work, relay, header):
    run(work, request=request_of(work, pushgate=header))

    assert relay.ends[0].wait is None


def test_a_task_with_an_eta_waits_from_then_on(work, relay):
    eta = datetime.now(UTC) - timedelta(seconds=10)
    published = time.time() - 1000
    for text in (eta.isoformat(), eta.replace(tzinfo=None).isoformat()):
        request = request_of(work, eta=text, pushgate=[published, published])
        run(work, request=request)

    assert [10 <= end.wait < 500 for end in relay.ends] == [True, True]


def test_a_redelivered_message_is_told_from_others(work, relay):
    delivery = {"exchange": "", "routing_key": "default", "redelivered": True}
    run(work, request=request_of(work, delivery_info=delivery))

    assert relay.starts[0].redelivered is True


def test_eager_tasks_do_not_count_inside_others_either(app, work, relay):
    @app.task(shared=False)
    def outer():
        work.apply()

    work.apply()
    run(app.tasks[outer.name])

    assert [end.task for end in relay.ends] == [outer.name]


def test_tasks_can_be_chosen_by_name(app, work):
    with observed(app, tasks=("*.ends",)) as relay:
        run(work)

    assert not relay.starts
    assert not relay.ends


def test_an_exceptions_name_may_come_from_a_message(app, relay):
    odd_error = type('evil"} 1\n' * 50, (Exception,), {})

    @app.task(shared=False)
    def odd():
        raise odd_error

    run(app.tasks[odd.name])

    name = relay.ends[0].exception
    assert name.isidentifier()
    assert len(name) == 80


def test_a_result_that_cannot_be_stored_makes_it_a_failure_once(work, relay, monkeypatch):
    """Celery sends task_postrun with SUCCESS then, and calls it a failure after."""

    def lost(*args, **kwargs):
        raise ConnectionError("backend")

    monkeypatch.setattr(work.backend, "mark_as_done", lost)
    with pytest.warns(RuntimeWarning, match="outside body"):
        run(work)

    assert [(end.state, end.exception) for end in relay.ends] == [("failure", "ConnectionError")]


def test_a_task_that_exits_in_a_thread_has_failed(app, relay):
    @app.task(shared=False)
    def leaves():
        raise SystemExit(1)

    with pytest.raises(SystemExit):
        run(app.tasks[leaves.name])

    assert [(end.state, end.exception) for end in relay.ends] == [("failure", "SystemExit")]


def test_a_broken_relay_does_not_reach_the_task(work, relay, caplog):
    def broken(record):
        raise RuntimeError("no disk")

    relay.writing = broken
    assert run(work).retval == "done"
    assert run(work).retval == "done"
    assert len(caplog.records) == 2  # one for starts, one for ends
    assert "no disk" in caplog.text
    relay.writing = lambda record: None


# In the main process


def test_a_hard_time_limit_is_told_twice_and_counts_once(work, relay):
    request = Request(work)
    signals.task_received.send(sender=None, request=request)
    for _ in range(2):
        error = TimeLimitExceeded(1)
        signals.task_failure.send(sender=work, task_id=request.id, exception=error)

    (end,) = relay.ends
    assert (end.state, end.exception) == ("failure", "TimeLimitExceeded")
    assert end.started_at == request.time_start
    assert end.queue == "default"


def test_the_same_message_delivered_again_counts_again(work, relay):
    for _ in range(2):
        request = Request(work, id="same")
        signals.task_received.send(sender=None, request=request)
        signals.task_failure.send(sender=work, task_id=request.id, exception=WorkerLostError())

    assert [end.exception for end in relay.ends] == ["WorkerLostError"] * 2


def test_a_lost_child_of_a_request_that_nobody_saw_counts_once(work, relay):
    for _ in range(2):
        signals.task_failure.send(sender=work, task_id="unseen", exception=WorkerLostError())

    assert len(relay.ends) == 1
    assert relay.ends[0].started_at is None


def test_a_rejection_is_told_by_the_child_alone(work, relay):
    signals.task_failure.send(sender=work, task_id="rejected", exception=Reject())

    assert not relay.ends


def test_what_a_child_reports_is_not_reported_again_by_a_handler_of_the_same_signal(ends, relay):
    """In a child task_failure is sent before task_postrun."""
    run(ends, "failure")

    assert len(relay.ends) == 1


@pytest.mark.parametrize(("expired", "reason"), [(False, "revoked"), (True, "expired")])
def test_a_task_that_is_revoked_before_it_ran_has_no_end(work, relay, expired, reason):
    request = SimpleNamespace(id="1", retries=0)
    signals.task_revoked.send(
        sender=work, request=request, terminated=False, expired=expired, signum=None
    )

    assert not relay.ends
    assert [tuple(count) for count in relay.counts] == [
        ("revoked", {"task": work.name, "reason": reason}, 1)
    ]


def test_a_task_that_is_terminated_has_one_end(work, relay):
    request = Request(work)
    signals.task_received.send(sender=None, request=request)
    context = SimpleNamespace(id=request.id, retries=0)
    signals.task_revoked.send(
        sender=work, request=context, terminated=True, expired=False, signum=15
    )

    assert [end.state for end in relay.ends] == ["revoked"]
    assert [count.labels["reason"] for count in relay.counts] == ["terminated"]


def test_a_retry_for_a_lost_child_is_the_end_of_that_run(work, relay):
    request = Request(work)
    signals.task_received.send(sender=None, request=request)
    context = SimpleNamespace(id=request.id, retries=0, is_eager=False)
    reason = Retry(exc=WorkerLostError())
    signals.task_retry.send(sender=work, request=context, reason=reason, einfo=None)

    assert [(end.state, end.exception) for end in relay.ends] == [("retry", "WorkerLostError")]


def test_messages_that_are_no_known_task_are_counted_without_their_names(relay):
    signals.task_unknown.send(sender=None, name="evil", id="1", message=None, exc=None)
    signals.task_rejected.send(sender=None, message=None, exc=None)

    assert [tuple(count) for count in relay.counts] == [("unknown", {}, 1), ("rejected", {}, 1)]


# Soft time limits, which the pool raises from a signal handler


@pytest.fixture
def soft_limit(monkeypatch):
    """Handles the signal as a child of the pool does."""

    def strike(number, frame):
        raise SoftTimeLimitExceeded

    old = signal.signal(signal.SIGUSR1, strike)
    yield lambda: os.kill(os.getpid(), signal.SIGUSR1)
    signal.signal(signal.SIGUSR1, old)


def test_a_limit_that_strikes_before_the_task_strikes_in_it(app, relay, soft_limit):
    reached = Event()

    @app.task(shared=False)
    def slow():
        try:
            reached.wait(30)
        except SoftTimeLimitExceeded:
            return "stopped"
        return "lost"

    first = [soft_limit]
    relay.writing = lambda record: first.pop()() if first else None

    assert run(app.tasks[slow.name]).retval == "stopped"


@pytest.mark.parametrize("threads", [0, 1])
def test_a_limit_that_strikes_after_the_task_neither_loses_nor_doubles_its_end(
    app, work, soft_limit, threads
):
    def strike():
        soft_limit()
        time.sleep(0.05)  # a thread of the task's, if there is one, takes it meanwhile

    over = Event()
    for _ in range(threads):
        Thread(target=over.wait, daemon=True).start()
    with observed(app) as relay:
        relay.worker._executing.in_child = True
        strikes = iter([None, strike])
        relay.writing = lambda record: (next(strikes, None) or (lambda: None))()

        assert run(work).retval == "done"
        # Through the tracer again, so that a signal that were still pending would be seen.
        assert run(work).retval == "done"
    over.set()

    assert [end.state for end in relay.ends] == ["success", "success"]


# The worker itself


def test_known_tasks_travel_in_records_that_fit(app, relay):
    for number in range(200):
        app.task(name=f"{'long' * 10}.{number}", shared=False)(nothing)
    relay.worker._tell_known()

    known = relay.of(KNOWN)
    names = [name for record in known for name in record.tasks]
    assert len(known) > 1
    assert len(names) == len(set(names)) == 202
    assert not [name for name in names if name.startswith("celery.")]
    assert max(len(str(record)) for record in known) < 4000


def test_routes_are_followed_without_making_queues():
    app = make_app(task_routes=({"a.*": "other", "b": {"queue": "default"}},))
    for name in ("a.1", "b", "c"):
        app.task(name=name, shared=False)(nothing)
    app.finalize()
    with observed(app) as relay:
        relay.worker._tell_known()

    assert relay.of(KNOWN)[0].tasks == {"b": "default", "c": "default"}
    assert set(app.amqp.queues) == {"default"}


def test_a_worker_says_goodbye_once_and_waits_no_longer_than_it_may(app):
    with observed(app, shutdown_timeout=7.0) as relay:
        signals.worker_shutdown.send(sender=None)
        signals.worker_shutdown.send(sender=None)

    assert relay.records == [["g"]]
    assert relay.closed == [7.0]
