"""A real Prometheus scrapes a real gateway as `pushgate scrape-config` says, and the examples run.

Then every query of the dashboard has an answer, and so has every metric that a rule names.
"""

import importlib.util
import json
import math
import os
import re
import subprocess
import sys
import time
from itertools import count
from pathlib import Path
from random import Random

import pytest

from pushgate import (
    Gateway,
    GroupingKey,
    JobRun,
    Outcome,
    Status,
    end_families,
    gauge,
    mapped_families,
    start_families,
)
from pushgate.jobs import health
from pushgate.prometheus import queries
from pushgate.prometheus.series_selector import Series
from pushgate_celery import _task_records as kinds
from pushgate_celery._worker_aggregator import create
from support import debian
from support.gateways import NEW, GatewayUnderTest
from support.prometheus import prometheus, promtool
from support.servers import pushgateway

pytestmark = pytest.mark.end_to_end
EXAMPLES = Path(__file__).parents[2] / "examples"
METRIC = re.compile(
    r"\b(?:batch_job|celery|push|pushgate|pushgateway)_[a-z0-9_]+\b(?!_)|\bup\b(?={)"
)
PATIENCE = 120.0  # seconds, for an example
RANDOM_GROUPS = 150
# What Grafana puts in place of its variables. The week's and the range's windows are shorter and
# finer than the dashboard's: the data is a minute old.
FILLED = {
    '"$job"': '".+"',
    "$__rate_interval": "10m",
    "[$__range:5m]": "[10m:1s]",
    "[7d:10m]": "[10m:1s]",
    **{f'"${name}"': '".*"' for name in ("dag_id", "task_id", "task", "instance")},
}


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    folder = tmp_path_factory.mktemp("environment")
    clean = {k: v for k, v in os.environ.items() if "PUSHGATE" not in k and "AIRFLOW" not in k}
    return {
        **clean,
        "HOME": str(folder),
        "PUSHGATE_STATE_DIR": str(folder / "state"),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
    }


