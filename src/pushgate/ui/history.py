"""The last runs of each job, from the samples that a Prometheus has scraped.

A gateway holds the last run alone. Prometheus has a sample every few seconds, and most say again
what the one before said. So the query asks for the steps at which the completion is another than
one step before: some points for each run. Frequent jobs need small steps and rare ones a long
span, hence the windows; a job of which one window shows enough is left out of the next.
"""

from __future__ import annotations

import json
import math
import time
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlencode

from ..errors import DeliveryError, PushError
from ..jobs.vocabulary import COMPLETION, DURATION, RUN_SUCCESS
from ..transport.handler import HTTPHandler
from ..transport.urls import parse, without_credentials

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..jobs.status import JobRow

JobKey = frozenset[tuple[str, str]]
"""A job's labels, without those that are empty: for Prometheus they are none."""

RUNS = 30  # how many of a job's last runs are found and shown
_STEPS = 240  # of a window: a job with fewer than RUNS in an eighth of it has no two in a step
_WINDOWS = tuple(3600 * 8**i for i in range(4))  # seconds: an hour to three weeks
_TIMEOUT = 30.0  # seconds, for all windows
_LONGEST = 16 << 20  # bytes of an answer


def job_key(labels: Mapping[str, str]) -> JobKey:
    """The key of the job with these labels."""
    return frozenset(item for item in labels.items() if item[1])


class PastRun(NamedTuple):
    """A run that ended: ``ended_at`` in Unix seconds, ``duration`` in seconds if known."""

    ended_at: float
    succeeded: bool
    duration: float | None


class PrometheusHistory:
    """Asks the Prometheus at ``url``. Raises SettingsError where that is no URL."""

    def __init__(self, url: str) -> None:
        self._url = url if "://" in url else f"http://{url}"
        parse(self._url)

    @property
    def url(self) -> str:
        """The URL without credentials."""
        return without_credentials(self._url)

    def runs(self, rows: Sequence[JobRow]) -> dict[JobKey, list[PastRun]]:
        """The last runs of these jobs, the oldest first. Raises PushError."""
        now, deadline = time.time(), time.monotonic() + _TIMEOUT
        # Prometheus may add labels of the target; labels that no group has are none of a group.
        names = {name for row in rows for name in row.labels}
        found: dict[JobKey, dict[float, PastRun]] = {}
        for query, window in _queries():
            result = self._range(query, now, window, deadline - time.monotonic())
            for key, runs in _runs_in(result, names).items():
                found[key] = runs | found.get(key, {})
        return {key: [runs[at] for at in sorted(runs)][-RUNS:] for key, runs in found.items()}

    def _range(self, query: str, now: float, window: int, timeout: float) -> Any:
        step = window // _STEPS
        parameters = {"query": query, "start": now - window, "end": now, "step": step}
        if timeout <= 0:
            raise PushError("timed out")
        try:
            response = HTTPHandler().request(
                self._url,
                "GET",
                timeout,
                path=f"/api/v1/query_range?{urlencode(parameters)}",
                max_body=_LONGEST,
            )
        except DeliveryError as error:  # its own text has the whole query, and asks for a gateway
            reason = str(getattr(error, "reason", error)).replace("Pushgateway", "Prometheus")
            raise PushError(reason) from error
        if len(response.body) >= _LONGEST:
            raise PushError(f"it has more than {_LONGEST >> 20} MiB to say")
        try:
            return json.loads(response.body)["data"]["result"]
        except Exception as error:  # whatever it holds
            raise PushError("the answer is not one of a Prometheus") from error


def _queries() -> list[tuple[str, int]]:
    """The query of each window, and the window in seconds."""
    queries: list[tuple[str, int]] = []
    known = ""
    for window in _WINDOWS:
        step = window // _STEPS
        names = "|".join((COMPLETION, RUN_SUCCESS, DURATION))
        same = f"{COMPLETION} == {COMPLETION} offset {step}s"
        changed = f"({COMPLETION} unless {same}{known})"
        queries.append((f'{{__name__=~"{names}"}} and {changed}', window))
        known = f" unless changes({COMPLETION}[{window}s:{step}s] @ end()) >= {RUNS}"
    return queries


def _runs_in(result: Any, names: set[str]) -> dict[JobKey, dict[float, PastRun]]:
    """The runs in a result by job, and by the time at which they ended."""
    moments: dict[tuple[JobKey, float], dict[str, float]] = {}
    try:
        for series in result:
            labels: Mapping[str, str] = series["metric"]
            key = job_key({name: labels[name] for name in names & labels.keys()})
            for moment, value in series["values"]:
                moments.setdefault((key, moment), {})[labels["__name__"]] = float(value)
    except Exception as error:  # whatever it holds
        raise PushError("the answer is not one of a Prometheus") from error
    found: dict[JobKey, dict[float, PastRun]] = {}
    for (key, _), numbers in moments.items():
        ended, took = numbers.get(COMPLETION), numbers.get(DURATION, math.nan)
        if ended is not None and RUN_SUCCESS in numbers:
            duration = took if 0 <= took < math.inf else None
            run = PastRun(ended, numbers[RUN_SUCCESS] == 1, duration)
            found.setdefault(key, {})[ended] = run
    return found
