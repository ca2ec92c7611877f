"""The aggregator: what a worker's records make of the groups at the gateway."""

from __future__ import annotations

import logging
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushgate import Change, Gateway, GroupingKey, encode
from pushgate.errors import GatewayRejectedError, GatewayUnreachableError
from pushgate_celery._task_records import END, KNOWN, METRIC, START, WORKER
from pushgate_celery._worker_aggregator import WorkerAggregator, create

NOW = 1_700_000_000.0
BORN = NOW - 100
WORKER_KEY = GroupingKey("celery", {"instance": "w1@host"})
OWN_KEY = WORKER_KEY.with_labels(origin="job")
FINISHED = ("success", "failure", "ignored", "rejected", "revoked")
FEW_OTHERS = 25  # series named "other", by which the bound may be passed


def task_key(task: str, **labels: str) -> GroupingKey:
    return GroupingKey("celery", {"task": task, **labels})


def a_worker(**options: object) -> WorkerAggregator:
    given_ = {"job": "celery", "node": "w1@host", "started_at": BORN}
    return create({**given_, **options})


class Groups:
    """What a gateway would hold after the changes, as lines of text."""

    def __init__(self, aggregator: WorkerAggregator) -> None:
        self.aggregator = aggregator
        self.families: dict[GroupingKey, dict[str, object]] = {}
        self.deleted: set[GroupingKey] = set()

    def feed(self, *record: object, now: float = NOW) -> None:
        self.apply(self.aggregator.feed(list(record), now))

    def apply(self, changes: Iterable[Change]) -> None:
        for change in changes:
            if change.method == "DELETE":
                self.deleted.add(change.key)
            elif change.method == "PUT":
                self.families[change.key] = {"": change.metrics}
            else:
                new = {family.name: family for family in change.metrics}
                self.families.setdefault(change.key, {}).update(new)

    def lines(self, key: GroupingKey) -> dict[str, float]:
        """The samples of a group: ``name{labels}`` to value."""
        text = encode(list(self.families.get(key, {}).values()), key).text.decode()
        samples = [line.rpartition(" ") for line in text.split("\n") if line and line[0] != "#"]
        return {head: float(value) for head, _, value in samples}

    def total(self, name: str, key: GroupingKey = WORKER_KEY) -> float:
        """The sum of all series of this name."""
        lines = self.lines(key).items()
        return sum(value for head, value in lines if head.partition("{")[0] == name)


@pytest.fixture
def groups() -> Groups:
    return Groups(a_worker())


def start(task: str = "t", at: float = NOW, *, redelivered: bool = False, **rest: object) -> tuple:
    return (START, task, at, rest.get("interval"), redelivered, "q", rest.get("per_run"))


def end(
    state: str = "success",
    *,
    task: str = "t",
    exception: str = "",
    started_at: float | None = NOW,
    ended_at: float = NOW + 2,
    duration: float | None = 2.0,
    wait: float | None = None,
    latency: float | None = None,
    try_number: int = 1,
    per_run: object = None,
) -> tuple:
    times = (started_at, ended_at, duration, wait, latency)
    return (END, task, "q", state, exception, *times, try_number, None, per_run)


OUTCOMES = {
    "success": {"last_success_timestamp_seconds": NOW + 2, "last_run_success": 1},
    "failure": {"last_failure_timestamp_seconds": NOW + 2, "last_run_success": 0},
    "revoked": {"last_failure_timestamp_seconds": NOW + 2, "last_run_success": 0},
    "ignored": {"last_skipped_timestamp_seconds": NOW + 2},
    "rejected": {"last_skipped_timestamp_seconds": NOW + 2},
}


