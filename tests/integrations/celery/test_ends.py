"""The worst days: runs, children and workers that end as nobody meant them to, counted exactly.

The ledger that the tasks keep says what is right.
"""

import os
import signal
from collections import Counter
from contextlib import ExitStack

import pytest

from pushgate.embedded import EmbeddedGateway
from support import brokers, debian, older_celery, servers
from support.workers import APPS, PATIENCE, until

pytestmark = pytest.mark.end_to_end

SOON = {"interval": 0.2, "task_interval": 0.2}
DEAD_BACKEND = {
    "backend": "redis://127.0.0.1:1/0",
    "conf": {"result_backend_transport_options": {"retry_policy": {"max_retries": 0}}},
}


@pytest.fixture
def gateway():
    with EmbeddedGateway() as server:
        yield server


@pytest.fixture(params=["own", "5.5", "5.4"])
def celery_release(request):
    """The environment of a worker of this Celery."""
    if request.param == "own":
        return {}
    path = [*older_celery.release(request.param), str(APPS), os.environ.get("PYTHONPATH", "")]
    return {"PYTHONPATH": os.pathsep.join(filter(None, path))}


def exact(totals, ledger):
    """Whether they agree; of what a task exits by, each Celery has its own name."""

    def known(counts):
        return Counter({k: n for k, n in counts.items() if not k.startswith("sys_exit raised")})

    return known(totals.as_ledger) == known(ledger)


def until_exact(site, gateway, totals_of, worker):
    until(
        lambda: exact(totals_of(gateway), site.ledger),
        lambda: f"{totals_of(gateway).as_ledger} is {site.ledger}\n{worker.log}",
        3 * PATIENCE,
    )


def test_each_way_out_of_a_process_is_one_end_in_every_celery(
    site, gateway, totals_of, celery_release
):
    worker = site.worker(gateway, options=SOON, environment=celery_release)
    lost = ["sys_exit", "os_exit", "killed", "closes_descriptors", "dies_after", "redelivered"]
    for name in ["ok", "fails", "hard", "soft", *lost, "retries", *lost, "ok"]:
        site.send(name)
    site.wait_ledger("redelivered success", 2)
    site.wait_ledger("ok success", 2)
    until_exact(site, gateway, totals_of, worker)
    worker.stop(signal.SIGTERM)

    totals = totals_of(gateway)
    assert exact(totals, site.ledger), (totals.as_ledger, site.ledger)
    assert totals.sum("celery_task_finished_total", task="ledger.sys_exit", state="failure") == 2
    assert totals.sum("celery_worker_children_lost_total") == 12
    assert totals.sum("celery_worker_crashed") == 0


def test_with_a_dead_result_backend_each_run_ends_as_its_code_did(
    site, gateway, totals_of, celery_release
):
    more = {"backend": DEAD_BACKEND["backend"]}
    conf = DEAD_BACKEND["conf"]
    worker = site.worker(gateway, options=SOON, conf=conf, more=more, environment=celery_release)
    names = ["ok", "fails", "ignores", "sys_exit", "killed"]
    for name in 2 * names:
        site.send(name)
    for name in ("ok success", "fails failure", "sys_exit failure", "killed failure"):
        site.wait_ledger(name, 2)
    until_exact(site, gateway, totals_of, worker)
    worker.stop(signal.SIGTERM)
    assert exact(totals_of(gateway), site.ledger)
    assert totals_of(gateway).task_group("fails").value("batch_job_last_run_success") == 0
    assert totals_of(gateway).task_group("ok").value("batch_job_last_run_success") == 1


@pytest.mark.parametrize("pool", ["threads", "solo"])
def test_in_one_process_a_dead_result_backend_changes_no_end_either(site, gateway, totals_of, pool):
    more, conf = {"backend": DEAD_BACKEND["backend"]}, DEAD_BACKEND["conf"]
    worker = site.worker(gateway, options=SOON, conf=conf, more=more, pool=pool)
    for name in ("ok", "fails", "ignores", "ok"):
        site.send(name)
    site.wait_ledger("ok success", 2)
    until_exact(site, gateway, totals_of, worker)
    worker.stop(signal.SIGTERM)
    assert totals_of(gateway).as_ledger == site.ledger


