"""Flows that end in different ways, served by one process, which starts one for each run."""

import os
import time
from datetime import timedelta
from pathlib import Path

from prefect import flow, serve
from prefect.runtime import flow_run

from pushgate_prefect import hooks


@flow(**hooks())
def load(table: str = "sales") -> None:
    pass


@flow(**hooks(), retries=1)
async def retried() -> None:
    if flow_run.run_count == 1:
        raise KeyError("the first try")


@flow(**hooks())
def killed() -> None:
    wait()


@flow(**hooks())
def cancelled() -> None:
    wait()


def wait() -> None:
    """Until this process is ended, or the runner is gone."""
    runner = os.getppid()
    Path(f"{flow_run.id}.pid").write_text(str(os.getpid()))
    while os.getppid() == runner:
        time.sleep(0.1)


if __name__ == "__main__":
    serve(
        load.to_deployment("nightly", interval=timedelta(days=1)),
        *(each.to_deployment("demand") for each in (retried, killed, cancelled)),
    )
