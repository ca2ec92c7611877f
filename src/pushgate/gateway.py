"""Pushing to, deleting from and reading a Pushgateway: the object, and the functions.

Enters: a job, a grouping key and metrics. Leaves: requests through a handler, or a PushError. This
is the last step of the pipeline; everything before it is pure.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .addresses import base_url, without_credentials
from .auth import BasicAuth, BearerToken
from .compression import compress
from .errors import DeliveryError, InvalidPayloadError, PushError
from .exposition import encode
from .grouping import GroupingKey
from .http_handler import HTTPHandler, default_handler
from .retries import with_retries

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from .auth import TLS
    from .compression import Compression
    from .families import Collector, Metrics
    from .groups import Group
    from .http_handler import Handler

__all__ = ("Gateway", "delete_from_gateway", "push_to_gateway", "pushadd_to_gateway")


class Gateway:
    """A Pushgateway, for repeated use. Immutable; safe to share between threads and over a fork.

    ``url`` is ``host:port`` or a URL, credentials in it allowed. ``auth``, ``tls``, ``headers``
    and ``redirects`` (hops to follow) combine freely; ``handler`` replaces them all with one of
    the user's for pushes and deletes, while reading then knows only the URL's credentials.
    ``timeout`` bounds each call with all its retries, in seconds of wall clock, None for no bound.
    ``retries`` is how often a failure that may pass is tried again.

    Raises SettingsError for a URL that can't be used, ValueError for a time-out. Methods raise
    InvalidGroupingKeyError, InvalidPayloadError, GatewayUnreachableError or GatewayRejectedError;
    a handler of the user's may raise anything.
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
    ) -> None:
        options: dict[str, Any] = {"tls": tls} if tls is not None else {}
        pairs = tuple(headers.items() if isinstance(headers, Mapping) else headers)
        if not all(isinstance(pair, tuple) and len(pair) == 2 for pair in pairs):
            raise TypeError("headers are a mapping, or pairs of a name and a value")
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
        key = _key(job, grouping_key)
        payload = encode(metrics, key)
        if not payload.samples and not clear:
            raise InvalidPayloadError(
                f"nothing to push: the registry has no samples, and a PUT would empty the group"
                f" {key}; pass clear=True if that is meant, or use pushadd"
            )
        self.send("PUT", key, payload.text, timeout=timeout)

    def pushadd(
        self,
        job: str | GroupingKey,
        metrics: Metrics,
        grouping_key: Mapping[str, object] | None = None,
        *,
        timeout: float | None = None,
    ) -> None:
        """Replace only the families that are in ``metrics`` (POST); none is a heartbeat."""
        key = _key(job, grouping_key)
        self.send("POST", key, encode(metrics, key).text, timeout=timeout)

    def delete(
        self,
        job: str | GroupingKey,
        grouping_key: Mapping[str, object] | None = None,
        *,
        timeout: float | None = None,
    ) -> None:
        """Delete exactly this group; a group that does not exist is no error (DELETE)."""
        self.send("DELETE", _key(job, grouping_key), b"", timeout=timeout)

    def send(
        self, method: str, key: GroupingKey, text: bytes, *, timeout: float | None = None
    ) -> None:
        """Send an encoded payload (text format 0.0.4) as it is. ``method``: PUT, POST or DELETE."""
        if method not in ("PUT", "POST", "DELETE"):
            raise ValueError(f"the method is {method!r}; a Pushgateway has PUT, POST and DELETE")
        compression = None if method == "DELETE" else self._compression
        body, headers = compress(text, compression)

        def attempt(left: float | None) -> None:
            _perform(self._handler, self._url, method, key, body, list(headers), left)

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

    def version(self, *, timeout: float | None = None) -> str:
        """The gateway's version, such as ``1.11.2``."""
        status = self._get_json("/api/v1/status", timeout)
        try:
            return str(status["data"]["build_information"]["version"])
        except (KeyError, TypeError) as error:
            raise PushError("/api/v1/status is not what a Pushgateway answers") from error

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


def push_to_gateway(
    gateway: str,
    job: str,
    registry: Collector | None,
    grouping_key: Mapping[str, Any] | None = None,
    timeout: float | None = 30,
    handler: Handler | Callable[..., Callable[[], object]] = default_handler,
    compression: Compression = None,
) -> None:
    """Replace all metrics of the group (PUT), with prometheus_client's signature.

    ``gateway`` is ``host:port`` or a URL; ``registry`` any collector, None for the global one;
    ``timeout`` bounds the whole request, in seconds of wall clock; ``handler`` performs it;
    ``compression`` is "gzip", "snappy" or None. An empty registry empties the group and warns.

    Raises InvalidGroupingKeyError or InvalidPayloadError (both ValueError) before anything is
    sent, GatewayUnreachableError (a URLError) or GatewayRejectedError (an HTTPError) after.
    """
    key = GroupingKey(job, grouping_key)
    payload = encode(registry, key)
    if not payload.samples:
        warnings.warn(
            f"the registry has no samples: this push empties the group {key}; use"
            " delete_from_gateway to remove it, or pushadd_to_gateway to keep what it holds",
            stacklevel=2,
        )
    body, headers = compress(payload.text, compression)
    _perform(handler, base_url(gateway), "PUT", key, body, headers, timeout)


def pushadd_to_gateway(
    gateway: str,
    job: str,
    registry: Collector | None,
    grouping_key: Mapping[str, Any] | None = None,
    timeout: float | None = 30,
    handler: Handler | Callable[..., Callable[[], object]] = default_handler,
    compression: Compression = None,
) -> None:
    """Replace the families of the same names in the group (POST); else as push_to_gateway."""
    key = GroupingKey(job, grouping_key)
    body, headers = compress(encode(registry, key).text, compression)
    _perform(handler, base_url(gateway), "POST", key, body, headers, timeout)


def delete_from_gateway(
    gateway: str,
    job: str,
    grouping_key: Mapping[str, Any] | None = None,
    timeout: float | None = 30,
    handler: Handler | Callable[..., Callable[[], object]] = default_handler,
) -> None:
    """Delete exactly the group of this job and grouping key (DELETE); else as push_to_gateway."""
    body, headers = compress(b"", None)
    key = GroupingKey(job, grouping_key)
    _perform(handler, base_url(gateway), "DELETE", key, body, headers, timeout)


def _key(job: str | GroupingKey, grouping_key: Mapping[str, object] | None) -> GroupingKey:
    if not isinstance(job, GroupingKey):
        return GroupingKey(job, grouping_key)
    if not grouping_key:
        return job
    labels = {name: value for name, value in job.labels.items() if name != "job"}
    return GroupingKey(job.job, {**labels, **grouping_key})


def _perform(
    handler: Handler | Callable[..., Callable[[], object]],
    base: str,
    method: str,
    key: GroupingKey,
    body: bytes,
    headers: list[tuple[str, str]],
    timeout: float | None,
) -> None:
    try:
        handler(url=base + key.path, method=method, timeout=timeout, headers=headers, data=body)()
    except DeliveryError as error:
        error.group = key.labels
        raise
