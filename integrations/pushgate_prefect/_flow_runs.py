"""Translates what Prefect's hooks get into a run and an outcome. Pure."""

from __future__ import annotations

import math
import socket
from typing import TYPE_CHECKING, Any, NamedTuple

from pushgate import GroupingKey, JobRun, Outcome, Status, label_value

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from prefect import Flow, State
    from prefect.client.schemas.objects import FlowRun

# Of a state of the type COMPLETED. Prefect's pages call a run so that found nothing to do.
_SKIPPED = ("Skipped", "Cached")
_DEPTH = 5  # of states within states, as of a flow that returns its tasks' states
_LEAST_PAUSE = 0.001  # seconds between a try that failed and the next one


class Deployment(NamedTuple):
    """What is to be known of a run's deployment.

    ``next_starts`` are the times of the next runs that are planned by its schedules, in Unix
    seconds, the first one first. ``is_scheduled``: it has a schedule that is active.
    """

    name: str
    parameters: Mapping[str, Any]
    is_scheduled: bool
    next_starts: Sequence[float]


def job_run(
    job: str, flow: Flow[..., Any], flow_run: FlowRun, deployment: Deployment | None, url: str
) -> JobRun:
    """The run, before it starts. A flow has a group for each of its deployments."""
    labels = {"task": label_value(flow.name)}
    if deployment is not None:
        labels["deployment"] = label_value(deployment.name)
    run = JobRun(
        GroupingKey(job, labels),
        flow_run.start_time and flow_run.start_time.timestamp(),
        host=socket.gethostname(),
        run_id=str(flow_run.id),
        url=url,
    )
    if deployment is None:
        return run
    if not deployment.is_scheduled:  # a schedule that it had before is withdrawn
        return run._replace(expected_interval=math.nan)
    if len(deployment.next_starts) < 2:
        return run
    first, second, *_ = deployment.next_starts
    return run._replace(next_run_at=first, expected_interval=second - first)


def is_real(flow_run: FlowRun, deployment: Deployment | None) -> bool:
    """False for a run that a person started with other parameters, where a schedule starts runs.

    It may be of an old date. A run without a deployment has a group of its own.
    """
    if deployment is None or not deployment.is_scheduled or flow_run.auto_scheduled:
        return True
    is_by_hand = (
        flow_run.parent_task_run_id is None  # else a flow has started it
        and getattr(flow_run.created_by, "type", None) != "AUTOMATION"
    )
    return not is_by_hand or flow_run.parameters == deployment.parameters


def retry(flow: Flow[..., Any], flow_run: FlowRun, started_at: float) -> Outcome:
    """How the try before ended, told by the start of the next one: no hook is told before."""
    pause = max(float(flow.retry_delay_seconds or 0), _LEAST_PAUSE)
    return Outcome(Status.RETRY, started_at - pause, try_number=flow_run.run_count or None)


def outcome(
    flow: Flow[..., Any], flow_run: FlowRun, state: State[Any], started_at: float | None
) -> Outcome:
    """How the run ended."""
    ended_at = state.timestamp.timestamp()
    status = Status.FAILURE
    if state.is_completed():
        status = Status.SKIPPED if state.name in _SKIPPED else Status.SUCCESS
    elif state.is_cancelling() or state.is_cancelled():
        status = Status.SKIPPED  # a person's wish
    is_failure = status is Status.FAILURE
    return Outcome(
        status,
        ended_at,
        duration=None if started_at is None else max(0.0, ended_at - started_at),
        try_number=flow_run.run_count or None,
        queue_wait=_queue_wait(flow_run, started_at),
        timed_out=state.name == "TimedOut" if flow.timeout_seconds else None,
        exception=_exception(state) if is_failure else "",
    )


def _queue_wait(flow_run: FlowRun, started_at: float | None) -> float | None:
    """Of the first try of a deployment's run: the others wait for something else."""
    expected = flow_run.expected_start_time
    if flow_run.deployment_id is None or expected is None or started_at is None:
        return None
    return max(0.0, started_at - expected.timestamp()) if flow_run.run_count <= 1 else None


def _exception(state: State[Any]) -> str:
    """The class of what was raised, or the state's own name, such as Crashed."""
    held: Any = state
    for _ in range(_DEPTH):
        if isinstance(held, BaseException):
            return type(held).__name__
        # A state has data, a record of a result has the result. Nothing is read from a storage.
        held = held.data if hasattr(held, "state_details") else getattr(held, "result", None)
    return "" if state.name == "Failed" else state.name or ""
