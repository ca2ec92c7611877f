"""A proxy in front of a gateway: it records the pushes that pass, and does what bad days do.

with fault_proxy(gateway.port, fault=hang) as proxy:
    push(proxy.url)  # hangs
    proxy.heal()
    push(proxy.url)  # reaches the gateway, by the same URL
"""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import NamedTuple
from urllib.parse import unquote

from support.faults import PATIENCE, FaultServer, Peer, Script, Seen, answer, hang
from support.servers import reserved_port


class Push(NamedTuple):
    """A request that the gateway accepted."""

    method: str
    labels: dict[str, str]
    body: str

    def has(self, metric: str) -> bool:
        return any(
            line.startswith((f"{metric} ", f"{metric}{{")) for line in self.body.splitlines()
        )


class FaultProxy:
    """``port`` is the gateway's, on loopback. ``fault`` serves each connection until :meth:`heal`,
    but at most ``count`` connections. Use :func:`fault_proxy`.
    """

    def __init__(self, port: int, fault: Script | None, count: float) -> None:
        self._port = port
        self._fault = fault
        self._left = count
        self._lock = threading.Lock()
        self._took: list[Push] = []
        self.met_fault = 0  # how many connections
        self._meeting = threading.Condition(self._lock)
        self._stack = ExitStack()
        self._address = self._stack.enter_context(reserved_port())
        self.url = f"http://127.0.0.1:{self._address}"

    @property
    def took(self) -> list[Push]:
        with self._lock:
            return list(self._took)

    def listen(self) -> None:
        """Accept connections; they are refused before."""
        self._stack.enter_context(FaultServer(self._serve, port=self._address))

    def heal(self) -> None:
        """Answer new requests from now on; requests that met the fault stay without an answer."""
        self._fault = None

    def hang(self) -> None:
        """Stop answering."""
        self._left, self._fault = float("inf"), hang

    def wait_for_fault(self) -> None:
        """Wait until a client has met the fault."""
        with self._meeting:
            assert self._meeting.wait_for(lambda: self.met_fault, PATIENCE), "nothing was sent"

    def pushes_of(self, metric: str, **labels: str) -> list[Push]:
        """The pushes of this metric to exactly this group."""
        return [push for push in self.took if push.labels == labels and push.has(metric)]

    def close(self) -> None:
        self._stack.close()

    def _serve(self, peer: Peer) -> None:
        if self._meets_fault():
            (self._fault or hang)(peer)
            return
        while seen := peer.request():
            if self._meets_fault():
                peer.hang()
                return
            status, answered = forward(seen, self._port)
            if seen.method != "GET" and status < 300:
                with self._lock:
                    self._took.append(Push(seen.method, _labels(seen.target), seen.body.decode()))
            peer.send(answered)

    def _meets_fault(self) -> bool:
        with self._meeting:
            if self._fault is None or self._left <= 0:
                return False
            self._left -= 1
            self.met_fault += 1
            self._meeting.notify_all()
            return True


_PASSED = {"content-type", "content-encoding", "date"}


def forward(seen: Seen, port: int, timeout: float = PATIENCE) -> tuple[int, bytes]:
    """The status, and the whole response, of a server on loopback to the same request."""
    upstream = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    with closing(upstream):
        # The client's own names for the body's length and for the gateway.
        headers = {k: v for k, v in seen.headers if k not in {"host", "content-length"}}
        upstream.request(seen.method, seen.target, seen.body, headers)
        response = upstream.getresponse()
        body = response.read()
    passed = [(k, v) for k, v in response.getheaders() if k.lower() in _PASSED]
    return response.status, answer(f"{response.status} {response.reason}", body, tuple(passed))


def _labels(target: str) -> dict[str, str]:
    """Of .../metrics/job/<job>/<name>/<value>…, without any in base64."""
    parts = [unquote(part) for part in target.rpartition("/metrics/")[2].split("/")]
    return dict(zip(parts[::2], parts[1::2], strict=True))


@contextmanager
def fault_proxy(
    port: int, fault: Script | None = None, *, count: float = float("inf"), down: bool = False
) -> Iterator[FaultProxy]:
    """A FaultProxy that ends with the block; ``down`` refuses connections until ``listen()``."""
    proxy = FaultProxy(port, fault, count)
    try:
        if not down:
            proxy.listen()
        yield proxy
    finally:
        proxy.close()
