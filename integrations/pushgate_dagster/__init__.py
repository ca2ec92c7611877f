"""Reports how Dagster's runs go to a Pushgateway, by a sensor.

``Definitions(…, sensors=[pushgate_dagster.outcome_sensor()])`` is all that is needed.
"""

from __future__ import annotations

import os

from dagster import DefaultSensorStatus, SensorDefinition, SensorEvaluationContext, SkipReason

from pushgate import DirectSink, RateLimitedLogger, Settings, readers

__all__ = ("outcome_sensor",)

_LONGEST_PUSH = 20.0  # seconds


def outcome_sensor(
    *,
    name: str = "pushgate",
    job: str = "dagster",
    monitor_all_code_locations: bool = False,
    minimum_interval_seconds: int = 30,
    queue_deadline: float = 3600.0,
    webserver_url: str = "",
    sink: DirectSink | None = None,
) -> SensorDefinition:
    """A sensor that reports the runs of this code location's jobs, or those of all.

    ``job`` is the label of that name. A run that waits in the queue for ``queue_deadline`` seconds
    has missed a deadline. With ``webserver_url``, such as ``https://dagster.example``, a failure
    has the URL of the run's page. ``sink`` reports it; without one, the gateway is taken from
    ``PUSHGATE_GATEWAY`` and the other settings, when the sensor first runs.

    What can't be delivered waits in Dagster's own database: the sensor's cursor stays before it.
    Raises ValueError for a ``job`` that is no text.
    """
    job = readers.job(job)
    made = sink

    def report(context: SensorEvaluationContext) -> SkipReason:
        # Here, and not where jobs are defined: each run's process loads these definitions, too.
        from pushgate_dagster._tick import Tick

        nonlocal made
        if made is None:
            made = _configured_sink()
        tick = Tick(
            context,
            made,
            job=job,
            monitors_all=monitor_all_code_locations,
            webserver_url=webserver_url,
            queue_deadline=queue_deadline,
        )
        summary = tick.run()
        context.update_cursor(tick.cursor.to_json())
        return SkipReason(summary)

    return SensorDefinition(
        name=name,
        evaluation_fn=report,
        description="Reports how runs go to a Prometheus Pushgateway.",
        minimum_interval_seconds=minimum_interval_seconds,
        default_status=DefaultSensorStatus.RUNNING,
    )


def _configured_sink() -> DirectSink:
    settings = Settings.load({}, os.environ)
    # Without an outbox: its disk may go with the code server's pod.
    return DirectSink(
        settings.to_gateway(), timeout=min(settings.timeout, _LONGEST_PUSH), log=RateLimitedLogger()
    )
