"""``pushgate demo``: the whole promise in a minute, on a gateway in memory that goes away.

Enters: nothing. Leaves: on stdout, what a user of each adapter would see, what the outbox kept and
delivered, the table of all jobs and what a scrape of the gateway sees. Celery and Airflow have
their part where they are installed.
"""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple
from urllib.request import ProxyHandler, build_opener

from ..embedded import EmbeddedGateway
from .common_options import Parser
from .exit_status import CommandError

__all__ = ("main",)

_PATIENCE = 180.0  # seconds; Airflow makes a database first
# The user's own settings would lead the demo to their gateway, outbox, database and broker, and
# its worker would take the tasks that wait there.
_THEIRS = ("PUSHGATE", "PROMETHEUS_PUSHGATEWAY", "AIRFLOW", "CELERY")
_OURS = ("batch_job_", "rows_loaded", "rows_imported", "items_in_stock", "celery_task_finished")


class _Adapter(NamedTuple):
    """An adapter's part, ``python -m package.demo``, which waits for a line before it begins."""

    name: str
    needs: str
    package: str
    does: str


_ADAPTERS = (
    _Adapter("Celery", "celery", "pushgate_celery", "a worker runs three tasks, one fails"),
    _Adapter("Airflow", "airflow", "pushgate_airflow", "a DAG runs, its last task fails (20 s)"),
)


def main(arguments: list[str]) -> int:
    """Show it. Returns 0; raises CommandError unless all that was missed has arrived in the end."""
    Parser(
        "demo",
        "Run commands and, where they are installed, a Celery worker and an Airflow DAG against a\n"
        "gateway in memory that goes away in the middle.",
    ).parse_args(arguments)
    with TemporaryDirectory() as folder, EmbeddedGateway() as gateway:
        demo = _Demo(gateway, Path(folder))
        try:
            return demo.run()
        finally:
            demo.close()


class _Demo:
    def __init__(self, gateway: EmbeddedGateway, folder: Path) -> None:
        self._gateway = gateway
        self._url = gateway.url
        self._folder = folder
        self._environment = _environment(self._url, folder)
        self._installed = [adapter for adapter in _ADAPTERS if find_spec(adapter.needs)]
        self._started = {adapter: self._start(adapter) for adapter in self._installed}

    def run(self) -> int:
        _say(f"A Pushgateway in memory listens on {self._url}")
        _title("a job that succeeds and tells how many rows it loaded")
        self._wrap("backup", 'echo "rows_loaded 42" >> "$PUSHGATE_METRICS_FILE"; echo "backing up"')

        _title("now the gateway goes away")
        self._gateway.stop()
        _title("a job that fails meanwhile: its exit code is its own, its outcome waits")
        self._wrap("report", 'echo "no such table: orders" >&2; exit 3')
        for adapter in _ADAPTERS:
            if adapter in self._started:
                _title(f"{adapter.name}: {adapter.does}")
                self._finish(adapter)
            else:
                pip = f"pip install 'pushgate[{adapter.needs}]'"
                _title(f"{adapter.name} is not installed; its part: {pip}")
        self._pushgate("flush", "--list")

        _title("the gateway is back")
        self._gateway.start()
        self._pushgate("flush")
        _title("how all jobs are")
        self._pushgate("status")
        _title("what Prometheus sees when it scrapes the gateway")
        with build_opener(ProxyHandler({})).open(f"{self._url}/metrics") as scrape:
            text = scrape.read().decode()
        _say("\n".join(line for line in text.splitlines() if line.startswith(_OURS)))
        missing = [job for job in self._jobs() if f'job="{job}"' not in text]
        if missing:
            raise CommandError(f"nothing has arrived of {', '.join(missing)}")
        return 0

    def close(self) -> None:
        for process in self._started.values():
            if process.poll() is None:
                process.kill()
                process.wait()

    def _jobs(self) -> list[str]:
        return ["backup", "report", *(adapter.needs for adapter in self._installed)]

    def _wrap(self, job: str, script: str) -> None:
        code = self._pushgate("run", "--job", job, "-v", "--", "sh", "-c", script)
        _say(f"exit code {code}")

    def _pushgate(self, *arguments: str) -> int:
        """The command as a user would type it."""
        shown = " ".join(f"'{word}'" if " " in word else word for word in arguments)
        _say(f"$ pushgate {shown}")
        argv = [sys.executable, "-m", "pushgate", *arguments]
        return subprocess.run(argv, env=self._environment, check=False).returncode  # noqa: S603

    def _start(self, adapter: _Adapter) -> subprocess.Popen[bytes]:
        """Its preparations take seconds, in which the rest can go on."""
        home = self._folder / adapter.needs
        home.mkdir()
        with self._log(adapter).open("wb") as log:
            return subprocess.Popen(  # noqa: S603 - our own words
                [sys.executable, "-m", f"{adapter.package}.demo", str(home)],
                env=self._environment,
                cwd=home,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
            )

    def _finish(self, adapter: _Adapter) -> None:
        process = self._started[adapter]
        try:
            process.communicate(b"begin\n", timeout=_PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        log = self._log(adapter).read_text(errors="replace")
        if process.returncode:
            raise CommandError(f"{adapter.name} failed: {log[-2000:]}")
        _say(f"done, with {len(log.splitlines())} lines of log")

    def _log(self, adapter: _Adapter) -> Path:
        return self._folder / f"{adapter.needs}.log"


def _environment(url: str, folder: Path) -> dict[str, str]:
    """The user's, without what leads elsewhere; what the demo leaves on disk is in ``folder``."""
    config = folder / "config.toml"
    config.touch()
    theirs = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(_THEIRS) and not name.lower().endswith("_proxy")
    }
    return theirs | {
        "PUSHGATE_GATEWAY": url,
        "PUSHGATE_STATE_DIR": str(folder / "state"),
        "PUSHGATE_CONFIG": str(config),
    }


def _title(text: str) -> None:
    _say(f"\n# {text}")


def _say(text: str) -> None:
    """Print at once: the commands write to the same terminal."""
    print(text, flush=True)  # noqa: T201 - this is what the command is for
