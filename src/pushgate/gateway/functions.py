"""prometheus_client's push functions, with its signatures: one request each, tried once."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

from ..protocol.compression import Compression, compress
from ..protocol.families import Metrics
from ..protocol.grouping_key import GroupingKey
from ..protocol.text import encode
from ..transport.handler import Handler, default_handler, perform
from ..transport.urls import base_url


def push_to_gateway(
    gateway: str,
    job: str,
    registry: Metrics,
    grouping_key: Mapping[str, Any] | None = None,
    timeout: float | None = 30,
    handler: Handler | Callable[..., Callable[[], object]] | None = default_handler,
    compression: Compression = None,
) -> None:
    """Replace all metrics of the group (PUT), with prometheus_client's signature.

    ``gateway`` is ``host:port`` or a URL; ``registry`` all that Gateway.push takes, None for the
    global one; ``timeout`` bounds the whole request, in seconds of wall clock; ``handler`` performs
    it; ``compression`` is "gzip", "snappy" or None. An empty registry empties the group and warns.

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
    perform(handler or default_handler, base_url(gateway), "PUT", key, body, headers, timeout)


def pushadd_to_gateway(
    gateway: str,
    job: str,
    registry: Metrics,
    grouping_key: Mapping[str, Any] | None = None,
    timeout: float | None = 30,
    handler: Handler | Callable[..., Callable[[], object]] | None = default_handler,
    compression: Compression = None,
) -> None:
    """Replace the families of the same names in the group (POST); else as push_to_gateway."""
    key = GroupingKey(job, grouping_key)
    body, headers = compress(encode(registry, key).text, compression)
    perform(handler or default_handler, base_url(gateway), "POST", key, body, headers, timeout)


def delete_from_gateway(
    gateway: str,
    job: str,
    grouping_key: Mapping[str, Any] | None = None,
    timeout: float | None = 30,
    handler: Handler | Callable[..., Callable[[], object]] | None = default_handler,
) -> None:
    """Delete exactly the group of this job and grouping key (DELETE); else as push_to_gateway."""
    body, headers = compress(b"", None)
    key = GroupingKey(job, grouping_key)
    perform(handler or default_handler, base_url(gateway), "DELETE", key, body, headers, timeout)
