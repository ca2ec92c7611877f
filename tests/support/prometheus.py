"""A real Prometheus, which scrapes and answers queries, and its promtool."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from struct import pack
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import snappy

from support import debian
from support.servers import Server

PATIENCE = 120.0  # seconds; what takes longer hangs
_OFTEN = "global: {scrape_interval: 1s, evaluation_interval: 5s}\n"


class Prometheus(Server):
    """A Prometheus process that scrapes every second, and evaluates its rules every five."""

    def __init__(self, binary: Path, folder: Path, configuration: str, *flags: str) -> None:
        file = folder / "prometheus.yml"
        file.write_text(_OFTEN + configuration)
        super().__init__(
            lambda port: [
                binary,
                f"--config.file={file}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
                "--log.level=info",
                *flags,
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

    def write(
        self, series: Iterable[tuple[Mapping[str, str], Iterable[tuple[float, float]]]]
    ) -> None:
        """Add series with samples, (Unix seconds, value), by remote write.

        It must have --web.enable-remote-write-receiver.
        https://prometheus.io/docs/specs/prw/remote_write_spec/
        """
        body = b"".join(
            _message(
                1,
                b"".join(
                    _message(1, _message(1, name.encode()) + _message(2, value.encode()))
                    for name, value in sorted(labels.items())
                )
                + b"".join(
                    _message(2, b"\x09" + pack("<d", value) + b"\x10" + _number(int(at * 1000)))
                    for at, value in samples
                ),
            )
            for labels, samples in series
        )
        url = f"http://127.0.0.1:{self.port}/api/v1/write"
        try:
            urlopen(Request(url, snappy.compress(body)), timeout=PATIENCE).close()
        except HTTPError as error:
            raise AssertionError(error.read().decode()) from None

    def _get(self, what: str, **parameters: str) -> dict[str, Any]:
        url = f"http://127.0.0.1:{self.port}/api/v1/{what}?{urlencode(parameters)}"
        try:
            with urlopen(url, timeout=PATIENCE) as response:
                data: dict[str, Any] = json.load(response)["data"]
                return data
        except HTTPError as error:
            raise AssertionError(f"{parameters}: {error.read().decode()}") from None


def _message(field: int, content: bytes) -> bytes:
    return _number(field << 3 | 2) + _number(len(content)) + content


def _number(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes((*out, value))


@contextmanager
def prometheus(folder: Path, configuration: str, *flags: str) -> Iterator[Prometheus]:
    """`with prometheus(tmp_path, "scrape_configs: …") as server:`"""
    server = Prometheus(debian.require("prometheus"), folder, configuration, *flags)
    try:
        yield server
    finally:
        server.kill()


def promtool(*arguments: str | Path) -> tuple[int, str]:
    """The exit code and all that it says."""
    tool = debian.require("prometheus").with_name("promtool")
    ended = subprocess.run(
        [tool, *arguments],
        env={**os.environ, "GOGC": "800"},  # a fifth of its time is Go's collections
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    return ended.returncode, ended.stdout + ended.stderr
