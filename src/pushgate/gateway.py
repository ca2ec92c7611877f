"""Pushing to, deleting from and reading a Pushgateway.

Enters: a job, a grouping key and metrics. Leaves: requests through a handler, or a PushError. This
is the last step of the pipeline; everything before it is pure.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from .abilities import Abilities
from .addresses import base_url, without_credentials
from .auth import TLS, BasicAuth, BearerToken
from .compression import Compression, compress
from .errors import (
    DeliveryError,
    GatewayRejectedError,
    InvalidPayloadError,
    PushError,
    SettingsError,
)
from .exposition import CONTENT_TYPE, encode, families_of
from .families import FamilyLike, Metrics, has_native_histograms, needs_protobuf
from .grouping import GroupingKey
from .headers import refuse_headers_of_the_request
from .http_handler import Handler, HTTPHandler
from .names import from_path
from .retries import with_retries
from .wire import Deadline

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .clocks import ClockOffset
    from .groups import Group
    from .stored_keys import StoredKey

__all__ = ("Gateway", "Keeper", "perform")


class Keeper(Protocol):
    """What a Gateway needs of an Outbox, which is a step further on and so can't be imported."""

    def send(
        self,
        gateway: Gateway,
        method: str,
        key: GroupingKey,
        body: bytes,
        *,
        timeout: float | None = None,
        content_type: str = CONTENT_TYPE,
    ) -> None:
        """Deliver now, or keep it and raise what kept it from arriving."""

    def keep(self, url: str, changes: Iterable[tuple[str, GroupingKey, bytes, float]]) -> bool:
        """Keep what is not delivered: whether it is on disk now. Raises nothing."""


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
        handler: Handler | Callable[..., Callable[[], object]] | None = None,
        timeout: float | None = 10.0,
        compression: Compression = None,
        retries: int = 3,
        outbox: Keeper | None = None,
        utf8_names: bool = False,
        protobuf: bool = True,
    ) -> None:
        options: dict[str, Any] = {"tls": tls} if tls is not None else {}
        pairs = tuple(headers.items() if isinstance(headers, Mapping) else headers)
        if not all(isinstance(pair, tuple) and len(pair) == 2 for pair in pairs):
            raise TypeError("headers are a mapping, or pairs of a name and a value")
        refuse_headers_of_the_request(name for name, _ in pairs)
        if auth is not None and not isinstance(auth, (BasicAuth, BearerToken)):
            raise TypeError("auth is a BasicAuth or a BearerToken")
        reader = HTTPHandler(auth=auth, headers=pairs, redirects=redirects, **options)
        if handler is not None and reader != HTTPHandler():
            raise TypeError(
                "handler= replaces auth=, tls=, headers= and redirects=; give either, or build the"
                " handler from pushgate.handlers.HTTPHandler"
            )
        if timeout is not None and not timeout > 0:
            raise ValueError(f"timeout is {timeout!r}; give seconds above 0, or None for no limit")
        if retries < 0 or redirects < 0:
            raise ValueError("retries and redirects are counts from 0 on")
        compress(b"", compression)  # an unknown or missing one fails here, not at the first push
        self._url = base_url(url)
        self._reader = reader
        self._handler = handler or reader
        self._timeout = timeout
        self._compression = compression
        self._retries = retries
        self._outbox = outbox
        self._utf8_names = utf8_names
        self._protobuf = protobuf
        self._abilities = Abilities(self._read_status)

    @property
    def outbox(self) -> Keeper | None:
        """Where what can't be delivered waits."""
        return self._outbox

    @property
    def timeout(self) -> float | None:
        """What bounds a call that has no time-out of its own, in seconds."""
        return self._timeout

    @property
    def url(self) -> str:
        """The base URL without credentials."""
        return without_credentials(self._url)

    def __repr__(self) -> str:
        return f"Gateway({self.url!r})"

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
        self._push("PUT", self._key(job, grouping_key), metrics, timeout, may_be_empty=clear)

    def pushadd(
        self,
        job: str | GroupingKey,
        metrics: Metrics,
        grouping_key: Mapping[str, object] | None = None,
        *,
        timeout: float | None = None,
    ) -> None:
        """Replace only the families that are in ``metrics`` (POST); none is a heartbeat."""
        self._push("POST", self._key(job, grouping_key), metrics, timeout, may_be_empty=True)

    def delete(
        self,
        job: str | GroupingKey,
        grouping_key: Mapping[str, object] | None = None,
        *,
        timeout: float | None = None,
    ) -> None:
        """Delete exactly this group; a group that does not exist is no error (DELETE)."""
        self.send("DELETE", self._key(job, grouping_key), b"", timeout=timeout)

    def delete_group(
        self, labels: Mapping[str, str | bytes], *, timeout: float | None = None
    ) -> None:
        """Delete exactly the group of these labels, as :meth:`groups` reads them.

        Unlike :meth:`delete`, it takes labels that no GroupingKey may have, such as an empty
        ``instance``, and waits in no outbox: what was read may be another group by then.
        """
        from .stored_keys import stored_key

        key = stored_key(labels)

        def attempt(left: float | None) -> None:
            perform(self._handler, self._url, "DELETE", key, b"", [], left)

        self._bounded(attempt, timeout)

    def send(
        self,
        method: str,
        key: GroupingKey,
        body: bytes,
        *,
        timeout: float | None = None,
        content_type: str = CONTENT_TYPE,
    ) -> None:
        """Send what is encoded already: text, or as ``content_type`` says, delimited messages.

        ``method`` is PUT, POST or DELETE.
        """
        if self._outbox is None:
            self.send_directly(method, key, body, timeout=timeout, content_type=content_type)
        else:
            self._outbox.send(self, method, key, body, timeout=timeout, content_type=content_type)

    def send_directly(
        self,
        method: str,
        key: GroupingKey,
        body: bytes,
        *,
        timeout: float | None = None,
        content_type: str = CONTENT_TYPE,
    ) -> None:
        """As send, but past the outbox: what is not delivered is not kept."""
        if method not in ("PUT", "POST", "DELETE"):
            raise ValueError(f"the method is {method!r}; a Pushgateway has PUT, POST and DELETE")
        if key.needs_utf8_names:
            timeout = self.require_utf8_names(timeout=timeout)
        compression = None if method == "DELETE" else self._compression
        body, headers = compress(body, compression, content_type)

        def attempt(left: float | None) -> None:
            perform(self._handler, self._url, method, key, body, list(headers), left)

        self._bounded(attempt, timeout)

    def groups(self, *, timeout: float | None = None) -> list[Group]:
        """Everything the gateway holds."""
        return list(self.iter_groups(timeout=timeout))

    def iter_groups(self, *, timeout: float | None = None) -> Iterator[Group]:
        """As groups, one at a time, for a process that must stay small."""
        from .groups import read_groups

        return read_groups(self._get("/api/v1/metrics", timeout))

    def ready(self, *, timeout: float | None = None) -> bool:
        """Whether the gateway answers and says that it is ready. Never raises DeliveryError."""
        try:
            self._get("/-/ready", timeout)
        except DeliveryError:
            return False
        return True

    def clock_offset(self, *, timeout: float | None = None) -> float:
        """How many seconds the gateway's clock is ahead of ours, to about half a second.

        Of the Date that HTTP answers carry; 0 where this one carries none.
        """
        clock = self.narrowed_clock(timeout=timeout)
        return clock.middle if clock else 0.0

    def narrowed_clock(
        self, known: ClockOffset | None = None, *, timeout: float | None = None
    ) -> ClockOffset | None:
        """One more look at the gateway's clock, after the wait of up to a second that serves best.

        Twenty of them, in about 2 seconds, leave some 5 ms unknown. Returns None where the answers
        have no Date, and ``known`` where it is as good as it gets or where ``timeout`` ends before
        the look would. Raises GatewayUnreachableError.
        """
        from .clocks import ClockOffset, seen

        timeout = self._timeout if timeout is None else timeout
        if known is not None and known.is_best:
            return known
        pause = known.pause(time.time()) if known else 0.0
        if timeout is not None and pause + (known.round_trip if known else 0.0) >= timeout:
            return known
        time.sleep(pause)
        left = None if timeout is None else timeout - pause
        # Not tried again: between sending and receiving there must be one request.
        sighting = seen(lambda: self._reader.fetch(f"{self._url}/-/ready", left))
        if sighting is None:
            return None
        return known.narrowed(sighting) if known else ClockOffset.of(sighting)

    def scrape(self, *, timeout: float | None = None) -> bytes:
        """What Prometheus gets. Raises GatewayRejectedError where a bad group fails the scrape."""
        return self._get("/metrics", timeout)

    def version(self, *, timeout: float | None = None) -> str:
        """The gateway's version, such as ``1.11.2``."""
        return self.status(timeout=timeout)[0]

    def status(self, *, timeout: float | None = None) -> tuple[str, dict[str, str]]:
        """The gateway's version and the command line flags it runs with, all of them."""
        status = self._get_json("/api/v1/status", timeout)
        try:
            data = status["data"]
            return str(data["build_information"]["version"]), dict(data.get("flags") or {})
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise PushError("/api/v1/status is not what a Pushgateway answers") from error

    def _push(
        self,
        method: str,
        key: GroupingKey,
        metrics: Metrics,
        timeout: float | None,
        *,
        may_be_empty: bool,
    ) -> None:
        if self._protobuf:
            metrics = list(families_of(metrics))
            if needs_protobuf(metrics):
                deadline = self._deadline(timeout)
                if self._push_protobuf(method, key, metrics, deadline):
                    return
                timeout = _left(deadline)
        payload = encode(metrics, key, utf8_names=self._utf8_names)
        if not payload.samples and not may_be_empty:
            raise InvalidPayloadError(
                f"nothing to push: the registry has no samples, and a PUT would empty the group"
                f" {key}; pass clear=True if that is meant, or use pushadd"
            )
        if payload.utf8_names:
            timeout = self.require_utf8_names(timeout=timeout)
        self.send(method, key, payload.text, timeout=timeout)

    def _push_protobuf(
        self, method: str, key: GroupingKey, metrics: Iterable[FamilyLike], deadline: Deadline
    ) -> bool:
        """Whether that was possible; what then fails is raised."""
        needed = has_native_histograms(metrics)
        if not self._abilities.protobuf(_left(deadline), needed=needed):
            return False
        from .protobuf import CONTENT_TYPE, encode_protobuf  # what few pushes need

        messages = encode_protobuf(metrics, key, utf8_names=self._utf8_names)
        timeout = _left(deadline)
        if messages.utf8_names:
            timeout = self.require_utf8_names(timeout=timeout)
        try:
            self.send(method, key, messages.body, timeout=timeout, content_type=CONTENT_TYPE)
        except GatewayRejectedError as error:
            if error.status != 415:  # Unsupported Media Type: no Pushgateway's, but the embedded's
                raise
            self._abilities.refused_protobuf()
            return False
        return True

    def require_utf8_names(self, *, timeout: float | None = None) -> float | None:
        """Raise SettingsError if the gateway says that it does not know UTF-8 names.

        It is asked once. Returns the seconds that are left of ``timeout``.
        """
        deadline = self._deadline(timeout)
        if self._abilities.utf8_names(_left(deadline)) is False:
            raise SettingsError(
                f"the names of these metrics or labels need a gateway that knows UTF-8 names, and"
                f" {self.url} says it does not: start it (Pushgateway 1.11.0 or later) with"
                " --push.enable-utf8-names, or leave out utf8_names"
            )
        return _left(deadline)

    def _deadline(self, timeout: float | None) -> Deadline:
        return Deadline(self._timeout if timeout is None else timeout)

    def _read_status(self, timeout: float) -> Any:
        import json

        body = self._reader.get(self._url + "/api/v1/status", timeout)
        try:
            return json.loads(body)["data"]
        except (ValueError, KeyError, TypeError) as error:
            raise PushError("/api/v1/status is not what a Pushgateway answers") from error

    def _key(
        self, job: str | GroupingKey, grouping_key: Mapping[str, object] | None
    ) -> GroupingKey:
        if not isinstance(job, GroupingKey):
            return GroupingKey(job, grouping_key, utf8_names=self._utf8_names)
        if not grouping_key:
            return job
        utf8_names = self._utf8_names or job.utf8_names
        labels: dict[str, object] = {}
        for name, value in job.labels.items():
            if name != "job":
                plain = from_path(name) if utf8_names and not job.utf8_names else name
                labels[plain or name] = value
        return GroupingKey(job.job, {**labels, **grouping_key}, utf8_names=utf8_names)

    def _get_json(self, path: str, timeout: float | None) -> Any:
        import json

        document = self._get(path, timeout)
        try:
            return json.loads(document)
        except ValueError as error:
            raise PushError(f"{self.url}{path} does not answer with JSON: {error}") from error

    def _get(self, path: str, timeout: float | None) -> bytes:
        body: bytes = self._bounded(lambda left: self._reader.get(self._url + path, left), timeout)
        return body

    def _bounded(self, attempt: Callable[[float | None], Any], timeout: float | None) -> Any:
        return with_retries(
            attempt,
            timeout=self._timeout if timeout is None else timeout,
            retries=self._retries,
        )


def _left(deadline: Deadline) -> float | None:
    """Seconds; at least so many that the request fails with the error that says so."""
    try:
        return deadline.remaining()
    except TimeoutError:
        return 0.001


def perform(
    handler: Handler | Callable[..., Callable[[], object]],
    base: str,
    method: str,
    key: GroupingKey | StoredKey,
    body: bytes,
    headers: list[tuple[str, str]],
    timeout: float | None,
) -> None:
    """One request by ``handler``. An error of ours then has the group."""
    try:
        handler(url=base + key.path, method=method, timeout=timeout, headers=headers, data=body)()
    except DeliveryError as error:
        error.group = key.labels
        raise