@pytest.mark.parametrize("state", FINISHED)
def test_a_run_that_ended_is_counted_and_is_its_tasks_last_outcome(groups: Groups, state: str):
    groups.feed(*start())
    groups.feed(*end(state, exception="KeyError" if state == "failure" else "", try_number=2))

    exception = "KeyError" if state == "failure" else ""
    totals = groups.lines(WORKER_KEY)
    labels = f'exception="{exception}",queue="q",state="{state}",task="t"'
    assert totals[f"celery_task_finished_total{{{labels}}}"] == 1
    assert totals['celery_task_started_total{queue="q",task="t"}'] == 1
    assert totals['celery_task_runtime_seconds_bucket{le="1.0",queue="q",task="t"}'] == 0
    assert totals['celery_task_runtime_seconds_bucket{le="5.0",queue="q",task="t"}'] == 1
    assert totals['celery_task_runtime_seconds_sum{queue="q",task="t"}'] == 2
    expected = {
        "last_start_timestamp_seconds": NOW,
        "last_completion_timestamp_seconds": NOW + 2,
        "last_duration_seconds": 2,
        "last_try_number": 2,
        **OUTCOMES[state],
    }
    assert groups.lines(task_key("t")) == {f"batch_job_{k}": v for k, v in expected.items()}


def test_a_failure_keeps_the_success_before_it(groups: Groups):
    groups.feed(*end("success"))
    groups.feed(*end("failure", ended_at=NOW + 9))

    outcome = groups.lines(task_key("t"))
    assert outcome["batch_job_last_success_timestamp_seconds"] == NOW + 2
    assert outcome["batch_job_last_failure_timestamp_seconds"] == NOW + 9


def test_a_retry_is_no_outcome_and_no_end(groups: Groups):
    groups.feed(*start())
    groups.feed(*end("retry", exception="IOError", wait=0.2))

    assert groups.lines(task_key("t")) == {
        "batch_job_last_start_timestamp_seconds": NOW,
        "batch_job_last_retry_timestamp_seconds": NOW + 2,
        "batch_job_last_queue_wait_seconds": 0.2,
    }
    totals = groups.lines(WORKER_KEY)
    assert totals['celery_task_retried_total{exception="IOError",queue="q",task="t"}'] == 1
    assert groups.total("celery_task_finished_total") == 0
    assert groups.total("celery_task_runtime_seconds_count") == 0
    assert groups.total("celery_task_queue_wait_seconds_count") == 1


def test_a_clock_that_is_set_back_leaves_no_task_running(groups: Groups):
    groups.feed(*end(started_at=NOW, ended_at=NOW + 2))
    groups.feed(*start(at=NOW - 3600))
    groups.feed(*end(started_at=NOW - 3600, ended_at=NOW - 3598))

    outcome = groups.lines(task_key("t"))
    assert outcome["batch_job_last_start_timestamp_seconds"] == NOW - 3600
    assert outcome["batch_job_last_completion_timestamp_seconds"] == NOW - 3598


def test_a_run_whose_process_was_killed_lasted_from_its_start_to_its_end(groups: Groups):
    groups.feed(*end("failure", ended_at=NOW + 30, duration=None))

    assert groups.total("celery_task_runtime_seconds_sum") == 30
    assert groups.lines(task_key("t"))["batch_job_last_duration_seconds"] == 30


def test_overlapping_runs_do_not_move_the_last_start_back(groups: Groups):
    groups.feed(*start(at=NOW))
    groups.feed(*start(at=NOW + 5))
    groups.feed(*end(started_at=NOW, ended_at=NOW + 3))

    assert groups.lines(task_key("t"))["batch_job_last_start_timestamp_seconds"] == NOW + 5


def test_a_try_that_ends_after_the_next_one_does_not_decide(groups: Groups):
    """A retry is published before the try that asks for it is over."""
    groups.feed(*end("success", try_number=2))
    groups.feed(*end("retry", try_number=1, ended_at=NOW + 3))

    assert groups.lines(task_key("t"))["batch_job_last_try_number"] == 2


def test_the_period_of_a_schedule_travels_with_the_run(groups: Groups):
    groups.feed(*start(interval=60.0))

    assert groups.lines(task_key("t"))["batch_job_expected_interval_seconds"] == 60


