"""A real Prometheus, which scrapes and answers queries, and its promtool."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import urlopen

from support import debian
from support.servers import Server

PATIENCE = 30.0  # seconds
_EVERY_SECOND = "global: {scrape_interval: 1s, evaluation_interval: 1s}\n"


class Prometheus(Server):
    """A Prometheus process that scrapes, and evaluates its rules, once a second."""

    def __init__(self, binary: Path, folder: Path, configuration: str) -> None:
        file = folder / "prometheus.yml"
        file.write_text(_EVERY_SECOND + configuration)
        super().__init__(
            lambda port: [
                binary,
                f"--config.file={file}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
                "--log.level=info",
            ],
            "server is ready to receive web requests",
        )

    def query(self, expression: str, at: float | None = None) -> list[dict[str, Any]]:
        """The vector: dicts with `metric` and `value`. `at` is in Unix seconds, else now."""
        moment = {} if at is None else {"time": str(at)}
        result: list[dict[str, Any]] = self._get("query", query=expression, **moment)["result"]
        return result

    def alerts(self) -> list[dict[str, Any]]:
        """The alerts that are pending or firing."""
        found: list[dict[str, Any]] = self._get("alerts")["alerts"]
        return found

    def until(self, holds: Callable[[], object]) -> None:
        """Return once `holds()` is true. Queries see what scrapes bring, second by second."""
        due = time.monotonic() + PATIENCE
        while not holds():
            assert time.monotonic() < due, f"it never came\n{self.log}"
            time.sleep(0.1)

    def _get(self, what: str, **parameters: str) -> dict[str, Any]:
        url = f"http://127.0.0.1:{self.port}/api/v1/{what}?{urlencode(parameters)}"
        try:
            with urlopen(url, timeout=10) as response:
                data: dict[str, Any] = json.load(response)["data"]
                return data
        except HTTPError as error:
            raise AssertionError(f"{parameters}: {error.read().decode()}") from None


@contextmanager
def prometheus(folder: Path, configuration: str) -> Iterator[Prometheus]:
    """`with prometheus(tmp_path, "scrape_configs: …") as server:`"""
    server = Prometheus(debian.require("prometheus"), folder, configuration)
    try:
        yield server
    finally:
        server.kill()


def promtool(*arguments: str | Path) -> tuple[int, str]:
    """The exit code and all that it says."""
    tool = debian.require("prometheus").with_name("promtool")
    ended = subprocess.run(
        [tool, *arguments], capture_output=True, text=True, timeout=120, check=False
    )
    return ended.returncode, ended.stdout + ended.stderr
