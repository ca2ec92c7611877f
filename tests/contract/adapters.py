"""The adapters under contract: each runs one job in a process of its own."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import IO, NamedTuple, Protocol

from contract.fork_server import ENVIRONMENT, ForkServer, Request
from support import brokers

PATIENCE = 120.0  # seconds; a job that takes longer is delayed without a bound


class Job(NamedTuple):
    """What to run. ``folder`` is for all that the process writes: its outbox, state and output.

    ``push_timeout``, in seconds, bounds how long the pushes delay the job. ``outage`` says that it
    is no use to try again within that time. ``only_later``: no job, but what delivers later.
    """

    gateway: str
    folder: Path
    push_timeout: float = 15.0
    outage: bool = False
    fails: bool = False
    forks: bool = False
    only_later: bool = False

    @property
    def environment(self) -> dict[str, str]:
        """What every adapter reads: pushgate's own settings."""
        return {
            "HOME": str(self.folder),
            "PUSHGATE_CONFIG": os.devnull,
            "PUSHGATE_STATE_DIR": str(self.folder / "state"),
            "PUSHGATE_TIMEOUT": str(self.push_timeout),
            "PUSHGATE_RETRIES": "0" if self.outage else "3",
        }


class Process(Protocol):
    """A job's process."""

    def kill(self) -> None: ...
    def wait(self) -> object: ...


class Ended(NamedTuple):
    """``output`` is the job's own: "ran", and then what its caller saw, "success" or "failure".

    ``lines`` are those of pushgate, ``errors`` is all of stderr.
    """

    output: list[str]
    lines: list[str]
    errors: str


class Adapter(Protocol):
    """One way to run a job. ``labels`` is the group that its outcome goes to.

    ``uses_outbox``: what can't be delivered waits there, and not with the framework.
    """

    name: str
    labels: Mapping[str, str]
    uses_outbox: bool

    def start(self, job: Job) -> Process: ...


def run(adapter: Adapter, job: Job) -> Ended:
    """Run the job to its end."""
    return ended(adapter.start(job), job)


def ended(process: Process, job: Job) -> Ended:
    """Wait for the end of the job's process."""
    process.wait()
    wait_for_companions(job)
    errors = (job.folder / "err").read_text()
    lines = [line for line in errors.splitlines() if line.startswith("pushgate: ")]
    output = (job.folder / "out").read_text().splitlines()
    # Celery's workers say goodbye.
    output = [line for line in output if line and not line.startswith("worker: ")]
    return Ended(output, lines, errors)


def wait_for_companions(job: Job) -> None:
    """Wait for processes that outlive the job, such as Celery's pusher, which has its settings."""
    mark = f"PUSHGATE_STATE_DIR={job.environment['PUSHGATE_STATE_DIR']}\0".encode()
    deadline = time.monotonic() + PATIENCE
    while any(mark in environment for environment in _environments()):
        assert time.monotonic() < deadline, "a process does not end"
        time.sleep(0.05)


def _environments() -> Iterator[bytes]:
    for path in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):  # it ended just now, or is another user's
            yield path.read_bytes()


class Command:
    """`pushgate run -- COMMAND`."""

    name = "command"
    labels: Mapping[str, str] = {"job": "contract"}
    uses_outbox = True

    def start(self, job: Job) -> Process:
        fork = "echo forked & wait; " if job.forks else ""
        command = [
            *(sys.executable, "-m", "pushgate", "run", "--job", "contract"),
            *("--gateway", job.gateway, "--push-timeout", str(job.push_timeout), "--"),
            *("sh", "-c", f"echo ran; {fork}exit {3 if job.fails else 0}"),
        ]
        with (job.folder / "out").open("wb") as out, (job.folder / "err").open("wb") as err:
            return _Command(command, job, out, err)


class _Command:
    def __init__(self, command: list[str], job: Job, out: IO[bytes], err: IO[bytes]) -> None:
        self._out = job.folder / "out"
        self._process = subprocess.Popen(
            command,
            env={**ENVIRONMENT, **job.environment},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            start_new_session=True,
        )

    def kill(self) -> None:
        self._process.kill()

    def wait(self) -> None:
        code = self._process.wait(PATIENCE)
        with self._out.open("a") as out:
            out.write({0: "success", 3: "failure"}.get(code, f"exit {code}") + "\n")


