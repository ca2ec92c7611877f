"""The alert rules, minute by minute, as promtool runs them: when each fires, and when it does not.

A story is made of series, each a list of steps (from which minute on, value), and of moments at
which exactly the given alerts fire, no other. What a verdict means has its tests in test_status.py,
and test_prometheus.py compares the rules with it.
"""

import json

import pytest

from support.prometheus import promtool

pytestmark = pytest.mark.end_to_end
HOUR, DAY = 60, 1440  # minutes
RUNS_TOO_LONG = "CeleryTaskRunsTooLong"
GATEWAY_START = 'process_start_time_seconds{job="pushgateway"}'
STALE = "stale"  # what a scrape that fails makes of a series, or one that no longer finds it


def group(labels, **families):
    """A group's series. `start=[(1, 60)]`: from minute 1 on, the last start was at second 60."""
    names = {
        "interval": "batch_job_expected_interval_seconds",
        "ok": "batch_job_last_run_success",
        "duration": "batch_job_last_duration_seconds",
        "expiry": "batch_job_group_expiry_timestamp_seconds",
        "paused_until": "batch_job_paused_until_timestamp_seconds",
        "push": "push_time_seconds",
        "push_failure": "push_failure_time_seconds",
    }
    return {
        f"{names.get(name, f'batch_job_last_{name}_timestamp_seconds')}{{{labels}}}": steps
        for name, steps in families.items()
    }


def runs(labels, *runs, interval=None, **families):
    """A group of a job whose runs began and ended at these minutes, and failed or not."""
    steps = {"start": [], "completion": [], "duration": [], "ok": [], "success": [], "failure": []}
    for began, ended, succeeded in runs:
        steps["start"].append((began, began * 60))
        if ended is None:
            continue
        steps["completion"].append((ended, ended * 60))
        steps["duration"].append((ended, (ended - began) * 60))
        steps["ok"].append((ended, int(succeeded)))
        steps["success" if succeeded else "failure"].append((ended, ended * 60))
    if interval is not None:
        steps["interval"] = [(runs[0][0], interval)]
    return group(labels, **{name: s for name, s in steps.items() if s}, **families)


def celery(name, labels, steps):
    return {f"{name}{{{labels}}}": steps}


BACKUP = 'job="backup"'
WORKER = 'job="celery",instance="w1@host"'
TASK = 'job="celery",instance="w1@host",task="shop.charge",queue="q"'
OK, BAD = True, False

