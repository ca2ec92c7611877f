"""The built-in handlers, and the class that all of them belong to."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urljoin

from .. import imported
from ..errors import SettingsError, is_success
from .auth import TLS, BasicAuth, BearerToken
from .backend import BLOCKING, completed
from .deadline import Deadline
from .pool import exchange
from .request import Request, RequestHeaders, headers_of, refuse_headers_of_the_request
from .response import Response, ResponseError
from .urls import Address, parse, without_credentials

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .backend import Backend
    from .error_mapping import ErrorMapping

_REDIRECTS = (301, 302, 303, 307, 308)
# What an exchange may raise. Not Exception: a signal's handler may raise what is the job's own,
# such as Celery's SoftTimeLimitExceeded.
_FAILURES = (OSError, ValueError, ArithmeticError, MemoryError)
_MAX_BODY = 64 * 1024  # bytes; a Pushgateway's longest complaint is far below
# All that may follow a redirect to another origin: neither Authorization nor the user's own
# headers, which may hold a key.
_HARMLESS = ("content-type", "content-encoding")


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
        headers: list[tuple[str, str]],
        data: bytes,
    ) -> Callable[[], object]:
        """Prepare a push. ``timeout`` bounds the whole of it, in seconds of wall clock."""
        return partial(self.request, url, method, timeout, headers, data)

    def request(
        self,
        url: str,
        method: str,
        timeout: float | None,
        headers: Iterable[tuple[str, str]] = (),
        data: bytes = b"",
        path: str = "",
        *,
        max_body: int | None = _MAX_BODY,
        streamed: bool = False,
    ) -> Response:
        """Send a request to ``url`` and the ``path`` below it; the response, if it is a success.

        Arguments and errors are those of :meth:`fetch`.
        """
        return completed(
            self.fetch(
                BLOCKING,
                url,
                method,
                timeout,
                headers,
                data,
                path,
                max_body=max_body,
                streamed=streamed,
            )
        )

    async def fetch(
        self,
        backend: Backend,
        url: str,
        method: str,
        timeout: float | None,
        headers: Iterable[tuple[str, str]] = (),
        data: bytes = b"",
        path: str = "",
        *,
        max_body: int | None = _MAX_BODY,
        streamed: bool = False,
    ) -> Response:
        """Send a request to ``url`` and the ``path`` below it; the response, if it is a success.

        ``max_body`` is how many bytes of its body are read, None for all; with ``streamed`` they
        are read while the response's ``chunks`` are. Raises DeliveryError, also for a success that
        no Pushgateway gave, and SettingsError for a URL, header or TLS file that can't be used.
        """
        if timeout is not None and not timeout > 0:  # NaN too
            raise ValueError(f"timeout is {timeout!r}; give seconds above 0, or None for no limit")
        deadline = Deadline(timeout)
        address = parse(url)
        target, shown = address.target, address.shown
        if path:
            target, shown = target.rstrip("/") + path, shown + path
        given = tuple([(name, value) for name, value in headers])
        own = self.auth, self.tls, tuple(self.headers)
        first_sent = sent = _complete(*own, given, address.credentials)
        for hop in range(self.redirects + 1):
            tls = self.tls.context() if address.origin.scheme == "https" else None
            request = Request(address.origin, method, target, sent, data, tls, max_body, streamed)
            try:
                response = await exchange(backend, request, deadline)
            except SettingsError:
                raise
            except _FAILURES as error:
                # Not chained: text and attributes of these may repeat what was sent.
                repeats = isinstance(error, (ResponseError, UnicodeError))
                raise _errors(request, shown, first_sent).unreachable(error) from (
                    None if repeats else error
                )
            if is_success(response.status):
                if response.headers is None:
                    return response
                return _errors(request, shown, first_sent).checked(response)
            there = self._redirect(request, response, _errors(request, shown, first_sent), hop)
            if there.origin != address.origin:
                sent = headers_of([p for n, p in sent.by_name.items() if n in _HARMLESS])
            address, target, shown = there, there.target, there.shown
        raise AssertionError("unreachable")

    def _redirect(
        self, request: Request, response: Response, errors: ErrorMapping, hop: int
    ) -> Address:
        """Where a redirect leads that is to be followed. Raises GatewayRejectedError for others."""
        location = response.headers and response.headers.get("Location")
        if response.status not in _REDIRECTS or not location:
            raise errors.rejected(response)
        here = f"{request.origin.scheme}://{request.origin.authority}{request.target}"
        target = location
        try:
            target = urljoin(here, location.replace(" ", "%20"))
            address = parse(target)
        except ValueError:
            advice = "which is no URL that can be followed"
        else:
            if hop < self.redirects:
                return address._replace(shown=errors.redaction(address.shown))
            advice = f"gave up after {hop} redirects"
            if not self.redirects:
                advice = "use passthrough_redirect_handler, or the final URL"
        target = errors.redaction(without_credentials(target))
        raise errors.rejected(response, f"redirected to {target}; {advice}")


def _errors(request: Request, shown: str, first_sent: RequestHeaders) -> ErrorMapping:
    made: ErrorMapping = imported("pushgate.transport.error_mapping").ErrorMapping(
        request, shown, first_sent
    )
    return made  # most pushes do without


def check_options(auth: object, tls: object, headers: tuple[tuple[str, str], ...]) -> None:
    """Raise TypeError or ValueError for options of a handler that no request can be made with."""
    if auth is not None and not isinstance(auth, (BasicAuth, BearerToken)):
        raise TypeError("auth is a BasicAuth or a BearerToken")
    if not isinstance(tls, TLS):
        raise TypeError("tls is a TLS, such as TLS(cafile='/etc/ssl/our-ca.pem')")
    if not all(isinstance(pair, tuple) and len(pair) == 2 for pair in headers):
        raise TypeError("headers are pairs of a name and a value")
    refuse_headers_of_the_request(name for name, _ in headers)


@lru_cache(maxsize=64)  # most pushes of a process have the same
def _complete(
    auth: BasicAuth | BearerToken | None,
    tls: TLS,
    own: tuple[tuple[str, str], ...],
    headers: tuple[tuple[str, str], ...],
    credentials: tuple[str, str] | None,
) -> RequestHeaders:
    """The headers of a call with the handler's own, once its options are checked."""
    check_options(auth, tls, own)
    sent: list[tuple[str, str | bytes]] = [*headers, *own]
    names = {name.lower() for name, _ in sent}
    auth = auth or (BasicAuth(*credentials) if credentials else None)
    if auth is not None and "authorization" not in names:
        sent.append(("Authorization", auth.header()))
    if "user-agent" not in names:
        sent.append(("User-Agent", "pushgate"))
    return headers_of(sent)


DEFAULT = HTTPHandler()
FOLLOWING = HTTPHandler(redirects=10)


def default_handler(
    url: str,
    method: str,
    timeout: float | None,
    headers: list[tuple[str, str]],
    data: bytes,
) -> Callable[[], object]:
    """HTTP or HTTPS, with the credentials in the URL if it has any. Follows no redirect.

    The returned callable raises GatewayUnreachableError (a URLError) or GatewayRejectedError (an
    HTTPError); so do those of the other handlers.
    """
    return DEFAULT(url, method, timeout, headers, data)


def passthrough_redirect_handler(
    url: str,
    method: str,
    timeout: float | None,
    headers: list[tuple[str, str]],
    data: bytes,
) -> Callable[[], object]:
    """As default_handler, but follows up to 10 redirects (301, 302, 303, 307, 308).

    Method and body stay the same on every hop. Authorization and headers other than the content's
    do not travel to another origin. Use it only for a gateway whose redirects you trust.
    """
    return FOLLOWING(url, method, timeout, headers, data)
