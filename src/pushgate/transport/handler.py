"""The handler protocol, and the one handler that all built-in ones are made of.

A handler is called with the keywords ``url, method, timeout, headers, data`` and returns a callable
without arguments that performs the request and raises on failure: prometheus_client's protocol, so
any handler written for it works here. Enters: such a call. Leaves: a request on the wire, or a
DeliveryError without credentials in its text. Foreign errors are mapped here and nowhere else.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, Protocol
from urllib.parse import urljoin

from ..errors import (
    GatewayDisconnectedError,
    GatewayRejectedError,
    GatewayTimeoutError,
    GatewayUnreachableError,
)
from . import pool as transport
from .auth import TLS, BasicAuth, BearerToken
from .deadline import AnswerError, Deadline, Response, is_closed, is_tls_error
from .pool import Origin, Request
from .proxies import proxy_for
from .redaction import Mask, one_line
from .urls import Address, parse, without_credentials

if TYPE_CHECKING:
    from collections.abc import Iterable
    from email.message import Message

__all__ = ("HTTPHandler", "Handler", "default_handler")

_REDIRECTS = (301, 302, 303, 307, 308)
_MAX_ANSWER = 64 * 1024  # bytes; a Pushgateway's longest complaint is far below
# All that may follow a redirect to another origin: neither Authorization nor the user's own
# headers, which may hold a key.
_HARMLESS = ("content-type", "content-encoding")


class Handler(Protocol):
    """What performs a push's request. Raises whatever it likes; OSError is the custom."""

    def __call__(
        self,
        *,
        url: str,
        method: str,
        timeout: float | None,
        headers: list[tuple[str, str]],
        data: bytes,
    ) -> Callable[[], None]:
        """Prepare the request; the returned callable performs it."""


class HTTPHandler(NamedTuple):
    """A handler with authentication, TLS, headers and redirects combined as needed.

    ``auth`` goes before credentials in the URL; an Authorization among the call's own headers
    goes before both. ``headers`` are added to every request; ValueError for those that a request
    sets itself, such as Host and Content-Length. ``redirects`` is how many hops to
    follow with the same method, body and headers; to another origin only the content headers go.
    """

    auth: BasicAuth | BearerToken | None = None
    tls: TLS = TLS()
    headers: tuple[tuple[str, str], ...] = ()
    redirects: int = 0

    def __repr__(self) -> str:
        names = tuple(name for name, _ in self.headers)
        return f"HTTPHandler(auth={self.auth!r}, tls={self.tls!r}, headers={names!r})"

    def __call__(
        self,
        url: str,
        method: str,
        timeout: float | None,
        headers: Iterable[tuple[str, str]],
        data: bytes,
    ) -> Callable[[], None]:
        """Prepare a push. ``timeout`` bounds the whole of it, in seconds of wall clock."""
        return partial(self._push, url, method, timeout, headers, data)

    def get(self, url: str, timeout: float | None) -> bytes:
        """The body of a GET. Raises DeliveryError, as a push does."""
        return self.fetch(url, timeout).body

    def fetch(self, url: str, timeout: float | None) -> Response:
        """The answer to a GET, headers included. Raises DeliveryError, as a push does."""
        return self._follow(url, "GET", timeout, (), b"", max_body=None)

    def _push(
        self,
        url: str,
        method: str,
        timeout: float | None,
        headers: Iterable[tuple[str, str]],
        data: bytes,
    ) -> None:
        self._follow(url, method, timeout, headers, data, max_body=_MAX_ANSWER)

    def _follow(
        self,
        url: str,
        method: str,
        timeout: float | None,
        headers: Iterable[tuple[str, str]],
        data: bytes,
        *,
        max_body: int | None,
    ) -> Response:
        if timeout is not None and not timeout > 0:  # NaN too
            raise ValueError(f"timeout is {timeout!r}; give seconds above 0, or None for no limit")
        deadline = Deadline(timeout)
        address, shown = parse(url), without_credentials(url)
        first_sent = sent = self._headers(address, headers)
        for hop in range(self.redirects + 1):
            tls = self.tls.context() if address.scheme == "https" else None
            request = Request(Origin(*address[:3]), method, address.target, sent, data, tls)
            response = _exchange(request, deadline, max_body, shown, first_sent)
            if 200 <= response.status < 300:
                return response
            mask = _mask(request, first_sent)
            location = response.headers and response.headers.get("Location")
            if response.status not in _REDIRECTS or not location:
                raise _rejection(response, method, shown, mask)
            previous, (url, next_address) = address, _resolve(url, location)
            target = mask(without_credentials(url))
            if next_address is None:
                advice = "which is no URL that can be followed"
            elif not self.redirects:
                advice = "use passthrough_redirect_handler, or the final URL"
            elif hop == self.redirects:
                advice = f"gave up after {hop} redirects"
            else:
                address, shown = next_address, target
                if address[:3] != previous[:3]:
                    sent = [(name, value) for name, value in sent if name.lower() in _HARMLESS]
                continue
            raise _rejection(response, method, shown, mask, f"redirected to {target}; {advice}")
        raise AssertionError("unreachable")

    def _headers(
        self, address: Address, headers: Iterable[tuple[str, str]]
    ) -> list[tuple[str, str | bytes]]:
        if self.headers:
            from .headers import refuse_headers_of_the_request

            refuse_headers_of_the_request(name for name, _ in self.headers)
        sent: list[tuple[str, str | bytes]] = [*headers, *self.headers]
        given = {name.lower() for name, _ in sent}
        auth = self.auth or (BasicAuth(*address.credentials) if address.credentials else None)
        if auth is not None and "authorization" not in given:
            sent.append(("Authorization", auth.header()))
        if "user-agent" not in given:
            sent.append(("User-Agent", "pushgate"))
        return sent


