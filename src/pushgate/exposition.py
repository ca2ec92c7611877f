"""prometheus_client.exposition's push functions and handlers, under the same names."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .gateway.functions import delete_from_gateway, push_to_gateway, pushadd_to_gateway
    from .protocol.grouping_key import instance_ip_grouping_key
    from .transport.client_handlers import basic_auth_handler, tls_auth_handler
    from .transport.handler import default_handler, passthrough_redirect_handler

__all__ = (
    "basic_auth_handler",
    "default_handler",
    "delete_from_gateway",
    "instance_ip_grouping_key",
    "passthrough_redirect_handler",
    "push_to_gateway",
    "pushadd_to_gateway",
    "tls_auth_handler",
)


def __getattr__(name: str) -> object:  # as in pushgate itself, and for the same reason
    import pushgate

    if name in __all__:
        return getattr(pushgate, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
