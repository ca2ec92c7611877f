"""All that a Gateway and an AsyncGateway do, as coroutines. What can be read is inherited."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from copy import copy
from typing import TYPE_CHECKING, Any

from ..errors import GatewayRejectedError, InvalidPayloadError, refuses_content_type
from ..protocol.compression import Compression, compress, compress_steps
from ..protocol.families import (
    NATIVE_HISTOGRAMS,
    FamilyLike,
    Metrics,
    beyond_text,
    collect_steps,
)
from ..protocol.grouping_key import GroupingKey, joined_key
from ..protocol.text import CONTENT_TYPE, encode, encode_steps
from ..transport.auth import TLS, BasicAuth, BearerToken
from ..transport.handler import HTTPHandler, check_options
from ..transport.performer import Performer, perform
from .reader import GatewayReader

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence

    from ..transport.backend import Backend
    from ..transport.deadline import Deadline
    from .outbox_protocol import OutboxProtocol


class GatewayCore(GatewayReader):
    """Pushing to a gateway and deleting from it. Options, arguments and errors are a Gateway's.

    A subclass says by what ``backend`` it waits, and with what handlers that goes.
    """

    def __init__(
        self,
        url: str,
        *,
        auth: BasicAuth | BearerToken | None = None,
        tls: TLS | None = None,
        headers: Mapping[str, str] | Iterable[tuple[str, str]] = (),
        redirects: int = 0,
        handler: Any = None,
        timeout: float | None = 10.0,
        compression: Compression = None,
        retries: int = 3,
        outbox: OutboxProtocol | None = None,
        utf8_names: bool = False,
        protobuf: bool = True,
    ) -> None:
        options: dict[str, Any] = {"tls": tls} if tls is not None else {}
        pairs = tuple(headers.items() if isinstance(headers, Mapping) else headers)
        if outbox is not None and not hasattr(outbox, "deliver"):
            raise TypeError("outbox is an Outbox, such as Outbox('/var/lib/our-jobs/outbox')")
        reader = HTTPHandler(auth=auth, headers=pairs, redirects=redirects, **options)
        check_options(reader.auth, reader.tls, reader.headers)
        if handler is not None and reader != HTTPHandler():
            raise TypeError(
                "handler= replaces auth=, tls=, headers= and redirects=; give either, or build the"
                " handler from pushgate.handlers.HTTPHandler"
            )
        if retries < 0 or redirects < 0:
            raise ValueError("retries and redirects are counts from 0 on")
        super().__init__(url, reader=reader, timeout=timeout, retries=retries)
        compress(b"", compression)  # an unknown or missing one fails here, not at the first push
        self._performer = self._performer_of(handler or reader)
        self._compression = compression
        self._outbox = outbox
        self._utf8_names = utf8_names
        self._protobuf = protobuf

    @property
    def outbox(self) -> OutboxProtocol | None:
        """Where what can't be delivered waits."""
        return self._outbox

    @property
    def utf8_names(self) -> bool:
        """Whether names are sent as they are, whatever characters they have."""
        return self._utf8_names

    async def push(
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
        await self._push("PUT", job, metrics, grouping_key, timeout, may_be_empty=clear)

    async def pushadd(
        self,
        job: str | GroupingKey,
        metrics: Metrics,
        grouping_key: Mapping[str, object] | None = None,
        *,
        timeout: float | None = None,
    ) -> None:
        """Replace only the families that are in ``metrics`` (POST); none is a heartbeat."""
        await self._push("POST", job, metrics, grouping_key, timeout, may_be_empty=True)

    async def delete(
        self,
        job: str | GroupingKey,
        grouping_key: Mapping[str, object] | None = None,
        *,
        timeout: float | None = None,
    ) -> None:
        """Delete exactly this group; a group that does not exist is no error (DELETE)."""
        key = joined_key(job, grouping_key, utf8_names=self._utf8_names)
        await self.send("DELETE", key, b"", timeout=timeout)

    async def delete_group(
        self, labels: Mapping[str, str | bytes], *, timeout: float | None = None
    ) -> None:
        """Delete exactly the group of these labels, as :meth:`groups` reads them.

        Unlike :meth:`delete`, it takes labels that no GroupingKey may have, such as an empty
        ``instance``, and waits in no outbox: what was read may be another group by then.
        """
        from ..protocol.stored_key import stored_key

        key = stored_key(labels)

        async def attempt(left: float | None) -> None:
            await perform(self.backend, self._performer, self._url, "DELETE", key, b"", [], left)

        await self._bounded(attempt, timeout)

    async def send(
        self,
        method: str,
        key: GroupingKey,
        body: bytes,
        *,
        timeout: float | None = None,
    ) -> None:
        """Send a text that is encoded already. ``method`` is PUT, POST or DELETE."""
        _check_method(method)
        await self._send(method, key, body, timeout, CONTENT_TYPE, None)

    async def send_directly(
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
        _check_method(method)
        if key.needs_utf8_names:
            timeout = await self.require_utf8_names(timeout=timeout)
        if self._compression is None or method == "DELETE":
            body, headers = compress(body, None, content_type)
        else:
            steps = compress_steps(body, self._compression, content_type)
            body, headers = await self.backend.in_slices(steps)

        async def attempt(left: float | None) -> None:
            if before_each_try is not None:
                before_each_try()
            await perform(
                self.backend, self._performer, self._url, method, key, body, list(headers), left
            )

        await self._bounded(attempt, timeout)

    async def require_utf8_names(self, *, timeout: float | None = None) -> float | None:
        """Raise SettingsError if the gateway says that it does not know UTF-8 names.

        It is asked once. Returns the seconds that are left of ``timeout``.
        """
        deadline = self._deadline(timeout)
        await self._features.require_utf8_names(deadline)
        return deadline.left()

    @property
    def has_own_handler(self) -> bool:
        """Whether a handler of the user's performs the requests, which may wait as it likes."""
        return not isinstance(self._performer, HTTPHandler)

    def waiting_by(self, backend: Backend) -> GatewayCore:
        """The same gateway for code that waits otherwise. It must have no handler of its own."""
        other = copy(self)
        other.backend, other._known_features = backend, None
        return other

    def _performer_of(self, handler: Any) -> Performer:
        """What performs requests by ``handler``. Raises TypeError where that can't be."""
        raise NotImplementedError

    async def _push(
        self,
        method: str,
        job: str | GroupingKey,
        metrics: Metrics,
        grouping_key: Mapping[str, object] | None,
        timeout: float | None,
        *,
        may_be_empty: bool,
    ) -> None:
        key = joined_key(job, grouping_key, utf8_names=self._utf8_names)
        families = await self.backend.in_slices(collect_steps(metrics))
        if self._protobuf and (beyond := beyond_text(families)):
            deadline = self._deadline(timeout)
            needed = beyond == NATIVE_HISTOGRAMS
            if await self._features.takes_protobuf(
                deadline, needed=needed
            ) and await self._push_protobuf(method, key, families, deadline):
                return
            timeout = deadline.left()
        payload = await self.backend.in_slices(
            encode_steps(families, key, utf8_names=self._utf8_names)
        )
        if not payload.samples and not may_be_empty:
            raise InvalidPayloadError(
                f"nothing to push: the registry has no samples, and a PUT would empty the group"
                f" {key}; pass clear=True if that is meant, or use pushadd"
            )
        if payload.utf8_names:
            timeout = await self.require_utf8_names(timeout=timeout)
        await self._send(method, key, payload.text, timeout, CONTENT_TYPE, None)

    async def _push_protobuf(
        self, method: str, key: GroupingKey, families: Sequence[FamilyLike], deadline: Deadline
    ) -> bool:
        """By protobuf, and whether the gateway takes that; what then fails is raised."""
        from ..protocol.protobuf import CONTENT_TYPE, encode_protobuf  # which few pushes need

        payload = encode_protobuf(families, key, utf8_names=self._utf8_names)
        if payload.utf8_names:
            await self._features.require_utf8_names(deadline)

        def text() -> bytes:
            return encode(families, key, utf8_names=self._utf8_names).text

        try:
            await self._send(method, key, payload.body, deadline.left(), CONTENT_TYPE, text)
        except GatewayRejectedError as error:
            if not refuses_content_type(error):  # not a Pushgateway, but the embedded gateway does
                raise
            self._features.protobuf_was_refused()
            return False
        return True

    def _send(
        self,
        method: str,
        key: GroupingKey,
        body: bytes,
        timeout: float | None,
        content_type: str,
        text: Callable[[], bytes] | None,
    ) -> Coroutine[Any, Any, None]:
        if self._outbox is None:
            return self.send_directly(method, key, body, timeout=timeout, content_type=content_type)
        return self._outbox.deliver(
            self, method, key, body, timeout=timeout, content_type=content_type, text=text
        )


def _check_method(method: str) -> None:
    if method not in ("PUT", "POST", "DELETE"):
        raise ValueError(f"the method is {method!r}; a Pushgateway has PUT, POST and DELETE")