_DEFAULT = HTTPHandler()


def default_handler(
    url: str,
    method: str,
    timeout: float | None,
    headers: list[tuple[str, str]],
    data: bytes,
) -> Callable[[], None]:
    """HTTP or HTTPS, with the credentials in the URL if it has any. Follows no redirect.

    The returned callable raises GatewayUnreachableError (a URLError) or GatewayRejectedError (an
    HTTPError); so do those of the other handlers.
    """
    return _DEFAULT(url, method, timeout, headers, data)


_Headers = list[tuple[str, "str | bytes"]]


def _exchange(
    request: Request, deadline: Deadline, max_body: int | None, shown: str, first_sent: _Headers
) -> Response:
    try:
        return transport.exchange(request, deadline, max_body)
    except (AnswerError, UnicodeError) as error:
        # Not chained: text and attributes of these may repeat what was sent.
        raise _unreachable(error, request, shown, first_sent) from None
    except OSError as error:
        raise _unreachable(error, request, shown, first_sent) from error


def _resolve(url: str, location: str) -> tuple[str, Address | None]:
    """Where a Location at ``url`` leads; no address if that is nowhere."""
    try:
        target = urljoin(without_credentials(url), location.replace(" ", "%20"))
        return target, parse(target)
    except ValueError:
        return location, None


def _mask(request: Request, sent: _Headers) -> Mask:
    """For what the server, or a proxy, says to ``request`` after the headers ``sent``."""
    proxy = proxy_for(request.origin.scheme, request.origin.authority)
    return Mask([*sent, *(proxy.headers if proxy else ())])


def _unreachable(
    error: Exception, request: Request, shown: str, sent: _Headers
) -> GatewayUnreachableError:
    reason, retryable = _explain(error)
    words = one_line(_mask(request, sent)(reason))
    kind: type[GatewayUnreachableError] = GatewayUnreachableError
    if isinstance(error, TimeoutError):
        kind = GatewayTimeoutError
    elif isinstance(error, OSError) and is_closed(error):
        kind = GatewayDisconnectedError
    return kind(words, method=request.method, url=shown, retryable=retryable)


def _explain(error: Exception) -> tuple[str, bool]:
    """The reason in words, and whether trying again may help."""
    text, retryable = str(getattr(error, "strerror", None) or error), True
    if isinstance(error, TimeoutError):
        text = text if text.startswith("timed out") else "timed out"
    elif isinstance(error, UnicodeError):
        text, retryable = "the host name is not one that can be looked up", False
    elif isinstance(error, OSError) and _said_nothing(error):
        text = "the server closed the connection without an answer"
    elif isinstance(error, OSError) and is_tls_error(error):
        why = getattr(error, "verify_message", None)
        text = f"the server's certificate is not trusted: {why}" if why else _tls_reason(error)
        retryable = False
    return text, retryable


def _said_nothing(error: OSError) -> bool:
    # http.client's RemoteDisconnected has no number; a reset has one, and says so itself.
    return is_closed(error) and (error.errno is None or is_tls_error(error))


def _tls_reason(error: OSError) -> str:
    return f"TLS failed: {getattr(error, 'reason', None) or error}"


def _rejection(
    response: Response, method: str, url: str, mask: Mask, words: str | None = None
) -> GatewayRejectedError:
    """``words`` explain the answer; where there are none, the server's own do, in its body."""
    from email.message import Message  # 8 ms, which an accepted push does without

    headers = response.headers or Message()
    body = mask(response.body.decode("utf-8", "surrogateescape"))
    reason = one_line(mask(response.reason))
    words = one_line(words or body)
    return GatewayRejectedError(
        status=response.status,
        reason=f"{reason}: {words}" if words else reason,
        method=method,
        url=url,
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
