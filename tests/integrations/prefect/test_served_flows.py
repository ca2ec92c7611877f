"""Flows served by Prefect's own server and runner: each outcome arrives once, and no run is harmed.

The first run ends while the gateway is down.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import httpx
import pytest

from pushgate import Gateway, job_rows
from support import gateways
from support.fault_proxy import fault_proxy
from support.prefect_server import prefect_server

pytestmark = pytest.mark.end_to_end

PATIENCE = 120.0  # seconds
SHOP = Path(__file__).parent / "flows" / "shop.py"


def until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"in vain: {what}"
        time.sleep(0.1)


class Runs:
    """Starts runs by Prefect's API, and looks at them."""

    def __init__(self, api: httpx.Client, folder: Path) -> None:
        self._api = api
        self._folder = folder

    def is_deployed(self, name: str) -> bool:
        return self._api.get(f"/deployments/name/{name}").is_success

    def is_planned(self, name: str) -> bool:
        """Whether Prefect's scheduler has planned its next runs."""
        of_deployment = {"deployments": {"name": {"any_": [name.partition("/")[2]]}}}
        return int(self._order("/flow_runs/count", of_deployment)) > 2

    def start(self, name: str, **parameters: object) -> str:
        deployment = self._api.get(f"/deployments/name/{name}").json()["id"]
        order = {"parameters": parameters, "state": {"type": "SCHEDULED"}}
        return str(self._order(f"/deployments/{deployment}/create_flow_run", order)["id"])

    def cancel(self, run: str) -> None:
        self._order(f"/flow_runs/{run}/set_state", {"state": {"type": "CANCELLING"}})

    def pid(self, run: str) -> int:
        file = self._folder / f"{run}.pid"
        until(lambda: file.exists() and file.read_text(), f"{run} runs")
        return int(file.read_text())

    def await_state(self, run: str, state: str) -> None:
        path = f"/flow_runs/{run}"
        until(lambda: self._api.get(path).json().get("state_type") == state, f"{run} is {state}")

    def _order(self, path: str, order: object) -> Any:
        answer = self._api.post(path, json=order)
        while answer.status_code == 503:  # its database is busy: Prefect's clients try again, too
            answer = self._api.post(path, json=order)
        return answer.raise_for_status().json()


@pytest.fixture(scope="module")
def proxy(tmp_path_factory):
    """In front of the gateway, after all runs."""
    folder = tmp_path_factory.mktemp("served")
    with (
        gateways.open_gateway(gateways.NEW) as gateway,
        fault_proxy(int(gateway.url.rpartition(":")[2]), down=True) as proxy,
        prefect_server(folder / "prefect") as api_url,
        # uvicorn closes idle connections after 5 s, perhaps just when the next request is sent.
        httpx.Client(base_url=api_url, timeout=60, headers={"Connection": "close"}) as api,
        (folder / "log").open("wb") as log,
    ):
        environment = {
            "PREFECT_API_URL": api_url,
            "PREFECT_RUNNER_POLL_FREQUENCY": "1",
            "PUSHGATE_GATEWAY": proxy.url,
            "PUSHGATE_STATE_DIR": str(folder / "state"),
            "PUSHGATE_TIMEOUT": "5",
        }
        runner = subprocess.Popen(
            [sys.executable, shutil.copy(SHOP, folder)],  # Prefect 3.4 wants it below its folder
            cwd=folder,
            env=os.environ | environment,
            stdout=log,
            stderr=log,
        )
        with runner:
            try:
                use(Runs(api, folder), proxy)
                runner.terminate()
                assert runner.wait(PATIENCE) == 0
            except BaseException:
                print((folder / "log").read_text())
                raise
            finally:
                runner.kill()
        yield proxy


def use(runs, proxy):
    until(lambda: runs.is_deployed("cancelled/demand"), "all flows are deployed")
    until(lambda: runs.is_planned("load/nightly"), "its next runs are planned")
    runs.await_state(runs.start("load/nightly"), "COMPLETED")
    assert not proxy.took
    proxy.listen()
    backfill = runs.start("load/nightly", table="sales of last year")
    retried, killed, cancelled = (
        runs.start(f"{name}/demand") for name in ("retried", "killed", "cancelled")
    )
    os.kill(runs.pid(killed), signal.SIGKILL)
    runs.pid(cancelled)
    runs.cancel(cancelled)
    for run, state in {
        backfill: "COMPLETED",
        retried: "COMPLETED",
        killed: "CRASHED",
        cancelled: "CANCELLED",
    }.items():
        runs.await_state(run, state)


@pytest.mark.parametrize(
    ("flow", "deployment", "outcome", "numbers"),
    [
        ("load", "nightly", "succeeded", {"last_try_number": 1, "last_queue_wait_seconds": ANY}),
        ("retried", "demand", "succeeded", {"last_try_number": 2, "last_queue_wait_seconds": None}),
        ("killed", "demand", "failed", {}),
        ("cancelled", "demand", "skipped", {"last_duration_seconds": ANY}),
    ],
    ids=["gateway down, and a backfill after it", "retried", "killed", "cancelled"],
)
def test_a_run_is_told_once(proxy, flow, deployment, outcome, numbers):
    labels = {"job": "prefect", "task": flow, "deployment": deployment}
    completion = "batch_job_last_completion_timestamp_seconds"
    until(lambda: proxy.pushes_of(completion, **labels), f"the end of {flow}")
    assert len(proxy.pushes_of(completion, **labels)) == 1

    [group] = [each for each in Gateway(proxy.url).groups() if each.labels == labels]
    [row] = job_rows([group], now=time.time())
    assert (row.outcome, row.interval) == (outcome, 86400 if deployment == "nightly" else None)
    assert {name: row.numbers.get(name) for name in numbers} == numbers
    assert row.info.get("exception") == ("Crashed" if flow == "killed" else None)
    assert row.bad == (flow == "killed")