def test_waits_latencies_and_redeliveries_are_measured_where_they_are_known(groups: Groups):
    groups.feed(*start(redelivered=True))
    groups.feed(*end(wait=0.3, latency=2.5))
    groups.feed(*end("failure", latency=9.9))

    totals = groups.lines(WORKER_KEY)
    assert totals['celery_task_redelivered_total{queue="q",task="t"}'] == 1
    assert totals['celery_task_queue_wait_seconds_sum{queue="q",task="t"}'] == 0.3
    assert totals['celery_task_latency_seconds_sum{queue="q",task="t"}'] == 2.5
    assert totals['celery_task_latency_seconds_count{queue="q",task="t"}'] == 1


def test_known_tasks_have_series_before_their_first_run(groups: Groups):
    groups.feed(KNOWN, {"a": "q1", "b": "q2"})

    totals = groups.lines(WORKER_KEY)
    for task, queue in (("a", "q1"), ("b", "q2")):
        assert totals[f'celery_task_started_total{{queue="{queue}",task="{task}"}}'] == 0
        for state in ("success", "failure"):
            labels = f'exception="",queue="{queue}",state="{state}",task="{task}"'
            assert totals[f"celery_task_finished_total{{{labels}}}"] == 0


def test_known_tasks_leave_half_of_the_room_to_those_that_run():
    groups = Groups(a_worker(max_series=100))
    groups.feed(KNOWN, {f"known{n}": "q" for n in range(1000)})
    groups.feed(*end(task="late"))

    heads = groups.lines(WORKER_KEY)
    assert sum('task="known' in head for head in heads) <= 50
    assert any('task="late"' in head for head in heads)


def test_what_the_main_process_counts_is_added_up(groups: Groups):
    groups.feed("n", "revoked", {"task": "t", "reason": "expired"}, 2)
    for what in ("unknown", "rejected", "children_lost"):
        groups.feed("n", what, {}, 3)
    groups.apply(groups.aggregator.dropped(7))
    groups.aggregator.delivery(WORKER_KEY, None, NOW)
    groups.aggregator.delivery(WORKER_KEY, unreachable(), NOW)
    groups.aggregator.delivery(task_key("t"), rejected(), NOW)

    expected = {
        'celery_task_revoked_total{reason="expired",task="t"}': 2,
        "celery_task_unknown_total": 3,
        "celery_task_message_rejected_total": 3,
        "celery_worker_children_lost_total": 3,
        "pushgate_records_total": 4,
        "pushgate_records_dropped_total": 7,
        'pushgate_pushes_total{result="success"}': 1,
        'pushgate_pushes_total{result="failure"}': 1,
        'pushgate_pushes_total{result="rejected"}': 1,
    }
    assert expected.items() <= groups.lines(WORKER_KEY).items()


def unreachable() -> Exception:
    return GatewayUnreachableError("refused", method="PUT", url="http://g")


def rejected() -> Exception:
    return GatewayRejectedError(status=400, reason="no", method="PUT", url="http://g", headers=None)


# -- the worker itself


def test_an_idle_worker_has_no_oldest_task(groups: Groups):
    oldest = "celery_worker_oldest_task_start_timestamp_seconds"
    groups.feed(WORKER, 3, 4, NOW - 7)
    busy = groups.lines(WORKER_KEY)
    groups.feed(WORKER, 0, 0, None)

    assert busy["celery_worker_tasks_active"] == 3
    assert busy["celery_worker_tasks_prefetched"] == 4
    assert busy[oldest] == NOW - 7
    assert oldest not in groups.lines(WORKER_KEY)
    assert groups.lines(WORKER_KEY)["celery_worker_start_timestamp_seconds"] == BORN


def test_a_worker_that_shuts_down_is_not_up_and_has_not_crashed(groups: Groups):
    groups.feed(WORKER, 1, 2, NOW)
    groups.feed("g")
    groups.apply(groups.aggregator.closed(NOW))

    totals = groups.lines(WORKER_KEY)
    assert (totals["celery_worker_up"], totals["celery_worker_crashed"]) == (0, 0)
    assert totals["celery_worker_tasks_active"] == 0
    assert not groups.deleted


