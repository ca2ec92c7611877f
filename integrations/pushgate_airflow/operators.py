"""Operators: push metrics to a group, and delete a group.

Enters: metrics, a job and a grouping key, all templated. Leaves: one request. Unlike a notifier or
the listener, an operator fails its task when the gateway does not take it: pushing is its work.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import BaseOperator

from pushgate import DeliveryError, GroupingKey, InvalidGroupingKeyError, PushError
from pushgate_airflow._airflow import AirflowFailException
from pushgate_airflow._configuration import configuration
from pushgate_airflow._connection import gateway
from pushgate_airflow._identity import refuse_empty
from pushgate_airflow._payload import payload

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Literal

    from airflow.sdk import Context

    from pushgate_airflow._payload import Metrics

__all__ = ("DeleteGroupOperator", "PushMetricsOperator")


class PushMetricsOperator(BaseOperator):
    """Push ``metrics`` to the group of ``job`` and ``grouping_key``.

    ``metrics`` is a dict of names and numbers (gauges; ``rows{table="orders"}`` is a name with
    labels), text in Prometheus's format, or a function that fills the registry it is given.

    ``job`` is by default the configured one. ``grouping_key`` is by default ``{"dag_id",
    "task_id", "origin": "operator"}``, so that the metrics are in no group with an outcome; a
    mapped task has to say its own, or its instances would overwrite each other.

    ``method`` POST replaces metrics of the same names and PUT all that the group holds. ``timeout``
    bounds the request with its retries, in seconds; None leaves that to the connection.

    The task fails when the metrics are not taken, with the reason; at once, without its retries,
    where another try can't mend it.
    """

    template_fields: Sequence[str] = ("metrics", "job", "grouping_key", "pushgateway_conn_id")
    template_fields_renderers: ClassVar[dict[str, str]] = {
        "metrics": "json",
        "grouping_key": "json",
    }
    ui_color = "#f9d5c8"

    def __init__(
        self,
        *,
        metrics: Metrics,
        job: str | None = None,
        grouping_key: Mapping[str, object] | None = None,
        method: Literal["POST", "PUT"] = "POST",
        pushgateway_conn_id: str | None = None,
        timeout: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if method not in ("POST", "PUT"):
            raise ValueError(f"method is {method!r}; give 'POST' or 'PUT'")
        # Airflow calls a function in a templated field, with other arguments, to get the value.
        self.fill = metrics if callable(metrics) else None
        self.metrics = None if callable(metrics) else metrics
        self.job = job
        self.grouping_key = grouping_key
        self.method = method
        self.pushgateway_conn_id = pushgateway_conn_id
        self.timeout = _checked_timeout(timeout)

    def execute(self, context: Context) -> None:
        """Push."""
        with _failing_for_good():
            labels = self.grouping_key
            key = _key(self.job, _own_labels(context["ti"]) if labels is None else labels)
            text, samples = payload(self.fill or self.metrics, key)
            to = gateway(self.pushgateway_conn_id)
            to.send(self.method, key, text, timeout=self.timeout)
        self.log.info("pushed %d samples to the group %s at %s", samples, key, to.url)


class DeleteGroupOperator(BaseOperator):
    """Delete the group of exactly ``job`` and ``grouping_key``; none there is no error.

    ``job`` is by default the configured one; ``timeout`` is in seconds. Fails as
    :class:`PushMetricsOperator` does.
    """

    template_fields: Sequence[str] = ("job", "grouping_key", "pushgateway_conn_id")
    template_fields_renderers: ClassVar[dict[str, str]] = {"grouping_key": "json"}
    ui_color = "#f9d5c8"

    def __init__(
        self,
        *,
        grouping_key: Mapping[str, object],
        job: str | None = None,
        pushgateway_conn_id: str | None = None,
        timeout: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.grouping_key = grouping_key
        self.job = job
        self.pushgateway_conn_id = pushgateway_conn_id
        self.timeout = _checked_timeout(timeout)

    def execute(self, context: Context) -> None:  # noqa: ARG002 - Airflow's signature
        """Delete."""
        with _failing_for_good():
            key = _key(self.job, self.grouping_key)
            to = gateway(self.pushgateway_conn_id)
            to.delete(key, timeout=self.timeout)
        self.log.info("deleted the group %s at %s", key, to.url)


@contextmanager
def _failing_for_good() -> Iterator[None]:
    """Keep Airflow from trying again what will fail again. What may pass is raised as it is."""
    try:
        yield
    except DeliveryError as error:
        if error.retryable:
            raise
        raise AirflowFailException(str(error)) from error
    except PushError as error:  # of payload, key or settings
        raise AirflowFailException(str(error)) from error


def _key(job: str | None, labels: Any) -> GroupingKey:
    if not hasattr(labels, "items"):
        raise InvalidGroupingKeyError(
            f"grouping_key is {labels!r} after templating; give a dict of labels", label=""
        )
    for name, value in labels.items():
        refuse_empty(name, value)
    return GroupingKey(configuration().job if job is None else job, labels)


def _own_labels(ti: Any) -> dict[str, object]:
    if ti.map_index >= 0:
        raise InvalidGroupingKeyError(
            "the task is mapped, and all its instances would push to one group; give grouping_key,"
            " such as {'part': '{{ ti.map_index }}'}",
            label="map_index",
        )
    return {"dag_id": ti.dag_id, "task_id": ti.task_id, "origin": "operator"}


def _checked_timeout(timeout: float | None) -> float | None:
    if timeout is not None and not timeout > 0:
        raise ValueError(f"timeout is {timeout!r}; give seconds above 0, or None")
    return timeout
