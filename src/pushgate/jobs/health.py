"""When a job counts as overdue, stuck, failed, …: the one place of these verdicts. Pure.

``numbers`` are the metrics of the job's group by name (:func:`numbers_of`), ``now`` is the time by
the gateway's clock. All times are Unix seconds, all spans seconds. ``prometheus/queries.py`` says
the same in PromQL, with the same limits, and a test compares the two.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ..protocol.timestamps import METRIC_PREFIX, is_impossible_time
from .vocabulary import (
    COMPLETION,
    DEADLINE_MISSED,
    DURATION,
    EXPECTED_INTERVAL,
    FAILURE,
    GROUP_EXPIRY,
    NEXT_RUN,
    PAUSED_UNTIL,
    RETRY,
    RUN_INFO,
    RUN_INFO_LABELS,
    RUN_SUCCESS,
    SKIPPED,
    START,
    SUCCESS,
    UPSTREAM_FAILED,
    VANISHED,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..protocol.groups import Group

    Numbers = Mapping[str, float]

ENDS = (COMPLETION, SKIPPED, UPSTREAM_FAILED, RETRY)
"""A run has ended in one of these ways, or at least this try of it."""

INTERVAL_GRACE_SHARE = 0.5
"""A scheduled job may start this share of its interval late, …"""
INTERVAL_GRACE_LEAST = 60.0
"""… and this many seconds in any case: a cron minute, a scrape and a push."""

EXACT_GRACE_MOST = 300.0
"""So many seconds late at most, where the schedule says the time of the next run exactly."""

STUCK_AFTER_DURATIONS = 3.0
"""A run is stuck when it takes this many times as long as the one before, …"""
STUCK_AFTER_LEAST = 3600.0
"""… but never within this many seconds: a run of a second may take a minute once."""
STUCK_AFTER_UNKNOWN = 86_400.0
"""The same in seconds for a job of which no run has ended yet."""

ENDS_MISSING_INTERVALS = 1.5
"""Runs never end when the last start came so many intervals after the last end of any kind, …"""
ENDS_MISSING_DURATIONS = 3.0
"""… and so many times the last duration after it, since runs may overlap, …"""
ENDS_MISSING_LEAST = 900.0
"""… and this many seconds in any case."""

FAILS_OFTEN_SHARE = 0.3
"""A job fails often when more than this share of an hour's runs failed, …"""
FAILS_OFTEN_LEAST = 3.0
"""… and so many of them in any case. A gateway alone does not tell: it holds the last run."""

CLOCK_TOLERANCE = 60.0
"""So many seconds a run's start or end may be later than the push that told it: clocks differ."""

VANISHED_SHOWN = 86_400.0
"""For so many seconds it is told that a run vanished: nothing that comes later undoes it."""

STALE_AFTER = 7 * 86_400.0
"""A group is stale when nobody pushed to it for so many seconds, …"""
STALE_INTERVALS = 2.0
"""… and for so many intervals of its job's schedule: after a week, a monthly job's is not."""


def numbers_of(group: Group) -> dict[str, float]:
    """The single values among the group's metrics of the vocabulary that can be true.

    Anybody may push metrics of these names: a NaN is neither before nor after now, and an expiry of
    -Inf would make a group go at once.
    """
    return {
        family.name: value
        for family in group.families
        if family.name.startswith(METRIC_PREFIX) and len(family.samples) == 1
        if family.name != RUN_INFO
        if math.isfinite(value := family.samples[0].value)
        and not is_impossible_time(family.name, value)
    }


def run_info(group: Group) -> dict[str, str]:
    """Where the last run ended, and why it failed: ``host``, ``run_id``, ``url``, ``exception``."""
    family = group.family(RUN_INFO)
    labels = {**group.labels, **family.samples[0].labels} if family and family.samples else {}
    return {name: labels[name] for name in RUN_INFO_LABELS if name in labels}


def due_at(numbers: Numbers) -> float | None:
    """When the next run is expected; None where the job has no schedule or never started.

    A run that was skipped, or whose upstream failed, was on time: its schedule is alive. An exact
    time that a run has passed says nothing any more: the job has another schedule now.
    """
    started = [numbers[name] for name in (START, SKIPPED, UPSTREAM_FAILED) if name in numbers]
    interval = numbers.get(EXPECTED_INTERVAL, 0.0)
    if not started or interval <= 0:
        return None
    exact = numbers.get(NEXT_RUN, 0.0)
    return exact if exact > max(started) else max(started) + interval


def is_overdue(numbers: Numbers, now: float) -> bool:
    """Whether the next run should have started by now, however the last one ended.

    While a run is going on, nothing is overdue: see :func:`is_stuck`.
    """
    due = due_at(numbers)
    if due is None or is_running(numbers):
        return False
    grace = max(INTERVAL_GRACE_LEAST, INTERVAL_GRACE_SHARE * numbers[EXPECTED_INTERVAL])
    return now > due + (min(grace, EXACT_GRACE_MOST) if due == numbers.get(NEXT_RUN) else grace)


def paused_until(numbers: Numbers, now: float) -> float | None:
    """Until when nobody is to be alarmed by the job; None where it is not paused now."""
    until = numbers.get(PAUSED_UNTIL, 0.0)
    return until if until > now else None