@pytest.mark.parametrize("on_exit", ["keep", "delete"])
def test_the_goodbye_is_the_end_however_long_the_pipe_is_held(on_exit: str):
    """By a process that a task forked: when it ends, another worker may have the group."""
    groups = Groups(a_worker(on_exit=on_exit))
    groups.feed("g")

    assert bool(groups.deleted) == (on_exit == "delete")
    assert on_exit == "delete" or groups.lines(WORKER_KEY)["celery_worker_up"] == 0
    assert not list(groups.aggregator.closed(NOW))


@pytest.mark.parametrize("on_exit", ["keep", "delete"])
def test_what_comes_after_the_goodbye_counts_and_the_worker_stays_ended(on_exit: str):
    groups = Groups(a_worker(on_exit=on_exit))
    groups.feed("g")
    groups.feed(*start())
    groups.feed(*end())
    groups.deleted.clear()
    groups.apply(groups.aggregator.closed(NOW))

    assert groups.total("celery_task_finished_total") == 1
    assert groups.lines(WORKER_KEY)["celery_worker_up"] == 0
    assert bool(groups.deleted) == (on_exit == "delete")


@pytest.mark.parametrize("on_exit", ["keep", "delete"])
def test_a_worker_that_vanishes_has_crashed_and_shows_what_it_was_doing(on_exit: str):
    groups = Groups(a_worker(on_exit=on_exit))
    alive = (groups.feed(WORKER, 3, 2, NOW), groups.lines(WORKER_KEY))[1]
    groups.apply(groups.aggregator.closed(NOW))

    gone = groups.lines(WORKER_KEY)
    assert (alive["celery_worker_up"], alive["celery_worker_crashed"]) == (1, 0)
    assert (gone["celery_worker_up"], gone["celery_worker_crashed"]) == (0, 1)
    assert gone["celery_worker_tasks_active"] == 3
    assert not groups.deleted


def test_a_clean_exit_deletes_the_workers_groups_where_that_is_asked_for():
    groups = Groups(a_worker(on_exit="delete"))
    groups.feed(METRIC, "inc", "rows", 1, {}, "t")
    groups.feed("g")
    groups.apply(groups.aggregator.closed(NOW))

    assert groups.deleted == {WORKER_KEY, OWN_KEY}


def test_the_pusher_is_spared_celery_and_prometheus_client():
    code = "import sys, pushgate_celery._worker_aggregator; print(*sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"celery", "kombu", "prometheus_client"} & set(found.stdout.split())


# -- metrics of the tasks' own


def test_what_tasks_count_and_observe_is_in_a_group_beside_the_workers(groups: Groups):
    groups.feed(METRIC, "inc", "rows", 2, {"table": "a"}, "t")
    groups.feed(METRIC, "inc", "rows_total", 3, {"table": "a"}, "t")
    groups.feed(METRIC, "observe", "size_bytes", 5000, {}, "t")
    groups.feed(METRIC, "observe", "step_seconds", 0.07, {}, "t")

    own = groups.lines(OWN_KEY)
    assert own['rows_total{table="a",task="t"}'] == 5
    assert own['size_bytes_bucket{le="1000.0",task="t"}'] == 0
    assert own['size_bytes_bucket{le="10000.0",task="t"}'] == 1
    assert own['step_seconds_bucket{le="0.1",task="t"}'] == 1
    assert not any("rows" in head for head in groups.lines(WORKER_KEY))


def test_a_gauge_of_one_label_set_leaves_the_others_alone(groups: Groups):
    for table, value in (("a", 1), ("b", 2), ("a", 3)):
        groups.feed(METRIC, "set", "rows", value, {"table": table}, "t")
    groups.feed(METRIC, "set", "rows", 9, {"table": "a"}, "other_task")

    expected = {'rows{table="a"}': 3, 'rows{table="b"}': 2}
    assert groups.lines(task_key("t", origin="job")) == expected
    assert groups.lines(task_key("other_task", origin="job")) == {'rows{table="a"}': 9}


