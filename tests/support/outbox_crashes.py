"""A process with an outbox that is ended, or whose disk fails, at the write that a test chooses.

In: where to keep the outbox, a gateway's URL, the number of the write and what happens then. Out:
what the process was told by each of its calls, as far as it came. It is forked from one that has
imported everything. Its clock is the gateway's, in shared memory, and stands still but for what the
steps add: so all that is compared is far apart, and nothing depends on how fast a machine is.
"""

from __future__ import annotations

import importlib
import json
import mmap
import os
import pkgutil
import struct
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from support import outbox_disk
from support.outbox_model import Change

START = 1_800_000_000.0  # Unix seconds
STEP = 10.0  # seconds from one step to the next

DOWN, UP, UNREAD = "down", "up", "unread"  # unread: it performs the request, its answer is lost


def _of(method: str, **families: float) -> Change:
    return Change(method, frozenset(families.items()))


Action = tuple[str, str, Change]  # weather, group, change
KEEP, FLUSH = "keep", "flush"

SCRIPT: tuple[tuple[Action, ...] | str, ...] = (
    ((DOWN, "a", _of("POST", rows=1)),),
    ((DOWN, "a", _of("PUT", rows=2, parts=3)),),
    ((DOWN, "b", _of("DELETE")),),
    (
        (KEEP, "c", _of("POST", rows=4)),
        (KEEP, "d", _of("POST", rows=5, sizes=6)),
        (KEEP, "e", _of("PUT", rows=7)),
    ),
    ((UP, "a", _of("POST", sizes=8)),),
    ((DOWN, "b", _of("POST", rows=9)),),
    ((UNREAD, "c", _of("PUT", rows=10)),),
    ((DOWN, "c", _of("POST", sizes=11)),),
    FLUSH,
    ((UNREAD, "e", _of("DELETE")),),
    ((UP, "e", _of("PUT", rows=12)),),
    ((DOWN, "a", _of("PUT")),),
    ((UP, "b", _of("DELETE")),),
    ((DOWN, "d", _of("POST", rows=13)),),
    ((UP, "a", _of("POST", rows=14)),),
)
"""What is done, one step after the other; what is in one tuple, at once."""


class Clock:
    """A time that processes share, in a file."""

    def __init__(self, path: str) -> None:
        with open(path, "r+b") as file:
            self._memory = mmap.mmap(file.fileno(), 8)

    @classmethod
    def new(cls, path: str) -> Clock:
        Path(path).write_bytes(struct.pack("d", START))
        return cls(path)

    def __call__(self) -> float:
        now: float = struct.unpack("d", self._memory[:8])[0]
        return now

    def advance(self, seconds: float) -> None:
        self._memory[:8] = struct.pack("d", self() + seconds)

    def close(self) -> None:
        self._memory.close()


class Told:
    """What a process was told: by step, and at its end."""

    def __init__(self, lines: list[Any]) -> None:
        self.steps: list[str] = [line["told"] for line in lines if "told" in line]
        self.errors: list[str] = [line["error"] for line in lines if line.get("error")]
        self.said: list[str] = [text for line in lines for text in line.get("said", ())]
        self.crash: str = "".join(line.get("crash", "") for line in lines)
        ends = [line for line in lines if "writes" in line]
        self.writes: list[list[str]] = ends[0]["writes"] if ends else []


