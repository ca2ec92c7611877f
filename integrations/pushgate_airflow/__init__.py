"""Airflow's tasks and DAG runs to a Pushgateway: notifier, listener, operators, hook, own metrics.

Names are looked up on first use: Airflow imports this package for its provider's description in
every process, and that must cost nothing.
"""

from __future__ import annotations

from pushgate import lazy_names

TYPE_CHECKING = False  # type checkers take it for typing's, which costs 5 ms to import
if TYPE_CHECKING:
    import pushgate_airflow.metrics as metrics  # noqa: F401, PLR0402 - mypy looks for it here
    from pushgate_airflow._events import Event as Event
    from pushgate_airflow.hook import PushgatewayHook as PushgatewayHook
    from pushgate_airflow.notifier import PushgatewayNotifier as PushgatewayNotifier
    from pushgate_airflow.notifier import push_outcome as push_outcome
    from pushgate_airflow.operators import DeleteGroupOperator as DeleteGroupOperator
    from pushgate_airflow.operators import PruneGroupsOperator as PruneGroupsOperator
    from pushgate_airflow.operators import PushMetricsOperator as PushMetricsOperator

_MODULE_OF = {
    "DeleteGroupOperator": "operators",
    "Event": "_events",
    "PruneGroupsOperator": "operators",
    "PushMetricsOperator": "operators",
    "PushgatewayHook": "hook",
    "PushgatewayNotifier": "notifier",
    "metrics": "metrics",
    "push_outcome": "notifier",
}
__all__ = tuple(_MODULE_OF)
__getattr__ = lazy_names(__name__, _MODULE_OF, extra="airflow")