REFUSED = {
    "another type": ("observe", "rows_total", 1, {"k": "v"}),
    "other labels": ("inc", "rows", 1, {"j": "v"}),
    "a name of a histogram's series": ("set", "size_count", 1, {}),
    "a name of ours": ("set", "celery_worker_up", 1, {}),
    "a name of the gateway's": ("set", "push_time_seconds", 1, {}),
    "a label of the group's": ("inc", "jobs", 1, {"instance": "x"}),
    "no name": ("inc", "1x", 1, {}),
    "no label name": ("inc", "x", 1, {"a-b": "c"}),
    "a counter that falls": ("inc", "rows", -1, {"k": "v"}),
    "an infinite count": ("inc", "rows", float("inf"), {"k": "v"}),
    "no number": ("observe", "size", float("nan"), {}),
}


@pytest.mark.parametrize("metric", REFUSED.values(), ids=REFUSED)
def test_a_metric_that_would_spoil_the_push_is_refused_counted_and_told_once(
    groups: Groups, metric: tuple, caplog: pytest.LogCaptureFixture
):
    groups.feed(METRIC, "inc", "rows", 1, {"k": "v"}, "first.task")
    groups.feed(METRIC, "observe", "size", 1, {}, "first.task")
    before = groups.lines(OWN_KEY)
    for _ in range(3):
        groups.feed(METRIC, *metric, "second.task")

    assert groups.lines(OWN_KEY) == before
    assert groups.lines(WORKER_KEY)["pushgate_metrics_refused_total"] == 3
    (line,) = caplog.messages
    assert "second.task" in line


def test_the_line_about_a_clash_names_both_places(groups: Groups, caplog):
    groups.feed(METRIC, "inc", "rows", 1, {"k": "v"}, "first.task")
    groups.feed(METRIC, "inc", "rows", 1, {"j": "v"}, "second.task")

    assert "a counter rows_total with labels j in second.task" in caplog.text
    assert "a counter rows_total with labels k in first.task" in caplog.text


# -- bounds


TASKS = st.sampled_from(("a", "b", "c"))
STATES = st.sampled_from((*FINISHED, "retry"))
ERRORS = st.sampled_from(("", "KeyError", "E1"))
DURATIONS = st.floats(0, 1e5) | st.sampled_from((0.005, 1.0, 60.0, 3600.0))
RUNS = st.lists(st.tuples(TASKS, STATES, ERRORS, DURATIONS, st.booleans()))


@given(RUNS)
def test_totals_equal_the_ledger(runs):
    groups = Groups(a_worker())
    ledger: Counter[str] = Counter()
    for task, state, exception, duration, redelivered in runs:
        groups.feed(*start(task, redelivered=redelivered))
        groups.feed(*end(state, task=task, exception=exception, duration=duration))
        labels = f'queue="q",task="{task}"'
        ledger[f"celery_task_started_total{{{labels}}}"] += 1
        ledger[f"celery_task_redelivered_total{{{labels}}}"] += redelivered
        if state == "retry":
            name = f'celery_task_retried_total{{exception="{exception}",{labels}}}'
            ledger[name] += 1
            continue
        rest = f'queue="q",state="{state}",task="{task}"'
        ledger[f'celery_task_finished_total{{exception="{exception}",{rest}}}'] += 1
        ledger[f"celery_task_runtime_seconds_count{{{labels}}}"] += 1
        for le in (0.005, 1.0, 60.0, 3600.0):
            bucket = f'celery_task_runtime_seconds_bucket{{le="{le}",{labels}}}'
            ledger[bucket] += duration <= le

    measured = groups.lines(WORKER_KEY)
    assert {head: measured.get(head, 0) for head in ledger} == ledger
    assert groups.total("celery_task_finished_total") == groups.total(
        "celery_task_runtime_seconds_count"
    )


TEXT = st.text(alphabet=st.characters(), max_size=3) | st.just("x" * 5000)
RECORDS = st.one_of(
    st.tuples(TEXT, TEXT).map(lambda p: (START, p[0], NOW, None, True, p[1], None)),
    st.tuples(TEXT, STATES, TEXT).map(
        lambda p: end(p[1], task=p[0], exception=p[2], wait=1.0, latency=1.0)
    ),
    st.tuples(TEXT, TEXT).map(lambda p: ("n", "revoked", {"task": p[0], "reason": p[1]}, 1)),
    st.dictionaries(TEXT, TEXT).map(lambda tasks: (KNOWN, tasks)),
    st.tuples(
        st.sampled_from(("inc", "observe", "set")),
        st.sampled_from(("m", "m_total", "m_count", "n")),
        st.floats() | st.integers(-5, 5),
        st.dictionaries(st.sampled_from(("k", "l")), TEXT, max_size=2),
        TEXT,
    ).map(lambda p: (METRIC, *p)),
)


