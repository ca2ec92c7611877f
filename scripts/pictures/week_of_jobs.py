"""A week of some 40 job groups, good and bad, as blocks for a Prometheus: what the pictures show.

``write_blocks(folder, now)`` makes the folder that a Prometheus starts on. It is what a gateway
with these jobs would have shown, every four minutes of the last day and every ten before.
"""

from __future__ import annotations

import subprocess
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from support import debian  # the caller has put tests/ on the path

HOUR, DAY = 3600.0, 86_400.0
WIPED_AGO = 20 * 60.0  # of a gateway that forgot its groups
_BLOCK = 7200  # promtool reads the whole input once for each block of two hours
_TIME = "batch_job_last_{}_timestamp_seconds"


def _ok(_number: int, _ago: float) -> bool:
    return True


@dataclass
class Job:
    """A job that runs each ``every`` seconds for ``takes``.

    ``succeeds`` is asked with the number of the run and how long ago it started. Runs that started
    later than ``mute`` ago report no end; none started since ``stopped`` ago. ``info`` and ``more``
    are labels of the run's info and further metrics by name.
    """

    labels: str
    every: float
    takes: float
    succeeds: Callable[[int, float], bool] = _ok
    mute: float = -1.0
    stopped: float = -1.0
    info: str = ""
    more: Mapping[str, float] = field(default_factory=dict)


def command(name: str, every: float, takes: float, host: str = "batch1", **more: object) -> Job:
    why = str(more.pop("why", "exit 1"))
    info = f'host="{host}",exception="{why}"'
    return Job(f'job="{name}"', every, takes, info=info, **more)  # type: ignore[arg-type]


def airflow(dag: str, task: str, takes: float, **more: object) -> Job:
    labels = f'job="airflow",dag_id="{dag}"' + (f',task_id="{task}"' if task else "")
    page = f"https://airflow.example/dags/{dag}/runs/scheduled__2026/tasks/{task}"
    info = f'host="airflow-worker-2",exception="{more.pop("why", "KeyError")}",url="{page}"'
    return Job(labels, 2 * HOUR, takes, info=info, **more)  # type: ignore[arg-type]


def celery(task: str, every: float, takes: float, **more: object) -> Job:
    info = f'host="web3",exception="{more.pop("why", "ConnectionError")}"'
    return Job(f'job="celery",task="{task}"', every, takes, info=info, **more)  # type: ignore[arg-type]


def _since(seconds: float) -> Callable[[int, float], bool]:
    """All runs of so long ago have failed."""
    return lambda _number, ago: ago > seconds


JOBS = (
    command("nightly-backup", DAY, 1900, "db1", why="exit 3", succeeds=_since(2.5 * DAY)),
    command("sync-orders", 600, 45, "shop1", why="exit 1", succeeds=lambda n, _: n % 2 == 0),
    command("import-feed", HOUR, 500, "feed1", mute=6 * HOUR, stopped=5 * HOUR),
    command("thumbnails", 600, 90, "media2", mute=3 * HOUR),
    command("cleanup", DAY, 60, stopped=1.9 * DAY),
    command("invoice-check", 6 * HOUR, 30, "fin1", why="timed out", succeeds=lambda *_: False),
    command("rsync-media", 6 * HOUR, 2400, more={_TIME.format("vanished"): 4 * HOUR}),
    command("price-list", HOUR, 20, more={_TIME.format("deadline_missed"): 600.0}),
    command("old-report", HOUR, 20, stopped=5 * HOUR, more={"paused": -DAY}),
    *(command(name, HOUR, 40) for name in ("certificates", "reports", "log-rotate", "mail-queue")),
    *(command(name, DAY, 4000, "db2") for name in ("vacuum", "geo-update", "dump-analytics")),
    airflow("shop", "", 900, why="", succeeds=_since(3 * HOUR)),
    airflow("shop", "charge", 300, succeeds=_since(3 * HOUR)),
    *(airflow("shop", task, 250) for task in ("extract", "transform", "notify")),
    *(airflow("finance", task, 700) for task in ("", "ledger", "fx_rates", "close", "publish")),
    *(airflow("ml", task, 5200, mute=1.4 * HOUR) for task in ("", "train")),
    airflow("ml", "evaluate", 100),
    celery("shop.mail", 300, 2, why="SMTPServerDisconnected", succeeds=_since(0.7 * HOUR)),
    celery("shop.index", 300, 12, succeeds=lambda n, _: n % 9 != 0),
    *(celery(f"shop.{name}", 300, 3) for name in ("resize", "refund", "stock", "export", "audit")),
    celery("reports.weekly", HOUR, 80, stopped=4 * HOUR),
)


