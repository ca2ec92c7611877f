"""A real Prefect server on loopback, for the length of a `with` block or of its starter's life.

As a program, ``python -m support.prefect_server`` prints its URL at once, and ends with its stdin.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

PATIENCE = 180.0  # seconds
TESTS = Path(__file__).parents[1]


class PrefectServer(NamedTuple):
    """``url`` is that of its API. It ends when the process's stdin is closed."""

    process: subprocess.Popen[str]
    url: str


def use_folder(folder: Path) -> None:
    """Let Prefect, here and in processes begun from now on, write to ``folder`` alone."""
    os.environ["PREFECT_HOME"] = str(folder)
    os.environ["PREFECT_SERVER_ANALYTICS_ENABLED"] = "false"
    os.environ["PREFECT_SERVER_UI_ENABLED"] = "false"
    os.environ["PREFECT_LOGGING_TO_API_ENABLED"] = "false"
    os.environ["DO_NOT_TRACK"] = "1"
    # SQLite has one writer at a time: wait for it, and have fewer of them.
    os.environ["PREFECT_SERVER_DATABASE_TIMEOUT"] = str(PATIENCE)
    os.environ["PREFECT_SERVER_DATABASE_CONNECTION_TIMEOUT"] = str(PATIENCE)
    for service in ("EVENT_PERSISTER", "TRIGGERS", "TASK_RUN_RECORDER", "LATE_RUNS", "FOREMAN"):
        os.environ[f"PREFECT_SERVER_SERVICES_{service}_ENABLED"] = "false"


def start(folder: Path) -> PrefectServer:
    """A server that is ready, and all of whose files are in ``folder``."""
    use_folder(folder)
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "support.prefect_server"],
        env={**os.environ, "PYTHONPATH": str(TESTS)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    url = process.stdout.readline().strip()
    # It listens already, and answers after some 10 s.
    urllib.request.urlopen(f"{url}/health", timeout=PATIENCE).close()
    return PrefectServer(process, url)


@contextmanager
def prefect_server(folder: Path) -> Iterator[str]:
    """The URL of its API."""
    server = start(folder)
    with server.process:
        yield server.url
        server.process.communicate()


def main() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    print(f"http://127.0.0.1:{listener.getsockname()[1]}/api", flush=True)
    threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
    import uvicorn
    from prefect.server.api.server import create_app

    config = uvicorn.Config(create_app(), log_level="error", lifespan="on")
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
