"""An RQ worker on a real redis: it runs one job in a work horse, and ends."""

from __future__ import annotations

import os
from collections.abc import Mapping

from redis import Redis
from rq import Queue

from contract.jobs.body import body, log_to_stderr, tell
from pushgate_rq import PushgateWorker


def load(job: Mapping[str, object]) -> None:
    body(job)


def run(job: Mapping[str, object]) -> None:
    log_to_stderr()
    with Redis.from_url(os.environ["REDIS_URL"]) as connection:
        queue = Queue(str(job["folder"]), connection=connection)
        queued = queue.enqueue(load, job)
        worker = PushgateWorker([queue], connection=connection)
        worker.work(burst=True, logging_level="CRITICAL")
        tell({"finished": "success", "failed": "failure"}[queued.get_status()])