def _samples(job: Job, times: list[float], now: float) -> Iterator[tuple[float, str, float]]:
    """``(time, series, value)`` for each of ``times``."""
    values: dict[str, float] = {"batch_job_expected_interval_seconds": job.every}
    for name, ago in job.more.items():
        key = "batch_job_paused_until_timestamp_seconds" if name == "paused" else name
        values[key] = now - ago
    offset = zlib.crc32(job.labels.encode()) % 97 / 97 * min(job.every, HOUR)
    begins = now - 7 * DAY - offset
    events: list[tuple[float, dict[str, float]]] = []
    number = 0
    while (start := begins + number * job.every) < now and now - start > job.stopped:
        ago, number = now - start, number + 1
        events.append((start, {_TIME.format("start"): start}))
        end = start + job.takes
        if ago > job.mute and end < now:
            ok = job.succeeds(number, ago)
            kind = "success" if ok else "failure"
            events.append(
                (
                    end,
                    {
                        _TIME.format("completion"): end,
                        _TIME.format(kind): end,
                        "batch_job_last_duration_seconds": job.takes * (0.9 + number % 5 / 20),
                        "batch_job_last_run_success": float(ok),
                    },
                )
            )
    events.sort(key=lambda event: event[0])
    pushed, at = 0.0, 0
    for time in times:
        while at < len(events) and events[at][0] <= time:
            pushed = events[at][0]
            values |= events[at][1]
            at += 1
        if not pushed:
            continue
        for name, value in values.items():
            yield time, f"{name}{{{job.labels}}}", value
        yield time, f"push_time_seconds{{{job.labels}}}", pushed
        yield time, f"push_failure_time_seconds{{{job.labels}}}", 0.0
        success = values.get("batch_job_last_run_success")
        # A scrape ends a series that is gone at once; blocks can't, so there is one sample.
        if success is not None and time == now:
            info = job.info if not success else job.info.partition(",")[0]
            yield time, f"batch_job_last_run_info{{{job.labels},{info}}}", 1.0


def _servers(times: list[float], now: float, started: float) -> Iterator[tuple[float, str, float]]:
    """The gateway itself, and three Celery workers, of which one is silent."""
    for time in times:
        yield time, 'up{job="pushgateway",instance="pushgateway:9091"}', 1.0
        yield time, 'process_start_time_seconds{job="pushgateway"}', started
        requests = 'pushgateway_http_requests_total{handler="push",method="post",code='
        yield time, f'{requests}"200"}}', (time - now + 8 * DAY) * 0.4
        yield time, f'{requests}"400"}}', (time - now + 8 * DAY) * 0.002
        for part, value in (("sum", 0.0012), ("count", 0.4)):
            name = (
                f'pushgateway_http_push_duration_seconds_{part}{{job="pushgateway",method="post"}}'
            )
            yield time, name, (time - now + 8 * DAY) * value
        for node in ("w1@web1", "w2@web2", "w3@web3"):
            labels = f'{{job="celery",instance="{node}"}}'
            is_gone = node.startswith("w3")
            yield time, f"celery_worker_up{labels}", 1.0
            yield time, f"celery_worker_crashed{labels}", 0.0
            yield time, f"celery_worker_concurrency{labels}", 8.0
            yield time, f"celery_worker_tasks_active{labels}", 3 + time // 240 % 4
            yield time, f"push_time_seconds{labels}", min(time, now - 900) if is_gone else time
            for task, failing in (("shop.mail", 0.3), ("shop.index", 0.11), ("shop.stock", 0.0)):
                for state, share in (("success", 1 - failing), ("failure", failing)):
                    name = f'job="celery",instance="{node}",task="{task}",queue="q"'
                    done = (time - now + 8 * DAY) * 0.05 * share
                    yield time, f'celery_task_finished_total{{{name},state="{state}"}}', done


def _alerts(times: list[float], now: float) -> Iterator[tuple[float, str, float]]:
    for name, job, since in (
        ("BatchJobFailed", 'job="nightly-backup"', 2.5 * DAY),
        ("BatchJobFailed", 'job="invoice-check"', 7 * DAY),
        ("BatchJobFailed", 'job="airflow",dag_id="shop"', 3 * HOUR),
        ("BatchJobFailed", 'job="celery",task="shop.mail"', 0.7 * HOUR),
        ("BatchJobNeverSucceeded", 'job="invoice-check"', 6 * DAY),
        ("BatchJobFailsOften", 'job="sync-orders"', 6 * DAY),
        ("BatchJobStuckRunning", 'job="import-feed"', 4 * HOUR),
        ("BatchJobEndsMissing", 'job="thumbnails"', 2.6 * HOUR),
        ("BatchJobMissed", 'job="cleanup"', 0.4 * DAY),
        ("CeleryWorkerSilent", 'job="celery",instance="w3@web3"', 0.2 * HOUR),
    ):
        for time in times:
            if time > now - since:
                labels = f'alertname="{name}",alertstate="firing",{job}'
                yield time, f"ALERTS{{{labels}}}", 1.0


def write_blocks(folder: Path, now: float, *, wiped: bool = False) -> None:
    """Make ``folder`` the data of a Prometheus; ``wiped``: the gateway forgot all, WIPED_AGO."""
    now = now // 600 * 600
    times = [now - 7 * DAY + 600 * n for n in range(6 * 144)]
    times += [now - DAY + 240 * n for n in range(361)]
    started = now - WIPED_AGO if wiped else now - 9 * DAY
    by_block: dict[float, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    samples = [*_servers(times, now, started), *_alerts(times, now)]
    for job in JOBS:
        samples += _samples(job, times, now)
    for time, series, value in samples:
        name, _, labels = series.partition("{")
        is_back = "celery" in labels and "w3" not in labels  # it ran since
        if wiped and time > started and 'job="pushgateway"' not in labels and not is_back:
            continue
        by_block[time // _BLOCK][name].append(f"{series} {value!r} {time:.0f}")
    tool = debian.require("prometheus").with_name("promtool")
    folder.mkdir()
    file = folder.with_suffix(".openmetrics")
    for families in by_block.values():
        lines = [f"# TYPE {name} unknown\n" + "\n".join(rows) for name, rows in families.items()]
        file.write_text("\n".join([*lines, "# EOF\n"]))
        subprocess.run(
            [tool, "tsdb", "create-blocks-from", "openmetrics", file, folder],
            check=True,
            stdout=subprocess.DEVNULL,
        )
    file.unlink()
