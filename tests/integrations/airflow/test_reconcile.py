"""What a group still lacks at a run's end, and how a scheduler's thread brings it there."""

from __future__ import annotations

import logging
import time

import pytest

from pushgate import (
    Gateway,
    GroupingKey,
    end_families,
    start_families,
)
from pushgate_airflow._configuration import configuration
from pushgate_airflow._delivery import Delivery
from pushgate_airflow._event import Event
from pushgate_airflow._listener_events import RunEnd
from pushgate_airflow._queue import Item, Left
from pushgate_airflow._reconcile import lacking, shows
from pushgate_airflow._report import job_run, outcome
from pushgate_airflow._reports import Heard
from pushgate_airflow._rollup import Ended
from support.faults import OK, FaultServer, answer, respond, respond_and_close

KEY = GroupingKey("airflow", {"dag_id": "etl", "task_id": "load"})
NOW = time.time() + 1000.0  # so that nothing is late before a test makes it so
SUCCESS = Event("etl", "load", "r", "success", try_number=1, started_at=NOW - 60, ended_at=NOW - 10)
FAILED = SUCCESS._replace(state="failed")
SKIPPED = SUCCESS._replace(state="skipped")
NEVER_BEGAN = SKIPPED._replace(started_at=None, try_number=None)
RUNNING = SUCCESS._replace(state="running", ended_at=None)


def families(event):
    run, end = job_run(event, KEY), outcome(event)
    return start_families(run) if end is None else end_families(run, end)


def earlier(event, seconds):
    times = {"started_at": event.started_at, "ended_at": event.ended_at}
    return event._replace(**{k: v and v - seconds for k, v in times.items()})


def later(event, seconds):
    return earlier(event, -seconds)


@pytest.fixture
def group(pushgateway):
    """The group after these events were pushed to it."""

    def group(*events):
        for event in events:
            Gateway(pushgateway.url).pushadd(KEY, families(event))
        found = pushgateway.groups(**KEY.labels)
        return found[0] if found else None

    return group


@pytest.mark.parametrize("event", [SUCCESS, FAILED, SKIPPED, NEVER_BEGAN])
def test_what_a_worker_told_is_shown(group, event):
    assert not shows(event, None)
    assert shows(event, group(event))


@pytest.mark.parametrize("event", [SUCCESS, FAILED, SKIPPED])
def test_the_database_may_know_the_end_later_and_the_start_earlier_than_the_worker(group, event):
    told = event._replace(started_at=NOW - 46, ended_at=NOW - 30)
    assert shows(event, group(told))


@pytest.mark.parametrize(
    ("held", "event"),
    [
        ([RUNNING], FAILED),  # killed
        ([RUNNING], SUCCESS),  # its last push was lost
        ([earlier(FAILED, 3600), RUNNING], FAILED),
        ([earlier(SKIPPED, 3600)], NEVER_BEGAN),
        ([FAILED], SUCCESS),  # marked after it had ended
        ([SUCCESS], FAILED),
        ([SUCCESS, FAILED], SUCCESS),  # and marked back
    ],
)
def test_what_the_group_lacks_is_not_shown(group, held, event):
    assert not shows(event, group(*held))


@pytest.mark.parametrize(
    "held", [[], [RUNNING], [FAILED], [earlier(FAILED, 3600), RUNNING], [SUCCESS, FAILED]]
)
def test_pushing_what_is_lacking_makes_the_group_say_what_happened(group, pushgateway, held):
    Gateway(pushgateway.url).pushadd(KEY, lacking(families(SUCCESS), group(*held)))
    for family in families(SUCCESS):
        pushgateway.assert_pushed(family.name, family.samples[0].value, **KEY.labels)


def test_nothing_newer_is_overwritten(group):
    newer_start = group(earlier(FAILED, 3600), later(RUNNING, 3600))
    names = {
        family.name.removeprefix("batch_job_") for family in lacking(families(FAILED), newer_start)
    }
    assert "last_start_timestamp_seconds" not in names
    assert {"last_failure_timestamp_seconds", "last_completion_timestamp_seconds"} <= names

    newer_success = group(later(SUCCESS, 3600))
    (left,) = lacking(families(FAILED), newer_success)
    assert left.name == "batch_job_last_failure_timestamp_seconds"
    assert lacking(families(RUNNING), newer_success) == []


# The thread's work.


