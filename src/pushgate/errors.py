"""Every error pushgate raises: one tree, each leaf also what prometheus_client's users catch.

Enters: what went wrong, as plain values. Leaves: exceptions whose text says what to change and
never holds a credential. All of them survive pickling, so they may cross process boundaries.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError, URLError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from email.message import Message

__all__ = (
    "DeletionError",
    "DeliveryError",
    "GatewayDisconnectedError",
    "GatewayRejectedError",
    "GatewayTimeoutError",
    "GatewayURLError",
    "GatewayUnreachableError",
    "InvalidGroupingKeyError",
    "InvalidPayloadError",
    "MissingExtraError",
    "PushError",
    "SettingsError",
    "TLSFileError",
)


class PushError(Exception):
    """Root of everything pushgate raises on purpose."""

    def __reduce__(self) -> tuple[Any, ...]:
        # The keyword-only constructors of the subclasses cannot be replayed by Exception's own
        # __reduce__: it would call cls(*args).
        return _rebuild, (type(self), self.args, self._picklable_state())

    def _picklable_state(self) -> dict[str, Any]:
        return dict(self.__dict__)


def _rebuild(cls: type[PushError], args: tuple[Any, ...], state: dict[str, Any]) -> PushError:
    # Beside ValueError, cls.__new__ would be the wrong base's.
    new = OSError.__new__ if issubclass(cls, OSError) else cls.__new__
    error = new(cls, *args)
    error.args = args
    error.__dict__.update(state)
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
    """A gateway URL that can't be used; a URLError, as in prometheus_client."""

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


class DeliveryError(PushError, OSError):
    """A request that did not arrive, or was refused.

    ``method`` and ``url`` are the request's, the URL without credentials; ``group`` holds the
    grouping labels with ``job``, or None when the URL names no group; ``retryable`` says whether
    the same request may succeed later without anybody changing anything. ``kept`` says whether what
    was not delivered waits in an outbox.
    """

    method: str
    url: str
    group: Mapping[str, str] | None
    retryable: bool
    kept: bool = False

    def _describe(
        self, method: str, url: str, group: Mapping[str, str] | None, *, retryable: bool
    ) -> None:
        self.method = method
        self.url = url
        self.group = group
        self.retryable = retryable


class GatewayUnreachableError(DeliveryError, URLError):
    """No answer: refused, DNS, TLS, time-out or reset. ``reason`` is the text."""

    def __init__(
        self,
        reason: str,
        *,
        method: str,
        url: str,
        group: Mapping[str, str] | None = None,
        retryable: bool = True,
    ) -> None:
        URLError.__init__(self, reason)
        self._describe(method, url, group, retryable=retryable)

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

    # HTTPError declares it read-only; a rejected request keeps the URL without credentials.
    url: str

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
        retryable: bool = False,
        retry_after: float | None = None,
    ) -> None:
        HTTPError.__init__(self, url, status, reason, headers, io.BytesIO(body))
        self._describe(method, url, group, retryable=retryable)
        self.retry_after = retry_after
        self._body = body

    def _picklable_state(self) -> dict[str, Any]:
        return {
            "status": self.code,
            "reason": self.msg,
            "method": self.method,
            "url": self.url,
            "headers": self.headers,
            "body": self._body,
            "group": self.group,
            "retryable": self.retryable,
            "retry_after": self.retry_after,
            "kept": self.kept,
        }

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild_rejected, (type(self), self._picklable_state())


def _rebuild_rejected(cls: type[GatewayRejectedError], state: dict[str, Any]) -> Any:
    kept = state.pop("kept")
    error = cls(**state)
    error.kept = kept
    return error
