"""One HTTP/1.1 connection to an embedded gateway."""

from __future__ import annotations

import http.client
import logging
import socket
from http.server import BaseHTTPRequestHandler
from typing import Any

from .api import GatewayResponse, PushgatewayAPI

_log = logging.getLogger(__name__)

# Go's limit for a request's line and headers, which answers 431 beyond it.
_MAX_REQUEST_LINE = (1 << 20) + 4096


class ServerConnection(BaseHTTPRequestHandler):
    """A kept-alive connection. http.server parses the headers; the rest behaves as Go's server."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def __init__(self, connection: socket.socket, peer: Any, api: PushgatewayAPI) -> None:
        self._api = api
        super().__init__(connection, peer, None)  # type: ignore[arg-type]  # the server is not used

    def handle_one_request(self) -> None:
        self.close_connection = True
        self.raw_requestline = self.rfile.readline(_MAX_REQUEST_LINE + 1)
        if not self.raw_requestline:
            return
        if len(self.raw_requestline) > _MAX_REQUEST_LINE:
            self.requestline, self.request_version, self.command = "", "HTTP/1.1", ""
            self._skip_request()
            self.send_error(431)
            return
        if not self.parse_request():
            return
        body = self._read_body()
        if body is None or (self.request_version == "HTTP/1.1" and "Host" not in self.headers):
            self.send_error(400)
            return
        # self.path has lost a leading "//".
        target = self.requestline.split()[1]
        try:
            headers = {name.lower(): text for name, text in self.headers.items()}
            response = self._api.answer(self.command, target, headers, body)
        except Exception:
            _log.exception("the embedded gateway failed on %r", self.requestline)
            self.close_connection = True
            response = GatewayResponse(500, b"500 Internal Server Error\n")
        self._send(response)

    def _read_body(self) -> bytes | None:
        """The body; None where its framing is malformed or the client stopped halfway."""
        try:
            if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
                return self._read_chunks()
            length = int(self.headers.get("Content-Length", "0"))
        except ValueError:
            return None
        body = self.rfile.read(max(length, 0))
        return body if len(body) == length else None

    def _read_chunks(self) -> bytes:
        body = b""
        while size := int(self.rfile.readline(100).partition(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline(3)
        while self.rfile.readline(65537).strip():  # trailers
            pass
        return body

    def _skip_request(self) -> None:
        """Read to the end of the headers: closing with unread bytes would reset the connection."""
        line = self.raw_requestline
        while line not in (b"\r\n", b"\n", b""):
            line = self.rfile.readline(1 << 16)

    def _send(self, response: GatewayResponse) -> None:
        reason = http.client.responses[response.status]
        headers = {
            "Date": self.date_time_string(self._api.clock()),
            "Content-Length": str(len(response.body)),
            **response.headers,
        }
        if self.close_connection:
            headers["Connection"] = "close"
        head = "".join(f"{name}: {text}\r\n" for name, text in headers.items())
        body = b"" if self.command == "HEAD" else response.body
        self.wfile.write(f"HTTP/1.1 {response.status} {reason}\r\n{head}\r\n".encode() + body)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:  # noqa: ARG002 - http.server's signature
        self.close_connection = True
        reason = http.client.responses[code]
        text = f"{code} {reason}".encode()
        self._send(GatewayResponse(code, text, {"Content-Type": "text/plain; charset=utf-8"}))

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - http.server's signature
        _log.debug(format, *args)
