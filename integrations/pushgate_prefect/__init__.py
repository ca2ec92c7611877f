"""Reports how Prefect's flow runs go to a Pushgateway, by state hooks: ``@flow(**hooks())``."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache, partial
from typing import TYPE_CHECKING, Any, TypedDict

from pushgate import (
    PushError,
    RateLimitedLogger,
    configured_direct_sink,
    configured_sink,
    in_side_thread,
    readers,
)
from pushgate_prefect import _flow_runs as translate

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from uuid import UUID

    from prefect import Flow, State
    from prefect.client.schemas.objects import FlowRun

    from pushgate import JobRun, Sink

__all__ = ("FlowHooks", "hooks")

Hook = Callable[..., Any]

_LONGEST_LOOK_UP = 10.0  # seconds, for the name and the next runs of a run's deployment
_PLANNED = 20  # runs among which the next two of the schedule are

_log = RateLimitedLogger()


class FlowHooks(TypedDict):
    """Arguments of ``@flow``."""

    on_running: list[Hook]
    on_completion: list[Hook]
    on_failure: list[Hook]
    on_crashed: list[Hook]
    on_cancellation: list[Hook]


def hooks(*, job: str = "prefect", sink: Sink | None = None) -> FlowHooks:
    """Hooks that report each run of a flow: ``@flow(**hooks())``.

    ``job`` is the label of that name. ``sink`` takes the reports; without one, the gateway is taken
    from ``PUSHGATE_GATEWAY`` and the other settings when the first run starts. The hooks raise
    nothing, and can be pickled with their flow where ``sink`` can be. Raises ValueError for a
    ``job`` that is no text.
    """
    hook = _Reporter(readers.job(job), sink).push_outcome
    return FlowHooks(
        on_running=[hook],
        on_completion=[hook],
        on_failure=[hook],
        on_crashed=[hook],
        on_cancellation=[hook],
    )


class _Reporter:
    def __init__(self, job: str, sink: Sink | None) -> None:
        self._job = job
        self._sink = sink
        self._begun: set[UUID] = set()  # those whose process this is
        self._runs: dict[UUID, JobRun | None] = {}  # of these, once it is known; None: not real

    def push_outcome(
        self, flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]
    ) -> Coroutine[Any, Any, None] | None:
        """The hook, whose name Prefect logs. Where a loop runs, it must be awaited.

        Prefect does so: other coroutines of the flow go on meanwhile.
        """
        report = partial(self._report, flow, flow_run, state)
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            report()
            return None
        return _awaited(report)

    def _report(self, flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
        try:
            if state.is_running():
                self._begun.add(flow_run.id)
            # A runner tells of its runs one after another, and its end waits for that.
            is_told_by_runner = flow_run.id not in self._begun and _ends_from_outside(state)
            sink = self._sink or _configured_sink(is_told_by_runner)
            if sink is None:
                return
            is_known = flow_run.id in self._runs
            run = self._runs.pop(flow_run.id) if is_known else self._new_run(flow, flow_run)
            if not state.is_running():
                self._begun.discard(flow_run.id)
                if run is not None:
                    outcome = translate.outcome(flow, flow_run, state, run.started_at)
                    sink.finished(run, outcome)
                return
            started_at = state.timestamp.timestamp()
            run = run and run._replace(started_at=started_at)
            self._runs[flow_run.id] = run
            if run is not None and is_known:
                sink.finished(run, translate.retry(flow, flow_run, started_at))
            elif run is not None:
                sink.started(run)
        except Exception as error:  # Prefect's API's, or a mistake of ours
            why = str(error) if isinstance(error, PushError) else repr(error)
            text = f"that a run of {flow.name!r} is {state.name} is not reported: {why}"
            _log.error(text, subject=(flow.name, state.name))

    def _new_run(self, flow: Flow[..., Any], flow_run: FlowRun) -> JobRun | None:
        """None where the run is not to be reported."""
        from prefect.utilities.urls import url_for

        deployment = None
        if flow_run.deployment_id is not None:
            read = partial(_read_deployment, flow_run.deployment_id)
            try:
                deployment = in_side_thread(read).result(_LONGEST_LOOK_UP)
            except TimeoutError:
                raise TimeoutError("Prefect's API does not tell of the deployment") from None
        if translate.is_real(flow_run, deployment):
            return translate.job_run(self._job, flow, flow_run, deployment, url_for(flow_run) or "")
        why = "a person started it with other parameters than the schedule's"
        _log.info(f"nothing is pushed of the run {flow_run.id} of {flow.name!r}: {why}")
        return None


def _ends_from_outside(state: State[Any]) -> bool:
    return any((state.is_crashed(), state.is_cancelling(), state.is_cancelled()))


@cache
def _configured_sink(is_of_runner: bool) -> Sink | None:
    make = configured_sink if is_of_runner else configured_direct_sink
    return make("this process's flow runs", _log)


def _read_deployment(deployment_id: UUID) -> translate.Deployment:
    """Raises what Prefect's client raises."""
    from prefect import get_client
    from prefect.client.schemas import filters
    from prefect.client.schemas.sorting import FlowRunSort

    with get_client(sync_client=True) as client:
        found = client.read_deployment(deployment_id)
        is_scheduled = any(schedule.active for schedule in found.schedules)
        planned = []
        if is_scheduled:
            planned = client.read_flow_runs(
                flow_run_filter=filters.FlowRunFilter(
                    deployment_id=filters.FlowRunFilterDeploymentId(any_=[deployment_id]),
                    state=filters.FlowRunFilterState(
                        name=filters.FlowRunFilterStateName(any_=["Scheduled"])
                    ),
                    expected_start_time=filters.FlowRunFilterExpectedStartTime(
                        after_=datetime.now(UTC)
                    ),
                ),
                sort=FlowRunSort.EXPECTED_START_TIME_ASC,
                limit=_PLANNED,
            )
    next_starts = [run.expected_start_time.timestamp() for run in planned if run.auto_scheduled]
    return translate.Deployment(found.name, found.parameters, is_scheduled, next_starts)


async def _awaited(call: Callable[[], None]) -> None:
    """Without the loop's own threads, of which there are few: others may hang in them."""
    await asyncio.wrap_future(in_side_thread(call))
