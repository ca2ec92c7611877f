"""AsyncGateway: what Gateway does, for an asyncio event loop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..transport.asyncio_backend import ASYNCIO
from ..transport.performer import Performer, async_performer
from ..transport.pool import close_idle
from ..transport.urls import parse
from .core import GatewayCore
from .periodic import AsyncPeriodicPush

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType
    from typing import Self

    from ..protocol.families import Metrics
    from ..protocol.grouping_key import GroupingKey


class AsyncGateway(GatewayCore):
    """A Pushgateway, for repeated use in coroutines. Options, methods and errors are a Gateway's.

    One object serves any number of tasks, event loops and threads. No thread waits for the gateway:
    a push that hangs delays only its own task, and one that is cancelled closes its connection and
    returns at once; it is not kept, for whoever cancelled it knows, but where something waits for
    its group it was written down before. A large registry is collected and encoded in slices, and
    others have a turn between.

    Threads do what no system can do without blocking: one looks up the name of a gateway that is
    not given as an address, and some use the disk where an ``outbox`` stores or delivers what
    waits. ``handler`` is a coroutine function with the keywords of a handler, or an HTTPHandler:
    TypeError is raised for one that would block the loop.

    Runs on asyncio's loops that can watch sockets, uvloop, and anyio with asyncio. Leaving an
    ``async with`` closes idle connections to the gateway; it can be used again afterwards.
    """

    backend = ASYNCIO

    def __repr__(self) -> str:
        return f"AsyncGateway({self.url!r})"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close idle connections to the gateway. The process's end does it, too."""
        close_idle(parse(self._url).origin)

    def every(
        self,
        seconds: float,
        job: str | GroupingKey,
        metrics: Metrics,
        grouping_key: Mapping[str, object] | None = None,
        *,
        on_error: Callable[[Exception], object] | None = None,
    ) -> AsyncPeriodicPush:
        """Push beside a job: ``async with gateway.every(30, "load", registry):``.

        As :meth:`pushgate.Gateway.every`, in a task; as a decorator, for coroutine functions.
        """
        return AsyncPeriodicPush(self, seconds, job, metrics, grouping_key, on_error)

    def at_end(
        self,
        job: str | GroupingKey,
        metrics: Metrics,
        grouping_key: Mapping[str, object] | None = None,
        *,
        on_error: Callable[[Exception], object] | None = None,
    ) -> AsyncPeriodicPush:
        """As :meth:`every`, but at the end only: ``@gateway.at_end("load", registry)``."""
        return AsyncPeriodicPush(self, None, job, metrics, grouping_key, on_error)

    def _performer_of(self, handler: Any) -> Performer:
        return async_performer(handler)
