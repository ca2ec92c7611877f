"""Every pool: mixed tasks, a warm shutdown, and the totals are what the tasks wrote."""

import signal
from collections import Counter

import pytest

from pushgate.embedded import EmbeddedGateway
from support import debian, servers
from support.workers import until

pytestmark = pytest.mark.end_to_end

NAMES = [*(["ok"] * 40), *(["fails"] * 10), *(["retries"] * 5), *(["ignores"] * 3), "replaces"]
# pool, its arguments, what else ends in it
POOLS = {
    "prefork": ((), ("soft", "hard")),
    "prefork -B": (("-B",), ()),
    "prefork autoscaled": (("--autoscale=4,1",), ()),
    "threads": ((), ()),
    "solo": ((), ()),
    "gevent": ((), ("hard",)),
    "eventlet": ((), ()),
}


@pytest.fixture
def gateway():
    with EmbeddedGateway() as server:
        yield server


@pytest.mark.parametrize("way", POOLS)
def test_all_totals_are_exact_after_a_warm_shutdown(site, gateway, totals_of, way):
    arguments, more = POOLS[way]
    pool = way.split(" ")[0]
    if "-B" in arguments:
        arguments = ("-B", "--schedule", str(site.folder / "schedule"))
    worker = site.worker(gateway, *arguments, pool=pool, concurrency=4)
    names = [*NAMES, *more]
    site.finish([site.send(name) for name in names if name != "ignores"])
    for _ in range(names.count("ignores")):
        site.send("ignores")
    site.wait_ledger("ignores ignored", names.count("ignores"))
    assert worker.stop(signal.SIGTERM) == 0

    totals, sent = totals_of(gateway), Counter(names)
    assert totals.as_ledger == site.ledger
    assert site.ledger["ok success"] == sent["ok"] + sent["replaces"]
    assert totals.sum("pushgate_records_dropped_total") == 0
    assert (totals.sum("celery_worker_up"), totals.sum("celery_worker_crashed")) == (0, 0)
    assert totals.task_group("ok").value("batch_job_last_run_success") == 1


@pytest.mark.parametrize("pool", ["prefork", "threads", "solo", "gevent", "eventlet"])
def test_the_tail_reaches_the_gateway_when_the_worker_is_killed(site, totals_of, pool):
    """With an interval that only the end can cut short."""
    with servers.pushgateway(debian.require("pushgateway-1.11")) as gateway:
        worker = site.worker(gateway, pool=pool, options={"interval": 3600})
        for _ in range(20):
            site.send("ok")
        # A result is stored before the run is over.
        until(lambda: worker.log.count("succeeded in") == 20, lambda: f"20 end\n{worker.log}")
        worker.send(signal.SIGKILL)
        worker.wait_gone()
        totals = totals_of(gateway)
    assert totals.as_ledger == site.ledger == {"ok started": 20, "ok success": 20}
    assert (totals.sum("celery_worker_up"), totals.sum("celery_worker_crashed")) == (0, 1)


def test_a_worker_of_spawned_children_is_measured_or_says_that_it_is_not(site, gateway, totals_of):
    worker = site.worker(gateway, conf={"worker_pool_start_method": "spawn"})
    site.finish([site.send("ok") for _ in range(5)])
    worker.stop(signal.SIGTERM)
    totals = totals_of(gateway)
    if totals.groups:
        assert totals.as_ledger == {"ok started": 5, "ok success": 5}
    else:
        assert "spawn" in worker.log
