"""Draws `pushgate ui` with forty jobs, of which some are bad: light and dark, wide and on a phone.

`python scripts/pictures/draw_ui.py FOLDER` writes ui-*.png. README.md says what it needs.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))

from pushgate import CommandEnd, Gateway, GroupingKey, Outcome, Status
from pushgate.embedded import EmbeddedGateway
from support.browser import browser
from support.servers import ui
from support.ui_site import DAY, HOUR, MINUTE, SiteJob, past

_SIZES = {"": (1280, 800), "-phone": (390, 800)}


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


def draw(target: Path) -> None:
    """Make the pictures."""
    now = time.time()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        clock = [now - 9 * DAY]  # the gateway's start
        gateway = stack.enter_context(EmbeddedGateway(clock=lambda: clock[0]))
        clock[0] = now
        for job in JOBS:
            job.push(Gateway(gateway.url), now)
        history = stack.enter_context(past(folder, JOBS, now))
        where = ("--gateway", gateway.url, "--prometheus", f"127.0.0.1:{history.port}")
        port = stack.enter_context(ui(*where))
        tab = stack.enter_context(browser(folder))
        tab.open(f"http://127.0.0.1:{port}")
        tab.until("document.querySelector('svg') !== null", passing=10)
        for scheme in ("light", "dark"):
            for suffix, (width, height) in _SIZES.items():
                tab.show_as(scheme, width, height)
                tab.picture(target / f"ui-{scheme}{suffix}.png")


if __name__ == "__main__":
    draw(Path(sys.argv[1]))
