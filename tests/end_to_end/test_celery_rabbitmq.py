"""A worker on RabbitMQ, pushing to a real Pushgateway: none of it stands in for another."""

import signal
import time
from contextlib import ExitStack

import celery
import pytest

import pushgate_celery
from support import brokers, debian, servers
from support.celery_site import Site, Totals

pytestmark = pytest.mark.end_to_end


def test_totals_waits_and_redeliveries_are_right_on_rabbitmq(tmp_path):
    with ExitStack() as stack:
        gateway = stack.enter_context(servers.pushgateway(debian.require("pushgateway-1.11")))
        broker = stack.enter_context(brokers.rabbitmq())
        url = stack.enter_context(brokers.redis())  # the ledger and the results
        site = Site(tmp_path, f"{url}/0", stack, broker=broker)
        stamping = stack.enter_context(
            celery.Celery("publisher", broker=broker, set_as_current=False)
        )
        stack.callback(pushgate_celery.install(stamping, gateway.url).uninstall)

        stamped = stamping.send_task("ledger.ok").id
        published = time.time()
        names = [*(["ok"] * 30), *(["fails"] * 5), *(["retries"] * 5), "hard", "killed"]
        results = [stamped, *map(site.send, [*names, "redelivered", "replaces"])]
        launched = time.time()
        worker = site.worker(gateway)
        site.finish(results)
        worker.stop(signal.SIGTERM)
        totals = Totals(gateway.url)

        assert totals.as_ledger == site.ledger
        assert site.ledger["ok success"] == 32
        assert totals.counted("celery_task_redelivered_total", "task") == {("redelivered",): 1}
        wait = totals.sum("celery_task_queue_wait_seconds_sum", task="ledger.ok")
        assert wait >= launched - published
        assert totals.sum("celery_worker_crashed") == 0
