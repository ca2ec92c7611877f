"""A proxy in front of a gateway: what stands between a job and its gateway on a bad day.

In: the port of a gateway on loopback, and one mode at a time. Out: another URL for it. Unlike
support.fault_proxy it lasts for thousands of connections, and knows what it owes: requests that
it has put aside can be performed later, when nobody waits for them any more.
"""

from __future__ import annotations

import contextlib
import random
import select
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

PATIENCE = 20.0  # seconds; what takes longer hangs

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

_REFUSALS = {BUSY: ("503 Service Unavailable", b"try later\n"), DENY: ("401 Unauthorized", b"no\n")}


class OutageProxy:
    def __init__(self, port: int, chance: random.Random | None = None) -> None:
        self.mode = OPEN
        self._port = port
        self._chance = chance or random.Random()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._lock = threading.Lock()
        self._clients: set[socket.socket] = set()
        self._aside: list[bytes] = []
        self._under_way = 0
        self.seen = threading.Semaphore(0)  # one for each change that came in
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            clients, self._clients = self._clients, set()
        for client in clients:
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)

    def settle(self) -> None:
        """Wait until every request that came is read, and every forwarded one has its answer."""
        deadline = time.monotonic() + PATIENCE
        while self._is_busy():
            assert time.monotonic() < deadline, f"{self._under_way} requests have no answer"
            time.sleep(0.0005)

    def _is_busy(self) -> bool:
        with self._lock:
            sockets = [self._listener, *self._clients]
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
        self._chance.shuffle(requests)
        for request in requests:
            with contextlib.suppress(OSError):
                self._forward(request)

    def forget(self) -> None:
        """Throw away what was put aside."""
        with self._lock:
            self._aside = []

    def _accept(self) -> None:
        while True:
            try:
                select.select([self._listener], (), ())
                with self._lock:  # who looks for what is unread finds it here or there
                    client, _ = self._listener.accept()
                    self._clients.add(client)
            except (OSError, ValueError):
                return
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        try:
            with client:
                while client.recv(1, socket.MSG_PEEK):
                    with self._busy():
                        request = _read(client)
                        stays = bool(request) and self._handle(client, request)
                    if not stays:
                        return
        except OSError:
            pass  # either end left
        finally:
            with self._lock:
                self._clients.discard(client)

    @contextmanager
    def _busy(self) -> Iterator[None]:
        with self._lock:
            self._under_way += 1
        try:
            yield
        finally:
            with self._lock:
                self._under_way -= 1

    def _handle(self, client: socket.socket, request: bytes) -> bool:
        """Whether the connection stays."""
        mode = self.mode
        is_change = not request.startswith(b"GET ")
        if is_change:
            self.seen.release()
        if mode == FLAKY:
            mode = self._chance.choice((BUSY, OPEN))
        if mode in (HANG, ASIDE):
            if mode == ASIDE and is_change:
                with self._lock:
                    self._aside.append(request)
            return _hang(client)
        if mode in _REFUSALS:
            client.sendall(_answer(*_REFUSALS[mode]))
            return True
        answer = b""
        if mode != RESET:
            with contextlib.suppress(OSError):
                answer = self._forward(request)
        if mode == SILENT:
            return _hang(client)
        if mode == UNREAD or not answer:
            return _reset(client)
        client.sendall(answer)
        return True

    def _forward(self, request: bytes) -> bytes:
        with self._busy():
            with socket.create_connection(("127.0.0.1", self._port), timeout=PATIENCE) as upstream:
                upstream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                upstream.sendall(request)
                answer = _read(upstream)
            if not answer:
                raise ConnectionResetError("no answer")
            return answer


def _read(sock: socket.socket) -> bytes:
    """One message of HTTP/1.1; empty where the other end has closed."""
    data = b""
    while b"\r\n\r\n" not in data:
        received = sock.recv(65536)
        if not received:
            return b""
        data += received
    head, mark, body = data.partition(b"\r\n\r\n")
    lower = head.lower()
    if b"\r\ntransfer-encoding: chunked" in lower:
        while not body.endswith(b"0\r\n\r\n"):
            received = sock.recv(65536)
            if not received:
                return b""
            body += received
        return head + mark + body
    _, _, rest = lower.partition(b"\r\ncontent-length: ")
    length = int(rest.partition(b"\r\n")[0] or 0)
    while len(body) < length:
        received = sock.recv(65536)
        if not received:
            return b""
        body += received
    return head + mark + body


def _answer(status: str, body: bytes) -> bytes:
    date = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime())
    head = f"HTTP/1.1 {status}\r\nDate: {date}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def _hang(client: socket.socket) -> bool:
    while client.recv(65536):
        pass
    return False


def _reset(client: socket.socket) -> bool:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return False
