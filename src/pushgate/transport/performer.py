"""The handler protocols, and one request for a group by a handler of any kind.

A handler is called with the keywords ``url, method, timeout, headers, data`` and returns a callable
without arguments that performs the request and raises on failure: prometheus_client's protocol, so
any handler written for it works here. One for an AsyncGateway is a coroutine function instead.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import DeliveryError
from .handler import DEFAULT, FOLLOWING, HTTPHandler, default_handler, passthrough_redirect_handler

if TYPE_CHECKING:
    from ..protocol.grouping_key import GroupingKey
    from ..protocol.stored_key import StoredKey
    from .backend import Backend


class Handler(Protocol):
    """Performs a push's request. It may raise anything; OSError is the custom."""

    def __call__(
        self,
        *,
        url: str,
        method: str,
        timeout: float | None,
        headers: list[tuple[str, str]],
        data: bytes,
    ) -> Callable[[], object]:
        """Prepare the request; the returned callable performs it."""


class AsyncHandler(Protocol):
    """Performs a push's request in a coroutine. It may raise anything; OSError is the custom."""

    async def __call__(
        self,
        *,
        url: str,
        method: str,
        timeout: float | None,
        headers: list[tuple[str, str]],
        data: bytes,
    ) -> object:
        """Perform the request."""


AnyHandler = Handler | Callable[..., Callable[[], object]]
Performer = HTTPHandler | AsyncHandler
"""What performs a request in a coroutine."""


def blocking_performer(handler: AnyHandler) -> Performer:
    """For code that may block. Raises TypeError for a handler that needs an event loop."""
    if handler is default_handler:
        return DEFAULT
    if isinstance(handler, HTTPHandler):
        return handler
    if _is_async(handler):
        raise TypeError(f"the handler {handler!r} is a coroutine function; take an AsyncGateway")
    return partial(_call, handler)


def _is_async(handler: Any) -> bool:
    from inspect import iscoroutinefunction  # few have a handler of their own

    return iscoroutinefunction(handler) or iscoroutinefunction(getattr(handler, "__call__", None))  # noqa: B004 - which of both


async def _call(handler: AnyHandler, **request: Any) -> None:
    handler(**request)()


def async_performer(handler: HTTPHandler | AsyncHandler | AnyHandler) -> Performer:
    """For an event loop. Raises TypeError for a handler that would block it."""
    if handler is default_handler:
        return DEFAULT
    if handler is passthrough_redirect_handler:
        return FOLLOWING
    if isinstance(handler, HTTPHandler):
        return handler
    if _is_async(handler):
        return handler  # type: ignore[return-value]
    raise TypeError(
        f"the handler {handler!r} would block the event loop; give auth=, tls=, headers= and"
        " redirects= instead, or a coroutine function with the arguments of a handler"
    )


async def perform(
    backend: Backend,
    performer: Performer,
    base: str,
    method: str,
    key: GroupingKey | StoredKey,
    body: bytes,
    headers: list[tuple[str, str]],
    timeout: float | None,
) -> None:
    """One request for the group ``key`` of the gateway ``base``. An error of ours has the group."""
    try:
        if isinstance(performer, HTTPHandler):
            await performer.fetch(backend, base, method, timeout, headers, body, key.path)
        else:
            url = base + key.path
            await performer(url=url, method=method, timeout=timeout, headers=headers, data=body)
    except DeliveryError as error:
        error.group = key.labels
        raise
