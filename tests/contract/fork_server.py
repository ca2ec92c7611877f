"""Runs jobs in forks of a process that has imported their framework once: a fork takes 10 ms where
importing Airflow takes 3 s, and it is what Airflow and Celery do themselves.

As a program, ``python -m contract.fork_server SOCKET MODULE``: each connection is one job. It sends
a Request in JSON, gets the pid, and is closed when the job's process ends.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import pushgate

PATIENCE = 120.0  # seconds
# Taken once: tests change theirs while threads start processes, and copying it then may fail.
ENVIRONMENT = {name: value for name, value in os.environ.items() if "PUSHGATE" not in name}


class Request(NamedTuple):
    """``folder`` gets the files "out" and "err"; ``job`` is the argument of the module's run()."""

    folder: str
    job: Mapping[str, object]
    environment: Mapping[str, str]


class ForkedProcess:
    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._connection.settimeout(PATIENCE)
        with connection.makefile("r") as lines:
            self.pid = int(lines.readline())

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)

    def wait(self) -> None:
        with self._connection:
            assert self._connection.recv(1) == b""


class ForkServer:
    """``ForkServer("contract.jobs.python_job").start(request).wait()``"""

    def __init__(self, module: str) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="fork-server")
        self._path = os.path.join(self._folder.name, "socket")
        path = [str(Path(__file__).parents[1]), *filter(None, [ENVIRONMENT.get("PYTHONPATH")])]
        with socket.socket(socket.AF_UNIX) as listener:  # the server's alone: it refuses once dead
            listener.bind(self._path)
            listener.listen(128)
            self._process = subprocess.Popen(
                [sys.executable, "-W", "ignore", "-m", "contract.fork_server", module],
                stdin=listener,
                cwd=self._folder.name,
                env={
                    **ENVIRONMENT,
                    "HOME": self._folder.name,
                    "PUSHGATE_CONFIG": os.devnull,
                    "PYTHONPATH": os.pathsep.join(path),
                },
            )

    def start(self, request: Request) -> ForkedProcess:
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(self._path)
        connection.sendall(json.dumps(request._asdict()).encode() + b"\n")
        return ForkedProcess(connection)

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(PATIENCE)
        self._folder.cleanup()


def main() -> None:
    module = importlib.import_module(sys.argv[1])
    for name in pushgate.__all__:  # what pushes and their failures need is loaded before the forks
        getattr(pushgate, name)
    pushgate.Settings.load({}, os.environ)
    gc.freeze()  # their collections leave it alone, and need no copies of it
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps
    parent = os.getppid()
    with socket.socket(fileno=os.dup(0)) as listener:
        listener.settimeout(1.0)
        while os.getppid() == parent:  # one that was killed can't end us
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                continue
            pid = os.fork()
            if pid == 0:
                break
            connection.close()
        else:
            return
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    _run(module, connection)


def _run(module: ModuleType, connection: socket.socket) -> None:
    """Be the job's process, until it ends as any Python process does."""
    with connection.makefile("r") as lines:
        request = Request(**json.loads(lines.readline()))
    connection.sendall(b"%d\n" % os.getpid())
    module.connection = connection  # open until the process ends
    os.chdir(request.folder)
    for name, descriptor in {"out": 1, "err": 2}.items():
        file = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(file, descriptor)
        os.close(file)
    os.environ.update(request.environment)
    try:
        module.run(request.job)
    except Exception:
        traceback.print_exc()
        sys.exit(1)


if __name__ == "__main__":
    main()
