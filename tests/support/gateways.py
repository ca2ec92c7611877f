"""The gateways that tests run against: the embedded one and real ones, one of KINDS each.

A gateway has a URL, the behaviour to expect, and raw exchanges of HTTP.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import pytest

from support import debian, servers

EMBEDDED, OLD, NEW = "embedded", "real-1.5.1", "real-1.11"
KINDS = (
    EMBEDDED,
    pytest.param(OLD, marks=pytest.mark.end_to_end),
    pytest.param(NEW, marks=pytest.mark.end_to_end),
)


@dataclass(frozen=True)
class Answer:
    status: int
    text: str
    headers: Mapping[str, str]


@dataclass(frozen=True)
class GatewayUnderTest:
    kind: str
    url: str

    @property
    def is_old(self) -> bool:
        """Whether it behaves as 1.5.1; the embedded one behaves as 1.11.2."""
        return self.kind == OLD

    def exchange(
        self, method: str, target: str, body: bytes | str | None = None, **headers: str
    ) -> Answer:
        """One request on its own connection; Content_Type=… becomes Content-Type.

        Repeated after a reset: a server that refuses the head of a request closes on its body, and
        the reset may overtake the answer.
        """
        data = body.encode() if isinstance(body, str) else body
        sent = {name.replace("_", "-"): text for name, text in headers.items()}
        for _ in range(5):
            with suppress(ConnectionResetError, BrokenPipeError):
                return self._exchange(method, target, data, sent)
        return self._exchange(method, target, data, sent)

    def _exchange(
        self, method: str, target: str, body: bytes | None, headers: Mapping[str, str]
    ) -> Answer:
        address = urlsplit(self.url)
        connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=60)
        try:
            connection.request(method, target, body, dict(headers))
            response = connection.getresponse()
            text = response.read().decode("utf-8", "backslashreplace")
            return Answer(response.status, text, dict(response.getheaders()))
        finally:
            connection.close()

    def groups(self) -> list[dict[str, Any]]:
        """The `data` of /api/v1/metrics."""
        data: list[dict[str, Any]] = json.loads(self.exchange("GET", "/api/v1/metrics").text)[
            "data"
        ]
        return data

    def wipe(self) -> None:
        """Forget every group, and return once that is done: a real gateway answers before it is."""
        assert self.exchange("PUT", "/api/v1/admin/wipe").status == 202
        for _ in range(1000):
            if not self.groups():
                return
        raise AssertionError("groups stay after a wipe")


@contextmanager
def open_gateway(kind: str, *flags: str) -> Iterator[GatewayUnderTest]:
    """A new gateway; the flags are for a real one."""
    if kind == EMBEDDED:
        from pushgate.embedded import EmbeddedGateway

        with EmbeddedGateway() as embedded:
            yield GatewayUnderTest(kind, embedded.url)
    else:
        binary = debian.require(f"pushgateway-{kind.removeprefix('real-')}")
        with servers.pushgateway(binary, "--web.enable-admin-api", *flags) as real:
            yield GatewayUnderTest(kind, real.url)
