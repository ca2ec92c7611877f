"""prometheus_client's push functions for asyncio, and :class:`AsyncGateway`."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .gateway.async_functions import delete_from_gateway, push_to_gateway, pushadd_to_gateway
    from .gateway.async_gateway import AsyncGateway

__all__ = ("AsyncGateway", "delete_from_gateway", "push_to_gateway", "pushadd_to_gateway")


def __getattr__(name: str) -> object:  # as in pushgate itself, and for the same reason
    import pushgate

    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = "async_gateway" if name == "AsyncGateway" else "async_functions"
    return getattr(pushgate.imported(f"pushgate.gateway.{module}"), name)
