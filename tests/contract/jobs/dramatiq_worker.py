"""A dramatiq worker on a broker in its memory: it processes one message, and ends."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import dramatiq
from dramatiq.brokers.stub import StubBroker

from contract.jobs.body import body, log_to_stderr, tell
from pushgate_dramatiq import Pushgate


def run(job: Mapping[str, object]) -> None:
    log_to_stderr()
    logging.getLogger("dramatiq").setLevel(logging.CRITICAL)
    broker = StubBroker()
    broker.add_middleware(Pushgate())

    @dramatiq.actor(broker=broker, max_retries=0)
    def load() -> None:
        body(job)

    worker = dramatiq.Worker(broker, worker_timeout=10, worker_threads=1)
    worker.start()
    load.send()
    # Joining may end before a failure is among the dead letters; the worker's end comes after.
    broker.join(load.queue_name, fail_fast=False)
    worker.stop()
    tell("failure" if broker.dead_letters else "success")
