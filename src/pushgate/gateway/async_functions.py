"""prometheus_client's push functions as coroutines: one request each, tried once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..protocol.compression import Compression
from ..protocol.families import Metrics
from ..transport.asyncio_backend import ASYNCIO
from ..transport.handler import HTTPHandler, default_handler
from ..transport.performer import AnyHandler, AsyncHandler, async_performer
from .functions import push_once

_Handler = HTTPHandler | AsyncHandler | AnyHandler


async def push_to_gateway(
    gateway: str,
    job: str,
    registry: Metrics,
    grouping_key: Mapping[str, Any] | None = None,
    timeout: float | None = 30,
    handler: _Handler | None = default_handler,
    compression: Compression = None,
) -> None:
    """As :func:`pushgate.push_to_gateway`, in a coroutine. ``handler`` is as an AsyncGateway's."""
    performer = async_performer(handler or default_handler)
    arguments = gateway, job, registry, grouping_key, timeout, compression
    await push_once(ASYNCIO, performer, "PUT", *arguments, stacklevel=3)


async def pushadd_to_gateway(
    gateway: str,
    job: str,
    registry: Metrics,
    grouping_key: Mapping[str, Any] | None = None,
    timeout: float | None = 30,
    handler: _Handler | None = default_handler,
    compression: Compression = None,
) -> None:
    """As :func:`pushgate.pushadd_to_gateway`, in a coroutine; else as push_to_gateway."""
    performer = async_performer(handler or default_handler)
    arguments = gateway, job, registry, grouping_key, timeout, compression
    await push_once(ASYNCIO, performer, "POST", *arguments, stacklevel=3)


async def delete_from_gateway(
    gateway: str,
    job: str,
    grouping_key: Mapping[str, Any] | None = None,
    timeout: float | None = 30,
    handler: _Handler | None = default_handler,
) -> None:
    """As :func:`pushgate.delete_from_gateway`, in a coroutine; else as push_to_gateway."""
    performer = async_performer(handler or default_handler)
    arguments = gateway, job, (), grouping_key, timeout, None
    await push_once(ASYNCIO, performer, "DELETE", *arguments, stacklevel=3)
