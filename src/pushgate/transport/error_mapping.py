"""Errors of sockets, TLS and responses as DeliveryErrors: the one place that makes these."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from ..errors import (
    GatewayDisconnectedError,
    GatewayRejectedError,
    GatewayTimeoutError,
    GatewayUnreachableError,
    says_not_found,
)
from .html_text import is_html, text_of_html
from .proxies import proxy_for
from .redaction import Redaction, one_line
from .socket_io import is_closed, is_tls_error

if TYPE_CHECKING:
    from collections.abc import Iterable
    from email.message import Message

    from .request import Request
    from .response import Response

# What OpenSSL calls the beginning of an answer in plain text; the second since 3.2.
_NOT_TLS = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST")

__all__ = ("checked", "redaction_for", "rejected", "unreachable")


def redaction_for(request: Request, secrets: Iterable[tuple[str, object]]) -> Redaction:
    """For text of the server or proxy that gets ``request``; ``secrets`` are headers, too."""
    proxy = proxy_for(request.origin.scheme, request.origin.authority)
    return Redaction([*secrets, *(proxy.headers if proxy else ())])


def unreachable(
    error: Exception, request: Request, shown: str, secrets: Iterable[tuple[str, object]]
) -> GatewayUnreachableError:
    """The error for a request that got no response. ``shown`` is its URL without credentials."""
    reason, retryable = _explain(error)
    text = one_line(redaction_for(request, secrets)(reason))
    kind: type[GatewayUnreachableError] = GatewayUnreachableError
    if isinstance(error, TimeoutError):
        kind = GatewayTimeoutError
    elif isinstance(error, OSError) and is_closed(error):
        kind = GatewayDisconnectedError
    return kind(text, method=request.method, url=shown, retryable=retryable)


def _explain(error: Exception) -> tuple[str, bool]:
    """(the reason as text, whether a later try may help)"""
    text, retryable = str(getattr(error, "strerror", None) or error), True
    if isinstance(error, TimeoutError):
        text = text if text.startswith("timed out") else "timed out"
    elif isinstance(error, UnicodeError):
        text, retryable = "the host name is not one that can be looked up", False
    elif isinstance(error, OSError) and _is_silent(error):
        text = "the server closed the connection without an answer"
    elif isinstance(error, OSError) and is_tls_error(error):
        why = getattr(error, "verify_message", None)
        text = f"TLS failed: {getattr(error, 'reason', None) or error}"
        if any(reason in text for reason in _NOT_TLS):
            text = "the port speaks plain HTTP, and not TLS; write http:// in place of https://"
        if why:
            text = f"the server's certificate is not trusted: {why}"
        retryable = False
    return text, retryable


def _is_silent(error: OSError) -> bool:
    # http.client's RemoteDisconnected has no number; a reset has one, and its text says so.
    return is_closed(error) and (error.errno is None or is_tls_error(error))


def checked(
    response: Response, request: Request, shown: str, secrets: Iterable[tuple[str, object]]
) -> Response:
    """A success that is more than a plain acceptance, with its chunks' errors as DeliveryErrors.

    Raises GatewayRejectedError where it can't be a Pushgateway's.
    """
    if response.is_of_another_server(request.method):
        if response.chunks is not None:
            response.chunks.close()
        reason = "a web page answered; is this the URL of a Pushgateway?"
        redaction = redaction_for(request, secrets)
        raise rejected(response, request.method, shown, redaction, reason)
    if response.chunks is not None:
        response.chunks.explain = lambda error: unreachable(error, request, shown, secrets)
    return response


def rejected(
    response: Response, method: str, shown: str, redaction: Redaction, reason: str | None = None
) -> GatewayRejectedError:
    """The error for a response. ``reason`` explains it, by default the text in its body."""
    from email.message import Message  # 8 ms, which an accepted push does without

    headers = response.headers or Message()
    body = redaction(response.body.decode("utf-8", "surrogateescape"))
    phrase = one_line(redaction(response.reason))
    text = reason or body
    if reason is None and is_html(body, headers.get("Content-Type") or ""):
        text = redaction(text_of_html(body))  # again: a page may have a secret in another spelling
    if says_not_found(response.status):
        text = f"{one_line(text) or 'there is no such page'}; not a Pushgateway?"
    text = one_line(text)
    return GatewayRejectedError(
        status=response.status,
        reason=f"{phrase}: {text}" if text else phrase,
        method=method,
        url=shown,
        headers=headers,
        body=body.encode("utf-8", "surrogateescape"),
        retry_after=_retry_after(headers),
    )


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
