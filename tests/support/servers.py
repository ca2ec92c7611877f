"""Real servers on loopback ports, for the length of a `with` block.

A server is ready when its own log says that it listens. It is always ended by its pid.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

START_TIMEOUT = 300.0  # seconds, on a machine that does much else: RabbitMQ needs 4 s of CPU
BIND_TRIES = 5


class ServerError(RuntimeError):
    """The server did not start; the text has its log."""


class Server:
    """A process that listens. Its port stays the same over kill() and restart().

    command: the command line for a port. ready: what its log says, in lower case, once it listens.
    """

    def __init__(
        self,
        command: Callable[[int], Sequence[str | Path]],
        ready: str,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._command = command
        self._ready = ready
        self._environment = environment
        self._log: list[str] = []
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        self.port = 0
        for _ in range(BIND_TRIES):
            self.port = free_port()
            if self._start():
                return
        raise ServerError(f"no free port in {BIND_TRIES} tries\n{self.log}")

    @property
    def pid(self) -> int:
        assert self._process is not None, "not running"
        return self._process.pid

    @property
    def log(self) -> str:
        return "".join(self._log)

    def kill(self) -> None:
        """End it at once, as a crash does."""
        if self._process and self._reader:
            self._process.kill()
            self._process.wait()
            self._reader.join()
            self._process = None

    def restart(self) -> None:
        """Start it again on the same port, after kill()."""
        if not self._start():
            raise ServerError(f"port {self.port} was taken meanwhile\n{self.log}")

    def _start(self) -> bool:
        """False when the port is taken. Raises ServerError on any other failure."""
        before = len(self._log)
        command = self._command(self.port)
        self._process = subprocess.Popen(
            command,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        decided = threading.Event()
        self._reader = threading.Thread(target=self._read, args=(self._process, decided))
        self._reader.start()
        in_time = decided.wait(START_TIMEOUT)
        log = "".join(self._log[before:])
        if in_time and self._ready in log.lower():
            return True
        self.kill()
        if "address already in use" in log.lower():
            return False
        raise ServerError(f"{' '.join(map(str, command))} did not start\n{log}")

    def _read(self, process: subprocess.Popen[str], decided: threading.Event) -> None:
        assert process.stdout is not None
        with process.stdout:
            for line in process.stdout:
                self._log.append(line)
                if self._ready in line.lower():
                    decided.set()
        decided.set()  # it ended


class Pushgateway(Server):
    """A Pushgateway process."""

    def __init__(self, binary: Path, *flags: str, scheme: str = "http") -> None:
        self._scheme = scheme
        # Debian's build would otherwise share one file between all instances.
        if not any(flag.startswith("--persistence.file") for flag in flags):
            flags = ("--persistence.file=", *flags)
        super().__init__(
            lambda port: [binary, f"--web.listen-address=127.0.0.1:{port}", *flags], "listening on"
        )

    @property
    def url(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self.port}"


@contextmanager
def pushgateway(binary: Path, *flags: str, scheme: str = "http") -> Iterator[Pushgateway]:
    """`with pushgateway(require("pushgateway-1.11"), "--web.enable-admin-api") as server:`"""
    server = Pushgateway(binary, *flags, scheme=scheme)
    try:
        yield server
    finally:
        server.kill()


@contextmanager
def ui(*arguments: str) -> Iterator[int]:
    """`with ui("--gateway", url) as port:` runs `pushgate ui`, which ends well by TERM."""
    command = [sys.executable, "-m", "pushgate", "ui", "--retries", "0", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line.startswith("listening on http://127.0.0.1:"), line
        yield int(line.partition("/;")[0].rpartition(":")[2])
    finally:
        process.terminate()
        with process.stdout:
            assert process.wait() == 0


@contextmanager
def reserved_port() -> Iterator[int]:
    """A port that refuses connections, and that no other process gets: bound, but not listening.

    A server of this process can listen on it meanwhile, and again after a stop. (On Linux.)
    """
    with socket.socket() as reserved:
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reserved.bind(("127.0.0.1", 0))
        yield reserved.getsockname()[1]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
