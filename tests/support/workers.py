"""Celery workers and beats as real processes, in a folder of their own.

A process runs an app module of tests/integrations/celery/apps, which reads config.json. It is ready
when it has been made, and its log is at hand. It and every process that it started, pushers too,
are killed by their pids when the `with` block ends.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

APPS = Path(__file__).parents[1] / "integrations" / "celery" / "apps"
PATIENCE = 60.0  # seconds; what takes longer hangs
# A warm shutdown takes 31 s longer where a child of the prefork pool had not yet taken the message
# that was written to it: docs/celery/outages.md has the place in Celery.
_END_PATIENCE = 75.0  # seconds
_MARK = "PUSHGATE_TEST_PROCESS"

T = TypeVar("T")


def until(
    condition: Callable[[], T], what: str | Callable[[], str], patience: float = PATIENCE
) -> T:
    """The first true answer of ``condition``. AssertionError with ``what`` when there is none."""
    deadline = time.monotonic() + patience
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"in vain: {what if isinstance(what, str) else what()}")
        time.sleep(0.02)
    return found


class CeleryProcess:
    """``python -m celery -A <app> <arguments>``, in a session of its own, so that a Ctrl-C of
    the terminal and what a test sends to the group go where they should."""

    ready_text: str

    def __init__(
        self,
        folder: Path,
        app: str,
        *arguments: str,
        config: Mapping[str, object],
        environment: Mapping[str, str] = {},
        prefix: Sequence[str] = (),
        wait: bool = True,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text(json.dumps(config))
        self.folder = folder
        self._mark = uuid.uuid4().hex
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("PUSHGATE")}
        path = [str(APPS), *filter(None, [inherited.get("PYTHONPATH")])]
        self._log_path = folder / "log"
        with self._log_path.open("wb") as log:
            self.process = subprocess.Popen(
                [*prefix, sys.executable, "-m", "celery", "-A", app, *arguments],
                cwd=folder,
                env={
                    **inherited,
                    "PYTHONPATH": os.pathsep.join(path),
                    "PYTHONUNBUFFERED": "1",
                    _MARK: self._mark,
                    # Where setproctitle is installed, as with Airflow, Celery's titles would
                    # overwrite the environment that /proc shows, and with it the mark.
                    "SPT_NOENV": "1",
                    # One host's: what a worker leaves in the outbox is there for the next.
                    "PUSHGATE_STATE_DIR": str(folder.parent / "state"),
                    **environment,
                },
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        if wait:
            try:
                self.wait_ready()
            except BaseException:
                self.end()
                raise

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    @property
    def log(self) -> str:
        return self._log_path.read_text(errors="replace")

    @property
    def pid(self) -> int:
        return self.process.pid

    def wait_ready(self) -> None:
        until(
            lambda: self.ready_text in self.log or self.process.poll() is not None,
            lambda: f"{self.ready_text!r} in the log\n{self.log}",
        )
        assert self.process.poll() is None, f"it ended at once\n{self.log}"

    def wait_logged(self, text: str) -> None:
        until(lambda: text in self.log, lambda: f"{text!r} in the log\n{self.log}")

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def wait(self, patience: float = _END_PATIENCE) -> int:
        """The exit code; AssertionError, with what its threads are doing, where it goes on."""
        try:
            return self.process.wait(patience)
        except subprocess.TimeoutExpired:
            self.send(signal.SIGUSR1)  # Celery writes the stacks of all threads into the log
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(2)
            raise AssertionError(f"it does not end\n{self.log}") from None

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send the signal, wait until it and all that came of it have ended; its exit code."""
        self.send(number)
        code = self.wait()
        self.wait_gone()
        return code

    def wait_gone(self) -> None:
        """Wait until every process that came of it has ended."""
        until(
            lambda: not self.descendants(),
            lambda: f"processes end: {self.descendants()}\n{self.log}",
        )

    def descendants(self) -> dict[int, str]:
        """The processes that came of it and live, itself included: their command lines by pid."""
        mark = f"{_MARK}={self._mark}".encode()
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                # A zombie's is empty.
                if mark in (folder / "environ").read_bytes().split(b"\0"):
                    command = (folder / "cmdline").read_bytes().replace(b"\0", b" ")
                    found[int(folder.name)] = command.decode(errors="replace").strip()
            except OSError:  # it ended just now, or is another user's
                continue
        return found

    def pushers(self) -> list[int]:
        return [pid for pid, command in self.descendants().items() if "pushgate.relay" in command]

    def end(self) -> None:
        """Kill what is left."""
        for _ in range(100):  # one may just be starting another
            living = self.descendants()
            if not living:
                break
            for pid in living:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            time.sleep(0.01)
        self.process.wait(PATIENCE)


class Worker(CeleryProcess):
    ready_text = " ready."

    def __init__(
        self,
        folder: Path,
        app: str,
        *arguments: str,
        config: Mapping[str, object],
        pool: str = "prefork",
        concurrency: int = 2,
        node: str = "w1@test",
        environment: Mapping[str, str] = {},
        prefix: Sequence[str] = (),
        wait: bool = True,
    ) -> None:
        super().__init__(
            folder,
            app,
            "worker",
            f"--pool={pool}",
            f"--concurrency={concurrency}",
            f"--hostname={node}",
            # The first costs a second at each start.
            *("--without-mingle", "--without-gossip", "--loglevel=INFO"),
            *arguments,
            config=config,
            environment=environment,
            prefix=prefix,
            wait=wait,
        )


class Beat(CeleryProcess):
    ready_text = "beat: Starting..."

    def __init__(
        self, folder: Path, app: str, *arguments: str, config: Mapping[str, object]
    ) -> None:
        super().__init__(
            folder,
            app,
            *("beat", "--schedule", str(folder / "schedule"), "--loglevel=INFO"),
            *arguments,
            config=config,
        )
