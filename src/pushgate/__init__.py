"""The outcome of every batch job in Prometheus, through a Pushgateway.

Names are looked up on first use, so ``import pushgate`` does no work: importing everything would
cost a wrapper of short commands more than the push itself.
"""

from __future__ import annotations

TYPE_CHECKING = False  # type checkers take it for typing's, which costs 5 ms to import
if TYPE_CHECKING:
    from typing import Any

    from .delivery.configured_sink import configured_direct_sink as configured_direct_sink
    from .delivery.configured_sink import configured_sink as configured_sink
    from .delivery.direct_sink import DirectSink as DirectSink
    from .delivery.messages import failure as failure
    from .delivery.messages import was_kept as was_kept
    from .delivery.metrics_file import MetricsFile as MetricsFile
    from .delivery.queue_sink import QueueSink as QueueSink
    from .delivery.report import Report as Report
    from .delivery.report import deadline_report as deadline_report
    from .delivery.report import end_reports as end_reports
    from .delivery.report import start_report as start_report
    from .delivery.sink import Sink as Sink
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
    from .errors import UnconfirmedDeletionError as UnconfirmedDeletionError
    from .errors import explain as explain
    from .errors import is_permanent as is_permanent
    from .errors import is_retryable as is_retryable
    from .gateway.async_gateway import AsyncGateway as AsyncGateway
    from .gateway.client import Gateway as Gateway
    from .gateway.functions import delete_from_gateway as delete_from_gateway
    from .gateway.functions import push_to_gateway as push_to_gateway
    from .gateway.functions import pushadd_to_gateway as pushadd_to_gateway
    from .jobs.matchers import Matcher as Matcher
    from .jobs.matchers import parse_matchers as parse_matchers
    from .jobs.own_metrics import OwnMetrics as OwnMetrics
    from .jobs.own_metrics import own_metrics_key as own_metrics_key
    from .jobs.prune import delete_groups as delete_groups
    from .jobs.prune import prune as prune
    from .jobs.runs import CommandEnd as CommandEnd
    from .jobs.runs import JobRun as JobRun
    from .jobs.runs import Outcome as Outcome
    from .jobs.runs import Status as Status
    from .jobs.schedule import with_schedule as with_schedule
    from .jobs.staleness import StaleGroup as StaleGroup
    from .jobs.staleness import stale_groups as stale_groups
    from .jobs.status import JobRow as JobRow
    from .jobs.status import job_rows as job_rows
    from .jobs.vocabulary import end_families as end_families
    from .jobs.vocabulary import mapped_families as mapped_families
    from .jobs.vocabulary import start_families as start_families
    from .lazy_imports import lazy_names as lazy_names
    from .log import RateLimitedLogger as RateLimitedLogger
    from .outbox.files import locked as locked
    from .outbox.files import open_private as open_private
    from .outbox.files import unlock as unlock
    from .outbox.later_run import newer_families as newer_families
    from .outbox.outbox import Outbox as Outbox
    from .outbox.record import Flushed as Flushed
    from .outbox.record import WaitingGroup as WaitingGroup
    from .protocol.checked_text import checked_text as checked_text
    from .protocol.families import Family as Family
    from .protocol.families import Sample as Sample
    from .protocol.families import gauge as gauge
    from .protocol.grouping_key import GroupingKey as GroupingKey
    from .protocol.grouping_key import instance_ip_grouping_key as instance_ip_grouping_key
    from .protocol.groups import Group as Group
    from .protocol.groups import GroupFamily as GroupFamily
    from .protocol.lenient_parse import parse_leniently as parse_leniently
    from .protocol.names import label_value as label_value
    from .protocol.parse import parse_text as parse_text
    from .protocol.text import encode as encode
    from .protocol.timestamps import METRIC_PREFIX as METRIC_PREFIX
    from .relay.aggregator import Aggregator as Aggregator
    from .relay.aggregator import Change as Change
    from .relay.inline_relay import InlineRelay as InlineRelay
    from .relay.relay import Relay as Relay
    from .settings import readers as readers
    from .settings.environment import child_environment as child_environment
    from .settings.environment import state_directory as state_directory
    from .settings.loader import Settings as Settings
    from .settings.option_table import OptionSource as OptionSource
    from .settings.option_table import did_you_mean as did_you_mean
    from .settings.option_table import read_options as read_options
    from .settings.readers import parse_duration as parse_duration
    from .transport.auth import TLS as TLS
    from .transport.auth import BasicAuth as BasicAuth
    from .transport.auth import BearerToken as BearerToken
    from .transport.background import Background as Background
    from .transport.background_loop import background_loop as background_loop
    from .transport.client_handlers import basic_auth_handler as basic_auth_handler
    from .transport.client_handlers import tls_auth_handler as tls_auth_handler
    from .transport.handler import HTTPHandler as HTTPHandler
    from .transport.handler import default_handler as default_handler
    from .transport.handler import passthrough_redirect_handler as passthrough_redirect_handler
    from .transport.side_thread import in_side_thread as in_side_thread

