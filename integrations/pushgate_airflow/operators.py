"""Operators: push metrics to a group, delete a group, delete the groups that are no longer pushed.

Unlike a notifier or the listener, an operator fails its task when the gateway does not do what it
is asked: that is the task's work. Nothing is kept in an outbox.
"""

from __future__ import annotations

from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import BaseOperator

from pushgate import (
    DeletionError,
    GroupingKey,
    InvalidGroupingKeyError,
    PushError,
    prune,
    readers,
)
from pushgate_airflow._configuration import configuration
from pushgate_airflow._gateway_lookup import gateway
from pushgate_airflow._group_labels import refuse_empty
from pushgate_airflow._payload import payload
from pushgate_airflow.version_compat import AirflowFailException

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Literal

    from airflow.sdk import Context

    from pushgate import StaleGroup
    from pushgate_airflow._payload import Metrics

__all__ = ("DeleteGroupOperator", "PruneGroupsOperator", "PushMetricsOperator")


class _GatewayOperator(BaseOperator):
    """One request, or some. The arguments that all have."""

    ui_color = "#f9d5c8"

    def __init__(
        self,
        *,
        pushgateway_conn_id: str | None = None,
        timeout: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if timeout is not None and not timeout > 0:
            raise ValueError(f"timeout is {timeout!r}; give seconds above 0, or None")
        self.pushgateway_conn_id = pushgateway_conn_id
        self.timeout = timeout


class PushMetricsOperator(_GatewayOperator):
    """Push ``metrics`` to the group of ``job`` and ``grouping_key``.

    ``metrics`` is a dict of names and numbers (gauges; ``rows{table="orders"}`` is a name with
    labels), text in Prometheus's format, or a function that fills the registry it is given.

    ``job`` is by default the configured one. ``grouping_key`` is by default ``{"dag_id",
    "task_id", "origin": "operator"}``, so that the metrics are in no group with an outcome; a
    mapped task has to give its own, or its instances would overwrite each other.

    ``method`` POST replaces metrics of the same names and PUT all that the group holds. ``timeout``
    bounds the request with its retries, in seconds; None leaves that to the connection.

    The task fails when the metrics are not taken, with the reason; at once, without its retries,
    where another try can't help.
    """

    template_fields: Sequence[str] = ("metrics", "job", "grouping_key", "pushgateway_conn_id")
    template_fields_renderers: ClassVar[dict[str, str]] = {
        "metrics": "json",
        "grouping_key": "json",
    }

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
        super().__init__(pushgateway_conn_id=pushgateway_conn_id, timeout=timeout, **kwargs)
        if method not in ("POST", "PUT"):
            raise ValueError(f"method is {method!r}; give 'POST' or 'PUT'")
        # Airflow calls a function in a templated field, with other arguments, to get the value.
        self.fill = metrics if callable(metrics) else None
        self.metrics = None if callable(metrics) else metrics
        self.job = job
        self.grouping_key = grouping_key
        self.method = method

    def execute(self, context: Context) -> None:
        """Push."""
        with _failing_for_good():
            labels = self.grouping_key
            key = _key(self.job, _default_labels(context["ti"]) if labels is None else labels)
            text, samples = payload(self.fill or self.metrics, key)
            to = gateway(self.pushgateway_conn_id)
            to.send(self.method, key, text, timeout=self.timeout)
        self.log.info("pushed %d samples to the group %s at %s", samples, key, to.url)


class DeleteGroupOperator(_GatewayOperator):
    """Delete the group of exactly ``job`` and ``grouping_key``. A missing group is no error.

    ``job`` is by default the configured one; ``timeout`` is in seconds. Fails as
    :class:`PushMetricsOperator` does.
    """

    template_fields: Sequence[str] = ("job", "grouping_key", "pushgateway_conn_id")
    template_fields_renderers: ClassVar[dict[str, str]] = {"grouping_key": "json"}

    def __init__(
        self,
        *,
        grouping_key: Mapping[str, object],
        job: str | None = None,
        pushgateway_conn_id: str | None = None,
        timeout: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(pushgateway_conn_id=pushgateway_conn_id, timeout=timeout, **kwargs)
        self.grouping_key = grouping_key
        self.job = job

    def execute(self, context: Context) -> None:  # noqa: ARG002 - Airflow's signature
        """Delete."""
        with _failing_for_good():
            key = _key(self.job, self.grouping_key)
            to = gateway(self.pushgateway_conn_id)
            to.delete(key, timeout=self.timeout)
        self.log.info("deleted the group %s at %s", key, to.url)


class PruneGroupsOperator(_GatewayOperator):
    """Delete the groups whose last push is longer ago than ``older_than``, by the gateway's clock.

    ``older_than`` is a timedelta, a number of seconds or text with its unit, such as ``"7d"``. A
    group with an expiry goes when that has passed and not before; one of a job with a schedule
    stays for twice its interval at least. ``matchers`` are as in PromQL, such as
    ``['job="airflow"']``: only groups that fulfil all of them go. ``dry_run`` only logs which ones
    would.

    Without ``force``, the task fails and deletes nothing where it would be more than half of the
    gateway's groups, or one that was pushed within an hour; what has expired does not count.

    ``timeout`` bounds each request, in seconds. Returns the labels of the groups. Fails as
    :class:`PushMetricsOperator` does, after logging what was deleted.
    """

    template_fields: Sequence[str] = ("older_than", "matchers", "pushgateway_conn_id")
    template_fields_renderers: ClassVar[dict[str, str]] = {"matchers": "json"}

    def __init__(
        self,
        *,
        older_than: timedelta | float | str,
        matchers: str | Sequence[str] = (),
        dry_run: bool = False,
        force: bool = False,
        pushgateway_conn_id: str | None = None,
        timeout: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(pushgateway_conn_id=pushgateway_conn_id, timeout=timeout, **kwargs)
        self.older_than = older_than
        self.matchers = matchers
        self.force = force
        self.only_log = dry_run  # BaseOperator has a method dry_run

    def execute(self, context: Context) -> list[dict[str, str]]:  # noqa: ARG002 - Airflow's signature
        """Delete."""
        age = self.older_than
        with _failing_for_good():
            try:
                found = prune(
                    gateway(self.pushgateway_conn_id),
                    older_than=readers.age(
                        age.total_seconds() if isinstance(age, timedelta) else age
                    ),
                    matchers=self.matchers,
                    dry_run=self.only_log,
                    force=self.force,
                    timeout=self.timeout,
                )
            except DeletionError as error:
                self._log(error.deleted)
                raise
            except ValueError as error:  # of the age or the matchers
                raise AirflowFailException(str(error)) from error
        self._log(found)
        return [dict(entry.group.labels) for entry in found]

    def _log(self, entries: Sequence[StaleGroup]) -> None:
        word = "would delete" if self.only_log else "deleted"
        for entry in entries:
            self.log.info("%s the group %s: %s", word, entry.group.labels, entry.reason)
        self.log.info("%s %d groups", word, len(entries))


@contextmanager
def _failing_for_good() -> Iterator[None]:
    """Keep Airflow from a retry that will fail again. What may pass is raised as it is."""
    try:
        yield
    except PushError as error:
        cause = error.__cause__ if isinstance(error, DeletionError) else error
        if getattr(cause, "retryable", False):
            raise
        raise AirflowFailException(str(error)) from error


def _key(job: str | None, labels: Any) -> GroupingKey:
    if not hasattr(labels, "items"):
        raise InvalidGroupingKeyError(
            f"grouping_key is {labels!r} after templating; give a dict of labels", label=""
        )
    for name, value in labels.items():
        refuse_empty(name, value)
    return GroupingKey(configuration().job if job is None else job, labels)


def _default_labels(ti: Any) -> dict[str, object]:
    if ti.map_index >= 0:
        raise InvalidGroupingKeyError(
            "the task is mapped, and all its instances would push to one group; give grouping_key,"
            " such as {'part': '{{ ti.map_index }}'}",
            label="map_index",
        )
    return {"dag_id": ti.dag_id, "task_id": ti.task_id, "origin": "operator"}
