"""Airflow's REST API as its user sees it: trigger runs, read states and heartbeats.

The api-server must take everybody for an admin. What is no success raises.
"""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from typing import Any, NamedTuple, TypeVar

from support import workers

T = TypeVar("T")
PATIENCE = 90.0  # seconds; what takes longer hangs
POLL = 0.2  # seconds
ENDED = ("success", "failed")

_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def until(
    condition: Callable[[], T], what: str | Callable[[], str], patience: float = PATIENCE
) -> T:
    """As workers.until, for what costs a server something to answer."""

    def asked() -> T:
        if not (answer := condition()):
            time.sleep(POLL)
        return answer

    return workers.until(asked, what, patience)


class RefusedError(Exception):
    """The API's answer was no success; the text has it."""


class Run(NamedTuple):
    """A run of a DAG, and how to ask for it."""

    rest: Rest
    dag_id: str
    run_id: str

    @property
    def state(self) -> str:
        return str(self.rest.api("GET", self._path)["state"])

    @property
    def _path(self) -> str:
        return f"/dags/{self.dag_id}/dagRuns/{self.run_id}"

    def wait(self, patience: float = PATIENCE) -> str:
        """Its end: success or failed."""

        def end() -> str:
            self.rest.check()
            state = self.state
            return state if state in ENDED else ""

        what = f"{self.run_id} of {self.dag_id} ends"
        return until(end, lambda: f"{what}: {self.tasks()}\n{self.rest.logs()}", patience)

    def task_instances(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.rest.api("GET", f"{self._path}/taskInstances")[
            "task_instances"
        ]
        return found

    def tasks(self) -> dict[str, str]:
        """States by task_id; of a mapped task, by task_id[map_index]."""
        return {
            t["task_id"] + (f"[{t['map_index']}]" if t["map_index"] >= 0 else ""): t["state"]
            for t in self.task_instances()
        }


class Rest:
    def __init__(self, url: str) -> None:
        self.url = url
        self._token = ""

    def check(self) -> None:
        """AssertionError where what was started has ended. For those who know."""

    def logs(self) -> str:
        """What helps to understand why something did not come. For those who know."""
        return ""

    def api(self, method: str, path: str, body: object = None) -> Any:
        """An exchange with /api/v2. Raises RefusedError, OSError."""
        return self._exchange(method, f"/api/v2{path}", body)

    def _exchange(self, method: str, path: str, body: object, may_login: bool = True) -> Any:
        request = urllib.request.Request(self.url + path, method=method)
        request.add_header("Authorization", f"Bearer {self._token}")
        if body is not None:
            request.data = json.dumps(body).encode()
            request.add_header("Content-Type", "application/json")
        try:
            with _opener.open(request, timeout=PATIENCE) as response:
                text = response.read()
        except urllib.error.HTTPError as error:
            with error:
                answer = error.read().decode(errors="replace")
            if error.code == 401 and may_login:
                self._token = self._exchange("GET", "/auth/token", None, False)["access_token"]
                return self._exchange(method, path, body, False)
            raise RefusedError(f"{error.code}: {answer}") from None
        return json.loads(text) if text else None

    def unpause(self) -> None:
        """Every DAG that is known."""
        self.api("PATCH", "/dags?dag_id_pattern=~", {"is_paused": False})

    def trigger(self, dag_id: str, conf: Mapping[str, object] = {}) -> Run:
        body = {"logical_date": None, "conf": dict(conf)}
        made = self.api("POST", f"/dags/{dag_id}/dagRuns", body)
        return Run(self, dag_id, made["dag_run_id"])

    def run(self, dag_id: str, conf: Mapping[str, object] = {}) -> Run:
        """A run that has ended, however."""
        run = self.trigger(dag_id, conf)
        run.wait()
        return run

    def scheduler_heartbeat(self) -> float:
        """When the last heartbeat of the scheduler was, by the database."""
        answer = self.api("GET", "/monitor/health")["scheduler"]["latest_scheduler_heartbeat"]
        return datetime.fromisoformat(answer.replace("Z", "+00:00")).timestamp()

    @contextmanager
    def heartbeat_gaps(self) -> Iterator[list[float]]:
        """``with rest.heartbeat_gaps() as gaps:`` seconds between the scheduler's heartbeats."""
        gaps: list[float] = []
        stop = False

        def watch() -> None:
            last = self.scheduler_heartbeat()
            while not stop:
                time.sleep(POLL)
                now = self.scheduler_heartbeat()
                if now != last:
                    gaps.append(now - last)
                    last = now

        with ThreadPoolExecutor(1) as pool:
            watching = pool.submit(watch)
            try:
                yield gaps
            finally:
                stop = True
                watching.result()