_NAMES_OF = {
    # prometheus_client's push functions and handlers
    "gateway.functions": ("push_to_gateway", "pushadd_to_gateway", "delete_from_gateway"),
    "transport.handler": ("default_handler", "passthrough_redirect_handler", "HTTPHandler"),
    "transport.client_handlers": ("basic_auth_handler", "tls_auth_handler"),
    # for repeated use
    "gateway.client": ("Gateway",),
    "gateway.async_gateway": ("AsyncGateway",),
    "protocol.grouping_key": ("GroupingKey", "instance_ip_grouping_key"),
    "protocol.names": ("label_value",),
    "protocol.groups": ("Group", "GroupFamily"),
    "transport.auth": ("BasicAuth", "BearerToken", "TLS"),
    # what could not be delivered
    "outbox.outbox": ("Outbox",),
    "outbox.record": ("WaitingGroup", "Flushed"),
    "outbox.later_run": ("newer_families",),
    "outbox.files": ("open_private", "locked", "unlock"),
    # outcomes
    "delivery.sink": ("Sink",),
    "delivery.configured_sink": ("configured_sink", "configured_direct_sink"),
    "delivery.direct_sink": ("DirectSink",),
    "transport.background": ("Background",),
    "transport.background_loop": ("background_loop",),
    "delivery.queue_sink": ("QueueSink",),
    "delivery.report": ("Report", "start_report", "end_reports", "deadline_report"),
    "delivery.messages": ("failure", "was_kept"),
    "delivery.metrics_file": ("MetricsFile",),
    "jobs.own_metrics": ("OwnMetrics", "own_metrics_key"),
    "jobs.runs": ("JobRun", "Outcome", "Status", "CommandEnd"),
    "jobs.vocabulary": ("start_families", "end_families", "mapped_families"),
    "protocol.timestamps": ("METRIC_PREFIX",),
    "protocol.families": ("Family", "Sample", "gauge"),
    "protocol.text": ("encode",),
    "protocol.checked_text": ("checked_text",),
    "protocol.lenient_parse": ("parse_leniently",),
    "protocol.parse": ("parse_text",),
    # many writers, one pusher process
    "relay.relay": ("Relay",),
    "relay.inline_relay": ("InlineRelay",),
    "relay.aggregator": ("Change", "Aggregator"),
    # what a gateway holds
    "jobs.prune": ("prune", "delete_groups"),
    "jobs.staleness": ("stale_groups", "StaleGroup"),
    "jobs.matchers": ("Matcher", "parse_matchers"),
    "jobs.schedule": ("with_schedule",),
    "jobs.status": ("job_rows", "JobRow"),
    "transport.side_thread": ("in_side_thread",),
    # settings
    "settings.loader": ("Settings",),
    "settings.option_table": ("OptionSource", "read_options", "did_you_mean"),
    "settings.readers": ("readers", "parse_duration"),
    "settings.environment": ("child_environment", "state_directory"),
    # errors, and what every adapter needs
    "errors": (
        *("PushError", "InvalidGroupingKeyError", "InvalidPayloadError", "MissingExtraError"),
        *("SettingsError", "TLSFileError", "GatewayURLError"),
        *("DeletionError", "UnconfirmedDeletionError", "DeliveryError"),
        *("GatewayUnreachableError", "GatewayTimeoutError", "GatewayDisconnectedError"),
        *("GatewayRejectedError", "explain", "is_permanent", "is_retryable"),
    ),
    "log": ("RateLimitedLogger",),
    "lazy_imports": ("lazy_names",),
}
_MODULE_OF = {name: module for module, names in _NAMES_OF.items() for name in names}

__all__ = tuple(_MODULE_OF)


def __getattr__(name: str) -> object:
    if name in ("aio", "embedded", "exposition", "handlers"):  # public modules
        return imported(f"{__name__}.{name}")
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'pushgate' has no attribute {name!r}")
    module = imported(f"{__name__}.{_MODULE_OF[name]}")
    value = module if name == "readers" else getattr(module, name)
    globals()[name] = value
    return value


def imported(module: str) -> Any:
    """The module of this name, imported while signals wait.

    A signal's handler that pushes would find modules half imported, and fail.
    """
    import _signal  # type: ignore[import-not-found]  # built in; signal costs a millisecond

    # The builtin, as importing importlib could be interrupted, too.
    if not hasattr(_signal, "pthread_sigmask"):  # Windows
        return __import__(module, fromlist=("_",))
    faults = {_signal.SIGSEGV, _signal.SIGBUS, _signal.SIGFPE, _signal.SIGILL, _signal.SIGABRT}
    before = _signal.pthread_sigmask(_signal.SIG_BLOCK, _signal.valid_signals() - faults)
    try:
        return __import__(module, fromlist=("_",))
    finally:
        _signal.pthread_sigmask(_signal.SIG_SETMASK, before)


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULE_OF})
