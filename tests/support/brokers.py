"""Celery's brokers on loopback ports, for the length of a `with` block.

The block gets a URL for Celery's broker_url. Nothing of them stays afterwards.

    python -m support.brokers      (from tests/) is a redis for an example: it prints its URL
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support import debian
from support.servers import Server, free_port


@contextmanager
def redis() -> Iterator[str]:
    """`with redis() as url:`, a URL without a database number: add `/0` to `/15`."""
    with redis_server() as server:
        yield f"redis://127.0.0.1:{server.port}"


@contextmanager
def redis_server() -> Iterator[Server]:
    """The same as a server that can be killed and restarted."""
    binary = debian.require("redis")
    server = Server(
        lambda port: [
            *(binary, "--port", str(port), "--bind", "127.0.0.1"),
            *("--save", "", "--appendonly", "no", "--databases", "256"),
        ],
        "ready to accept connections",
        debian.environment("redis"),
    )
    try:
        yield server
    finally:
        server.kill()


@contextmanager
def rabbitmq() -> Iterator[str]:
    """`with rabbitmq() as url:`, of a node without plugins."""
    binary = debian.require("rabbitmq")
    environment = debian.environment("rabbitmq")
    with tempfile.TemporaryDirectory(prefix="rabbitmq") as folder:
        environment |= _places(Path(folder))

        def command(port: int) -> list[str | Path]:
            environment["RABBITMQ_NODE_PORT"] = str(port)
            return [binary, "-noinput"]

        # A node starts the port mapper if there is none, and leaves it behind.
        with _port_mapper(environment):
            server = Server(command, "server startup complete", environment)
            try:
                yield f"amqp://guest:guest@127.0.0.1:{server.port}//"
            finally:
                server.kill()


def _places(folder: Path) -> dict[str, str]:
    """Where a node keeps everything: https://www.rabbitmq.com/docs/configure#environment-variables"""
    return {
        "HOME": str(folder),  # of Erlang's cookie
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "ERL_EPMD_PORT": str(free_port()),
        "RABBITMQ_CONF_ENV_FILE": str(folder / "none"),
        "RABBITMQ_CONFIG_FILE": str(folder / "none.conf"),
        "RABBITMQ_DIST_PORT": str(free_port()),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
        "RABBITMQ_LOGS": "-",
        "RABBITMQ_LOG_BASE": str(folder / "log"),
        "RABBITMQ_MNESIA_BASE": str(folder / "db"),
        "RABBITMQ_NODENAME": "pushgate@localhost",
        "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
        # The script then becomes the node, instead of watching over it.
        "RUNNING_UNDER_SYSTEMD": "true",
    }


@contextmanager
def _port_mapper(environment: dict[str, str]) -> Iterator[None]:
    command = shutil.which("epmd", path=environment["PATH"])
    assert command, "Erlang's packages have no epmd"
    with subprocess.Popen([command], env=environment) as mapper:
        try:
            yield
        finally:
            mapper.kill()


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    with redis() as url:
        print(url, flush=True)
        signal.pause()


if __name__ == "__main__":
    main()
