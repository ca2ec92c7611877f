"""A server on raw sockets that does what real ones do only on bad days.

In: one script a connection, a function of a Peer; the last one repeats. Out: a loopback server that
counts connections and keeps the requests it read. Whatever a script leaves open is closed when the
`with` block ends, and a script that waits is woken then.

    with FaultServer(reset, accept) as server:
        push(server.url)
"""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

PATIENCE = 50.0  # seconds; what takes longer hangs
OK = b"HTTP/1.1 200 OK\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\nContent-Length: 0\r\n\r\n"


def answer(
    status: str = "200 OK", body: bytes = b"", headers: tuple[tuple[str, str], ...] = ()
) -> bytes:
    """An HTTP/1.1 answer. Never of the shape that a real Pushgateway's 200 has."""
    lines = [
        f"HTTP/1.1 {status}",
        "Server: faults",
        f"Content-Length: {len(body)}",
        *(f"{name}: {value}" for name, value in headers),
    ]
    return "\r\n".join([*lines, "\r\n"]).encode("latin-1") + body


class Seen(NamedTuple):
    """A request as it came in; header names are in lower case."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes
    connection: int  # the connection's number, from 0

    def header(self, name: str) -> str | None:
        values = [value for key, value in self.headers if key == name.lower()]
        assert len(values) < 2, f"{name} was sent {len(values)} times"
        return values[0] if values else None


class Peer:
    """The server's end of one connection."""

    def __init__(self, server: FaultServer, sock: socket.socket, number: int) -> None:
        self.server = server
        self.sock = sock
        self.number = number
        self._unread = b""

    def start_tls(self, context: ssl.SSLContext) -> None:
        self.sock = context.wrap_socket(self.sock, server_side=True)
        self.server.adopt(self.sock)

    def request(self) -> Seen | None:
        """Read one request; None when the client has closed the connection."""
        while b"\r\n\r\n" not in self._unread:
            if not self._more():
                return None
        head, _, self._unread = self._unread.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        method, target, _ = first.split(" ")
        headers = [(k.lower(), v) for k, _, v in (line.partition(": ") for line in lines)]
        length = int(dict(headers).get("content-length", "0"))
        while len(self._unread) < length:
            if not self._more():
                return None
        body, self._unread = self._unread[:length], self._unread[length:]
        seen = Seen(method, target, headers, body, self.number)
        self.server.requests.append(seen)
        return seen

    def head(self) -> bytes:
        """Read to the end of the headers only; the body stays where it is."""
        while b"\r\n\r\n" not in self._unread:
            assert self._more()
        return self._unread

    def _more(self) -> bool:
        received = self.sock.recv(65536)
        self._unread += received
        return bool(received)

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def drip(self, data: bytes) -> None:
        """Send one byte at a time, again and again, until the client has had enough."""
        while True:
            for byte in data:
                self.send(bytes([byte]))
                if self.server.stopping.wait(0.01):
                    return

    def hang(self) -> None:
        """Say nothing until the client closes the connection."""
        while self.sock.recv(65536):
            pass

    def reset(self) -> None:
        """Close with RST rather than FIN."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


Script = Callable[[Peer], object]


class FaultServer:
    def __init__(self, *scripts: Script, port: int = 0) -> None:
        self._scripts = scripts
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()
        self._threads: set[threading.Thread] = set()
        self._closed = 0
        self._change = threading.Condition(self._lock)
        self.accepted = 0
        self.requests: list[Seen] = []
        self.stopping = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", port), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._acceptor.start()

    def __enter__(self) -> FaultServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.stopping.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._acceptor.join(PATIENCE)
        self._listener.close()
        with self._lock:
            sockets, threads = tuple(self._sockets), tuple(self._threads)
        for sock in sockets:
            with contextlib.suppress(OSError):  # closed already
                sock.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join(PATIENCE)
            assert not thread.is_alive(), "a script does not end"
        for sock in sockets:
            sock.close()

    def adopt(self, sock: socket.socket) -> None:
        with self._lock:
            self._sockets.add(sock)

    def wait_closed(self, count: int) -> None:
        """Wait until the clients have closed ``count`` connections."""
        with self._change:
            assert self._change.wait_for(lambda: self._closed >= count, PATIENCE), (
                f"{count - self._closed} connections were left open"
            )

    def _accept(self) -> None:
        while True:
            try:
                select.select([self._listener], (), ())
                with self._lock:  # who looks for what is unread finds it here or there
                    sock, _ = self._listener.accept()
                    self._sockets.add(sock)
            except (OSError, ValueError):
                return
            script = self._scripts[min(self.accepted, len(self._scripts) - 1)]
            peer = Peer(self, sock, self.accepted)
            self.accepted += 1
            thread = threading.Thread(target=self._serve, args=(peer, script), daemon=True)
            with self._lock:
                self._threads.add(thread)
            thread.start()

    def _serve(self, peer: Peer, script: Script) -> None:
        try:
            script(peer)
            if peer.sock.fileno() != -1:
                peer.hang()
        except OSError:
            pass  # the client left, or the block ended
        except ValueError:  # "Read on closed or unwrapped SSL socket", as the block ends
            if not self.stopping.is_set():
                raise
        finally:
            peer.sock.close()
            with self._change:
                self._sockets.discard(peer.sock)
                self._threads.discard(threading.current_thread())
                self._closed += 1
                self._change.notify_all()


# Scripts.


def accept(peer: Peer) -> None:
    """Answer every request as a Pushgateway does, keeping the connection."""
    while peer.request():
        peer.send(OK)


def respond(*answers: bytes) -> Script:
    """Answer the requests of a connection with these bytes in turn, the last one repeating."""

    def script(peer: Peer) -> None:
        count = 0
        while peer.request():
            peer.send(answers[min(count, len(answers) - 1)])
            count += 1

    return script


def respond_and_close(data: bytes) -> Script:
    """Answer one request, then close the connection without having said so."""

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(data)
        peer.sock.close()

    return script


def respond_and_reset(data: bytes) -> Script:
    """Answer one request, or a part, then reset the connection."""

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(data)
        wait_sent(peer.sock)
        peer.reset()

    return script


def respond_and_hang(data: bytes) -> Script:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(data)

    return script


def respond_and_drip(data: bytes, drip: bytes) -> Script:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(data)
        peer.drip(drip)

    return script


def hang(peer: Peer) -> None:
    """Accept, then neither read nor write, until the block ends."""
    peer.server.stopping.wait()


def reset(peer: Peer) -> None:
    peer.request()
    peer.reset()


def refuse_early(data: bytes) -> Script:
    """Answer on the headers alone and close while the client still sends its body."""

    def script(peer: Peer) -> None:
        peer.head()
        peer.send(data)
        wait_sent(peer.sock)  # servers take care of that, too
        peer.sock.close()  # with a body unread, this is an RST

    return script


def over_tls(context: ssl.SSLContext, script: Script) -> Script:
    def encrypted(peer: Peer) -> None:
        peer.start_tls(context)
        script(peer)

    return encrypted


def proxy_to(port: int) -> Script:
    """A proxy: a CONNECT becomes a tunnel to this port of loopback, whatever it asks for."""

    def script(peer: Peer) -> None:
        request = peer.request()
        if request is None:
            return
        assert request.method == "CONNECT"
        with socket.create_connection(("127.0.0.1", port)) as upstream:
            peer.server.adopt(upstream)
            peer.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
            back = threading.Thread(target=_relay, args=(upstream, peer.sock), daemon=True)
            back.start()
            _relay(peer.sock, upstream)
            back.join(PATIENCE)

    return script


def _relay(source: socket.socket, sink: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass  # one end closed


def wait_sent(sock: socket.socket) -> None:
    """Wait until the other side's kernel has everything, which a reset would throw away."""
    import fcntl
    import termios

    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if not struct.unpack("i", fcntl.ioctl(sock, termios.TIOCOUTQ, b"\0" * 4))[0]:
            return
        time.sleep(0.001)
