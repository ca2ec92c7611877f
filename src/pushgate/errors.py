"""Every error that pushgate raises, and what an HTTP status means.

One tree. Each leaf is also what prometheus_client's users catch. A text says what to change and
never holds a credential. Errors can be pickled. HTTP status numbers are compared in this module
only; other code asks the functions at its end.
"""

from __future__ import annotations

import io
import os
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError, URLError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from email.message import Message


class PushError(Exception):
    """Root of everything pushgate raises on purpose."""

    def __reduce__(self) -> tuple[Any, ...]:
        # Exception's own would call cls(*args), without the keywords that the subclasses need.
        return _without_init, (type(self), self.args), self.__dict__


def _without_init(cls: type[PushError], args: tuple[Any, ...]) -> PushError:
    # Beside ValueError, cls.__new__ would be the wrong base's.
    error = (OSError if issubclass(cls, OSError) else cls).__new__(cls, *args)
    error.args = args
    return error


class InvalidGroupingKeyError(PushError, ValueError):
    """A grouping key that a Pushgateway would refuse, mangle or be poisoned by.

    ``label`` is the offending label name, ``value`` its value (None where the name is at fault).
    """

    def __init__(self, message: str, *, label: str, value: str | None = None) -> None:
        super().__init__(message)
        self.label = label
        self.value = value


class InvalidPayloadError(PushError, ValueError):
    """Metrics that a Pushgateway would refuse or silently alter.

    ``metric`` is the sample or family name, ``label`` the label name; each None where not at fault.
    """

    def __init__(
        self, message: str, *, metric: str | None = None, label: str | None = None
    ) -> None:
        super().__init__(message)
        self.metric = metric
        self.label = label


class SettingsError(PushError, ValueError):
    """A setting that can't be used; the text names the setting and where it came from."""


class GatewayURLError(SettingsError, URLError):
    """A URL of a gateway or proxy that can't be used; a URLError, as in prometheus_client."""

    def __init__(self, message: str) -> None:
        URLError.__init__(self, message)

    def __str__(self) -> str:
        return str(self.reason)


class TLSFileError(SettingsError, OSError):
    """A certificate, key or CA file that can't be used; an OSError, as in prometheus_client."""


class MissingExtraError(PushError, ImportError, RuntimeError):
    """An optional dependency is missing; the text holds the pip command.

    Also a RuntimeError because prometheus_client raises that for a missing snappy.
    """

    def __init__(self, feature: str, *, extra: str) -> None:
        super().__init__(f"{feature}: pip install 'pushgate[{extra}]'")
        self.extra = extra


class DeletionError(PushError):
    """Not every group could be deleted. ``__cause__`` is the first error.

    ``deleted`` are those that were, ``left`` those that were not, as ``prune`` returns them.
    """

    def __init__(self, message: str, *, deleted: tuple[Any, ...], left: tuple[Any, ...]) -> None:
        super().__init__(message)
        self.deleted = deleted
        self.left = left


class UnconfirmedDeletionError(DeletionError):
    """Nothing was deleted: it would be much of the gateway, or new, and nobody confirmed that.

    ``left`` are the groups that would be deleted.
    """


class DeliveryError(PushError, OSError):
    """A request that did not arrive, or was refused.

    ``method`` and ``url`` are the request's, the URL without credentials; ``group`` holds the
    grouping labels with ``job``, or None when the URL names no group.

    ``retryable``: the same request may succeed later, without any change. ``permanent``: no later
    try of the same request can succeed, so no outbox keeps it. An error that is neither needs a
    change elsewhere, such as of a password. ``kept``: the push waits in an outbox.
    """

    permanent: bool = False
    kept: bool = False

    def __init__(
        self,
        text: str,
        *,
        method: str,
        url: str,
        group: Mapping[str, str] | None = None,
        retryable: bool = True,
    ) -> None:
        OSError.__init__(self, text)
        self.method = method
        self.url = url
        self.group = group
        self.retryable = retryable


class GatewayUnreachableError(DeliveryError, URLError):
    """No answer: refused, DNS, TLS, time-out or reset. ``reason`` is the text."""

    @property
    def reason(self) -> str:  # type: ignore[override]  # URLError sets it
        return str(self.args[0])

    def __str__(self) -> str:
        return f"{self.method} {self.url}: {self.reason}"


