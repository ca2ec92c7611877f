"""An operator that deletes the groups nobody pushes to any more.

Enters: an age and matchers, templated. Leaves: DELETE requests, and an XCom with the labels of what
was deleted. As with the other operators, the task fails when the gateway does not do it.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import BaseOperator

from pushgate import DeletionError, DeliveryError, PushError, parse_duration, prune
from pushgate_airflow._airflow import AirflowFailException
from pushgate_airflow._connection import gateway

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context

    from pushgate import StaleGroup

__all__ = ("PruneGroupsOperator",)


class PruneGroupsOperator(BaseOperator):
    """Delete the groups whose last push is longer ago than ``older_than``, by the gateway's clock.

    ``older_than`` is a timedelta, a number of seconds or text such as ``"7d"``. A group with an
    expiry goes when that has passed and not before; one of a job with a schedule stays for twice
    its interval at least. ``matchers`` are as in PromQL, such as ``['job="airflow"']``: only groups
    that fulfil all of them go. ``dry_run`` only logs which ones would.

    ``timeout`` bounds each request, in seconds. Returns the labels of the groups.

    The task fails when a group can't be deleted, with the reason, and says how many were; at once,
    without its retries, where another try can't mend it.
    """

    template_fields: Sequence[str] = ("older_than", "matchers", "pushgateway_conn_id")
    template_fields_renderers: ClassVar[dict[str, str]] = {"matchers": "json"}
    ui_color = "#f9d5c8"

    def __init__(
        self,
        *,
        older_than: timedelta | float | str,
        matchers: str | Sequence[str] = (),
        dry_run: bool = False,
        pushgateway_conn_id: str | None = None,
        timeout: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if timeout is not None and not timeout > 0:
            raise ValueError(f"timeout is {timeout!r}; give seconds above 0, or None")
        self.older_than = older_than
        self.matchers = matchers
        self.only_log = dry_run  # BaseOperator has a method dry_run
        self.pushgateway_conn_id = pushgateway_conn_id
        self.timeout = timeout

    def execute(self, context: Context) -> list[dict[str, str]]:  # noqa: ARG002 - Airflow's signature
        """Delete."""
        word = "would delete" if self.only_log else "deleted"
        try:
            found = prune(
                gateway(self.pushgateway_conn_id),
                older_than=_seconds(self.older_than),
                matchers=self.matchers,
                dry_run=self.only_log,
                timeout=self.timeout,
            )
        except DeletionError as error:
            self._tell(word, error.deleted)
            if isinstance(error.__cause__, DeliveryError) and error.__cause__.retryable:
                raise
            raise AirflowFailException(str(error)) from error
        except DeliveryError as error:
            if error.retryable:
                raise
            raise AirflowFailException(str(error)) from error
        except (PushError, ValueError) as error:  # of settings, matchers or the age
            raise AirflowFailException(str(error)) from error
        self._tell(word, found)
        return [dict(entry.group.labels) for entry in found]

    def _tell(self, word: str, entries: Sequence[StaleGroup]) -> None:
        for entry in entries:
            self.log.info("%s the group %s: %s", word, entry.group.labels, entry.reason)
        self.log.info("%s %d groups", word, len(entries))


def _seconds(older_than: Any) -> float:
    if isinstance(older_than, timedelta):
        return older_than.total_seconds()
    if isinstance(older_than, str):
        return parse_duration(older_than)
    if isinstance(older_than, bool) or not isinstance(older_than, (int, float)):
        raise ValueError(
            f"older_than is {older_than!r}; give a timedelta, seconds, or text such as '7d'"
        )
    return float(older_than)