@pytest.fixture
def pushes(monkeypatch):
    """The groups that were pushed to, in order."""
    seen = []
    pushadd = Gateway.pushadd

    def recorded(self, job, metrics, *rest, **options):
        seen.append(job.labels.get("task_id"))
        pushadd(self, job, metrics, *rest, **options)

    monkeypatch.setattr(Gateway, "pushadd", recorded)
    return seen


@pytest.fixture
def delivery(configure, pushgateway):
    configure(listener=True, gateway=pushgateway.url)
    return Delivery(configuration(), lambda: Gateway(pushgateway.url, retries=0))


def run_end(*tasks, mapped=()):
    return Item("end", RunEnd("etl", "r", tasks, mapped))


def heard(event, **options):
    return Item((event.dag_id, event.task_id, event.state), Heard(event, **options))


def test_a_runs_end_tells_only_what_no_worker_told(delivery, pushes, pushgateway):
    told, killed, skipped = (SUCCESS._replace(task_id=name) for name in ("told", "killed", "skip"))
    delivery([heard(told), heard(killed._replace(state="running", ended_at=None))], True)
    del pushes[:]
    end = run_end(
        told,
        killed._replace(state="failed"),
        skipped._replace(state="upstream_failed", started_at=None),
        told._replace(task_id="goes on", state="running"),
        told._replace(task_id="gone", state="removed"),
    )
    assert delivery([end], True).items == []
    assert pushes == ["killed", "skip"]
    pushgateway.assert_pushed("batch_job_last_run_success", 0, task_id="killed")
    pushgateway.assert_pushed("batch_job_last_skipped_timestamp_seconds", task_id="skip")
    delivery([end], True)
    assert pushes == ["killed", "skip"], "it was told already"


def test_a_mapped_task_is_told_as_a_whole(delivery, pushgateway):
    times = {"started_at": NOW - 60, "ended_at": NOW - 10, "longest": 20.0, "try_number": 1}
    end = run_end(
        mapped=(Ended("load", "success", 40, 40, **times), Ended("load", "failed", 2, 2, **times))
    )
    delivery([end], True)
    pushgateway.assert_pushed("batch_job_last_mapped_runs", 40, state="success", **KEY.labels)
    pushgateway.assert_pushed("batch_job_last_mapped_runs", 2, state="failed", **KEY.labels)
    pushgateway.assert_pushed("batch_job_last_mapped_longest_seconds", 20, **KEY.labels)
    pushgateway.assert_pushed("batch_job_last_run_success", 0, **KEY.labels)
    pushgateway.assert_not_pushed("batch_job_last_success_timestamp_seconds", **KEY.labels)


def test_who_waits_for_the_last_try_waits_no_longer_than_the_deadline_for_its_reading(
    delivery, monkeypatch
):
    timeouts = []
    monkeypatch.setattr(
        Gateway, "iter_groups", lambda *_, timeout: timeouts.append(timeout) or iter(())
    )
    delivery([run_end(FAILED)], True)
    assert timeouts == [configuration().deadline]


def test_tasks_that_are_denied_are_left_out_at_a_runs_end(delivery, configure, pushes):
    configure(listener_deny="etl.secret_*")
    delivery = Delivery(configuration(), delivery._gateway)
    delivery([run_end(FAILED, FAILED._replace(task_id="secret_load"))], True)
    assert pushes == ["load"]


def test_a_batch_is_one_push_for_each_group_and_loses_no_state(delivery, pushes, pushgateway):
    one = earlier(SUCCESS, 5)._replace(ended_at=NOW)
    two = FAILED._replace(started_at=NOW, ended_at=NOW + 1)
    delivery([heard(one), heard(two)], False)
    assert pushes == ["load"]
    for name, value in (("success", NOW), ("failure", NOW + 1), ("completion", NOW + 1)):
        pushgateway.assert_pushed(f"batch_job_last_{name}_timestamp_seconds", value)


def test_what_comes_late_does_not_overwrite_what_is_newer(delivery, pushgateway):
    delivery([heard(later(SUCCESS, 10))], False)
    delivery([heard(earlier(FAILED, 3600))], False)
    pushgateway.assert_pushed("batch_job_last_run_success", 1)
    pushgateway.assert_pushed("batch_job_last_failure_timestamp_seconds", NOW - 3610)


