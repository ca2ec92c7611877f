"""A gateway that refuses, hangs, restarts: tasks run on, and the totals are there at the end."""

import os
import signal

import pytest

from pushgate.embedded import EmbeddedGateway
from support import debian, servers
from support.faults import FaultServer
from support.servers import free_port
from support.workers import until

pytestmark = pytest.mark.end_to_end

TASKS = 60


def run(site, count=TASKS):
    site.finish([site.send("ok") for _ in range(count)])


def hang(peer):
    peer.hang()


def test_a_gateway_that_hung_for_a_while_gets_it_all(site, totals_of):
    port = free_port()
    with FaultServer(hang, port=port) as hung:
        worker = site.worker(hung, options={"interval": 1}, environment={"PUSHGATE_TIMEOUT": "2s"})
        run(site)
        until(lambda: hung.accepted, "it was asked")
    with EmbeddedGateway(port=port) as gateway:
        until(lambda: totals_of(gateway).groups, lambda: f"it is found\n{worker.log}")
        worker.stop(signal.SIGTERM)
        totals = totals_of(gateway)
    assert totals.as_ledger == {"ok started": TASKS, "ok success": TASKS}


def test_what_a_worker_left_behind_in_an_outage_the_next_one_delivers_unless_it_has_newer(
    site, totals_of
):
    port = free_port()
    first = site.worker(f"http://127.0.0.1:{port}", options={"interval": 1, "linger": 0.5})
    run(site)
    site.finish([site.send("fails")])
    first.stop(signal.SIGTERM)
    with EmbeddedGateway(port=port) as gateway:
        second = site.worker(gateway, node="w2@test", options={"interval": 0.2})
        newest = site.send("ok")
        site.finish([newest])
        until(
            lambda: totals_of(gateway).task_group("fails"),
            lambda: f"it is delivered\n{second.log}",
        )
        second.stop(signal.SIGTERM)
        totals = totals_of(gateway)
    assert totals.as_ledger == site.ledger
    assert totals.sum("celery_worker_up", instance="w1@test") == 0
    assert totals.task_group("fails").value("batch_job_last_run_success") == 0
    last_start = totals.task_group("ok").value("batch_job_last_start_timestamp_seconds")
    assert abs(last_start - site.time_of(newest)) < 0.5
    assert "wait in the outbox" in first.log
    assert "Traceback" not in second.log


def test_a_gateway_that_forgets_everything_in_the_middle_has_all_totals_at_the_end(site, totals_of):
    with servers.pushgateway(debian.require("pushgateway-1.11")) as gateway:
        worker = site.worker(gateway, options={"interval": 1})
        run(site)
        until(lambda: totals_of(gateway).groups, "something was pushed")
        gateway.kill()
        run(site)
        gateway.restart()
        run(site)
        worker.stop(signal.SIGTERM)
        totals = totals_of(gateway)
    assert totals.as_ledger == {"ok started": 3 * TASKS, "ok success": 3 * TASKS}


def test_a_pusher_that_is_killed_is_replaced_and_what_was_in_the_pipe_arrives(site, totals_of):
    with EmbeddedGateway() as gateway:
        worker = site.worker(gateway, options={"interval": 1})
        run(site, 5)
        until(lambda: totals_of(gateway).sum("celery_task_finished_total") == 5, "it is pushed")
        (pusher,) = worker.pushers()
        os.kill(pusher, signal.SIGKILL)
        run(site, 20)
        until(lambda: worker.pushers() not in ([], [pusher]), lambda: f"a new one\n{worker.log}")
        run(site, 5)
        worker.stop(signal.SIGTERM)
        totals = totals_of(gateway)
    # The first one's totals died with it, which a counter's readers take as a restart.
    assert totals.as_ledger == {"ok started": 25, "ok success": 25}
