"""prometheus_client.exposition's four handlers, and the :class:`HTTPHandler` that combines them."""

from .transport.builtin_handlers import (
    basic_auth_handler,
    passthrough_redirect_handler,
    tls_auth_handler,
)
from .transport.handler import Handler, HTTPHandler, default_handler

__all__ = (
    "HTTPHandler",
    "Handler",
    "basic_auth_handler",
    "default_handler",
    "passthrough_redirect_handler",
    "tls_auth_handler",
)
