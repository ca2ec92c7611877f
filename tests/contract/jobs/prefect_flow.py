"""A run of a Prefect flow in this process, whose states a real server keeps: one for all jobs."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path

from support import prefect_server

os.environ["PREFECT__SERVER_WEBSERVER_ONLY"] = "1"  # no scheduler, and nothing else beside the API
os.environ["PREFECT_LOGGING_LEVEL"] = "CRITICAL"
os.environ["PREFECT_API_URL"] = (server := prefect_server.start(Path.cwd() / "prefect")).url

import prefect
import prefect.flow_engine  # what a run needs is loaded once, before the forks

from contract.jobs.body import body, log_to_stderr, tell
from pushgate_prefect import hooks


def run(job: Mapping[str, object]) -> None:
    log_to_stderr()
    logging.getLogger("EventsWorker").disabled = True  # it says so when the server is slow

    @prefect.flow(**hooks())
    def load() -> None:
        body(job)

    state = load(return_state=True)
    tell("success" if state.is_completed() else "failure")
