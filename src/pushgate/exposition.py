"""prometheus_client.exposition's push functions and handlers, under the same names."""

from .gateway.functions import delete_from_gateway, push_to_gateway, pushadd_to_gateway
from .handlers import (
    basic_auth_handler,
    default_handler,
    passthrough_redirect_handler,
    tls_auth_handler,
)
from .protocol.grouping_key import instance_ip_grouping_key

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
