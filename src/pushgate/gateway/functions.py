"""prometheus_client's push functions, with its signatures: one request each, tried once."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from ..protocol.compression import Compression, compress, compress_steps
from ..protocol.families import Metrics
from ..protocol.grouping_key import GroupingKey
from ..protocol.text import encode_steps
from ..transport.backend import BLOCKING, Backend, completed
from ..transport.handler import default_handler
from ..transport.performer import AnyHandler, Performer, blocking_performer, perform
from ..transport.urls import base_url


def push_to_gateway(
    gateway: str,
    job: str,
    registry: Metrics,
    grouping_key: Mapping[str, Any] | None = None,
    timeout: float | None = 30,
    handler: AnyHandler | None = default_handler,
    compression: Compression = None,
) -> None:
    """Replace all metrics of the group (PUT), with prometheus_client's signature.

    ``gateway`` is ``host:port`` or a URL; ``registry`` all that Gateway.push takes, None for the
    global one; ``timeout`` bounds the whole request, in seconds of wall clock; ``handler`` performs
    it; ``compression`` is "gzip", "snappy" or None. An empty registry empties the group and warns.

    Raises InvalidGroupingKeyError or InvalidPayloadError (both ValueError) before anything is
    sent, GatewayUnreachableError (a URLError) or GatewayRejectedError (an HTTPError) after.
    """
    _push("PUT", gateway, job, registry, grouping_key, timeout, handler, compression)


def pushadd_to_gateway(
    gateway: str,
    job: str,
    registry: Metrics,
    grouping_key: Mapping[str, Any] | None = None,
    timeout: float | None = 30,
    handler: AnyHandler | None = default_handler,
    compression: Compression = None,
) -> None:
    """Replace the families of the same names in the group (POST); else as push_to_gateway."""
    _push("POST", gateway, job, registry, grouping_key, timeout, handler, compression)


def delete_from_gateway(
    gateway: str,
    job: str,
    grouping_key: Mapping[str, Any] | None = None,
    timeout: float | None = 30,
    handler: AnyHandler | None = default_handler,
) -> None:
    """Delete exactly the group of this job and grouping key (DELETE); else as push_to_gateway."""
    _push("DELETE", gateway, job, (), grouping_key, timeout, handler, None)


def _push(
    method: str,
    gateway: str,
    job: str,
    registry: Metrics,
    grouping_key: Mapping[str, Any] | None,
    timeout: float | None,
    handler: AnyHandler | None,
    compression: Compression,
) -> None:
    performer = blocking_performer(handler or default_handler)
    arguments = gateway, job, registry, grouping_key, timeout, compression
    completed(push_once(BLOCKING, performer, method, *arguments, stacklevel=5))


async def push_once(
    backend: Backend,
    performer: Performer,
    method: str,
    gateway: str,
    job: str,
    registry: Metrics,
    grouping_key: Mapping[str, Any] | None,
    timeout: float | None,
    compression: Compression,
    *,
    stacklevel: int,
) -> None:
    """One request, tried once. A DELETE's registry is empty.

    ``stacklevel`` is that of a warning, so that it shows the caller's line.
    """
    key = GroupingKey(job, grouping_key)
    payload = await backend.in_slices(encode_steps(registry, key))
    if not payload.samples and method == "PUT":
        warnings.warn(
            f"the registry has no samples: this push empties the group {key}; use"
            " delete_from_gateway to remove it, or pushadd_to_gateway to keep what it holds",
            stacklevel=stacklevel,
        )
    if compression is None:
        body, headers = compress(payload.text, None)
    else:
        body, headers = await backend.in_slices(compress_steps(payload.text, compression))
    await perform(backend, performer, base_url(gateway), method, key, body, headers, timeout)
