"""The embedded gateway as a server: its listener, its threads, its life.

Enters: an address and a clock. Leaves: a URL that answers until stop().
"""

from __future__ import annotations

import contextlib
import logging
import selectors
import socket
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

from pushgate.embedded.answers import Gateway
from pushgate.embedded.connection import Connection

_log = logging.getLogger(__name__)


class EmbeddedGateway:
    """An in-memory Pushgateway: `with EmbeddedGateway() as gateway: …` and push to `gateway.url`.

    host, port: where to listen; port 0 takes a free one, known once started. clock: Unix seconds,
    for push_time_seconds and the Date of every answer. The port and what was pushed survive stop()
    and start(), the latter until wipe().
    """

    def __init__(
        self, host: str = "127.0.0.1", port: int = 0, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._address = (host, port)
        self._gateway = Gateway(clock)
        self._listener: socket.socket | None = None
        self._waker: socket.socket | None = None
        self._acceptor: threading.Thread | None = None
        self._connections: dict[socket.socket, threading.Thread] = {}
        self._stopped = threading.Event()

    def start(self) -> None:
        """Listen, in the background. Raises OSError when the address cannot be had, RuntimeError
        when already started."""
        if self._listener:
            raise RuntimeError(f"already listening on {self.url}")
        family = socket.AF_INET6 if ":" in self._address[0] else socket.AF_INET
        self._listener = socket.create_server(self._address, family=family, backlog=128)
        self._address = (self._address[0], self._listener.getsockname()[1])
        self._waker, woken = socket.socketpair()
        self._stopped.clear()
        self._acceptor = threading.Thread(
            target=self._accept, args=(self._listener, woken), name="pushgate-gateway", daemon=True
        )
        self._acceptor.start()

    def stop(self) -> None:
        """Close the listener and every connection. No error when not started."""
        if not (self._listener and self._waker and self._acceptor):
            return
        self._waker.close()
        self._acceptor.join()
        self._listener.close()
        self._listener = None
        for connection, thread in list(self._connections.items()):
            with contextlib.suppress(OSError):  # the peer may have closed it just now
                connection.shutdown(socket.SHUT_RDWR)
            thread.join(timeout=1)
        self._stopped.set()

    def serve_forever(self) -> None:
        """Start if need be, and return once stop() is called; on KeyboardInterrupt stop first."""
        if not self._listener:
            self.start()
        try:
            self._stopped.wait()
        finally:
            self.stop()

    def wipe(self) -> None:
        """Forget every group."""
        self._gateway.store.wipe()

    @property
    def url(self) -> str:
        """`http://host:port`. Raises RuntimeError when not started."""
        if not self._listener:
            raise RuntimeError("the embedded gateway has no URL before start()")
        host, port = self._listener.getsockname()[:2]
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def __enter__(self) -> EmbeddedGateway:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _accept(self, listener: socket.socket, woken: socket.socket) -> None:
        with woken, selectors.DefaultSelector() as selector:
            selector.register(listener, selectors.EVENT_READ)
            selector.register(woken, selectors.EVENT_READ)
            while all(key.fileobj is listener for key, _ in selector.select()):
                try:
                    connection, peer = listener.accept()
                except OSError:  # the client gave up first
                    continue
                thread = threading.Thread(target=self._serve, args=(connection, peer), daemon=True)
                self._connections[connection] = thread
                thread.start()

    def _serve(self, connection: socket.socket, peer: Any) -> None:
        try:
            with connection:
                Connection(connection, peer, self._gateway)
        except OSError as error:
            _log.debug("connection from %s ended: %s", peer, error)
        finally:
            self._connections.pop(connection, None)