class GatewayTimeoutError(GatewayUnreachableError, TimeoutError):
    """The time-out passed without an answer. Also a TimeoutError, as in prometheus_client."""


class GatewayDisconnectedError(GatewayUnreachableError, ConnectionError):
    """Refused, reset or closed. Also a ConnectionError, as in prometheus_client."""


class GatewayRejectedError(DeliveryError, HTTPError):
    """The server answered with something other than success.

    ``status`` (and ``code``, as in HTTPError) is the HTTP status, ``reason`` the status line's
    phrase followed by the server's own words, ``headers`` the response's, ``read()`` its body;
    ``retry_after`` the seconds the server asked us to wait, or None.
    """

    url: str  # HTTPError declares it read-only

    def __init__(
        self,
        *,
        status: int,
        reason: str,
        method: str,
        url: str,
        headers: Message,
        body: bytes = b"",
        group: Mapping[str, str] | None = None,
        retry_after: float | None = None,
    ) -> None:
        # Not by HTTPError's own, which makes a temporary file of the body: Python 3.14 warns when
        # one that was not closed is collected.
        self.code = status
        self.msg = reason
        self.hdrs = headers
        self.filename = url
        self.fp = self.file = io.BytesIO(body)
        self._body = body
        self.method = method
        self.url = url
        self.group = group
        self.retryable = _is_retryable_status(status)
        is_page = "html" in (headers.get("Content-Type") or "").lower()
        is_of_a_proxy = status == _BAD_REQUEST and is_page
        self.permanent = status in _PERMANENT and not is_of_a_proxy and not _says(self, _OF_OTHERS)
        self.retry_after = retry_after

    def __getattr__(self, name: str) -> Any:
        # The file's methods, which HTTPError looks up in a wrapper that is not made here.
        if "fp" not in self.__dict__:
            raise AttributeError(name)
        return getattr(self.fp, name)

    def close(self) -> None:
        """Does nothing: the body is in memory."""

    def __reduce__(self) -> tuple[Any, ...]:
        made = partial(
            type(self),
            status=self.code,
            reason=self.msg,
            method=self.method,
            url=self.url,
            headers=self.headers,
            body=self._body,
            group=self.group,
            retry_after=self.retry_after,
        )
        return made, (), {"kept": self.kept}


# The gateway refuses what it was sent, and would again: 400 for a text it can't parse or metrics
# that clash, 413 of a proxy for a body that is too large, 415 and 422 of one that checks bodies. A
# 400 of a proxy, as nginx answers where a client certificate is missing or has expired, is none.
_PERMANENT = (400, 413, 415, 422)
# The answer is about who asks, or about the gateway as a whole, and not about one group.
_OF_THE_GATEWAY = (401, 403, 407, 408, 429, 502, 503, 504)
# Reading is refused. Pushes may pass all the same: of a proxy that lets nothing else through, or of
# a gateway without the API.
_NOT_READABLE = (401, 403, 404, 405)
# RFC 9110, section 15; RFC 6585, section 4
_BAD_REQUEST, _UNAUTHORIZED = 400, 401
_TIMED_OUT, _UNSUPPORTED, _TOO_MANY = 408, 415, 429
_SERVER_ERRORS = 500
# In a 400 that is not about what was sent: of Go, nginx and Apache for plain HTTP at a port that
# speaks TLS; and of a Pushgateway that holds a group which breaks it for all. The metrics that it
# names then are its own, and in no push.
_WANT_TLS = (b"to an HTTPS server", b"to HTTPS port", b"SSL-enabled server port")
_OF_ALL = (*_WANT_TLS, b'metric "push_time_seconds"', b'metric "push_failure_time_seconds"')
# The types of the job metrics are fixed: who clashes with them has pushed them by other means.
_OF_OTHERS = (*_OF_ALL, b'metric "batch_job_')
_ELSEWHERE = (
    "it answers, but not as a Pushgateway does",
    "correct the port, or add the path prefix that the gateway runs under",
)
_EXPLAINED = {
    401: ("it asks for credentials", "set a user name and password, or a token"),
    403: ("it does not allow this", "have it allowed for these credentials"),
    404: _ELSEWHERE,
    405: _ELSEWHERE,
}