@given(st.lists(RECORDS, max_size=60), st.integers(0, 30))
def test_whatever_is_told_the_number_of_series_is_bounded_and_a_gateway_takes_it(records, limit):
    groups = Groups(a_worker(max_series=limit))
    for record in records:
        groups.feed(*record)

    outcomes = [key for key in groups.families if set(key.labels) == {"job", "task"}]
    assert len(outcomes) <= limit
    assert label_sets(groups) <= limit + FEW_OTHERS
    for key in groups.families:
        assert all(len(head) < 1000 for head in groups.lines(key))


def label_sets(groups: Groups) -> int:
    """How many there are of the worker's and of the tasks' own metrics; a histogram's is one."""
    found = set()
    for key in groups.families:
        if "instance" in key.labels or "origin" in key.labels:
            for head in groups.lines(key):  # which encodes, and so runs the checks of a push
                bare = re.sub(r"_(bucket|sum|count)(?={|$)", "", re.sub(r'le="[^"]*",?', "", head))
                if "origin" in key.labels or "task=" in bare:
                    found.add((key, bare))
    return len(found)


def test_totals_and_the_tasks_own_metrics_share_one_bound():
    groups = Groups(a_worker(max_series=300))
    for n in range(400):
        groups.feed(METRIC, "inc", f"rows_{n % 70}", 1, {"k": str(n)}, "t")
        groups.feed(METRIC, "observe", f"size_{n}", 1, {}, "t")
        groups.feed(*end(task=f"t{n}"))

    assert 250 <= label_sets(groups) <= 300 + FEW_OTHERS


def test_beyond_the_bound_sums_stay_right_and_that_is_counted_and_told_once(caplog):
    groups = Groups(a_worker(max_series=50))
    for n in range(200):
        groups.feed(*end("failure", task=f"t{n}", exception="E"))

    assert groups.total("celery_task_finished_total") == 200
    assert groups.total("celery_task_runtime_seconds_count") == 200
    totals = groups.lines(WORKER_KEY)
    other = 'exception="other",queue="other",state="failure",task="other"'
    assert totals[f"celery_task_finished_total{{{other}}}"] > 0
    assert totals["pushgate_series_overflowed_total"] > 0
    assert sum("max_series=50" in line for line in caplog.messages) == 1


def test_a_task_that_makes_up_exceptions_leaves_room_for_other_tasks():
    groups = Groups(a_worker(max_series=200))
    for n in range(500):
        groups.feed(*end("failure", exception=f"Error{n}"))
    groups.feed(*end("failure", task="late", exception="KeyError"))

    labels = 'exception="KeyError",queue="q",state="failure",task="late"'
    assert groups.lines(WORKER_KEY)[f"celery_task_finished_total{{{labels}}}"] == 1
    assert groups.total("celery_task_finished_total") == 501


def test_a_label_of_a_tasks_own_leaves_room_for_the_totals():
    groups = Groups(a_worker(max_series=200))
    for user in range(500):
        groups.feed(METRIC, "inc", "logins", 1, {"user": str(user)}, "t")
        groups.feed(METRIC, "set", "last_login", 1, {"user": str(user)}, "t")
    groups.feed(*end(task="late"))

    assert any('task="late"' in head for head in groups.lines(WORKER_KEY))
    assert groups.total("logins_total", OWN_KEY) == 500


# -- groups of single runs


