"""An adapter for taskline: the outcome of every task goes to the configured Pushgateway."""

from __future__ import annotations

from collections.abc import Callable

from taskline import Event, Line

from pushgate import (
    Family,
    GroupingKey,
    JobRun,
    Outcome,
    Sink,
    Status,
    configured_sink,
    gauge,
    label_value,
)

_STATUS = {"done": Status.SUCCESS, "error": Status.FAILURE}


def job_run(event: Event) -> JobRun:
    """The run that ``event`` is about. The grouping key names the task, never the run."""
    return JobRun(GroupingKey("taskline", {"task": label_value(event.task)}), event.started_at)


def outcome(event: Event) -> Outcome | None:
    """How the run ended; None while it goes on."""
    if event.ended_at is None:
        return None
    duration = event.ended_at - event.started_at
    return Outcome(_STATUS[event.state], event.ended_at, duration=duration)


def own_metrics(event: Event) -> list[Family]:
    """What the task returned, as metrics of its own."""
    return [gauge(name, f"{name} of the task.", value) for name, value in event.results.items()]


def install(line: Line, sink: Sink | None = None) -> Callable[[], None]:
    """Report the tasks of ``line``. Returns what uninstalls it."""
    if sink is None and (sink := configured_sink("tasks")) is None:
        return lambda: None

    def listen(event: Event) -> None:
        ended = outcome(event)
        if ended is None:
            sink.started(job_run(event))
        else:
            sink.finished(job_run(event), ended, own_metrics(event))

    line.listeners.append(listen)
    return lambda: line.listeners.remove(listen)
