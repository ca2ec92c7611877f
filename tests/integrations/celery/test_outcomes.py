"""Every way in which a task's run can end, under prefork with real processes: one outcome each.

One worker runs all of them and is stopped warmly; the tests look at what the gateway then holds.
"""

import signal
from collections import Counter
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from pushgate.embedded import EmbeddedGateway
from support.workers import until

pytestmark = pytest.mark.end_to_end

# What each of them is finished with, and how often it starts.
ENDS = {
    "ok": (3, {("success", ""): 3}),  # two of ours, and the one that replaces
    "chords": (1, {("success", ""): 1}),
    "adds": (3, {("success", ""): 3}),
    "sums": (1, {("success", ""): 1}),
    "calls_eagerly": (1, {("success", ""): 1}),
    "catches_limit": (1, {("success", ""): 1}),
    "fails": (2, {("failure", "ValueError"): 2}),
    "soft": (1, {("failure", "SoftTimeLimitExceeded"): 1}),
    "hard": (2, {("failure", "TimeLimitExceeded"): 2}),
    "killed": (2, {("failure", "WorkerLostError"): 2}),
    "os_exit": (1, {("failure", "WorkerLostError"): 1}),
    "sys_exit": (1, {("failure", "WorkerLostError"): 1}),
    "ignores": (1, {("ignored", ""): 1}),
    "replaces": (1, {("ignored", ""): 1}),
    "rejects": (1, {("rejected", ""): 1}),
    "waits": (1, {("revoked", ""): 1}),
    "redelivered": (2, {("success", ""): 1}),
    "retries": (3, {("success", ""): 1}),
    "autoretries": (2, {("success", ""): 1}),
    "gives_up": (2, {("failure", "KeyError"): 1}),
}
RETRIES = {("retries", "KeyError"): 2, ("autoretries", "OSError"): 1, ("gives_up", "KeyError"): 1}
SUCCEEDED = {name for name, (_, ends) in ENDS.items() if ("success", "") in ends}
FAILED = {name for name, (_, ends) in ENDS.items() if any(s == "failure" for s, _ in ends)}
SKIPPED = {"ignores", "replaces", "rejects"}


@pytest.fixture(scope="module")
def ran(tmp_path_factory, open_site, totals_of):
    """What the gateway and the ledger held after all of it."""
    with ExitStack() as stack:
        gateway = stack.enter_context(EmbeddedGateway())
        site = open_site(tmp_path_factory.mktemp("outcomes"), stack)
        site.send("ok", expires=datetime.now(UTC) - timedelta(minutes=1))
        worker = site.worker(gateway, concurrency=3)
        later = site.send("noop", countdown=1)
        terminated = site.send("waits", 600.0)
        site.client.send_task("ledger.<no such>{task}")
        once = ("calls_eagerly", "catches_limit", "soft", "os_exit", "sys_exit", "redelivered")
        names = [*once, "retries", "autoretries", "gives_up", "replaces"]
        names += ["ok", "fails", "hard", "killed"] * 2
        results = [site.send(name) for name in names]
        site.send("ignores")
        site.send("rejects")
        site.send("chords")
        site.wait_ledger("waits started")
        worker.wait_logged(later)  # received
        site.client.control.revoke(later)
        site.client.control.revoke(terminated, terminate=True, signal="SIGTERM")
        site.finish([*results, later, terminated])
        for name in ("ignores ignored", "rejects rejected", "sums success"):
            site.wait_ledger(name)
        worker.wait_logged(f"Discarding revoked task: ledger.noop[{later}]")
        worker.stop(signal.SIGTERM)
        yield SimpleNamespace(totals=totals_of(gateway), ledger=site.ledger, log=worker.log)


def test_the_table_is_what_the_tasks_say_themselves(ran):
    expected = Counter()
    for name, (starts, ends) in ENDS.items():
        expected[f"{name} started"] = starts
        for (state, exception), count in ends.items():
            if state != "revoked":
                expected[f"{name} {state}"] = count
            if exception:
                expected[f"{name} raised {exception}"] = count
    for (name, exception), count in RETRIES.items():
        expected[f"{name} retry"] += count
        expected[f"{name} raised {exception}"] += count
    assert ran.ledger == expected


