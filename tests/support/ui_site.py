"""Forty jobs, of which some are bad, on a gateway and in the history of a Prometheus.

python -m support.ui_site FOLDER      (from tests/) draws the pictures of `pushgate ui`
"""

from __future__ import annotations

import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from random import Random
from typing import NamedTuple

from pushgate import (
    CommandEnd,
    Gateway,
    GroupingKey,
    JobRun,
    Outcome,
    Status,
    end_families,
    start_families,
)
from pushgate.embedded import EmbeddedGateway
from pushgate.ui.history import PrometheusHistory
from pushgate.ui.live_history import LiveHistory
from pushgate.ui.live_view import LiveView
from pushgate.ui.page_server import PageServer
from support.browser import browser
from support.prometheus import Prometheus, prometheus

MINUTE, HOUR, DAY = 60.0, 3600.0, 86_400.0
_RUNS = 30
_SAMPLES_APART = HOUR
_LONGEST = 20 * DAY
_FLAGS = ("--web.enable-remote-write-receiver", "--query.lookback-delta=2h")
_SIZES = {"": (1280, 800), "-phone": (390, 800)}


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


def _airflow(dag: str, task: str) -> GroupingKey:
    return GroupingKey("airflow", {"dag_id": dag, "task_id": task})


def _celery(task: str) -> GroupingKey:
    return GroupingKey("celery", {"task": task})


def _well() -> Iterator[SiteJob]:
    random = Random(1)
    keys = [
        _airflow(dag, task)
        for dag in ("orders", "billing", "reports")
        for task in ("extract", "transform", "publish")
    ]
    keys += [
        _celery(task)
        for task in ("shop.mail", "shop.stock", "shop.recommend", "users.sync", "users.cleanup")
    ]
    keys += [
        GroupingKey(name)
        for name in (
            *("invoice-mail", "log-rotate", "cert-renew", "warehouse-load", "dns-export"),
            *("mail-queue", "db-vacuum", "metrics-rollup", "image-gc", "ldap-sync", "sitemap"),
            *("vat-rates", "fx-rates", "billing-export", "archive", "geo-update"),
        )
    ]
    for key in keys:
        every = random.choice((5 * MINUTE, 15 * MINUTE, HOUR, DAY))
        failed = tuple(random.sample(range(1, 29), random.choice((0, 0, 0, 1, 3))))
        host = random.choice(("batch-1.example", "batch-2.example", "worker-3.example"))
        yield SiteJob(
            key, every, random.random() * every, every * random.uniform(0.01, 0.2), failed, host
        )


JOBS = (
    SiteJob(
        GroupingKey("nightly-backup"), DAY, 7 * HOUR, 1260, (0, 1, 9),
        end=Outcome(Status.FAILURE, 0, command=CommandEnd(3)),
    ),
    SiteJob(
        _airflow("orders", "load_warehouse"), HOUR, 15 * MINUTE, 340, (0, 1, 2, 3, 11, 17),
        host="airflow-worker-2",
        end=Outcome(Status.FAILURE, 0, exception="OperationalError"),
        run_id="scheduled__2026-11-28T13:00:00+00:00",
        url="https://airflow.example/dags/orders/runs/scheduled__2026-11-28T13/tasks/load_warehouse",
    ),
    SiteJob(
        _celery("shop.charge"), MINUTE, 30, 0.21, (0, 3, 4, 8, 15),
        host="worker-3.example",
        end=Outcome(Status.FAILURE, 0, exception="PaymentGatewayTimeout"),
        run_id="3f1c6c1e-6f2a-4e8e-8d55-2f3f4a8b7c11",
    ),
    SiteJob(GroupingKey("price-feed"), HOUR, 5 * HOUR, 12, host="batch-2.example"),
    SiteJob(
        GroupingKey("ledger-close"), DAY, 200, 4, tuple(range(31)),
        host="batch-2.example",
        end=Outcome(Status.FAILURE, 0, command=CommandEnd(137, signal=9)),
    ),
    SiteJob(GroupingKey("search-index"), DAY, 30 * HOUR, 2000, goes_on_since=6 * HOUR),
    SiteJob(GroupingKey("stock-count"), HOUR, 900, 3, vanished=True),
    SiteJob(GroupingKey("log-archive"), 7 * DAY, 16 * DAY, 2000),
    SiteJob(
        GroupingKey("thumbnails", {"instance": "img-1"}), 10 * MINUTE, 9 * MINUTE, 20,
        goes_on_since=20,
    ),
    SiteJob(GroupingKey("report-mail", {"customer": "A & B <i>"}), HOUR, 1800, 20),
    *_well(),
)  # fmt: skip


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


def draw(target: Path) -> None:
    """Make the pictures."""
    now = time.time()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        clock = [now - 9 * DAY]
        gateway = stack.enter_context(EmbeddedGateway(clock=lambda: clock[0]))
        clock[0] = now
        for job in JOBS:
            job.push(Gateway(gateway.url), now)
        server = stack.enter_context(past(folder, JOBS, now))
        history = LiveHistory(PrometheusHistory(f"http://127.0.0.1:{server.port}"))
        page = stack.enter_context(PageServer(LiveView(Gateway(gateway.url), (), history), 0))
        threading.Thread(target=page.serve_forever, daemon=True).start()
        tab = stack.enter_context(browser(folder))
        tab.open(page.url)
        tab.until("document.querySelector('svg') !== null", passing=10)
        for scheme in ("light", "dark"):
            for suffix, (width, height) in _SIZES.items():
                tab.show_as(scheme, width, height)
                tab.picture(target / f"ui-{scheme}{suffix}.png")
        page.shutdown()


if __name__ == "__main__":
    draw(Path(sys.argv[1]))