def is_retrying(numbers: Numbers) -> bool:
    """Whether a try failed and the next one has not started: nothing runs, nothing is stuck."""
    retry = numbers.get(RETRY)
    return (
        retry is not None
        and retry >= numbers.get(START, 0.0)
        and retry > numbers.get(COMPLETION, 0.0)
    )


def is_running(numbers: Numbers) -> bool:
    """Whether a run has started and nobody reported its end.

    Another run that was skipped meanwhile, because of a lock, does not end it.
    """
    start = numbers.get(START)
    return start is not None and start > numbers.get(COMPLETION, 0.0) and not is_retrying(numbers)


def is_stuck(numbers: Numbers, now: float) -> bool:
    """Whether a run takes too long, or died in a way that nobody could report."""
    allowed = STUCK_AFTER_UNKNOWN
    if DURATION in numbers:
        allowed = max(STUCK_AFTER_LEAST, STUCK_AFTER_DURATIONS * numbers[DURATION])
    return is_running(numbers) and now - numbers[START] > allowed


def has_ended(numbers: Numbers) -> bool:
    """Whether any run ever ended, in any way."""
    return any(name in numbers for name in ENDS)


def ends_missing(numbers: Numbers) -> bool:
    """Whether runs start one after the other, and no end is reported: each is killed.

    It needs no state of the job's host, which may be fresh for each run. The first run after a
    pause looks the same, until it ends: see :func:`may_still_end`. The numbers of a job of which no
    run ever ended do not tell; ``prometheus/queries.py`` sees that its start is renewed.
    """
    interval = numbers.get(EXPECTED_INTERVAL, 0.0)
    if START not in numbers or not has_ended(numbers) or interval <= 0:
        return False
    allowed = max(
        ENDS_MISSING_LEAST,
        ENDS_MISSING_INTERVALS * interval,
        ENDS_MISSING_DURATIONS * numbers.get(DURATION, 0.0),
    )
    return numbers[START] - max(numbers[name] for name in ENDS if name in numbers) > allowed


def may_still_end(numbers: Numbers, now: float) -> bool:
    """Whether the run that goes on has not taken much longer than the last one that ended."""
    usual = INTERVAL_GRACE_LEAST + 1.5 * numbers.get(DURATION, 0.0)
    return is_running(numbers) and now - numbers[START] <= usual


def is_skipped(numbers: Numbers) -> bool:
    """Whether the last thing that happened to the job is that a run was skipped."""
    return SKIPPED in numbers and numbers[SKIPPED] >= max(
        numbers.get(name, 0.0) for name in (START, COMPLETION, UPSTREAM_FAILED)
    )


def is_upstream_failed(numbers: Numbers) -> bool:
    """Whether the last run was not started, because a job before it had failed."""
    return UPSTREAM_FAILED in numbers and (
        numbers[UPSTREAM_FAILED] >= max(numbers.get(name, 0.0) for name in (START, COMPLETION))
        and numbers[UPSTREAM_FAILED] > numbers.get(SKIPPED, 0.0)
    )


def is_failed(numbers: Numbers) -> bool:
    """Whether the last run that ended failed. The next success clears it, a start does not."""
    return numbers.get(RUN_SUCCESS) == 0


def never_succeeded(numbers: Numbers) -> bool:
    """Whether the job has failed and never succeeded.

    ``last_completion`` does not tell: a run that started and was then skipped has it, too.
    """
    return FAILURE in numbers and SUCCESS not in numbers


def missed_deadline(numbers: Numbers) -> bool:
    """Whether a run missed its deadline, and none has ended since."""
    return numbers.get(DEADLINE_MISSED, 0.0) > numbers.get(COMPLETION, 0.0)


def has_vanished(numbers: Numbers, now: float) -> bool:
    """Whether it was noticed within a day that a run had started and never reported its end."""
    return now - numbers.get(VANISHED, -math.inf) < VANISHED_SHOWN


def clock_ahead(group: Group, numbers: Numbers) -> float:
    """By how many seconds the job's host is ahead of the gateway's clock; 0 for a minute or less.

    What started in the future is neither overdue nor stuck before that has come. A host that is
    behind can't be told from a push that waited in an outbox.
    """
    reported = max(numbers.get(name, 0.0) for name in (START, *ENDS))
    ahead = reported - group.push_time
    return ahead if group.push_time and ahead > CLOCK_TOLERANCE else 0.0


def is_push_failing(group: Group) -> bool:
    """Whether the gateway refused the group's last push."""
    return group.push_failure_time > group.push_time


def used_at(group: Group, numbers: Numbers) -> float:
    """When the group was last pushed, refused or not, or the pause of its job ends.

    A job that is paused need not push, and what is known of it must outlast the pause.
    """
    return max(group.touched_at, numbers.get(PAUSED_UNTIL, 0.0))


def is_stale(group: Group, numbers: Numbers, now: float) -> bool:
    """Whether nobody pushes to the group any more; one with an expiry is not stale before it."""
    if numbers.get(GROUP_EXPIRY, 0.0) > now:
        return False
    allowed = max(STALE_AFTER, STALE_INTERVALS * numbers.get(EXPECTED_INTERVAL, 0.0))
    return now - used_at(group, numbers) > allowed