def _is_retryable_status(status: int) -> bool:
    return status in (_TIMED_OUT, _TOO_MANY) or status >= _SERVER_ERRORS or is_success(status)


def is_success(status: int) -> bool:
    """Whether an HTTP status says that the server did what it was asked.

    As the status of an error: something other than a Pushgateway answered, such as a web page that
    says that the site is down for maintenance. It may be back later.
    """
    return 200 <= status < 300


def closes_idle_connection(status: int) -> bool:
    """Whether a server answers so on a connection that was idle for too long (RFC 9110, 15.5.9)."""
    return status == _TIMED_OUT


def _status(error: BaseException) -> int | None:
    """The HTTP status of an error of ours, or of the HTTPError of a user's handler."""
    status = getattr(error, "code", None)
    return status if isinstance(status, int) else None


def is_permanent(error: BaseException) -> bool:
    """Whether no later try of the same request can succeed. Takes any exception."""
    if isinstance(error, DeliveryError):
        return error.permanent
    return _status(error) in _PERMANENT


def _says(error: BaseException, texts: tuple[bytes, ...]) -> bool:
    """Whether it is a 400 with one of these in its body."""
    body: bytes = getattr(error, "_body", b"")
    return _status(error) == _BAD_REQUEST and any(text in body for text in texts)


def may_arrive_later(error: BaseException) -> bool:
    """Whether a later try of the same push can succeed, so that it is kept. Takes any exception.

    A user's handler may raise anything. An error of ours that is no OSError is about the payload,
    the grouping key or a setting, and a later try of the same push would raise it again.
    """
    is_of_the_push = isinstance(error, PushError) and not isinstance(error, OSError)
    return not is_of_the_push and not is_permanent(error)


def is_retryable(error: BaseException) -> bool:
    """Whether the same request may succeed later, without any change."""
    if isinstance(error, DeliveryError):
        return error.retryable
    status = _status(error)
    return isinstance(error, OSError) if status is None else _is_retryable_status(status)


def concerns_one_group(error: BaseException) -> bool:
    """Whether the gateway may take another group although it refused this one."""
    status = _status(error)
    if status is None:
        return not isinstance(error, OSError)
    return not (status in _OF_THE_GATEWAY or is_success(status) or _says(error, _OF_ALL))


def forbids_reading(error: BaseException) -> bool:
    """Whether the gateway refuses to have its groups read, now and later."""
    return isinstance(error, GatewayRejectedError) and error.code in _NOT_READABLE


def refuses_content_type(error: BaseException) -> bool:
    """Whether the server does not take bodies of this Content-Type, such as protobuf."""
    return _status(error) == _UNSUPPORTED


def failed_inside(error: BaseException) -> bool:
    """Whether the gateway itself failed, as it does when a bad group breaks its ``/metrics``."""
    return _status(error) == _SERVER_ERRORS


def asks_for_credentials(error: BaseException) -> bool:
    """Whether the gateway refused the request because its credentials are missing or wrong."""
    return _status(error) == _UNAUTHORIZED


def is_of_no_gateway(status: int) -> bool:
    """Whether a server answers so that has no such page, or takes no push: no Pushgateway does."""
    return _EXPLAINED.get(status) is _ELSEWHERE


def require_posix(what: str) -> None:
    """Raise PushError where this is not a POSIX system, as Windows. ``what`` begins the text."""
    if not hasattr(os, "fork"):
        raise PushError(
            f"{what} needs Linux, macOS or another POSIX system; on this one use Gateway and the"
            " push functions"
        )


def explain(error: BaseException, *, has_credentials: bool) -> tuple[str, str]:
    """What the answer means, and what to change: two texts for people.

    The first is empty where the error says enough itself. ``has_credentials``: the request had
    some.
    """
    status = _status(error)
    if status == _UNAUTHORIZED and has_credentials:
        return "the credentials are refused", "correct user name, password or token"
    if _says(error, _WANT_TLS):
        return "", "write https:// in place of http://"
    if status is not None and is_success(status):
        return _ELSEWHERE
    see = "see the gateway's log, and what is in front of it"
    return _EXPLAINED.get(status or 0, ("", see))