STORIES = {
    "an hourly job that stops, and comes back": (
        runs(BACKUP, (1, 2, OK), (110, 111, OK), interval=3600),
        {60: [], 96: [], 97: ["BatchJobMissed"], 109: ["BatchJobMissed"], 110: []},
    ),
    "a job that is paused alarms nobody, until the pause is over": (
        runs(BACKUP, (1, 2, BAD), interval=60, paused_until=[(5, 120 * 60)]),
        {
            4: ["BatchJobFailed"],
            60: [],
            119: [],
            180: ["BatchJobFailed", "BatchJobMissed", "BatchJobNeverSucceeded"],
        },
    ),
    "a DAG that is paused is not expected, and its failure still alarms": (
        runs('job="airflow",dag_id="shop"', (1, 2, OK), (3, 4, BAD))
        | group('job="airflow",dag_id="shop"', interval=[(1, 60), (5, "NaN")]),
        {60: ["BatchJobFailed"]},
    ),
    "a failure lasts until the next success, not until the next start": (
        runs(BACKUP, (1, 2, OK), (9, 10, BAD), (30, 40, OK)),
        {11: [], 12: ["BatchJobFailed"], 35: ["BatchJobFailed"], 40: []},
    ),
    "one failure among many runs a minute": (
        runs(BACKUP, (1, 2, OK), (9, 10, BAD), (11, 11, OK), (12, 12, BAD), (13, 13, OK)),
        {10: [], 11: [], 12: [], 13: [], 14: []},
    ),
    "a job that never succeeds, until it does": (
        runs(BACKUP, (1, 10, BAD), (20, 25, BAD), (80, 90, OK)),
        {
            12: ["BatchJobFailed"],
            69: ["BatchJobFailed"],
            70: ["BatchJobFailed", "BatchJobNeverSucceeded"],
            89: ["BatchJobFailed", "BatchJobNeverSucceeded"],
            90: [],
        },
    ),
    "a job that fails every second run": (
        runs(BACKUP, *((m, m, m % 2 == 0) for m in range(1, 61)), (61, 61, OK)),
        {8: [], 12: ["BatchJobFailsOften"], 60: ["BatchJobFailsOften"]},
    ),
    "a job that fails once in ten runs": (
        runs(BACKUP, *((m, m, m % 10 > 0) for m in range(1, 91))),
        {30: [], 60: [], 90: []},
    ),
    "a job that runs and fails every half hour": (
        runs(BACKUP, *((m, m, False) for m in range(1, 91, 30))),
        {60: ["BatchJobFailed"], 90: ["BatchJobFailed", "BatchJobNeverSucceeded"]},
    ),
    "a clock that is ahead, until it is set": (
        group(
            BACKUP,
            start=[(10, 600), (20, 1320), (30, 1800)],
            completion=[(10, 630), (20, 1325), (30, 1810)],
            push=[(10, 600), (20, 1200), (30, 1800)],
        ),
        {10: [], 20: ["BatchJobClockAhead"], 30: []},
    ),
    "runs that are killed one after the other": (
        runs(
            BACKUP,
            (1, 2, OK),
            *((m, None, OK) for m in range(11, 62, 10)),
            (71, 72, OK),
            interval=600,
        ),
        {20: [], 35: [], 36: ["BatchJobEndsMissing"], 71: ["BatchJobEndsMissing"], 72: []},
    ),
    "runs that are killed before any ended": (
        runs(BACKUP, *((m, None, OK) for m in range(1, 200, 10)), interval=600),
        {120: [], 135: [], 136: ["BatchJobEndsMissing"], 199: ["BatchJobEndsMissing"]},
    ),
    "a run that hangs": (
        runs(BACKUP, (1, 11, OK), (60, 130, OK)),
        {60: [], 125: [], 126: ["BatchJobStuckRunning"], 129: ["BatchJobStuckRunning"], 130: []},
    ),
    "a deadline that is missed by a little": (
        group(BACKUP, deadline_missed=[(10, 600)], completion=[(2, 120), (20, 1200)]),
        {9: [], 10: ["BatchJobDeadlineMissed"], 69: ["BatchJobDeadlineMissed"], 70: []},
    ),
    "a deadline that is missed by much": (
        group(BACKUP, deadline_missed=[(10, 600)], completion=[(2, 120), (90, 5400)]),
        {89: ["BatchJobDeadlineMissed"], 90: []},
    ),
    "alerts outlive a scrape that fails": (
        {
            **runs(BACKUP, (1, 2, OK), (9, 10, BAD), gaps=[(15, 18)]),
            'up{job="pushgateway"}': [(0, 1), (15, 0), (18, 1)],
        },
        {14: ["BatchJobFailed"], 16: ["BatchJobFailed"], 18: ["BatchJobFailed"]},
    ),
    "a gateway that is gone": (
        {
            **runs(BACKUP, (1, 2, OK), (9, 10, BAD), gaps=[(15, 60)]),
            'up{job="pushgateway"}': [(0, 1), (15, 0)],
        },
        {
            19: ["BatchJobFailed"],
            20: ["BatchJobFailed", "PushgatewayDown"],
            26: ["PushgatewayDown"],
        },
    ),
    "a gateway that is not scraped": (
        {'up{job="pushgateway"}': [(0, 1), (10, STALE)]},
        {14: [], 15: ["PushgatewayDown"]},
    ),
    "a gateway that has forgotten its groups, some of which come back": (
        {
            **group('job="daily"', push=[(1, 60), (120, STALE)]),
            **group('job="weekly"', push=[(1, 60), (120, STALE)]),
            **group('job="often"', push=[(1, 60), (120, STALE), (121, 7260)]),
            GATEWAY_START: [(0, 0), (120, 7200)],
        },
        {
            119: [],
            122: ["GroupsDisappeared"],
            179: ["GroupsDisappeared"],
            180: [],
        },
    ),
    "a gateway that forgot its groups in an outage of hours": (
        {
            **group('job="daily"', push=[(1, 60), (1300, STALE)]),
            **group('job="new"', push=[(1450, 87000)]),
            GATEWAY_START: [(0, 0), (1300, STALE), (1440, 86400)],
        },
        {1436: [], 1443: ["GroupsDisappeared"], 1499: ["GroupsDisappeared"], 1501: []},
    ),
    "one gateway of two has forgotten its groups": (
        {
            **group('job="a",gateway="one"', push=[(1, 60), (120, STALE)]),
            **group('job="a",gateway="two"', push=[(1, 60)]),
            'process_start_time_seconds{job="pushgateway",gateway="one"}': [(0, 0), (120, 7200)],
            'process_start_time_seconds{job="pushgateway",gateway="two"}': [(0, 0), (120, 7200)],
        },
        {119: [], 125: ["GroupsDisappeared"]},
    ),
    "a gateway that has kept its groups, and one was deleted before": (
        {
            **group(BACKUP, push=[(1, 60)]),
            **group('job="old"', push=[(1, 60), (30, STALE)]),
            GATEWAY_START: [(0, 0), (120, 7200)],
        },
        {125: []},
    ),
    "groups that are deleted while the gateway runs": (
        {
            **group(BACKUP, push=[(1, 60), (120, STALE)]),
            **group('job="other"', push=[(1, 60)]),
            GATEWAY_START: [(0, 0)],
        },
        {125: []},
    ),
    "pushes that are refused": (
        group(BACKUP, push=[(1, 60), (20, 1200)], push_failure=[(1, 0), (10, 600)]),
        {14: [], 15: ["PushFailing"], 19: ["PushFailing"], 20: []},
    ),
    "a group whose first push was refused": (
        group(BACKUP, push=[(10, 0)], push_failure=[(10, 600)]),
        {14: [], 15: ["PushFailing"]},
    ),
    "a job that is paused, whose pushes are refused": (
        group(BACKUP, push=[(1, 60)], push_failure=[(10, 600)], paused_until=[(1, 1800)])
        | group('job="backup",origin="job"', push=[(1, 60)], push_failure=[(10, 600)]),
        {20: [], 34: [], 35: ["PushFailing", "PushFailing"]},
    ),
    "a Celery worker that crashes, and starts again": (
        celery("celery_worker_crashed", WORKER, [(1, 0), (10, 1), (20, 0)]),
        {9: [], 10: ["CeleryWorkerCrashed"], 20: []},
    ),
    "a Celery worker whose host is gone": (
        {
            **celery("celery_worker_up", WORKER, [(1, 1)]),
            **celery("push_time_seconds", WORKER, [(m, m * 60) for m in range(1, 10)]),
            **celery("push_time_seconds", f'{WORKER},origin="job"', [(1, 60)]),
        },
        {8: [], 13: [], 14: ["CeleryWorkerSilent"], 70: ["CeleryWorkerSilent"], 71: []},
    ),
    "a Celery worker that stops, and one that deletes its group": (
        {
            **celery("celery_worker_up", WORKER, [(1, 1), (9, 0)]),
            **celery("push_time_seconds", WORKER, [(m, m * 60) for m in range(1, 10)]),
            **celery("celery_worker_up", 'job="celery",instance="w2"', [(1, 1), (9, STALE)]),
            **celery("push_time_seconds", 'job="celery",instance="w2"', [(8, 480), (9, STALE)]),
        },
        {12: [], 15: [], 18: []},
    ),
    "a Celery worker that is gone with a task that did not end": (
        {
            **celery("celery_worker_up", WORKER, [(1, 1)]),
            **celery("push_time_seconds", WORKER, [(m, m * 60) for m in range(1, 100)]),
            **celery("celery_worker_oldest_task_start_timestamp_seconds", WORKER, [(1, 60)]),
        },
        {99: [RUNS_TOO_LONG], 110: [RUNS_TOO_LONG, "CeleryWorkerSilent"], 170: []},
    ),
    "two Celery workers with one name": (
        celery("celery_worker_start_timestamp_seconds", WORKER, [(m, m) for m in range(1, 60)]),
        {4: [], 6: ["CeleryWorkerRestarts"], 59: ["CeleryWorkerRestarts"]},
    ),
    "a Celery worker that is started again": (
        celery("celery_worker_start_timestamp_seconds", WORKER, [(1, 1), (9, 9), (12, 12)]),
        {9: [], 15: []},
    ),
    "a Celery task that does not end, and one that takes 59 minutes": (
        {
            **celery("celery_worker_up", WORKER, [(1, 1)]),
            **celery("push_time_seconds", WORKER, [(m, m * 60) for m in range(1, 70)]),
            **celery(
                "push_time_seconds",
                'job="celery",instance="w2"',
                [*((m, m * 60) for m in range(1, 60)), (60, STALE)],
            ),
            **celery(
                OLDEST := "celery_worker_oldest_task_start_timestamp_seconds", WORKER, [(1, 60)]
            ),
            **celery("celery_worker_up", 'job="celery",instance="w2"', [(1, 1)]),
            **celery(OLDEST, 'job="celery",instance="w2"', [(1, 60), (60, STALE)]),
        },
        {66: [], 67: [RUNS_TOO_LONG]},
    ),
    "Celery tasks that fail often": (
        {
            **celery("celery_task_finished_total", f'{TASK},state="success"', "0+8x60"),
            **celery("celery_task_finished_total", f'{TASK},state="failure"', "0+2x60"),
            **celery("celery_task_finished_total", 'task="x",state="success"', "0+95x60"),
            **celery("celery_task_finished_total", 'task="x",state="failure"', "0+5x60"),
        },
        {5: [], 7: ["CeleryTaskFailing"], 50: ["CeleryTaskFailing"]},
    ),
    "a rare Celery task that fails, and one that is retried, once": (
        {
            **celery("celery_task_finished_total", f'{TASK},state="success"', "0x60"),
            **celery("celery_task_finished_total", f'{TASK},state="failure"', "0x9 1x50"),
            **celery("celery_task_started_total", TASK, "0x9 1x50"),
            **celery("celery_task_retried_total", TASK, "0x9 1x50"),
        },
        {11: [], 16: [], 40: []},
    ),
    "Celery tasks that are retried often": (
        {
            **celery("celery_task_started_total", TASK, "0+8x60"),
            **celery("celery_task_retried_total", TASK, "0+2x60"),
        },
        {15: [], 17: ["CeleryTaskRetriesTooOften"]},
    ),
    "a Celery queue that is too long": (
        {
            **celery("celery_task_queue_wait_seconds_bucket", f'{TASK},le="300"', "0+5x60"),
            **celery("celery_task_queue_wait_seconds_bucket", f'{TASK},le="900"', "0+10x60"),
            **celery("celery_task_queue_wait_seconds_bucket", f'{TASK},le="+Inf"', "0+10x60"),
        },
        {15: [], 17: ["CeleryQueueSlow"]},
    ),
    "records that a Celery worker could not hand over": (
        celery("pushgate_records_dropped_total", WORKER, [(1, 0), (10, 5)]),
        {9: [], 10: ["CeleryOutcomesUncounted"], 26: []},
    ),
}

