"""Gateway: pushing to a Pushgateway, reading it and deleting from it, in code that may block."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from ..protocol.compression import Compression
from ..protocol.families import Metrics
from ..protocol.grouping_key import GroupingKey
from ..protocol.text import CONTENT_TYPE
from ..transport.auth import TLS, BasicAuth, BearerToken
from ..transport.backend import BLOCKING, completed
from ..transport.performer import AnyHandler, Performer, blocking_performer
from .core import GatewayCore

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..protocol.groups import Group
    from .clock import ClockOffset
    from .outbox_protocol import OutboxProtocol
    from .periodic import PeriodicPush


class _BlockingCore(GatewayCore):
    backend = BLOCKING

    def _performer_of(self, handler: Any) -> Performer:
        return blocking_performer(handler)


class Gateway:
    """A Pushgateway, for repeated use. Immutable; safe to share between threads and over a fork.

    ``url`` is ``host:port`` or a URL, credentials in it allowed. ``auth``, ``tls``, ``headers``
    and ``redirects`` (hops to follow) combine freely; ``handler`` replaces them all with one of
    the user's for pushes and deletes, while reading then knows only the URL's credentials.
    ``timeout`` bounds each call with all its retries, in seconds of wall clock, None for no bound.
    ``retries`` is how often a failure that may pass is tried again. ``outbox``, an Outbox, keeps
    what can't be delivered, the error's ``kept`` is then True, and delivers it by a later push.

    With ``utf8_names`` the names of metrics and labels are sent as they are, whatever characters
    they have; the gateway must run with ``--push.enable-utf8-names``. With ``protobuf``, metrics
    that have exemplars or native histograms are sent so to a gateway that is known to take them,
    which reading its version tells, once; to others, exemplars are left out, and native histograms
    refused.

    Raises SettingsError for a URL that can't be used, ValueError for a time-out. Methods raise
    InvalidGroupingKeyError, InvalidPayloadError, GatewayUnreachableError or GatewayRejectedError,
    and SettingsError for UTF-8 names where the gateway says that it does not know them; a handler
    of the user's may raise anything.
    """

    def __init__(
        self,
        url: str,
        *,
        auth: BasicAuth | BearerToken | None = None,
        tls: TLS | None = None,
        headers: Mapping[str, str] | Iterable[tuple[str, str]] = (),
        redirects: int = 0,
        handler: AnyHandler | None = None,
        timeout: float | None = 10.0,
        compression: Compression = None,
        retries: int = 3,
        outbox: OutboxProtocol | None = None,
        utf8_names: bool = False,
        protobuf: bool = True,
    ) -> None:
        self.core: GatewayCore = _BlockingCore(
            url,
            auth=auth,
            tls=tls,
            headers=headers,
            redirects=redirects,
            handler=handler,
            timeout=timeout,
            compression=compression,
            retries=retries,
            outbox=outbox,
            utf8_names=utf8_names,
            protobuf=protobuf,
        )
        """What an outbox sends by."""

    def __repr__(self) -> str:
        return f"Gateway({self.url!r})"

    @property
    def url(self) -> str:
        """The base URL without credentials."""
        return self.core.url

    @property
    def timeout(self) -> float | None:
        """What bounds a call that has no time-out of its own, in seconds."""
        return self.core.timeout

    @property
    def outbox(self) -> OutboxProtocol | None:
        """Where what can't be delivered waits."""
        return self.core.outbox

    @property
    def utf8_names(self) -> bool:
        """Whether names are sent as they are, whatever characters they have."""
        return self.core.utf8_names

    def push(
        self,
        job: str | GroupingKey,
        metrics: Metrics,
        grouping_key: Mapping[str, object] | None = None,
        *,
        clear: bool = False,
        timeout: float | None = None,
    ) -> None:
        """Replace the group by ``metrics`` (PUT). ``timeout`` overrides the gateway's own.

        Metrics without a sample would silently empty the group: that raises InvalidPayloadError,
        unless ``clear`` is set.
        """
        completed(self.core.push(job, metrics, grouping_key, clear=clear, timeout=timeout))

    def pushadd(
        self,
        job: str | GroupingKey,
        metrics: Metrics,
        grouping_key: Mapping[str, object] | None = None,
        *,
        timeout: float | None = None,
    ) -> None:
        """Replace only the families that are in ``metrics`` (POST); none is a heartbeat."""
        completed(self.core.pushadd(job, metrics, grouping_key, timeout=timeout))

    def delete(
        self,
        job: str | GroupingKey,
        grouping_key: Mapping[str, object] | None = None,
        *,
        timeout: float | None = None,
    ) -> None:
        """Delete exactly this group; a group that does not exist is no error (DELETE)."""
        completed(self.core.delete(job, grouping_key, timeout=timeout))

    def delete_group(
        self, labels: Mapping[str, str | bytes], *, timeout: float | None = None
    ) -> None:
        """Delete exactly the group of these labels, as :meth:`groups` reads them.

        Unlike :meth:`delete`, it takes labels that no GroupingKey may have, such as an empty
        ``instance``, and waits in no outbox: what was read may be another group by then.
        """
        completed(self.core.delete_group(labels, timeout=timeout))

    def send(
        self,
        method: str,
        key: GroupingKey,
        body: bytes,
        *,
        timeout: float | None = None,
    ) -> None:
        """Send a text that is encoded already. ``method`` is PUT, POST or DELETE."""
        completed(self.core.send(method, key, body, timeout=timeout))

    def send_directly(
        self,
        method: str,
        key: GroupingKey,
        body: bytes,
        *,
        timeout: float | None = None,
        content_type: str = CONTENT_TYPE,
        before_each_try: Callable[[], object] | None = None,
    ) -> None:
        """As send, but past the outbox: what is not delivered is not kept.

        With the ``content_type`` of protobuf, ``body`` is delimited messages. An exception of
        ``before_each_try`` ends the tries, and is raised.
        """
        completed(
            self.core.send_directly(
                method,
                key,
                body,
                timeout=timeout,
                content_type=content_type,
                before_each_try=before_each_try,
            )
        )

    def require_utf8_names(self, *, timeout: float | None = None) -> float | None:
        """Raise SettingsError if the gateway says that it does not know UTF-8 names.

        It is asked once. Returns the seconds that are left of ``timeout``.
        """
        return completed(self.core.require_utf8_names(timeout=timeout))

    def every(
        self,
        seconds: float,
        job: str | GroupingKey,
        metrics: Metrics,
        grouping_key: Mapping[str, object] | None = None,
        *,
        on_error: Callable[[Exception], object] | None = None,
    ) -> PeriodicPush:
        """Push beside a job: ``with gateway.every(30, "load", registry):``, also as a decorator.

        Each push is a :meth:`pushadd`: every ``seconds``, from a thread, and once at the end, also
        of a body that fails. Nothing is raised into the job: a failure goes to ``on_error``, or is
        logged as a warning once an hour. Leaving takes up to twice ``timeout``, where the gateway
        hangs. A forked child pushes nothing.
        """
        from .periodic import PeriodicPush

        return PeriodicPush(self, seconds, job, metrics, grouping_key, on_error)

    def at_end(
        self,
        job: str | GroupingKey,
        metrics: Metrics,
        grouping_key: Mapping[str, object] | None = None,
        *,
        on_error: Callable[[Exception], object] | None = None,
    ) -> PeriodicPush:
        """As :meth:`every`, but at the end only: ``@gateway.at_end("load", registry)``."""
        from .periodic import PeriodicPush

        return PeriodicPush(self, None, job, metrics, grouping_key, on_error)

    def groups(self, *, timeout: float | None = None) -> list[Group]:
        """Everything the gateway holds."""
        return list(self.iter_groups(timeout=timeout))

    def iter_groups(self, *, timeout: float | None = None) -> Iterator[Group]:
        """As groups, each read when its turn comes: for a process that must stay small.

        ``timeout`` bounds all of it. What fails meanwhile is raised by the iterator.
        """
        from ..protocol.groups import read_groups

        return read_groups(completed(self.core.open_groups(timeout=timeout)))

    def ready(self, *, timeout: float | None = None) -> bool:
        """Whether a Pushgateway answers and says that it is ready. Raises no PushError."""
        return completed(self.core.ready(timeout=timeout))

    def clock_offset(self, *, timeout: float | None = None) -> float:
        """How many seconds the gateway's clock is ahead of ours, to about half a second.

        By the Date of one of its responses; 0 where that has none.
        """
        return completed(self.core.clock_offset(timeout=timeout))

    def clock(self, *, timeout: float | None = None) -> ClockOffset | None:
        """How far the gateway's clock is from ours, to about a second; None without a Date."""
        return completed(self.core.clock(timeout=timeout))

    def scrape(self, *, timeout: float | None = None) -> bytes:
        """What Prometheus gets. Raises GatewayRejectedError where a bad group fails the scrape."""
        return completed(self.core.scrape(timeout=timeout))

    def version(self, *, timeout: float | None = None) -> str:
        """The gateway's version, such as ``1.11.2``."""
        return completed(self.core.version(timeout=timeout))

    def status(self, *, timeout: float | None = None) -> tuple[str, dict[str, str]]:
        """The gateway's version and the command line flags it runs with, all of them."""
        return completed(self.core.status(timeout=timeout))

    def started_at(self, *, timeout: float | None = None) -> float:
        """When the gateway was started, in Unix seconds by its clock."""
        return completed(self.core.started_at(timeout=timeout))
