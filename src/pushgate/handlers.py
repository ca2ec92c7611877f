"""prometheus_client.exposition's four handlers, and the :class:`HTTPHandler` that combines them."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .transport.client_handlers import basic_auth_handler, tls_auth_handler
    from .transport.handler import HTTPHandler, default_handler, passthrough_redirect_handler
    from .transport.performer import Handler

__all__ = (
    "HTTPHandler",
    "Handler",
    "basic_auth_handler",
    "default_handler",
    "passthrough_redirect_handler",
    "tls_auth_handler",
)


def __getattr__(name: str) -> object:  # as in pushgate itself, and for the same reason
    import pushgate

    if name == "Handler":
        return pushgate.imported("pushgate.transport.performer").Handler
    if name in __all__:
        return getattr(pushgate, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