@pytest.mark.parametrize("name", ENDS)
def test_a_run_ends_once_and_as_what_it_was(ran, name):
    starts, ends = ENDS[name]
    found = ran.totals.counted("celery_task_finished_total", "task", "state")
    assert {state: count for (task, state), count in found.items() if task == name} == {
        state: count for (state, _), count in ends.items()
    }
    assert ran.totals.sum("celery_task_started_total", task=f"ledger.{name}") == starts


def test_nothing_else_is_counted(ran):
    ends = ran.totals.counted("celery_task_finished_total", "task")
    assert {task for (task,) in ends} == set(ENDS)
    retried = ran.totals.counted("celery_task_retried_total", "task")
    assert retried == {(task,): count for (task, _), count in RETRIES.items()}
    named = Counter(RETRIES)
    for name, (_, ends) in ENDS.items():
        named.update({(name, exception): n for (_, exception), n in ends.items() if exception})
    assert ran.totals.counted("celery_task_exceptions_total", "task", "exception") == named
    assert ran.totals.counted("celery_task_redelivered_total", "task") == {("redelivered",): 1}


def test_what_never_ran_is_told_apart(ran):
    assert ran.totals.counted("celery_task_revoked_total", "task", "reason") == {
        ("ok", "expired"): 1,
        ("noop", "revoked"): 1,
        ("waits", "terminated"): 1,
    }
    assert ran.totals.sum("celery_task_unknown_total") == 1


def test_a_runtime_is_measured_for_each_end_that_a_process_saw(ran):
    for name in ("ok", "fails", "soft", "hard", "killed"):
        ends = sum(ENDS[name][1].values())
        task = f"ledger.{name}"
        assert ran.totals.sum("celery_task_runtime_seconds_count", task=task) == ends, name
    for name in ("soft", "hard"):
        mean = ran.totals.sum("celery_task_runtime_seconds_sum", task=f"ledger.{name}")
        assert mean / sum(ENDS[name][1].values()) >= 0.5


def test_lost_children_are_counted(ran):
    # killed twice, os_exit, sys_exit, redelivered's first; the hard limits' are Main's own doing.
    assert ran.totals.sum("celery_worker_children_lost_total") == 5


@pytest.mark.parametrize("name", ENDS)
def test_a_task_has_a_group_with_its_outcome(ran, name):
    group = ran.totals.task_group(name)
    success = 1 if name in SUCCEEDED else None if name in SKIPPED else 0
    assert group.value("batch_job_last_run_success") == success
    completed = group.value("batch_job_last_completion_timestamp_seconds")
    assert completed >= group.value("batch_job_last_start_timestamp_seconds")
    for state, names in (("success", SUCCEEDED), ("failure", FAILED | {"waits"})):
        at = group.value(f"batch_job_last_{state}_timestamp_seconds")
        assert at == (completed if name in names else None)
    skipped = group.value("batch_job_last_skipped_timestamp_seconds")
    assert skipped == (completed if name in SKIPPED else None)


def test_the_try_that_decided_is_told(ran):
    tries = {"ok": 1, "retries": 3, "autoretries": 2, "gives_up": 2}
    for name, number in tries.items():
        assert ran.totals.task_group(name).value("batch_job_last_try_number") == number


def test_labels_hold_neither_attackers_names_nor_the_tasks_secrets(ran):
    text = str(ran.totals.groups)
    assert "no such" not in text
    assert "secret of the task" not in text


def test_a_worker_that_was_stopped_is_down_and_has_not_crashed(ran):
    assert ran.totals.sum("celery_worker_up") == 0
    assert ran.totals.sum("celery_worker_crashed") == 0
    assert ran.totals.sum("pushgate_records_dropped_total") == 0
    until(lambda: "Traceback" not in ran.log.split("Warm shutdown")[-1], "a quiet end", 0)