def test_after_a_restart_of_the_broker_all_goes_on_to_be_counted(
    tmp_path, redis_url, open_site, gateway, totals_of, celery_release
):
    with ExitStack() as stack:
        broker = stack.enter_context(brokers.redis_server())
        site = open_site(tmp_path, stack, broker=f"redis://127.0.0.1:{broker.port}/0")
        worker = site.worker(gateway, options=SOON, environment=celery_release)
        site.send("waits")
        site.wait_ledger("waits started")
        broker.kill()
        worker.wait_logged("Connection to broker lost")
        broker.restart()
        until(lambda: worker.log.count("Connected to") == 2, lambda: worker.log)
        site.redis.set("release", "1")
        site.wait_ledger("waits success")
        for name in ("killed", "ok"):
            site.send(name)
        site.wait_ledger("ok success")
        until_exact(site, gateway, totals_of, worker)
        until(
            lambda: totals_of(gateway).sum("celery_worker_children_lost_total") == 1,
            lambda: f"the children are watched\n{worker.log}",
        )
        site.send("waits", PATIENCE, "never")
        until(
            lambda: totals_of(gateway).sum("celery_worker_tasks_active") == 1,
            lambda: f"its state is told\n{worker.log}",
        )
        worker.send(signal.SIGKILL)
        worker.wait_gone()


@pytest.mark.parametrize("cause", ["the broker is gone", "a step fails"])
def test_a_worker_that_dies_of_an_error_has_crashed(tmp_path, open_site, gateway, totals_of, cause):
    with ExitStack() as stack:
        broker = stack.enter_context(brokers.redis_server())
        site = open_site(tmp_path, stack, broker=f"redis://127.0.0.1:{broker.port}/0")
        is_broken = cause == "a step fails"
        worker = site.worker(
            gateway,
            conf={"broker_connection_retry": False},
            more={"broken_step": is_broken},
            wait=not is_broken,
        )
        if not is_broken:
            broker.kill()
        assert worker.wait() == 1
        worker.wait_gone()
        totals = totals_of(gateway)
        assert (totals.sum("celery_worker_up"), totals.sum("celery_worker_crashed")) == (0, 1)


def test_a_daemon_that_a_task_left_delays_no_stop_and_hides_no_death(site, gateway, totals_of):
    # It would wait for longer than the test does.
    options = {**SOON, "shutdown_timeout": 10 * PATIENCE, "linger": 1.0}
    first = site.worker(gateway, options=options)
    site.finish([site.send("leaves_daemon"), site.send("ok")])
    first.send(signal.SIGTERM)
    assert first.wait() == 0
    assert "did not end in time" not in first.log
    totals = totals_of(gateway)
    assert totals.as_ledger == site.ledger
    assert (totals.sum("celery_worker_up"), totals.sum("celery_worker_crashed")) == (0, 0)
    until(lambda: not first.pushers(), lambda: f"its pusher ends\n{first.log}")

    second = site.worker(gateway, options=options, node="w2@test")
    site.finish([site.send("leaves_daemon")])
    second.send(signal.SIGKILL)
    until(
        lambda: totals_of(gateway).sum("celery_worker_crashed", instance="w2@test") == 1,
        lambda: f"it is said to have crashed\n{second.log}",
    )


def test_a_worker_with_a_thousand_tasks_tells_its_end_first(site, totals_of):
    """All of a sudden each has news for a gateway that checks all that it holds at each push."""
    count = 1000
    with servers.pushgateway(debian.require("pushgateway-1.11")) as gateway:
        options = {"interval": 3600, "task_interval": 3600, "shutdown_timeout": 1.0}
        worker = site.worker(gateway, options=options, more={"many": count})
        for number in range(count):
            site.send(f"many{number}")
        until(lambda: int(site.redis.get("many") or 0) == count, "all have run", 3 * PATIENCE)
        worker.send(signal.SIGTERM)
        assert worker.wait() == 0
        totals = totals_of(gateway)
        assert totals.sum("celery_worker_up") == 0
        assert totals.sum("celery_task_finished_total", state="success") == count
        worker.end()


def test_celerys_own_tasks_are_counted_only_where_they_are_named(site, gateway, totals_of):
    more = {"backend": f"file://{site.folder}"}  # has no join: chord_unlock asks again and again
    plain = site.worker(gateway, options=SOON, more=more)
    site.send("chords")
    site.wait_ledger("sums success")
    plain.stop(signal.SIGTERM)
    tasks = {group.labels.get("task") for group in totals_of(gateway).groups}
    assert tasks == {None, "ledger.adds", "ledger.chords", "ledger.sums"}

    gateway.wipe()
    options = {**SOON, "tasks": ["celery.chord_unlock"]}
    named = site.worker(gateway, options=options, more=more)
    site.send("chords")
    site.wait_ledger("sums success", 2)
    named.stop(signal.SIGTERM)
    tasks = {group.labels.get("task") for group in totals_of(gateway).groups}
    assert tasks == {None, "celery.chord_unlock"}
