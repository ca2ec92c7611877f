"""What else real workers and beats publish, and what they keep to themselves."""

import os
import signal
import time
from pathlib import Path

import celery
import pytest

import pushgate_celery
from pushgate import Gateway, prune
from pushgate.embedded import EmbeddedGateway
from support.faults import OK, FaultServer
from support.workers import until

pytestmark = pytest.mark.end_to_end

SOON = {"interval": 0.2}


@pytest.fixture
def gateway():
    with EmbeddedGateway() as server:
        yield server


@pytest.fixture
def stamping(site, gateway):
    """A publisher with pushgate installed, which stamps what it publishes."""
    with celery.Celery("publisher", broker=site.url, set_as_current=False) as app:
        installation = pushgate_celery.install(app, gateway.url)
        yield app
        installation.uninstall()


def test_queue_wait_and_latency_are_what_the_test_enforced(site, gateway, totals_of, stamping):
    before = time.time()
    first = stamping.send_task("ledger.ok").id
    published = time.time()
    later = stamping.send_task("ledger.adds", countdown=3).id
    again = stamping.send_task("ledger.retries", (1, 1.0)).id
    launched = time.time()
    worker = site.worker(gateway)
    site.finish([first, later, again])
    worker.stop(signal.SIGTERM)

    totals = totals_of(gateway)
    slack = 0.05  # from the handler's own time to that which the task writes
    wait = totals.sum("celery_task_queue_wait_seconds_sum", task="ledger.ok")
    assert launched - published <= wait <= site.time_of(first) - before
    # Due later than it was published: it has waited since then only.
    wait = totals.sum("celery_task_queue_wait_seconds_sum", task="ledger.adds")
    assert 0 <= wait <= max(0.0, site.time_of(later) - (published + 3)) + slack
    # From the first publication, over the retry's countdown.
    assert totals.sum("celery_task_latency_seconds_count", task="ledger.retries") == 1
    latency = totals.sum("celery_task_latency_seconds_sum", task="ledger.retries")
    assert latency >= launched - published + 1.0


def test_without_the_header_waits_are_absent_rather_than_wrong(site, gateway, totals_of):
    worker = site.worker(gateway)
    site.finish([site.send("ok") for _ in range(3)])
    worker.stop(signal.SIGTERM)
    totals = totals_of(gateway)
    assert totals.sum("celery_task_finished_total", task="ledger.ok") == 3
    assert not totals.sum("celery_task_queue_wait_seconds_count", task="ledger.ok")
    assert not totals.sum("celery_task_latency_seconds_count", task="ledger.ok")


def test_tasks_that_never_ran_have_zeros_by_queue(site, gateway, totals_of):
    worker = site.worker(gateway, "--queues=celery,side")
    worker.stop(signal.SIGTERM)
    totals = totals_of(gateway)

    def zeros(name, label):
        return {
            (sample.labels["task"], sample.labels.get("queue"), sample.labels.get(label))
            for sample in totals.samples(name)
            if sample.value == 0
        }

    states = ("success", "failure", "ignored", "rejected", "revoked")
    finished = zeros("celery_task_finished_total", "state")
    retried = zeros("celery_task_retried_total", None)
    revoked = zeros("celery_task_revoked_total", "reason")
    for task, queue in (("ledger.ok", "celery"), ("ledger.routed", "side")):
        assert {s for t, q, s in finished if (t, q) == (task, queue)} == set(states)
        assert (task, queue, None) in retried
        assert {r for t, _, r in revoked if t == task} == {"revoked", "expired", "terminated"}
    assert not any(task.startswith("celery.") for task, _, _ in finished)
    assert totals.sum("celery_worker_concurrency") == 2


def test_what_runs_and_what_waits_in_the_worker_is_published(site, gateway, totals_of):
    site.worker(gateway, options=SOON, concurrency=1)
    began = time.time()
    running = site.send("waits")
    rest = [site.send("ok") for _ in range(2)]
    site.wait_ledger("waits started")

    def state():
        totals = totals_of(gateway)
        names = ("active", "prefetched")
        return [totals.sum(f"celery_worker_tasks_{name}") for name in names]

    until(lambda: state() == [1, 2], lambda: f"one runs and two wait: {state()}")
    oldest = totals_of(gateway).sum("celery_worker_oldest_task_start_timestamp_seconds")
    assert began <= oldest <= site.time_of(running) + 0.5
    site.redis.set("release", "1")
    site.finish([running, *rest])
    until(lambda: state() == [0, 0], lambda: f"nothing runs: {state()}")
    assert totals_of(gateway).sum("celery_worker_oldest_task_start_timestamp_seconds") is None


@pytest.mark.parametrize("pool", ["solo", "threads"])
def test_a_worker_whose_main_process_waits_for_a_task_is_not_silent(site, gateway, totals_of, pool):
    worker = site.worker(gateway, pool=pool, options=SOON)
    site.send("waits")
    site.wait_ledger("waits started")
    if pool == "threads":  # solo runs it in the main process, threads are waited for at the end
        worker.send(signal.SIGTERM)

    def pushes():
        totals = totals_of(gateway)
        active = totals.sum("celery_worker_tasks_active")
        return active and totals.sum("pushgate_pushes_total", result="success")

    before = until(pushes, lambda: f"the task is active\n{worker.log}")
    until(lambda: pushes() > before + 15, lambda: f"it pushes on\n{worker.log}")
    site.redis.set("release", "1")
    if pool == "solo":
        until(lambda: pushes() == 0, lambda: f"none is active\n{worker.log}")
        worker.send(signal.SIGTERM)
    assert worker.wait() == 0
    totals = totals_of(gateway)
    assert totals.as_ledger == site.ledger
    assert (totals.sum("celery_worker_up"), totals.sum("celery_worker_tasks_active")) == (0, 0)