LONG_STORIES = {  # hour by hour; what has a `for` fires an hour later
    "a job whose success the gateway has forgotten": (
        {
            name: [*(s for s in steps if s[0] < 80 * HOUR), (80 * HOUR, STALE)]
            if "success_timestamp" in name
            else steps
            for name, steps in runs(
                BACKUP, (HOUR, 2 * HOUR, OK), (81 * HOUR, 82 * HOUR, BAD)
            ).items()
        },
        {h * HOUR: ["BatchJobFailed"] for h in (83, 84, 100, 150)},
    ),
    "runs without a schedule that are killed before any ended": (
        runs(BACKUP, *((h * HOUR, None, OK) for h in range(1, 40, 6))),
        {24 * HOUR: [], 25 * HOUR: [], 26 * HOUR: ["BatchJobEndsMissing"]},
    ),
    "a run that vanished": (
        group(BACKUP, vanished=[(10 * HOUR, 36000)]),
        {9 * HOUR: [], 10 * HOUR: ["BatchJobVanished"], DAY: ["BatchJobVanished"], 34 * HOUR: []},
    ),
    "groups that nobody pushes to": (
        {
            **group(BACKUP, push=[(HOUR, 3600)]),
            **group('job="monthly"', push=[(HOUR, 3600)], interval=[(HOUR, 30 * 86400)]),
            **group('job="run",run_id="1"', push=[(HOUR, 3600)], expiry=[(HOUR, 9 * 86400)]),
            **group('job="backup",origin="job"', push=[(HOUR, 3600)]),
            **group('job="moved"', push=[(HOUR, 3600)], paused_until=[(HOUR, 2 * 86400)]),
        },
        {
            7 * DAY: [],
            7 * DAY + HOUR: [],
            7 * DAY + 2 * HOUR: ["GroupStale"],
            9 * DAY: ["GroupStale", "GroupStale"],
            9 * DAY + HOUR: ["GroupStale", "GroupStale", "GroupStale"],
        },
    ),
    "a group to which all pushes were refused": (
        group(BACKUP, push=[(HOUR, 0)], push_failure=[(HOUR, 3600), (2 * DAY, 2 * 86400)]),
        {8 * DAY: ["PushFailing"], 9 * DAY + HOUR: ["GroupStale", "PushFailing"]},
    ),
    "a group to which pushes are refused for long": (
        group(
            BACKUP,
            push=[(HOUR, 3600)],
            push_failure=[(m, m * 60) for m in range(DAY, 9 * DAY, DAY)],
        ),
        {9 * DAY: ["PushFailing"]},
    ),
    "a group that is deleted": (
        group(BACKUP, push=[(HOUR, 3600), (7 * DAY + 5 * HOUR, STALE)]),
        {7 * DAY + 4 * HOUR: ["GroupStale"], 7 * DAY + 6 * HOUR: []},
    ),
}


