"""Which times of the job metrics no clock shows: they are refused, and read as absent. Pure."""

from __future__ import annotations

METRIC_PREFIX = "batch_job_"
"""The names of all metrics that tell how a job's runs go begin so."""
TIME_SUFFIX = "_timestamp_seconds"

YEAR_10000 = 253_402_300_800.0
"""In Unix seconds. Milliseconds, a common mistake, are beyond it."""


def is_possible_time(seconds: float) -> bool:
    """Whether ``seconds`` can be a Unix time: not NaN, not infinite, from 1970 to year 9999."""
    return 0.0 <= seconds < YEAR_10000


def is_impossible_time(name: str, value: float) -> bool:
    """Whether the metric ``name`` is a time of the job metrics, and ``value`` can't be one."""
    return is_time_name(name) and not is_possible_time(value)


def is_time_name(name: str) -> bool:
    """Whether the metric ``name`` is a time of the job metrics."""
    return name.startswith(METRIC_PREFIX) and name.endswith(TIME_SUFFIX)