@pytest.fixture(scope="module")
def printed(environment):
    """What a command of pushgate prints."""

    def printed(*arguments, **more):
        return subprocess.run(
            [sys.executable, "-m", "pushgate", *arguments],
            env=environment | more,
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    return printed


@pytest.fixture(scope="module")
def panels(printed):
    """The panels with queries, those of closed rows included."""
    top = json.loads(printed("dashboard"))["panels"]
    every = [panel for outer in top for panel in (outer, *outer.get("panels", ()))]
    return [panel for panel in every if "targets" in panel]


def filled(target, **values):
    query = target["expr"]
    for variable, value in (FILLED | {f'"${n}"': f'"{v}"' for n, v in values.items()}).items():
        query = query.replace(variable, value)
    return query


@pytest.fixture(scope="module")
def published_at():
    """When everything happened that the tests publish, in Unix seconds; or hours before."""
    return time.time()


@pytest.fixture(scope="module")
def server(tmp_path_factory, environment, printed, published_at):
    """Prometheus, and a gateway that holds all that pushgate publishes."""
    folder = tmp_path_factory.mktemp("prometheus")
    (folder / "rules.yml").write_text(printed("rules"))
    with pushgateway(debian.require("pushgateway-1.11")) as gateway:
        scrape = printed("scrape-config", "--gateway", gateway.url)
        with prometheus(folder, f"rule_files: [{folder / 'rules.yml'}]\n{scrape}") as server:
            _publish_all(Gateway(gateway.url, timeout=60), environment, server, published_at)
            server.gateway_url = gateway.url
            yield server


def _publish_all(gateway, environment, server, now):
    examples = ["command", "python", "celery"]
    if importlib.util.find_spec("airflow"):
        examples.append("airflow")
    running = {
        example: subprocess.Popen(
            ["bash", EXAMPLES / example / "run", gateway.url],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for example in examples
    }
    try:
        _publish_what_examples_do_not(gateway, environment, server, now)
        for example, process in running.items():
            output, _ = process.communicate(timeout=PATIENCE)
            assert process.returncode == 0, f"{example}\n{output}"
    finally:
        for process in running.values():
            process.kill()
            process.wait()


def _publish_what_examples_do_not(gateway, environment, server, now):
    """Runs that are late, hang, vanished, …, and a Celery worker in trouble."""

    def starts(run):
        gateway.pushadd(run.key, start_families(run))

    def ends(run, outcome):
        gateway.pushadd(run.key, end_families(run, outcome))

    failed = Outcome(Status.FAILURE, now, 1.0, exception="exit 3")
    ends(_run("never", now)._replace(host="db1"), failed)
    ends(_run("paused", now), failed)
    gateway.pushadd("paused", gauge("batch_job_paused_until_timestamp_seconds", "", now + 9e5))
    succeeded = Outcome(Status.SUCCESS, now - 7199, 1.0)
    ends(_run("late", now - 7200, expected_interval=60.0), succeeded)
    starts(_run("stuck", now - 2 * 86400))
    ends(_run("killed", now - 90_000), Outcome(Status.SUCCESS, now - 90_000, 1.0))
    starts(_run("killed", now, expected_interval=60.0))
    starts(_run("running", now, expires_at=now + 60)._replace(next_run_at=now + 900))
    ends(_run("skipped", None), Outcome(Status.SKIPPED, now))
    ends(_run("retried", now), Outcome(Status.RETRY, now, 1.0, try_number=1))
    task = _run("airflow", now, dag_id="d", task_id="t")
    ended = Outcome(Status.SUCCESS, now, 1.0, try_number=2, queue_wait=0.5)
    ends(task, ended)
    counts = {"success": 3, "failed": 1, "skipped": 0, "upstream_failed": 0}
    gateway.pushadd(task.key, mapped_families(counts, 0.5))
    missed = gauge("batch_job_last_deadline_missed_timestamp_seconds", "", now)
    gateway.pushadd("airflow", missed, {"dag_id": "d"})
    memory = ["run", "--job", "memory", "--", sys.executable, "-c", "b'x' * 50_000_000"]
    subprocess.run(
        [sys.executable, "-m", "pushgate", *memory],
        env={**environment, "PUSHGATE_GATEWAY": gateway.url},
        check=True,
    )
    raw = GatewayUnderTest(NEW, gateway.url)
    for job in ("refused", "never"):
        answer = raw.exchange("POST", f"/metrics/job/{job}", "with_a_timestamp 1 1000\n")
        assert answer.status == 400
    starts(_run("vanished", now, vanished_at=now))
    ends(_run("upstream", None), Outcome(Status.UPSTREAM_FAILED, now))
    for n in range(RANDOM_GROUPS):
        text = "".join(f"# TYPE {x} gauge\n{x} {v}\n" for x, v in _random_values(n, now))
        assert raw.exchange("PUT", f"/metrics/job/random/n/{n}", text).status == 200
    worker = _Worker(gateway, now)
    worker.feed(kinds.WORKER, 2, 3, now - 60, 4, False)
    worker.tasks()
    # Rates need a scrape before.
    server.until(lambda: server.query("pushgate_records_dropped_total"))
    worker.tasks()
    worker.feed(kinds.GONE, 1, True, False)
    worker.apply(worker.aggregator.dropped(3))
    gone = _Worker(gateway, now, node="gone@host")
    gone.feed(kinds.WORKER, 1, 0, now, 4, False)
    gone.apply(gone.aggregator.closed(now))


class _Worker:
    """What the pusher of a Celery worker does, at once."""

    def __init__(self, gateway, now, node="w1@host"):
        self.gateway = gateway
        self.now = now
        self.numbers = count(1)
        self.aggregator = create({"job": "celery", "node": node, "started_at": now - 100})

    def feed(self, *record):
        self.apply(self.aggregator.feed(list(record), self.now))

    def tasks(self):
        for state, exception in (("success", ""), ("failure", "E"), ("retry", "E")):
            stamp = [self.now - 0.5, self.now - 2]
            run = (1, next(self.numbers), "id", "shop.slow", "q", self.now, 0, True, stamp)
            self.feed(kinds.END, (*run, None, 0, None), state, exception, self.now + 1, 1.0)

    def apply(self, changes):
        for change in changes:
            if change.method == "DELETE":
                continue
            push = self.gateway.push if change.method == "PUT" else self.gateway.pushadd
            push(change.key, change.metrics)
            self.aggregator.delivery(change.key, None, self.now)


_RANDOM_TIMES = ("start", "completion", "success", "failure", "retry", "skipped", "upstream_failed")
_IMPOSSIBLE = ("NaN", "-Inf", "+Inf", -1.0, 1.7e12)  # pushgate refuses them; others push them


def _random_values(n, now):
    """A group's metrics, any of the vocabulary's, and their values, some of them equal."""
    random = Random(n)
    moments = [now - random.choice((60, 200, 5_000, 80_000, 90_000, 200_000)) for _ in range(3)]
    for name in _RANDOM_TIMES:
        if random.random() < 0.7:
            impossible = random.random() < 0.1
            value = random.choice(_IMPOSSIBLE if impossible else moments)
            yield f"batch_job_last_{name}_timestamp_seconds", value
    for name, values in (
        ("last_duration_seconds", (1.0, 2_000.0, 30_000.0, "NaN", "+Inf")),
        ("expected_interval_seconds", (30.0, 3_600.0, 86_400.0, "NaN")),
        ("last_run_success", (0.0, 1.0)),
    ):
        if random.random() < 0.7:
            yield f"batch_job_{name}", random.choice(values)
    for name in ("next_run", "paused_until"):
        if random.random() < 0.4:
            value = now + random.choice((-5_000, -900, -100, 3_000))
            value = random.choice(_IMPOSSIBLE) if random.random() < 0.1 else value
            yield f"batch_job_{name}_timestamp_seconds", value


def _run(job, started_at, *, expected_interval=None, vanished_at=None, expires_at=None, **labels):
    key = GroupingKey(job, labels)
    return JobRun(key, started_at, expected_interval, vanished_at, expires_at)


def test_promtool_accepts_what_is_printed(tmp_path, printed):
    (tmp_path / "rules.yml").write_text(printed("rules", "--selector", 'job=~"a|b",x!="\\\\"'))
    assert promtool("check", "rules", tmp_path / "rules.yml")[0] == 0
    more = {"PUSHGATE_TOKEN": "secret", "PUSHGATE_INSECURE_SKIP_VERIFY": "1"}
    files = ("--certfile", "/c.pem", "--cafile", "/it's.pem", "--header", "X-Scope: a")
    for gateway, others, environment in (
        ("http://gateway:9091", (), {}),
        ("https://user:secret@[::1]/pre/fix", (), {}),
        ("https://gateway", ("--scrape-job", "it's", *files), more),
    ):
        text = printed("scrape-config", *others, PUSHGATE_GATEWAY=gateway, **environment)
        assert "secret" not in text
        (tmp_path / "prometheus.yml").write_text(f"rule_files: [rules.yml]\n{text}")
        code, output = promtool("check", "config", "--syntax-only", tmp_path / "prometheus.yml")
        assert code == 0, f"{text}\n{output}"


def test_two_gateways_that_hold_the_same_group_are_told_apart(tmp_path, printed):
    binary = debian.require("pushgateway-1.11")
    with pushgateway(binary) as one, pushgateway(binary) as other:
        for gateway, value in ((one, 1), (other, 2)):
            Gateway(gateway.url).push("backup", gauge("rows", "", value))
        scrape = printed("scrape-config", "--gateway", one.url, "--gateway", other.url)
        with prometheus(tmp_path, scrape) as server:
            server.until(lambda: len(server.query("rows")) == 2)
            found = {s["metric"]["gateway"]: s["value"][1] for s in server.query("rows")}
    assert found == {f"127.0.0.1:{one.port}": "1", f"127.0.0.1:{other.port}": "2"}


def wait_for_all(server, wanted, holds, what):
    """Wait until ``holds(name, answer)`` of each query, perhaps after a later scrape."""
    left = dict(wanted)

    def none_is_left():
        for name, query in list(left.items()):
            if holds(name, server.query(query)):
                del left[name]
        return not left

    try:
        server.until(none_is_left)
    except AssertionError:
        pytest.fail(f"{what}: {json.dumps(left, indent=1)}")


def test_every_query_of_the_dashboard_has_an_answer(server, panels):
    wanted = {
        f"{panel['title']} {target['refId']}": filled(target)
        for panel in panels
        for target in panel["targets"]
    }

    def is_answered(_, found):
        return any(not math.isnan(float(series["value"][1])) for series in found)

    wait_for_all(server, wanted, is_answered, "Prometheus has nothing for")


def test_the_columns_of_a_table_have_the_same_rows(server, panels):
    """Grafana joins them by the labels that all of them have."""
    jobs = "airflow|celery|late|loader|never|nightly-backup|refused|skipped|stuck"
    added = {"Job", "Why", "Host", "Log", "What"}  # of one column alone

    def rows_of(panel):
        """The rows of each column, all at one time."""
        now = time.time()
        return [
            sorted(
                sorted(pair for pair in found["metric"].items() if pair[0] not in added)
                for found in server.query(filled(target, job=jobs), at=now)
            )
            for target in panel["targets"]
        ]

    def have_the_same_rows(panel):
        columns = rows_of(panel)
        return columns[0] and all(rows == columns[0] for rows in columns)

    for panel in panels:
        if panel["type"] == "table":
            server.until(lambda panel=panel: have_the_same_rows(panel))  # after the next scrape
            assert "__name__" not in {name for row in rows_of(panel)[0] for name, _ in row}


def test_a_table_says_of_a_job_its_state_its_name_and_where_to_look(server, panels):
    (table,) = (panel for panel in panels if panel["title"].startswith("Jobs, the worst"))
    targets = {target["refId"]: target for target in table["targets"]}
    shown = {
        found["metric"]["Job"]: found["metric"]
        for found in server.query(filled(targets["G"], job="airflow|never|stuck"))
    }
    assert {"airflow d t", "never", "stuck"} <= shown.keys()
    assert shown["never"]["Why"] == "exit 3"
    assert shown["never"]["Host"] == "db1"
    states = {
        found["metric"]["job"]: float(found["value"][1])
        for found in server.query(filled(targets["A"], job="never|stuck|killed|late|paused"))
    }
    assert states == {"never": 0, "stuck": 1, "killed": 2, "late": 3, "paused": 16}


def test_every_metric_that_a_rule_or_a_panel_names_is_there(server, printed, panels):
    expressions = [target["expr"] for panel in panels for target in panel["targets"]]
    names = set(METRIC.findall(printed("rules") + "".join(expressions))) - {"push_time"}
    assert len(names) > 40

    wait_for_all(server, {n: n for n in names}, lambda _, found: found, "nobody publishes")


def test_the_numbers_on_top_count_what_is_wrong(server, panels):
    stats = {
        panel["title"]: filled(panel["targets"][0]) for panel in panels if panel["type"] == "stat"
    }
    nothing = {"Stale groups", "Lost"}  # of a gateway that is a minute old

    def is_right(title, found):
        return found and (float(found[0]["value"][1]) == 0) == (title in nothing)

    wait_for_all(server, stats, is_right, "wrong or without an answer")


def test_alerts_name_jobs_by_their_own_labels(server):
    wanted = {
        ("BatchJobMissed", "late"),
        ("BatchJobFailed", "nightly-backup"),
        ("BatchJobNeverSucceeded", "never"),
        ("BatchJobStuckRunning", "stuck"),
        ("BatchJobEndsMissing", "killed"),
        ("BatchJobVanished", "vanished"),
        ("BatchJobDeadlineMissed", "airflow"),
        ("PushFailing", "refused"),
        ("CeleryWorkerCrashed", "celery"),
        ("CeleryOutcomesUncounted", "celery"),
    }

    def found():
        return {(a["labels"]["alertname"], a["labels"].get("job")) for a in server.alerts()}

    server.until(lambda: wanted <= found())
    assert ("BatchJobFailed", "backup") not in found()
    assert not server.query('{exported_job=~".+"}')


def test_the_rules_judge_as_the_command_line_does(server):
    now = time.time()
    series = Series('job="random"', "10m")
    groups = {
        int(group.labels["n"]): health.numbers_of(group)
        for group in Gateway(server.gateway_url).groups()
        if group.labels["job"] == "random"
    }
    assert len(groups) == RANDOM_GROUPS

    verdicts = {
        queries.overdue: lambda numbers: health.is_overdue(numbers, now),
        queries.paused: lambda numbers: health.paused_until(numbers, now) is not None,
        queries.running: health.is_running,
        queries.retrying: health.is_retrying,
        queries.skipped: health.is_skipped,
        queries.upstream_failed: health.is_upstream_failed,
        queries.ends_missing: health.ends_missing,
        queries.stuck: lambda numbers: health.is_stuck(numbers, now),
        queries.never_succeeded: health.never_succeeded,
    }
    for query, judge in verdicts.items():
        found = {int(s["metric"]["n"]) for s in server.query(query(series), at=now)}
        expected = {n for n, group in groups.items() if judge(group)}
        assert found == expected, query.__name__
        assert 0 < len(found) < RANDOM_GROUPS, query.__name__
