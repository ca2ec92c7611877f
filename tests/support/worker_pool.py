"""Processes that push through one outbox, each doing what it is told, until killed.

In: orders, one after the other. Out: for each, what the pushing call told. They are forked from a
process that has imported all they need, so that a killed one is soon replaced.

    worker = Worker()
    worker.ask({"do": "open", "url": gateway.url, "path": "outbox", "timeout": 0.2})
"""

from __future__ import annotations

import multiprocessing
from multiprocessing.connection import Connection
from typing import Any

from pushgate import Gateway, Outbox, PushError, RateLimitedLogger
from support import outbox_families

PATIENCE = 60.0  # seconds; what takes longer hangs

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["pushgate.outbox.flush", "pushgate.outbox.folder", __name__])


class Worker:
    """The test's end."""

    def __init__(self) -> None:
        self._orders, there = _CONTEXT.Pipe()
        self._process = _CONTEXT.Process(target=_work, args=(there,), daemon=True)
        self._process.start()
        there.close()

    def tell(self, order: dict[str, Any]) -> None:
        self._orders.send(order)

    def hear(self) -> dict[str, Any] | None:
        """Its answer to the last order; None where it died."""
        try:
            assert self._orders.poll(PATIENCE), "the worker hangs"
            answer: dict[str, Any] = self._orders.recv()
        except (EOFError, ConnectionError):
            return None
        return answer

    def ask(self, order: dict[str, Any]) -> dict[str, Any]:
        self.tell(order)
        answer = self.hear()
        assert answer is not None, f"the worker died of {order}"
        return answer

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self._process.kill()
        self._process.join(PATIENCE)
        self._orders.close()


def _work(orders: Connection) -> None:
    performer = _Performer()
    while True:
        try:
            order = orders.recv()
        except EOFError:
            return
        orders.send(performer.perform(order))


class _Performer:
    """The worker's end."""

    def perform(self, order: dict[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = getattr(self, f"_{order.pop('do')}")(**order)
        said, self._lines[:] = list(self._lines), []
        return {**answer, "said": said, "empty": self._outbox.is_empty()}

    def _open(self, url: str, path: str, timeout: float) -> dict[str, Any]:
        self._lines: list[str] = []
        self._outbox = Outbox(path, log=RateLimitedLogger(self._lines.append))
        self._gateway = Gateway(url, outbox=self._outbox, timeout=timeout, retries=0)
        self._plain = Gateway(url, timeout=timeout, retries=0)
        return {}

    def _change(self, method: str, job: str, families: list[tuple[str, float]]) -> dict[str, Any]:
        built = outbox_families.families(families)
        try:
            if method == "DELETE":
                self._gateway.delete(job)
            elif method == "PUT":
                self._gateway.push(job, built, clear=True)
            else:
                self._gateway.pushadd(job, built)
        except PushError as error:
            told = "kept" if getattr(error, "kept", False) else "lost"
            return {"told": told, "error": str(error)}
        return {"told": "arrived", "error": ""}

    def _flush(self, timeout: float) -> dict[str, Any]:
        done = self._outbox.flush(self._plain, timeout=timeout)
        return {"told": "flushed", **done._asdict(), "error": str(done.error or "")}

    def _look(self) -> dict[str, Any]:
        waiting = [[dict(w.labels), w.method, sorted(w.families)] for w in self._outbox.waiting()]
        return {"waiting": waiting}