class InPython:
    """A job in a fork of a process that has imported ``module``, of this package's ``jobs``."""

    def __init__(
        self,
        name: str,
        module: str,
        labels: Mapping[str, str],
        *,
        job: Mapping[str, object] = {},
        environment: Mapping[str, str] = {},
        uses_outbox: bool = True,
    ) -> None:
        self.name = name
        self.labels = labels
        self.uses_outbox = uses_outbox
        self._module = f"contract.jobs.{module}"
        self._job = job
        self._environment = environment

    def start(self, job: Job) -> Process:
        told = {**job._asdict(), "folder": str(job.folder), **self._job}
        told["three_push_timeouts"] = min(3 * job.push_timeout, 15.0)
        if "{redis}" in self._environment.values():
            told["redis"] = fork_servers.redis()
        environment = {name: value.format_map(told) for name, value in self._environment.items()}
        request = Request(str(job.folder), told, {**job.environment, **environment})
        return fork_servers.of(self._module).start(request)


class ForkServers:
    """The fork servers of this process, and their redis, each started when first asked for."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._servers: dict[str, ForkServer] = {}
        self._redis = contextlib.ExitStack()
        self._redis_url = ""

    def of(self, module: str) -> ForkServer:
        with self._lock:
            if module not in self._servers:
                self._servers[module] = ForkServer(module)
            return self._servers[module]

    def redis(self) -> str:
        with self._lock:
            self._redis_url = self._redis_url or self._redis.enter_context(brokers.redis())
            return self._redis_url

    def close(self) -> None:
        for server in self._servers.values():
            server.close()
        self._servers.clear()
        self._redis.close()
        self._redis_url = ""


fork_servers = ForkServers()

AIRFLOW = {
    "AIRFLOW__PUSHGATE__GATEWAY": "{gateway}",
    "AIRFLOW__PUSHGATE__LISTENER": "True",
    # For a start and an end, with a quarter of each for keeping.
    "AIRFLOW__PUSHGATE__DEADLINE": "{three_push_timeouts}",
}
GATEWAY = {"PUSHGATE_GATEWAY": "{gateway}"}
TASKLINE = {"job": "taskline", "task": "load"}

ADAPTERS: list[Adapter] = [
    Command(),
    InPython("python", "python_job", {"job": "contract"}),
    InPython("coroutine", "coroutine_job", {"job": "contract"}),
    InPython("example", "example_adapter", TASKLINE, environment=GATEWAY),
]
if find_spec("apscheduler"):
    labels = {"job": "apscheduler", "task": "load"}
    ADAPTERS.append(InPython("apscheduler", "apscheduler_job", labels, environment=GATEWAY))
if find_spec("celery"):
    ADAPTERS.append(InPython("celery", "celery_worker", {"job": "celery", "task": "load"}))
if find_spec("django"):
    ADAPTERS.append(
        InPython("django", "django_command", {"job": "django", "task": "django_command"})
    )
if find_spec("dramatiq"):
    labels = {"job": "dramatiq", "task": "load"}
    ADAPTERS.append(InPython("dramatiq", "dramatiq_worker", labels, environment=GATEWAY))
if find_spec("prefect"):
    labels = {"job": "prefect", "task": "load"}
    ADAPTERS.append(InPython("prefect", "prefect_flow", labels, environment=GATEWAY))
if find_spec("rq"):
    labels = {"job": "rq", "task": "contract.jobs.rq_worker.load"}
    redis = {**GATEWAY, "REDIS_URL": "{redis}"}
    ADAPTERS.append(InPython("rq", "rq_worker", labels, environment=redis))
if find_spec("dagster"):
    labels = {"job": "dagster", "task": "load"}
    ADAPTERS.append(
        InPython("dagster", "dagster_sensor", labels, environment=GATEWAY, uses_outbox=False)
    )
if find_spec("airflow"):
    ADAPTERS += [
        InPython(
            f"airflow-{process}",
            "airflow_process",
            {"job": "airflow", "dag_id": "contract", **labels},
            job={"process": process},
            environment=AIRFLOW,
        )
        for process, labels in {"task": {"task_id": "load"}, "scheduler": {}}.items()
    ]
