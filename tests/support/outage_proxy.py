"""A proxy in front of a gateway: what stands between a job and its gateway on a bad day.

In: the port of a gateway on loopback, and one mode at a time. Out: another URL for it. Unlike
support.fault_proxy it knows what it owes: requests that it has put aside can be performed later,
when nobody waits for them any more.
"""

from __future__ import annotations

import contextlib
import http.client
import random
import select
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from support.fault_proxy import forward
from support.faults import PATIENCE, FaultServer, Peer, Seen, answer

OPEN = "open"
HANG = "hang"  # never answers, and forwards nothing
BUSY = "busy"  # 503, and forwards nothing
DENY = "deny"  # 401, and forwards nothing
RESET = "reset"  # closes the connection, and forwards nothing
FLAKY = "flaky"  # one in two as BUSY, else as OPEN
UNREAD = "unread"  # forwards, but the answer is lost: the connection closes
SILENT = "silent"  # forwards, but the answer never comes
ASIDE = "aside"  # puts changes aside until release(); never answers
FORWARDING = (OPEN, FLAKY, UNREAD, SILENT)

_REFUSALS = {BUSY: answer("503 Service Unavailable", b"later"), DENY: answer("401 Unauthorized")}
_FAILURES = (OSError, http.client.HTTPException)


class OutageProxy(FaultServer):
    def __init__(self, port: int) -> None:
        self.mode = OPEN
        self.chance = random.Random()
        self.seen = threading.Semaphore(0)  # one for each change that came in
        self._gateway = port
        self._aside: list[Seen] = []
        self._under_way = 0
        super().__init__(self._serve_client)

    def settle(self) -> None:
        """Wait until every request that came is read, and every forwarded one has its answer."""
        deadline = time.monotonic() + PATIENCE
        while self._is_busy():
            assert time.monotonic() < deadline, f"{self._under_way} requests have no answer"
            time.sleep(0.0005)

    def _is_busy(self) -> bool:
        with self._lock:
            sockets = [self._listener, *self._sockets]
        # In this order: what is read is under way before it is no longer there to be read.
        try:
            unread = bool(select.select(sockets, (), (), 0)[0])
        except (OSError, ValueError):  # one was closed just now
            return True
        with self._lock:
            return unread or self._under_way > 0

    def release(self) -> None:
        """Perform what was put aside, in a random order."""
        with self._lock:
            requests, self._aside = self._aside, []
        self.chance.shuffle(requests)
        for request in requests:
            with contextlib.suppress(*_FAILURES):
                self._forward(request)

    def forget(self) -> None:
        """Throw away what was put aside."""
        with self._lock:
            self._aside = []
        self.requests.clear()

    def _serve_client(self, peer: Peer) -> None:
        while peer.sock.recv(1, socket.MSG_PEEK):
            with self._busy():
                request = peer.request()
                if request is None or not self._handle(peer, request):
                    return

    @contextmanager
    def _busy(self) -> Iterator[None]:
        with self._lock:
            self._under_way += 1
        try:
            yield
        finally:
            with self._lock:
                self._under_way -= 1

    def _handle(self, peer: Peer, request: Seen) -> bool:
        """Whether the connection stays."""
        mode = self.mode
        is_change = request.method != "GET"
        if is_change:
            self.seen.release()
        if mode == FLAKY:
            mode = self.chance.choice((BUSY, OPEN))
        if mode in (HANG, ASIDE):
            if mode == ASIDE and is_change:
                with self._lock:
                    self._aside.append(request)
            peer.hang()
            return False
        if mode in _REFUSALS:
            peer.send(_REFUSALS[mode])
            return True
        answered = b""
        if mode != RESET:
            with contextlib.suppress(*_FAILURES):
                answered = self._forward(request)
        if mode == SILENT:
            peer.hang()
            return False
        if mode == UNREAD or not answered:
            peer.reset()
            return False
        peer.send(answered)
        return True

    def _forward(self, request: Seen) -> bytes:
        with self._busy():
            return forward(request, self._gateway, PATIENCE)[1]
