"""Translates what dbt wrote into run_results.json into reports for a gateway. Pure.

``pushgate dbt`` pushes them.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from pushgate import Family, JobRun, Outcome, Report, Sample, Status, end_reports
from pushgate_dbt._run_results import BAD, STATUSES, Invocation, Node, RunResultsError, read

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ("MOST_GROUPS", "Invocation", "Node", "RunResultsError", "read", "reports")

MOST_GROUPS = 500
"""So many groups may the models of one invocation have."""
_MOST_NODES = 2500  # with numbers of their own: a large group makes each push to the gateway slow
_BUILT = ("model", "seed", "snapshot")
_STATUS = dict.fromkeys(BAD, Status.FAILURE) | {
    "success": Status.SUCCESS,
    "skipped": Status.UPSTREAM_FAILED,
}


def reports(invocation: Invocation, run: JobRun, *, models: bool = False) -> Iterator[Report]:
    """The invocation's outcome and the numbers of its nodes; ``run`` has the group and schedule.

    With ``models``, also the outcome of each model, seed and snapshot, in a group of its own.
    Raises RunResultsError where these are more than ``MOST_GROUPS``.
    """
    built = [node for node in invocation.nodes if node.type in _BUILT] if models else []
    if len(built) > MOST_GROUPS:
        raise RunResultsError(
            f"its {len(built)} models, seeds and snapshots would be more than {MOST_GROUPS} groups:"
            " leave --models out, the numbers of each are pushed all the same"
        )
    run = run._replace(started_at=invocation.started_at, run_id=invocation.invocation_id)
    yield from end_reports(run, _outcome(invocation), _numbers(invocation.nodes))
    for node in built:
        if node.status in _STATUS:
            # Without an interval: a model that is removed would be overdue for ever.
            key, host = run.key.with_labels(task=node.unique_id), run.host
            of_node = JobRun(key, node.started_at, host=host, run_id=run.run_id)
            yield from end_reports(of_node, _outcome_of(node, invocation.ended_at))


def _outcome(invocation: Invocation) -> Outcome:
    bad = [node for node in invocation.nodes if node.status in BAD]
    cause = next((node for node in bad if node.status != "skipped"), None)
    status = Status.SUCCESS if invocation.nodes else Status.SKIPPED  # it had nothing to do
    return Outcome(
        Status.FAILURE if bad else status,
        invocation.ended_at,
        duration=invocation.ended_at - invocation.started_at,
        exception=f"{cause.status}: {cause.unique_id}" if cause else "",
    )


def _outcome_of(node: Node, ended_at: float) -> Outcome:
    status = _STATUS[node.status]
    is_run = node.started_at is not None and status is not Status.UPSTREAM_FAILED
    return Outcome(
        status,
        node.ended_at or ended_at,
        duration=node.execution_time if is_run else None,
        exception=node.status if status is Status.FAILURE else "",
    )


def _numbers(nodes: Sequence[Node]) -> Iterator[Family]:
    counts = Counter(node.status for node in nodes)
    yield _family(
        "dbt_nodes",
        "How many nodes the last invocation left with each status.",
        [({"status": status}, counts[status]) for status in (*STATUSES, *counts.keys() - STATUSES)],
    )
    if len(nodes) > _MOST_NODES:
        return
    for name, documentation, values in (
        (
            "dbt_node_failed",
            "Whether the node failed (1) in the last invocation, or was skipped as another had.",
            {node: float(node.status in BAD) for node in nodes},
        ),
        (
            "dbt_node_execution_seconds",
            "How long the node took in the last invocation.",
            {node: node.execution_time for node in nodes if node.status != "skipped"},
        ),
        (
            "dbt_test_failures",
            "How many rows the test found in the last invocation.",
            {node: node.failures for node in nodes if node.type in ("test", "unit_test")},
        ),
        (
            "dbt_node_rows_affected",
            "How many rows the node wrote in the last invocation, as the database says.",
            {node: node.rows_affected for node in nodes},
        ),
    ):
        yield _family(
            name,
            documentation,
            [({"node": n.unique_id}, value) for n, value in values.items() if value is not None],
        )


def _family(
    name: str, documentation: str, values: Sequence[tuple[dict[str, str], float]]
) -> Family:
    return Family(
        name, documentation, "gauge", [Sample(name, labels, value) for labels, value in values]
    )