def _values(steps, length, minutes):
    """A series as promtool writes it, a value for so many minutes each."""
    if isinstance(steps, str):
        return steps
    steps = [(at // minutes, value) for at, value in steps if at <= length]
    length //= minutes
    found = [f"_x{steps[0][0]}"] if steps[0][0] else []
    for (begin, value), (end, _) in zip(steps, [*steps[1:], (length + 1, None)], strict=True):
        rest = end - begin - 1
        if value == STALE:
            found += [STALE, *([f"_x{rest}"] if rest else [])]
        else:
            found.append(f"{value}+0x{rest}")
    return " ".join(found)


def _with_gaps(series):
    """The group's series with `gaps` cut out of each: [(from, to)] in minutes."""
    (gaps,) = [s for name, s in series.items() if "_gaps_" in name] or [[]]
    cut = {}
    for name, steps in series.items():
        if "_gaps_" in name:
            continue
        cut[name] = steps
        for begin, end in gaps if isinstance(steps, list) and not name.startswith("up") else ():
            before = [s for s in steps if s[0] < begin]
            after = [s for s in steps if s[0] >= end]
            cut[name] = [*before, (begin, STALE), (end, before[-1][1]), *after]
    return cut


def promtool_test(name, story, minutes=1):
    series, moments = story
    length = max(moments)
    series = {'up{job="pushgateway"}': [(0, 1)], **_with_gaps(series)}
    return {
        "name": name,
        "interval": f"{minutes}m",
        "input_series": [
            {"series": name, "values": _values(steps, length, minutes)}
            for name, steps in series.items()
        ],
        "promql_expr_test": [
            {
                "expr": 'count by (alertname) (ALERTS{alertstate="firing"})',
                "eval_time": f"{minute}m",
                "exp_samples": [
                    {"labels": f'{{alertname="{alert}"}}', "value": firing.count(alert)}
                    for alert in sorted(set(firing))
                ],
            }
            for minute, firing in moments.items()
        ],
    }


@pytest.fixture
def check(tmp_path, cli):
    """Runs promtool's tests on the rules with these options."""

    def check(tests, *options, interval="1m"):
        code, rules, errors = cli("rules", "--label", "team=it's", *options)
        assert (code, errors) == (0, [])
        (tmp_path / "rules.yml").write_text(rules)
        file = tmp_path / "test.yml"  # JSON is YAML
        file.write_text(
            json.dumps(
                {"rule_files": ["rules.yml"], "evaluation_interval": interval, "tests": tests},
                ensure_ascii=False,
            )
        )
        code, output = promtool("check", "rules", tmp_path / "rules.yml")
        assert code == 0, output
        code, output = promtool("test", "rules", file)
        assert code == 0, output

    return check


def test_each_alert_fires_when_it_should_and_at_no_other_time(check):
    check([promtool_test(name, story) for name, story in STORIES.items()])
    long = [promtool_test(name, story, HOUR) for name, story in LONG_STORIES.items()]
    check(long, interval="1h")


def test_every_alert_has_a_story(cli):
    stories = [*STORIES.values(), *LONG_STORIES.values()]
    fired = {alert for _, moments in stories for firing in moments.values() for alert in firing}
    lines = cli("rules")[1].splitlines()
    assert fired == {line.split()[-1] for line in lines if "- alert:" in line}


def story_of_an_alert(name, series, alertname, at, *alerts):
    """At that minute exactly these alerts of a name are there: (labels, annotations) each."""
    story = promtool_test(name, (series, {at: []}))
    del story["promql_expr_test"]
    expected = [{"exp_labels": labels, "exp_annotations": texts} for labels, texts in alerts]
    story["alert_rule_test"] = [
        {"alertname": alertname, "eval_time": f"{at}m", "exp_alerts": expected}
    ]
    return story


def test_an_alert_names_the_job_by_its_labels_and_says_where_to_look(check):
    labels = 'job="airflow",dag_id="shop",task_id="charge"'
    others = ('job="airflow",dag_id="shop"', f'{labels},map_index="1"')
    series = runs(labels, (1, 2, OK), (9, 10, BAD))
    for number, of in enumerate((labels, *others)):
        info = f'{of},host="w{number}",run_id="r 7",exception="KeyError",url="https://a.example/7"'
        series[f"batch_job_last_run_info{{{info}}}"] = [(10, 1)]
    given = {"job": "airflow", "dag_id": "shop", "task_id": "charge"}
    texts = {
        "summary": "Batch job airflow dag_id=shop task_id=charge has failed.",
        "description": "Its last run failed 5m 0s ago. This ends with the next success."
        " Reason: KeyError. Host: w0. Run: r 7. Log: https://a.example/7",
    }
    alert = ({**given, "severity": "warning", "team": "it's"}, texts)
    links = {
        "runbook_url": "https://wiki.example/page#batchjobfailed",
        "dashboard_url": "https://grafana.example/d/pushgate"
        "?var-job=airflow&var-dag_id=shop&var-task_id=charge",
    }
    check([story_of_an_alert("where", series, "BatchJobFailed", 15, alert)])
    check(
        [story_of_an_alert("links", series, "BatchJobFailed", 15, (alert[0], {**texts, **links}))],
        *("--runbook-url", "https://wiki.example/page", "--grafana-url", "https://grafana.example"),
    )


def test_a_jobs_own_labels_go_before_those_of_the_rules(check):
    series = runs('job="a",severity="page",team="own"', (1, 2, BAD))
    alert = (
        {"job": "a", "severity": "page", "team": "own"},
        {
            "summary": "Batch job a severity=page team=own has failed.",
            "description": "Its last run failed 3m 0s ago. This ends with the next success.",
        },
    )
    check([story_of_an_alert("own", series, "BatchJobFailed", 5, alert)])


def test_what_a_user_sets_counts(check):
    series = {
        **runs(BACKUP, (1, 2, OK), (9, 10, BAD), interval=3600),
        **celery("celery_worker_crashed", WORKER, [(1, 1)]),
    }
    moments = {13: [], 15: ["BatchJobFailed"], 100: ["BatchJobFailed"]}
    moments |= {128: ["BatchJobFailed"], 130: ["BatchJobFailed", "BatchJobMissed"]}
    check(
        [promtool_test("other limits", (series, moments))],
        *("--without", "CeleryWorkerCrashed", "--set", "BatchJobFailed.for=5m"),
        *("--set", "BatchJobMissed.threshold=1", "--set", "BatchJobMissed.for=0s"),
    )


def test_a_selector_leaves_other_jobs_out(check):
    series = {**runs(BACKUP, (1, 2, BAD)), **runs('job="report"', (1, 2, BAD))}
    story = promtool_test("both fail", (series, {10: ["BatchJobFailed"]}))
    check([story], "--selector", 'job=~"back.*",dag_id=""')