def test_reading_the_gateway_takes_little_of_the_time(delivery, monkeypatch):
    reads = []
    monkeypatch.setattr(
        Gateway, "iter_groups", lambda *_, **__: (reads.append(1), time.sleep(0.01), iter(()))[2]
    )
    fresh = heard(SUCCESS._replace(task_id="fresh", ended_at=time.time()))
    assert delivery([run_end(FAILED)], False).items == []
    left = delivery([run_end(FAILED), fresh], False)
    assert left.items == [run_end(FAILED)], "what needs no reading has gone"
    assert 0.1 < left.pause < 5
    assert delivery([run_end(FAILED)], True).items == [], "the last chance does not wait"
    assert len(reads) == 2


def test_in_an_outage_all_comes_back_with_longer_and_longer_pauses(configure, caplog):
    configure(listener=True)

    def gateway():
        return Gateway("127.0.0.1:1", retries=0)

    delivery = Delivery(configuration(), gateway)
    batch = [heard(SUCCESS._replace(task_id=name, ended_at=time.time())) for name in "ab"]
    with caplog.at_level(logging.WARNING, "pushgate"):
        pauses = [delivery([*batch, run_end(FAILED)], False) for _ in range(7)]
    assert {tuple(left.items) for left in pauses} == {(*batch, run_end(FAILED))}
    assert all(left.outage for left in pauses)
    assert [left.pause for left in pauses] == [1, 2, 4, 8, 16, 30, 30]
    assert len(caplog.records) == 1
    assert "3 reports wait for the gateway" in caplog.text


def test_after_an_outage_a_gateway_is_read_at_once(configure, pushgateway):
    with FaultServer(respond_and_close(b"")) as server:
        configure(listener=True)
        urls = iter([server.url, pushgateway.url])
        delivery = Delivery(configuration(), lambda: Gateway(next(urls), retries=0))
        assert delivery([run_end(FAILED)], False).outage
    assert delivery([run_end(FAILED)], False).items == []
    pushgateway.assert_pushed("batch_job_last_run_success", 0, **KEY.labels)


def test_what_was_delivered_before_an_outage_does_not_come_back(configure):
    with FaultServer(respond(OK, answer("503 Not now"))) as server:
        configure(listener=True)
        delivery = Delivery(configuration(), lambda: Gateway(server.url, retries=0))
        items = [heard(SUCCESS._replace(task_id=name, ended_at=time.time())) for name in "abc"]
        assert delivery(items, False) == Left(items[1:], 1.0, outage=True)


def test_a_look_up_that_fails_loses_nothing(configure, caplog):
    configure(listener=True)

    def gateway():
        raise RuntimeError("postgresql://airflow:secret@db/airflow is not there")

    with caplog.at_level(logging.WARNING, "pushgate"):
        left = Delivery(configuration(), gateway)([heard(SUCCESS)], False)
    assert left == Left([heard(SUCCESS)], 1.0, outage=True)
    assert "RuntimeError" in caplog.text
    assert "secret" not in caplog.text


def test_a_payload_that_is_refused_is_lost_and_said_and_the_next_goes_on(configure, caplog):
    with FaultServer(respond(answer("400 Bad Request", b"inconsistent"), OK)) as server:
        configure(listener=True)
        delivery = Delivery(configuration(), lambda: Gateway(server.url, retries=0))
        items = [heard(SUCCESS._replace(task_id=name, ended_at=time.time())) for name in "ab"]
        with caplog.at_level(logging.WARNING, "pushgate"):
            assert delivery(items, False) == Left([])
        assert len(server.requests) == 2
    assert "1 reports are lost" in caplog.text
    assert "inconsistent" in caplog.text


def test_where_the_gateway_does_not_let_us_read_only_what_is_recent_is_told(configure, caplog):
    def forbidden(peer):
        while request := peer.request():
            peer.send(OK if request.method == "POST" else answer("403 Forbidden"))

    with FaultServer(forbidden) as server:
        configure(listener=True)
        delivery = Delivery(configuration(), lambda: Gateway(server.url, retries=0))
        old = earlier(FAILED, 3600)._replace(task_id="old")
        with caplog.at_level(logging.WARNING, "pushgate"):
            assert not delivery([run_end(FAILED, old)], False).outage
        targets = [seen.target for seen in server.requests if seen.method == "POST"]
    assert targets == [KEY.path]
    assert "can't be read" in caplog.text
    assert "1 reports are lost" in caplog.text
