"""A Celery worker with the solo pool and a broker in its memory: it runs one task and is stopped.

Its signals are those of any worker, and its pusher is a process beside it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping

import celery.app.control
import celery.apps.worker
import celery.backends.cache
import celery.concurrency.solo
import celery.events.dispatcher
import celery.worker.autoscale
import celery.worker.components
import celery.worker.consumer
import celery.worker.strategy
import kombu.transport.memory  # noqa: F401 - what a worker needs is loaded once, before the forks

import pushgate_celery
from contract.jobs.body import body, tell

pushgate_celery.install(celery.Celery(), "http://127.0.0.1:1").uninstall()


def run(job: Mapping[str, object]) -> None:
    app = celery.Celery("contract", broker="memory://", backend="cache+memory://")
    app.conf.update(
        broker_transport_options={"polling_interval": 0.01},
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
    )
    patience = 1 if job["outage"] else 15
    pushgate_celery.install(
        app,
        str(job["gateway"]),
        interval=0.05,
        shutdown_timeout=patience,
        linger=patience,
    )

    @app.task(name="load")
    def load() -> None:
        body(job)

    worker = app.Worker(
        pool="solo",
        quiet=True,
        loglevel="CRITICAL",
        without_mingle=True,
        without_gossip=True,
        without_heartbeat=True,
    )
    result = load.delay()

    def stop_after_the_task() -> None:
        while not result.ready():
            time.sleep(0.005)
        tell(result.state.lower())
        app.control.shutdown()  # a signal is looked at once in two seconds with this pool

    threading.Thread(target=stop_after_the_task, daemon=True).start()
    worker.start()