class Zygote:
    """`with Zygote() as zygote: zygote.run(…)`"""

    def __enter__(self) -> Zygote:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "support.outbox_crashes"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        )
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(30)

    def run(self, **order: Any) -> Told:
        """Script, or what else the order asks for, in a new process."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        self._process.stdin.flush()
        return Told(json.loads(self._process.stdout.readline()))


def _import_all() -> None:
    """What a forked process would import, each time anew."""
    for room in ("transport", "protocol", "gateway", "outbox"):
        for module in pkgutil.iter_modules(importlib.import_module(f"pushgate.{room}").__path__):
            importlib.import_module(f"pushgate.{room}.{module.name}")
    importlib.import_module("email.utils")


def main() -> None:
    _import_all()
    for line in sys.stdin.buffer:
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                os.close(reading)
                _Child(writing, **json.loads(line)).run()
            except BaseException:
                os.write(writing, json.dumps({"crash": traceback.format_exc()}).encode() + b"\n")
            finally:
                os._exit(0)
        os.close(writing)
        with open(reading, "rb") as pipe:
            lines = [json.loads(said) for said in pipe]
        os.waitpid(child, 0)
        print(json.dumps(lines), flush=True)


class _Child:
    """``at``: the first write that fails, ``until``: the step after which the disk is well again;
    ``failure``: an errno, outbox_disk.TEAR, or 0 for death before the write."""

    def __init__(
        self,
        report: int,
        *,
        folder: str,
        clock: str,
        url: str,
        work: str = "script",
        at: int | None = None,
        failure: int = 0,
        only: bool = True,
    ) -> None:
        from pushgate import Gateway, Outbox, RateLimitedLogger

        self._report_to = report
        self._clock = Clock(clock)
        self._work = work
        self._at, self._failure, self._only = at, failure, only
        self._writes: list[tuple[str, str]] = []
        self._lines: list[str] = []
        self._weather = UP
        time.time = self._clock  # type: ignore[assignment]
        outbox_disk.wrap(folder, self._decide)
        log = RateLimitedLogger(self._lines.append)
        self._outbox = Outbox(os.path.join(folder, "outbox"), log=log)
        self._gateway = Gateway(
            url, handler=self._handle, timeout=10, retries=0, outbox=self._outbox
        )

    def run(self) -> None:
        if self._work == "recover":
            self._step(self._recover)
        else:
            for step in SCRIPT:
                self._step(lambda step=step: self._perform(step))
                self._clock.advance(STEP)
        self._report({"writes": self._writes})

    def _step(self, work: Callable[[], dict[str, Any]]) -> None:
        done = work()
        said, self._lines[:] = list(self._lines), []
        self._report({**done, "said": said})

    def _report(self, line: dict[str, Any]) -> None:
        os.write(self._report_to, json.dumps(line).encode() + b"\n")

    def _decide(self, kind: str, name: str) -> int | None:
        number = len(self._writes)
        self._writes.append((kind, name))
        due = self._at is not None and (number == self._at if self._only else number >= self._at)
        if not due:
            return None
        if self._failure == 0:
            outbox_disk.die()
        return self._failure

    def _handle(self, **request: Any) -> Callable[[], None]:
        from pushgate import default_handler
        from pushgate.errors import GatewayDisconnectedError

        def perform() -> None:
            if self._weather != DOWN:
                default_handler(**request)()
            if self._weather != UP:
                raise GatewayDisconnectedError(
                    "an outage", method=request["method"], url=request["url"]
                )

        return perform

    def _perform(self, step: tuple[Action, ...] | str) -> dict[str, Any]:
        from pushgate import GroupingKey, PushError, encode
        from support.outbox_families import families

        if isinstance(step, str):
            done = self._outbox.flush(self._gateway)
            return {"told": "flushed", "why": str(done.error or "")}
        weather, group, change = step[0]
        built = [families(sorted(change.families)) for _, _, change in step]
        if weather == KEEP:
            kept = self._outbox.keep(
                self._gateway.url,
                [
                    (change.method, GroupingKey(group), encode(body).text, time.time())
                    for (_, group, change), body in zip(step, built, strict=True)
                ],
            )
            return {"told": "kept" if kept else "lost"}
        self._weather = weather
        try:
            if change.method == "DELETE":
                self._gateway.delete(group)
            elif change.method == "PUT":
                self._gateway.push(group, built[0], clear=True)
            else:
                self._gateway.pushadd(group, built[0])
        except PushError as error:
            return {"told": "kept" if error.kept else "lost", "error": str(error)}
        finally:
            self._weather = UP
        return {"told": "arrived"}

    def _recover(self) -> dict[str, Any]:
        was_empty = self._outbox.is_empty()
        done = self._outbox.flush(self._gateway)
        told = "empty" if was_empty else "flushed"
        is_clean = done.left == 0 and done.error is None
        return {"told": f"{told}{'' if is_clean else f' badly: {done}'}"}


if __name__ == "__main__":
    main()
