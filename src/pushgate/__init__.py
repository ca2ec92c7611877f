"""The outcome of every batch job in Prometheus, through a Pushgateway.

Names are looked up on first use, so ``import pushgate`` does no work: importing everything would
cost a wrapper of short commands more than the push itself.
"""

from __future__ import annotations

TYPE_CHECKING = False  # type checkers take it for typing's, which costs 5 ms to import
if TYPE_CHECKING:
    from .auth import TLS as TLS
    from .auth import BasicAuth as BasicAuth
    from .auth import BearerToken as BearerToken
    from .durations import parse_duration as parse_duration
    from .environment import child_environment as child_environment
    from .environment import state_directory as state_directory
    from .errors import DeletionError as DeletionError
    from .errors import DeliveryError as DeliveryError
    from .errors import GatewayDisconnectedError as GatewayDisconnectedError
    from .errors import GatewayRejectedError as GatewayRejectedError
    from .errors import GatewayTimeoutError as GatewayTimeoutError
    from .errors import GatewayUnreachableError as GatewayUnreachableError
    from .errors import GatewayURLError as GatewayURLError
    from .errors import InvalidGroupingKeyError as InvalidGroupingKeyError
    from .errors import InvalidPayloadError as InvalidPayloadError
    from .errors import MissingExtraError as MissingExtraError
    from .errors import PushError as PushError
    from .errors import SettingsError as SettingsError
    from .errors import TLSFileError as TLSFileError
    from .exposition import encode as encode
    from .families import Family as Family
    from .families import Sample as Sample
    from .families import gauge as gauge
    from .foreign_text import checked_text as checked_text
    from .gateway import Gateway as Gateway
    from .grouping import GroupingKey as GroupingKey
    from .grouping import instance_ip_grouping_key as instance_ip_grouping_key
    from .groups import Group as Group
    from .groups import GroupFamily as GroupFamily
    from .handlers import basic_auth_handler as basic_auth_handler
    from .handlers import passthrough_redirect_handler as passthrough_redirect_handler
    from .handlers import tls_auth_handler as tls_auth_handler
    from .http_handler import HTTPHandler as HTTPHandler
    from .http_handler import default_handler as default_handler
    from .hygiene import delete_groups as delete_groups
    from .hygiene import prune as prune
    from .job_status import JobRow as JobRow
    from .job_status import job_rows as job_rows
    from .matchers import Matcher as Matcher
    from .matchers import parse_matchers as parse_matchers
    from .outbox import Flushed as Flushed
    from .outbox import Outbox as Outbox
    from .outbox import WaitingGroup as WaitingGroup
    from .push_functions import delete_from_gateway as delete_from_gateway
    from .push_functions import push_to_gateway as push_to_gateway
    from .push_functions import pushadd_to_gateway as pushadd_to_gateway
    from .relay import Aggregator as Aggregator
    from .relay import Change as Change
    from .relay import InlineRelay as InlineRelay
    from .relay import Relay as Relay
    from .reporter import Reporter as Reporter
    from .runs import CommandEnd as CommandEnd
    from .runs import JobRun as JobRun
    from .runs import Outcome as Outcome
    from .runs import Status as Status
    from .settings import Settings as Settings
    from .staleness import StaleGroup as StaleGroup
    from .staleness import stale_groups as stale_groups
    from .vocabulary import end_families as end_families
    from .vocabulary import mapped_families as mapped_families
    from .vocabulary import start_families as start_families

_MODULE_OF = {
    # prometheus_client's push functions and handlers
    "push_to_gateway": "push_functions",
    "pushadd_to_gateway": "push_functions",
    "delete_from_gateway": "push_functions",
    "instance_ip_grouping_key": "grouping",
    "default_handler": "http_handler",
    "basic_auth_handler": "handlers",
    "tls_auth_handler": "handlers",
    "passthrough_redirect_handler": "handlers",
    # for repeated use
    "Gateway": "gateway",
    "GroupingKey": "grouping",
    "Group": "groups",
    "GroupFamily": "groups",
    "HTTPHandler": "http_handler",
    "BasicAuth": "auth",
    "BearerToken": "auth",
    "TLS": "auth",
    # what could not be delivered
    "Outbox": "outbox",
    "WaitingGroup": "outbox",
    "Flushed": "outbox",
    # outcomes
    "Reporter": "reporter",
    "JobRun": "runs",
    "Outcome": "runs",
    "Status": "runs",
    "CommandEnd": "runs",
    "start_families": "vocabulary",
    "end_families": "vocabulary",
    "mapped_families": "vocabulary",
    "Family": "families",
    "Sample": "families",
    "gauge": "families",
    "encode": "exposition",
    "checked_text": "foreign_text",
    # many writers, one pusher process
    "Relay": "relay",
    "InlineRelay": "relay",
    "Change": "relay",
    "Aggregator": "relay",
    # what a gateway holds
    "prune": "hygiene",
    "delete_groups": "hygiene",
    "stale_groups": "staleness",
    "StaleGroup": "staleness",
    "Matcher": "matchers",
    "parse_matchers": "matchers",
    "job_rows": "job_status",
    "JobRow": "job_status",
    # settings
    "Settings": "settings",
    "parse_duration": "durations",
    "child_environment": "environment",
    "state_directory": "environment",
    # errors
    "PushError": "errors",
    "InvalidGroupingKeyError": "errors",
    "InvalidPayloadError": "errors",
    "MissingExtraError": "errors",
    "SettingsError": "errors",
    "TLSFileError": "errors",
    "GatewayURLError": "errors",
    "DeletionError": "errors",
    "DeliveryError": "errors",
    "GatewayUnreachableError": "errors",
    "GatewayTimeoutError": "errors",
    "GatewayDisconnectedError": "errors",
    "GatewayRejectedError": "errors",
}

__all__ = tuple(_MODULE_OF)


def __getattr__(name: str) -> object:
    from importlib import import_module

    if name in ("embedded", "handlers"):  # public modules, as prometheus_client's are
        return import_module(f".{name}", __name__)
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'pushgate' has no attribute {name!r}")
    value = getattr(import_module(f".{_MODULE_OF[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULE_OF})
