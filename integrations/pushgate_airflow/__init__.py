"""Airflow's tasks and DAG runs to a Pushgateway: notifier, listener, operators, hook, own metrics.

Names are looked up on first use: Airflow imports this package for its provider's description in
every process, and that must cost nothing.
"""

from __future__ import annotations

TYPE_CHECKING = False  # type checkers take it for typing's, which costs 5 ms to import
if TYPE_CHECKING:
    import pushgate_airflow.metrics as metrics  # noqa: PLR0402 - mypy looks for it in this module
    from pushgate_airflow._events import Event as Event
    from pushgate_airflow.hook import PushgatewayHook as PushgatewayHook
    from pushgate_airflow.notifier import PushgatewayNotifier as PushgatewayNotifier
    from pushgate_airflow.notifier import push_outcome as push_outcome
    from pushgate_airflow.operators import DeleteGroupOperator as DeleteGroupOperator
    from pushgate_airflow.operators import PruneGroupsOperator as PruneGroupsOperator
    from pushgate_airflow.operators import PushMetricsOperator as PushMetricsOperator

__all__ = (
    "DeleteGroupOperator",
    "Event",
    "PruneGroupsOperator",
    "PushMetricsOperator",
    "PushgatewayHook",
    "PushgatewayNotifier",
    "metrics",
    "push_outcome",
)

_MODULE_OF = {
    "DeleteGroupOperator": "operators",
    "Event": "_events",
    "PruneGroupsOperator": "operators",
    "PushMetricsOperator": "operators",
    "PushgatewayHook": "hook",
    "PushgatewayNotifier": "notifier",
    "push_outcome": "notifier",
}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'pushgate_airflow' has no attribute {name!r}")
    from importlib import import_module

    try:
        module = import_module(f"pushgate_airflow.{_MODULE_OF.get(name, name)}")
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "airflow":
            raise
        from pushgate import MissingExtraError

        raise MissingExtraError("pushgate_airflow needs Airflow", extra="airflow") from error
    return getattr(module, name) if name in _MODULE_OF else module


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
