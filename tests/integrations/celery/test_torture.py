"""Hundreds of runs in recycled, killed and cut-off children: the totals are the ledger's.

Real redis, real processes, a real Pushgateway; a warm, a cold and a killed shutdown.
"""

import itertools
import random
import signal
from collections import Counter

import pytest

from support import debian, servers

pytestmark = pytest.mark.end_to_end

QUICK = ("ok",) * 12 + ("fails",) * 4 + ("retries", "ignores", "replaces")
ROUGH = ("hard", "killed", "redelivered", "os_exit")


@pytest.fixture
def gateway():
    with servers.pushgateway(debian.require("pushgateway-1.11")) as server:
        yield server


def publish(site, *, quick, rough, seed):
    """In an order that is the same in each run of the tests; those with results are returned."""
    names = [*itertools.islice(itertools.cycle(QUICK), quick)]
    names += [*itertools.islice(itertools.cycle(ROUGH), rough)]
    random.Random(seed).shuffle(names)
    sent = [(name, site.send(name)) for name in names]
    return [result for name, result in sent if name != "ignores"], Counter(names)


@pytest.mark.parametrize(("end", "quick"), [("warm", 240), ("cold", 100), ("killed", 100)])
def test_every_total_is_what_the_tasks_wrote(site, gateway, totals_of, end, quick):
    recycled = "--max-tasks-per-child=3"
    worker = site.worker(gateway, recycled, concurrency=3, options={"interval": 2})
    results, sent = publish(site, quick=quick, rough=8, seed=end)
    site.finish(results, patience=90)
    site.wait_ledger("ignores ignored", sent["ignores"])
    if end == "warm":
        worker.stop(signal.SIGTERM)
    else:
        # Every child has one, so nothing else is between its last word and its end.
        running = [site.send("waits") for _ in range(3)]
        site.wait_ledger("waits started", len(running))
        if end == "cold":
            worker.stop(signal.SIGQUIT)
        else:
            worker.send(signal.SIGKILL)  # which takes the children along
            worker.wait()
            worker.wait_gone()

    totals, ledger = totals_of(gateway), site.ledger
    if end == "killed":  # their messages were acknowledged: nobody will run them again
        ledger += Counter({"waits failure": 3, "waits raised WorkerLostError": 3})
    assert totals.as_ledger == ledger
    assert ledger["ok success"] == sent["ok"] + sent["replaces"]
    assert totals.sum("pushgate_records_dropped_total") == 0
    assert totals.sum("celery_worker_up") == 0
    assert totals.sum("celery_worker_crashed") == (end == "killed")
    # Pushed at most once an interval, not once a task.
    assert totals.sum("pushgate_pushes_total", result="success") < sum(sent.values())
    assert totals.sum("pushgate_pushes_total", result="failure") == 0


def test_what_a_soft_shutdown_lets_finish_is_a_success_and_what_it_cuts_off_is_not(
    site, gateway, totals_of
):
    conf = {"worker_soft_shutdown_timeout": 3.0}
    worker = site.worker(gateway, conf=conf, concurrency=3)
    site.send("waits", 60.0, "soon")
    site.send("waits", 60.0, "never")
    site.send("waits_late", 60.0, "later")
    site.wait_ledger("waits started", 2)
    site.wait_ledger("waits_late started")
    worker.send(signal.SIGQUIT)
    worker.wait_logged("Initiating Soft Shutdown")
    site.redis.set("soon", "1")
    worker.wait()
    worker.wait_gone()

    totals = totals_of(gateway)
    assert totals.as_ledger == site.ledger
    assert site.ledger["waits success"] == 1

    # What was not acknowledged goes to the next worker, which counts it as its own.
    site.redis.set("later", "1")
    second = site.worker(gateway, node="w2@test")
    site.wait_ledger("waits_late success")
    second.stop(signal.SIGTERM)
    totals = totals_of(gateway)
    assert totals.as_ledger == site.ledger
    assert totals.counted("celery_task_redelivered_total", "task") == {("waits_late",): 1}
