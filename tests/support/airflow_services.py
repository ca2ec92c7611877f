"""Airflow as its own processes on loopback ports: api-server, scheduler, dag-processor, triggerer.

They live in one folder and read DAG files from another. They are healthy when they say so; each has
a log. Every process that they started is killed by its pid when the `with` block ends.
"""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from support.airflow_rest import PATIENCE, RefusedError, Rest, until
from support.servers import free_port

START_TIMEOUT = 120.0  # seconds; all four on two cores take 25 s
SERVICES = ("api-server", "scheduler", "dag-processor", "triggerer")


def require() -> None:
    """Skips the test where Airflow is not installed, and fails it where CI is set."""
    import pytest

    if importlib.util.find_spec("airflow") is None:
        reason = "Airflow is not installed: pip install 'pushgate[airflow]'"
        if os.environ.get("CI"):
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)


class Service:
    """``airflow <arguments>`` in a session of its own."""

    def __init__(self, name: str, arguments: Collection[str], airflow: Airflow) -> None:
        self.name = name
        self._log_path = airflow.home / f"{name}.log"
        with self._log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "airflow", *arguments],
                cwd=airflow.home,
                env=airflow.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def log(self) -> str:
        return self._log_path.read_text(errors="replace")

    def check(self) -> None:
        code = self.process.poll()
        assert code is None, f"{self.name} ended with {code}\n{self.log[-5000:]}"

    def wait_logged(self, text: str, patience: float = PATIENCE) -> None:
        def logged() -> bool:
            self.check()
            return text in self.log

        until(logged, lambda: f"{text!r} in the log of {self.name}\n{self.log[-5000:]}", patience)

    def stop(self) -> int:
        """Ask it to end, as a supervisor does, and wait; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)

    def end(self) -> None:
        """Kill what is left of its session."""
        while living := session(self.process.pid):
            for pid in living:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.02)
        self.process.wait(PATIENCE)


def session(leader: int) -> list[int]:
    """The living processes of a session. Airflow's titles overwrite what else could mark them."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it ended just now
            # https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html: after the name, which may
            # hold anything, come state, ppid, pgrp and session.
            state, _, _, its = (folder / "stat").read_text().rpartition(")")[2].split()[:4]
            if int(its) == leader and state != "Z":
                found.append(int(folder.name))
    return found


class Airflow(Rest):
    """An installation. ``settings``: {"core__executor": …}, for AIRFLOW__CORE__EXECUTOR."""

    def __init__(
        self,
        home: Path,
        dags: Path,
        settings: Mapping[str, str] = {},
        environment: Mapping[str, str] = {},
    ) -> None:
        home.mkdir(parents=True, exist_ok=True)
        super().__init__(f"http://127.0.0.1:{free_port()}")
        self.home = home
        self.services: dict[str, Service] = {}
        every = {
            "core__dags_folder": str(dags),
            "core__load_examples": "False",
            "core__dags_are_paused_at_creation": "False",
            "core__executor": "LocalExecutor",
            "core__execution_api_server_url": f"{self.url}/execution/",
            "core__simple_auth_manager_all_admins": "True",
            "core__hostname_callable": "socket.gethostname",
            "core__parallelism": "4",
            "core__fernet_key": "",
            "api__host": "127.0.0.1",
            "api__port": self.url.rpartition(":")[2],
            "api__workers": "1",
            "api_auth__jwt_secret": "a test's secret. " * 4,
            "database__sql_alchemy_conn": f"sqlite:///{home / 'airflow.db'}",
            "logging__base_log_folder": str(home / "logs"),
            "scheduler__scheduler_idle_sleep_time": "0.2",
            "scheduler__scheduler_heartbeat_sec": "1",
            "scheduler__job_heartbeat_sec": "1",
            "triggerer__job_heartbeat_sec": "1",
            # How long a supervisor may take to see that a process was killed.
            "workers__min_heartbeat_interval": "1",
            "workers__execution_api_timeout": "60",
            "usage_data_collection__enabled": "False",
            **settings,
        }
        # Neither another installation's settings nor a proxy for loopback.
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("AIRFLOW", "PUSHGATE")) and not name.lower().endswith("_proxy")
        }
        self.environment = {
            **kept,
            "AIRFLOW_HOME": str(home),
            "PUSHGATE_CONFIG": os.devnull,  # the developer's own would name a gateway
            "PUSHGATE_STATE_DIR": str(home / "state"),
            "PYTHONUNBUFFERED": "1",
            **{f"AIRFLOW__{name.upper()}": value for name, value in every.items()},
            **environment,
        }

    def cli(self, *arguments: str) -> str:
        """What an `airflow` command prints. AssertionError with its errors where it fails."""
        done = subprocess.run(
            [sys.executable, "-m", "airflow", *arguments],
            cwd=self.home,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=START_TIMEOUT,
            check=False,
        )
        assert done.returncode == 0, f"{arguments} ended with {done.returncode}\n{done.stderr}"
        return done.stdout

    def start(self, name: str, *arguments: str) -> None:
        """Start one more service; it need not be ready when this returns."""
        self.services[name] = Service(name, arguments, self)

    def check(self) -> None:
        """AssertionError where a service has ended."""
        for service in self.services.values():
            service.check()

    def wait_healthy(self) -> None:
        def healthy() -> bool:
            self.check()
            try:
                answer = self.api("GET", "/monitor/health")
            except (OSError, RefusedError):
                return False
            return all(part["status"] == "healthy" for part in answer.values())

        until(healthy, lambda: f"Airflow starts\n{self.logs()}", START_TIMEOUT)

    def wait_parsed(self, dag_ids: Collection[str]) -> None:
        """Wait until the DAGs are known and none is broken."""

        def parsed() -> bool:
            self.check()
            errors = self.api("GET", "/importErrors")["import_errors"]
            assert not errors, errors[0]["stack_trace"]
            return set(dag_ids) <= {dag["dag_id"] for dag in self.api("GET", "/dags")["dags"]}

        until(parsed, lambda: f"{dag_ids} are parsed\n{self.logs()}", START_TIMEOUT)

    def parse(self, dag_id: str, task_id: str) -> None:
        """Have the file of a DAG parsed anew, until the DAG has that task."""
        token = self.api("GET", f"/dags/{dag_id}")["file_token"]
        self.api("PUT", f"/parseDagFile/{token}")

        def parsed() -> bool:
            tasks = self.api("GET", f"/dags/{dag_id}/tasks")["tasks"]
            return task_id in {task["task_id"] for task in tasks}

        until(parsed, lambda: f"{task_id} of {dag_id} is parsed\n{self.logs()}", START_TIMEOUT)

    def logs(self) -> str:
        return "".join(
            f"--- {name}\n{service.log[-4000:]}\n" for name, service in self.services.items()
        )


@contextmanager
def airflow(
    home: Path,
    dags: Path,
    settings: Mapping[str, str] = {},
    environment: Mapping[str, str] = {},
    more: Mapping[str, Collection[str]] = {},
) -> Iterator[Airflow]:
    """`with airflow(tmp_path, DAGS) as installed:`, healthy.

    more: further services, such as {"w1": ("celery", "worker")}.
    """
    installed = Airflow(home, dags, settings, environment)
    installed.cli("db", "migrate")
    try:
        for name in SERVICES:
            serves_logs = name in {"scheduler", "triggerer"}
            installed.start(name, name, *(["--skip-serve-logs"] if serves_logs else []))
        for name, arguments in more.items():
            installed.start(name, *arguments)
        installed.wait_healthy()
        yield installed
    finally:
        for service in installed.services.values():
            service.end()
