"""Errors of sockets, TLS and responses as DeliveryErrors: the one place that makes these."""

from __future__ import annotations

import time
from functools import cached_property
from typing import TYPE_CHECKING, cast

from ..errors import (
    GatewayDisconnectedError,
    GatewayRejectedError,
    GatewayTimeoutError,
    GatewayUnreachableError,
    is_of_no_gateway,
)
from .proxies import proxy_for
from .redaction import Redaction, one_line, text_of_html
from .response import is_a_word
from .socket_io import is_closed, is_tls_error

if TYPE_CHECKING:
    from email.message import Message

    from .request import Request, RequestHeaders
    from .response import Response

# What OpenSSL calls the beginning of an answer in plain text; the second since 3.2.
_NOT_TLS = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST")


class ErrorMapping:
    """The errors of one request. ``shown`` is its URL without credentials.

    ``first_sent`` are headers whose values no text may hold: those of the request before redirects.
    """

    def __init__(self, request: Request, shown: str, first_sent: RequestHeaders) -> None:
        self._request = request
        self._shown = shown
        self._first_sent = first_sent

    @cached_property
    def redaction(self) -> Redaction:
        """For text of the server, or of the proxy in front of it."""
        proxy = proxy_for(self._request.origin)
        headers = proxy.headers if proxy else ()
        return Redaction((*self._first_sent.by_name.values(), *headers))

    def unreachable(self, error: Exception) -> GatewayUnreachableError:
        """The error for a request that got no response."""
        reason, retryable = _explain(error)
        kind: type[GatewayUnreachableError] = GatewayUnreachableError
        if isinstance(error, TimeoutError):
            kind = GatewayTimeoutError
        elif isinstance(error, OSError) and is_closed(error):
            kind = GatewayDisconnectedError
        text = one_line(self.redaction(reason))
        return kind(text, method=self._request.method, url=self._shown, retryable=retryable)

    def checked(self, response: Response) -> Response:
        """A success that is more than a plain acceptance, with its chunks' errors as ours.

        Raises GatewayRejectedError where it can't be a Pushgateway's.
        """
        if _is_of_another_server(response, self._request.method):
            if response.chunks is not None:
                response.chunks.close()
            raise self.rejected(response, "a web page answered; is this the URL of a Pushgateway?")
        if response.chunks is not None:
            response.chunks.explain = self.unreachable
        return response

    def rejected(self, response: Response, reason: str | None = None) -> GatewayRejectedError:
        """The error for a response. ``reason`` explains it, by default the text in its body."""
        headers = cast("Message", response.headers)  # which a plain acceptance alone has not
        body = self.redaction(response.body.decode("utf-8", "surrogateescape"))
        phrase = one_line(self.redaction(response.reason))
        text = body if reason is None else reason
        kind = (headers.get("Content-Type") or "").lower()
        if reason is None and ("html" in kind or body.lstrip()[:1] == "<"):
            # Redacted again: a page may have a secret in another spelling.
            text = self.redaction(text_of_html(body))
        if is_of_no_gateway(response.status):
            text = f"{one_line(text) or 'there is no such page'}; not a Pushgateway?"
        text = one_line(text)
        return GatewayRejectedError(
            status=response.status,
            reason=f"{phrase}: {text}" if text else phrase,
            method=self._request.method,
            url=self._shown,
            headers=headers,
            body=body.encode("utf-8", "surrogateescape"),
            retry_after=_retry_after(headers),
        )


def _explain(error: Exception) -> tuple[str, bool]:
    """(the reason as text, whether a later try may help)"""
    if isinstance(error, TimeoutError):
        text = str(error)
        return text if text.startswith("timed out") else "timed out", True
    if isinstance(error, UnicodeError):
        return "the host name is not one that can be looked up", False
    if not isinstance(error, OSError):  # MemoryError, or what can't be foreseen
        return f"{type(error).__name__} {error}".strip(), True
    # http.client's RemoteDisconnected has no number; a reset has one, and its text says so.
    if is_closed(error) and (error.errno is None or is_tls_error(error)):
        return "the server closed the connection without an answer", True
    if not is_tls_error(error):
        return str(error.strerror or error), True
    text = f"TLS failed: {getattr(error, 'reason', None) or error}"
    if any(reason in text for reason in _NOT_TLS):
        text = "the port speaks plain HTTP, and not TLS; write http:// in place of https://"
    if why := getattr(error, "verify_message", None):
        text = f"the server's certificate is not trusted: {why}"
    return text, False


def _is_of_another_server(response: Response, method: str) -> bool:
    """Whether this success can't be a Pushgateway's: a web page, or any page after a push.

    A Pushgateway answers a push with an empty body. A word of plain text is let pass.
    """
    if response.headers is None:
        return False
    kind, length = response.headers.get_content_type(), response.headers.get("Content-Length")
    if "html" in kind:
        return length != "0"
    if method == "GET" or not response.body:
        return False
    return kind != "text/plain" or not is_a_word(response.body)


def _retry_after(headers: Message) -> float | None:
    """Retry-After in seconds; the header has seconds or a date (RFC 9110, section 10.2.3)."""
    value = (headers.get("Retry-After") or "").strip()
    if value.isascii() and value.isdigit():
        return float(value)
    from email.utils import parsedate_to_datetime

    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
