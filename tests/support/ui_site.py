"""Jobs with a past: on a gateway, and in the history of a Prometheus."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import NamedTuple

from pushgate import (
    Gateway,
    GroupingKey,
    JobRun,
    Outcome,
    Status,
    end_families,
    start_families,
)
from support.prometheus import Prometheus, prometheus

MINUTE, HOUR, DAY = 60.0, 3600.0, 86_400.0
_RUNS = 30
_SAMPLES_APART = HOUR
_LONGEST = 20 * DAY
_FLAGS = ("--web.enable-remote-write-receiver", "--query.lookback-delta=2h")


class SiteJob(NamedTuple):
    """A job that ran every so many seconds, last ``ago``. ``failed`` counts runs back from 0."""

    key: GroupingKey
    every: float
    ago: float
    took: float
    failed: tuple[int, ...] = ()
    host: str = "batch-1.example"
    end: Outcome = Outcome(Status.FAILURE, 0)
    run_id: str = ""
    url: str = ""
    goes_on_since: float | None = None
    vanished: bool = False

    def runs(self) -> Iterator[tuple[float, float, bool]]:
        """When each run ended before now, how long it took, and whether it succeeded."""
        random = Random(str(self.key))
        for i in range(_RUNS + 1):
            yield (
                self.ago + i * self.every,
                self.took * random.uniform(0.7, 1.4),
                i not in self.failed,
            )

    def push(self, gateway: Gateway, now: float) -> None:
        """What the last runs leave at the gateway."""
        last = next(self.runs())
        last_ok = next((run for run in self.runs() if run[2]), last)
        for ago, took, succeeded in (last_ok, last):
            run = JobRun(
                *(self.key, now - ago - took, self.every),
                vanished_at=now - ago if self.vanished else None,
                host=self.host,
                run_id=self.run_id,
                url=self.url,
            )
            outcome = Outcome(Status.SUCCESS, 0) if succeeded else self.end
            outcome = outcome._replace(ended_at=now - ago, duration=took)
            gateway.pushadd(self.key, end_families(run, outcome))
        if self.goes_on_since is not None:
            run = JobRun(self.key, now - self.goes_on_since, self.every)
            gateway.pushadd(self.key, start_families(run))

    def samples(self, now: float) -> Iterator[tuple[str, float, float]]:
        """The metric, the value and the time of each sample that Prometheus would have."""
        runs = list(self.runs())[::-1]
        for (ago, took, succeeded), until in zip(
            runs, [*(r[0] for r in runs[1:]), 0.0], strict=True
        ):
            at = min(ago, _LONGEST)
            while at > until:
                yield "last_completion_timestamp_seconds", now - ago, now - at
                yield "last_run_success", float(succeeded), now - at
                yield "last_duration_seconds", took, now - at
                at -= min(_SAMPLES_APART, self.every / 2)


@contextmanager
def past(folder: Path, jobs: tuple[SiteJob, ...], now: float) -> Iterator[Prometheus]:
    """A Prometheus that has scraped these jobs for weeks."""
    slots: dict[int, dict[tuple[GroupingKey, str], list[tuple[float, float]]]] = {}
    for job in jobs:
        for name, value, at in job.samples(now):
            # It takes nothing that is an hour older than what it has.
            slot = slots.setdefault(int(at // 1800), {})
            slot.setdefault((job.key, name), []).append((at, value))
    with prometheus(folder, "", *_FLAGS) as server:
        for _, slot in sorted(slots.items()):
            labels = (
                {n: v for n, v in key.labels.items() if v} | {"__name__": f"batch_job_{name}"}
                for key, name in slot
            )
            server.write(zip(labels, slot.values(), strict=True))
        yield server