def test_a_run_with_a_group_of_its_own_says_until_when_it_is_of_use(groups: Groups):
    key, expiry = task_key("t", table="orders"), "batch_job_group_expiry_timestamp_seconds"
    for record, expires_at in (
        (start(per_run=[{"table": "orders"}, 60.0]), NOW + 60),
        (end(ended_at=NOW + 2, per_run=[{"table": "orders"}, 60.0]), NOW + 62),
        (start(at=NOW + 50, per_run=[{"table": "orders"}, 60.0]), NOW + 110),
        (end(ended_at=NOW + 51, per_run=[{"table": "orders"}, 5.0]), NOW + 110),
    ):
        groups.feed(*record)
        assert groups.lines(key)[expiry] == expires_at
    assert groups.lines(key)["batch_job_last_success_timestamp_seconds"] == NOW + 51
    assert expiry not in groups.lines(task_key("t"))


@pytest.mark.parametrize("labels", [{"job": "x"}, {"task": "x"}, {"a-b": "x"}, {"instance": ""}])
def test_a_run_whose_own_group_can_not_be_is_still_its_tasks_last(
    groups: Groups, labels: dict[str, str], caplog
):
    for _ in range(2):
        groups.feed(*end(per_run=[labels, 60.0]))

    assert set(groups.families) == {WORKER_KEY, task_key("t")}
    assert len(caplog.messages) == 1
    assert groups.lines(task_key("t"))["batch_job_last_run_success"] == 1


def test_the_groups_of_runs_are_bounded_until_some_expire():
    groups = Groups(a_worker(max_series=10))
    for n in range(30):
        groups.feed(*start(at=NOW + n, per_run=[{"n": str(n)}, 60.0]))
    assert len(groups.families) == 12, "ten, beside the worker's and the task's"
    groups.feed(*start(at=NOW + 65, per_run=[{"n": "later"}, 60.0]))

    assert task_key("t", n="later") in groups.families
    assert groups.total("pushgate_series_overflowed_total") == 20


# -- real gateways


def test_a_gateway_takes_it_all(gateway_url: str, caplog):
    worker = a_worker()
    gateway = Gateway(gateway_url)
    records = [
        (KNOWN, {"t": "q", 'we"ird\\\n': "q"}),
        start(per_run=[{"table": "a/b"}, 60.0]),
        (WORKER, 1, 1, NOW),
        *[
            end(state, task="we\ud800ird" * 50, exception="E", wait=1.0, latency=1.0)
            for state in (*FINISHED, "retry")
        ],
        end(per_run=[{"table": "a/b"}, 60.0]),
        (METRIC, "inc", "rows", 1, {"k": "ä"}, "t"),
        (METRIC, "observe", "size", 1, {}, "t"),
        (METRIC, "set", "level", float("nan"), {}, "t"),
        *[
            ("n", what, {"task": "t", "reason": "expired"}, 1)
            for what in ("revoked", "unknown", "rejected", "children_lost")
        ],
    ]
    pushes = {"PUT": gateway.push, "POST": gateway.pushadd}
    for record in records:
        for change in worker.feed(record, NOW):
            pushes[change.method](change.key, change.metrics)

    held = {GroupingKey(g.labels.pop("job"), g.labels): g for g in gateway.groups()}
    assert {WORKER_KEY, OWN_KEY, task_key("t"), task_key("t", table="a/b")} <= set(held)
    assert held[WORKER_KEY].value("celery_task_finished_total", state="revoked") == 1
    assert held[task_key("t")].value("batch_job_last_run_success") == 1
    assert not [line for line in caplog.messages if "worker" in line]


def test_records_of_another_version_are_an_error_and_leave_the_totals_alone(groups: Groups):
    groups.feed(*end())
    before = groups.lines(WORKER_KEY)
    for record in ([], ["?"], ["e", "t"], list(end("lost")), ["n", "what", {}, 1]):
        with pytest.raises(Exception):  # noqa: B017, PT011
            groups.feed(*record)
    assert groups.lines(WORKER_KEY) == before


def test_what_is_said_once_is_bounded_too(groups: Groups, caplog):
    caplog.set_level(logging.WARNING)
    for n in range(500):
        groups.feed(METRIC, "set", f"celery_{n}", 1, {}, "t")

    assert len(caplog.messages) < 150
