"""A door in front of a gateway: it counts what goes through, and can be shut.

In: the port of a gateway on loopback. Out: another URL for it, the pushes that it took, and a
gateway that hangs when a test wants one: the door then accepts connections and never answers.
"""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple
from urllib.parse import unquote

from support.faults import FaultServer, Peer, answer


class Push(NamedTuple):
    """A request that the gateway took."""

    method: str
    labels: dict[str, str]
    body: str

    def has(self, metric: str) -> bool:
        return any(
            line.startswith((f"{metric} ", f"{metric}{{")) for line in self.body.splitlines()
        )


class Door:
    def __init__(self, port: int) -> None:
        self._port = port
        self._shut = threading.Event()
        self._lock = threading.Lock()
        self._took: list[Push] = []
        self._left_waiting = 0
        self.server = FaultServer(self._serve)
        self.url = self.server.url

    @property
    def took(self) -> list[Push]:
        with self._lock:
            return list(self._took)

    @property
    def left_waiting(self) -> int:
        """How many requests came while it was shut."""
        with self._lock:
            return self._left_waiting

    def shut(self) -> None:
        self._shut.set()

    def open(self) -> None:
        """Answer again; requests that came before stay without an answer."""
        self._shut.clear()

    def pushes_of(self, metric: str, **labels: str) -> list[Push]:
        """Those of the pushes to exactly this group that had this metric."""
        return [push for push in self.took if push.labels == labels and push.has(metric)]

    def _serve(self, peer: Peer) -> None:
        while seen := peer.request():
            if self._shut.is_set():
                with self._lock:
                    self._left_waiting += 1
                peer.hang()
                return
            upstream = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
            try:
                # The client's own names for the body's length and for the gateway.
                headers = {k: v for k, v in seen.headers if k not in {"host", "content-length"}}
                upstream.request(seen.method, seen.target, seen.body, headers)
                response = upstream.getresponse()
                said = response.read()
            finally:
                upstream.close()
            if seen.method != "GET" and response.status < 300:
                with self._lock:
                    self._took.append(Push(seen.method, _labels(seen.target), seen.body.decode()))
            kept = [(k, v) for k, v in response.getheaders() if k.lower() in _KEPT]
            peer.send(answer(f"{response.status} {response.reason}", said, tuple(kept)))


_KEPT = {"content-type", "content-encoding"}


def _labels(target: str) -> dict[str, str]:
    """Of .../metrics/job/<job>/<name>/<value>…, without any in base64."""
    parts = [unquote(part) for part in target.rpartition("/metrics/")[2].split("/")]
    return dict(zip(parts[::2], parts[1::2], strict=True))


@contextmanager
def door(port: int) -> Iterator[Door]:
    """`with door(gateway.port) as way: push(way.url)`"""
    opened = Door(port)
    with opened.server:
        yield opened
