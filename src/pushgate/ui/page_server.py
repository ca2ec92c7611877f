"""Serves the page on loopback."""

from __future__ import annotations

import sys
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from .page import page, policy

if TYPE_CHECKING:
    from .live_view import LiveView

_HOSTS = ("127.0.0.1", "localhost")
_RELOAD = 10.0  # seconds
_HEADERS = {
    "Content-Type": "text/html; charset=utf-8",
    "Content-Security-Policy": f"{policy()}; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class PageServer(ThreadingTCPServer):
    """A server of one page, on 127.0.0.1 alone; port 0 takes a free one.

    Raises OSError where the port is not free.
    """

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, live: LiveView, port: int) -> None:
        self.live = live
        super().__init__(("127.0.0.1", port), _PageRequest)

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"http://127.0.0.1:{self.server_address[1]}/"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no error."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _PageRequest(BaseHTTPRequestHandler):
    """GET or HEAD of ``/``; http.server refuses the other methods."""

    server: PageServer
    server_version, sys_version = "pushgate", ""
    timeout = 10  # seconds, for a client that sends nothing

    def do_GET(self) -> None:
        """Answer with the page."""
        if not self._is_for_us():
            self.send_error(421, explain="this server answers to 127.0.0.1 and localhost alone")
        elif self.path != "/":
            self.send_error(404, explain="the page is /")
        else:
            text = page(self.server.live.view(), reload=_RELOAD)
            body = text.encode("utf-8", "xmlcharrefreplace")
            self.send_response(200)
            for name, value in _HEADERS.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

    do_HEAD = do_GET  # noqa: N815 - the name that http.server looks for

    def log_message(self, *_: object) -> None:
        """Say nothing of requests."""

    def _is_for_us(self) -> bool:
        """Whether the browser meant this server.

        Any site may let its own name lead to 127.0.0.1, and then read what answers (DNS
        rebinding); its name is in Host. The port may be another: that of an SSH tunnel.
        """
        hosts = self.headers.get_all("Host", [])
        try:
            return len(hosts) == 1 and urlsplit(f"//{hosts[0]}").hostname in _HOSTS
        except ValueError:
            return False
