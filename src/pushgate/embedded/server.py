"""The embedded gateway as a server: its listener and a thread for each connection."""

from __future__ import annotations

import contextlib
import logging
import selectors
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

from .api import PushgatewayAPI
from .http_connection import ServerConnection

_log = logging.getLogger(__name__)


class EmbeddedGateway:
    """A Pushgateway in memory: ``with EmbeddedGateway() as gateway`` and push to ``gateway.url``.

    It listens on ``host`` and ``port``; port 0 takes a free one. ``clock`` gives Unix seconds, for
    push_time_seconds and the Date of every response. ``stop()`` and ``start()`` keep the port and
    the groups; ``wipe()`` deletes the groups.
    """

    def __init__(
        self, host: str = "127.0.0.1", port: int = 0, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._address = (host, port)
        self._api = PushgatewayAPI(clock)
        self._listener: socket.socket | None = None
        self._waker: socket.socket | None = None
        self._acceptor: threading.Thread | None = None
        self._connections: dict[socket.socket, threading.Thread] = {}
        self._stopped = threading.Event()

    def start(self) -> None:
        """Listen in the background.

        Raises OSError where the address is not free, RuntimeError where it listens already.
        """
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
        """Close the listener and every connection. Does nothing where it was not started."""
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
        """Start if needed, and return after ``stop()``. KeyboardInterrupt stops it, too."""
        if not self._listener:
            self.start()
        try:
            self._stopped.wait()
        finally:
            self.stop()

    def wipe(self) -> None:
        """Delete every group."""
        self._api.store.wipe()

    @property
    def url(self) -> str:
        """``http://host:port``. Raises RuntimeError before ``start()``."""
        if not self._listener:
            raise RuntimeError("the embedded gateway has no URL before start()")
        host, port = self._listener.getsockname()[:2]
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def __enter__(self) -> EmbeddedGateway:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
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
                ServerConnection(connection, peer, self._api)
        except OSError as error:
            _log.debug("connection from %s ended: %s", peer, error)
        finally:
            self._connections.pop(connection, None)
