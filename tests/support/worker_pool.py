"""Processes that push through one outbox, each doing what it is told, until killed.

In: orders over a socket, one JSON value a line. Out: for each, what the pushing call told. They are
forked from one pool, so that a killed one is soon replaced.

    with WorkerPool() as pool:
        worker = pool.worker()
        worker.ask({"do": "open", "url": gateway.url, "path": "outbox", "timeout": 0.2})
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

PATIENCE = 30.0  # seconds; what takes longer hangs


class Worker:
    """The test's end."""

    def __init__(self, sock: socket.socket) -> None:
        sock.settimeout(PATIENCE)
        self._sock = sock
        self._lines = sock.makefile("rb")
        self.pid = int(self._lines.readline())

    def tell(self, order: dict[str, Any]) -> None:
        self._sock.sendall(json.dumps(order).encode() + b"\n")

    def hear(self) -> dict[str, Any] | None:
        """Its answer to the last order; None where it died."""
        try:
            line = self._lines.readline()
        except ConnectionError:
            return None
        return json.loads(line) if line.endswith(b"\n") else None

    def ask(self, order: dict[str, Any]) -> dict[str, Any]:
        self.tell(order)
        answer = self.hear()
        assert answer is not None, f"the worker died of {order}"
        return answer

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)  # its pool waits for nobody: it died by itself
        while self.hear() is not None:
            pass
        self.close()

    def close(self) -> None:
        self._lines.close()
        self._sock.close()


class WorkerPool:
    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="pushgate-pool-")
        path = os.path.join(self._folder.name, "s")
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(path)
        self._listener.listen(16)
        self._listener.settimeout(PATIENCE)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "support.worker_pool", path],
            stdin=subprocess.PIPE,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(
                    [str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
                ),
            },
        )

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(PATIENCE)
        self._listener.close()
        self._folder.cleanup()

    def worker(self) -> Worker:
        assert self._process.stdin is not None
        self._process.stdin.write(b"\n")
        self._process.stdin.flush()
        return Worker(self._listener.accept()[0])


def main(path: str) -> None:
    import pushgate.outbox
    from pushgate import Gateway
    from support import outbox_families  # imported once, for all who are forked

    assert pushgate.outbox
    assert Gateway
    assert outbox_families
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the dead
    while sys.stdin.buffer.read(1):
        if os.fork() == 0:
            os.close(0)
            with socket.socket(socket.AF_UNIX) as sock:
                sock.connect(path)
                _work(sock)
            os._exit(0)


def _work(sock: socket.socket) -> None:
    sock.sendall(b"%d\n" % os.getpid())
    performer = _Performer()
    with sock.makefile("rb") as lines:
        for line in lines:
            answer = performer.perform(json.loads(line))
            sock.sendall(json.dumps(answer).encode() + b"\n")


class _Performer:
    """The worker's end."""

    def perform(self, order: dict[str, Any]) -> dict[str, Any]:
        began = time.monotonic()
        answer: dict[str, Any] = getattr(self, f"_{order.pop('do')}")(**order)
        return {**answer, "took": time.monotonic() - began, "said": self._said()}

    def _said(self) -> list[str]:
        said, self._lines[:] = list(self._lines), []
        return said

    def _open(self, url: str, path: str, timeout: float) -> dict[str, Any]:
        from pushgate import Gateway, Outbox, RateLimitedLogger

        self._lines: list[str] = []
        self._outbox = Outbox(path, log=RateLimitedLogger(self._lines.append))
        self._gateway = Gateway(url, outbox=self._outbox, timeout=timeout, retries=0)
        self._plain = Gateway(url, timeout=timeout, retries=0)
        return {}

    def _change(self, method: str, job: str, families: list[tuple[str, float]]) -> dict[str, Any]:
        from pushgate import PushError
        from support.outbox_families import families as built

        try:
            if method == "DELETE":
                self._gateway.delete(job)
            elif method == "PUT":
                self._gateway.push(job, built(families), clear=True)
            else:
                self._gateway.pushadd(job, built(families))
        except PushError as error:
            told = "kept" if getattr(error, "kept", False) else "lost"
            return {"told": told, "error": str(error), "empty": self._outbox.is_empty()}
        return {"told": "arrived", "error": "", "empty": self._outbox.is_empty()}

    def _flush(self, timeout: float | None = None, unseen: bool = False) -> dict[str, Any]:
        done = self._outbox.flush(self._plain, timeout=timeout, unseen=unseen)
        return {
            "told": "flushed",
            "delivered": done.delivered,
            "dropped": list(done.dropped),
            "left": done.left,
            "error": str(done.error or ""),
            "empty": self._outbox.is_empty(),
        }

    def _look(self) -> dict[str, Any]:
        waiting = [[dict(w.labels), w.method, sorted(w.families)] for w in self._outbox.waiting()]
        return {"empty": self._outbox.is_empty(), "waiting": waiting}


if __name__ == "__main__":
    main(sys.argv[1])