def test_a_tasks_own_metrics_reach_the_gateway_from_a_child(site, gateway, totals_of):
    worker = site.worker(gateway)
    site.finish([site.send("counts") for _ in range(4)])
    worker.stop(signal.SIGTERM)
    groups = totals_of(gateway).groups
    samples = {
        (sample.name, sample.labels.get("table")): sample.value
        for group in groups
        for family in group.families
        for sample in family.samples
    }
    assert samples["rows_loaded_total", "orders"] == 12
    assert samples["row_bytes_count", "orders"] == 4
    assert samples["row_bytes_sum", "orders"] == 400
    assert samples["rows_left", "orders"] == 7
    assert samples["rows_left", "users"] == 9


def test_a_run_with_a_group_of_its_own_is_pruned_after_its_lifetime(site, gateway, totals_of):
    worker = site.worker(gateway, options=SOON)
    site.finish([site.send("per_run", "monday")])

    def own():
        return [g for g in totals_of(gateway).groups if g.labels.get("day") == "monday"]

    (group,) = until(own, lambda: f"the group is there\n{worker.log}")
    assert group.labels == {"job": "celery", "task": "ledger.per_run", "day": "monday"}
    until(lambda: own()[0].value("batch_job_last_run_success") == 1, "its outcome")
    until(lambda: prune(Gateway(gateway.url), older_than=1e6) and not own(), "it is of use")
    assert totals_of(gateway).task_group("per_run").value("batch_job_last_run_success") == 1


@pytest.mark.parametrize("beat", ["separate", "embedded"])
def test_a_periodic_task_publishes_its_interval(site, gateway, totals_of, beat):
    conf = {"beat_schedule": {"each second": {"task": "ledger.ok", "schedule": 1.0}}}
    if beat == "separate":
        site.worker(gateway, options=SOON)
        site.beat(gateway, conf=conf)
    else:
        schedule = str(site.folder / "schedule")
        site.worker(gateway, "-B", "--schedule", schedule, options=SOON, conf=conf)
    group = until(lambda: totals_of(gateway).task_group("ok"), "it has run")
    assert group.value("batch_job_expected_interval_seconds") == pytest.approx(1, abs=0.2)
    # Each run is told, though a task's group has a long interval: it would look late.
    start = "batch_job_last_start_timestamp_seconds"
    until(lambda: totals_of(gateway).task_group("ok").value(start) > group.value(start), "another")
    # Only what a beat sends is due again.
    site.finish([site.send("adds")])
    group = until(lambda: totals_of(gateway).task_group("adds"), "it has run")
    assert group.value("batch_job_expected_interval_seconds") is None


def test_a_worker_leaves_no_group_where_it_is_told_to_delete_it(site, gateway, totals_of):
    worker = site.worker(gateway, options={"on_exit": "delete"})
    site.finish([site.send("ok")])
    until(lambda: totals_of(gateway).workers, "it is there while the worker runs")
    worker.stop(signal.SIGTERM)
    assert not totals_of(gateway).workers
    assert totals_of(gateway).task_group("ok").value("batch_job_last_run_success") == 1


def test_installed_twice_counts_once_and_uninstalled_not_at_all(site, gateway, totals_of):
    twice = site.worker(gateway, more={"installs": 2}, node="twice@test")
    site.finish([site.send("ok") for _ in range(5)])
    assert len(twice.pushers()) == 1
    twice.stop(signal.SIGTERM)
    assert totals_of(gateway).sum("celery_task_finished_total", task="ledger.ok") == 5

    gateway.wipe()
    undone = site.worker(gateway, more={"undone": True}, node="undone@test")
    site.finish([site.send("ok") for _ in range(5)])
    assert undone.pushers() == []
    undone.stop(signal.SIGTERM)
    assert totals_of(gateway).groups == []


def test_without_a_gateway_the_worker_runs_and_says_what_to_set(site):
    worker = site.worker(None)
    site.finish([site.send("ok")])
    assert worker.pushers() == []
    worker.stop(signal.SIGTERM)
    assert worker.log.count("PUSHGATE_GATEWAY") == 1


@pytest.mark.parametrize("given", ["argument", "environment"])
def test_a_password_is_neither_in_a_process_list_nor_in_a_log(site, given):
    def unauthorized(peer):
        while peer.request():
            peer.send(OK.replace(b"200 OK", b"401 Unauthorized"))

    with FaultServer(unauthorized) as server:
        url = server.url.replace("http://", "http://ops:s3cr3t-word@")
        worker = site.worker(
            url if given == "argument" else None,
            options={"interval": 0.2, "linger": 1.0},
            environment={"PUSHGATE_GATEWAY": url} if given == "environment" else {},
        )
        site.finish([site.send("ok")])
        until(lambda: server.requests, "it was asked")
        assert server.requests[0].header("Authorization")
        (pusher,) = worker.pushers()
        for name in ("cmdline", "environ"):
            assert b"s3cr3t-word" not in Path(f"/proc/{pusher}/{name}").read_bytes()
        worker.stop(signal.SIGTERM)
    assert "401" in worker.log
    assert "s3cr3t-word" not in worker.log


def test_the_pusher_outlives_the_signals_that_a_terminal_and_an_init_send_to_all(
    site, gateway, totals_of
):
    """systemd's KillMode=control-group and a Ctrl-C reach each process of the worker."""
    worker = site.worker(gateway)
    site.finish([site.send("ok") for _ in range(5)])
    for pid in worker.descendants():
        os.kill(pid, signal.SIGTERM)
    worker.wait()
    worker.wait_gone()
    assert totals_of(gateway).sum("celery_task_finished_total", task="ledger.ok") == 5
