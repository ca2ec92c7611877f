"""A task's own numbers: whose they are, where they arrive, and what is said where they can't."""

import os
from contextlib import contextmanager
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from airflow.sdk.execution_time.context import set_current_context
from prometheus_client import Gauge

from pushgate_airflow import PushgatewayNotifier, listener, metrics

AT_THE_TOP = metrics.gauge("top_level_rows", "As prometheus_client's users make theirs.")
OF_ORDERS = metrics.gauge("rows", "Rows.", ["table"]).labels("orders")
TIMED = metrics.summary("seconds", "How long it took.")
FAULTS = metrics.counter("faults", "Errors.")


@TIMED.time()
@FAULTS.count_exceptions()
def works(fails=False):
    if fails:
        raise ValueError("on purpose")


@pytest.fixture(autouse=True)
def _environment(monkeypatch):
    monkeypatch.setenv("PUSHGATE_METRICS_FILE", "")
    monkeypatch.delenv("PUSHGATE_METRICS_FILE")


@pytest.fixture
def task(request, gateway_url):
    """Run the block in a task: ``with task():``. A notifier tells its start and its end."""

    @contextmanager
    def task(notifier=None, *, starts=True, **changed):
        values = {"run_id": request.node.name, "map_index": -1, "try_number": 1, "state": None}
        values |= {"start_date": datetime.now(UTC), "end_date": None, **changed}
        ti = SimpleNamespace(dag_id="etl", task_id="load", **values)
        notifier = notifier or PushgatewayNotifier()
        if starts:
            notifier({"ti": ti})
        with set_current_context({"ti": ti}):
            yield ti
        ti.state = ti.state or "success"
        notifier({"ti": ti})

    return task


def values(pushgateway, **labels):
    return {
        (sample.name, *(v for k, v in sample.labels.items() if v and k not in group.labels)): (
            sample.value
        )
        for group in pushgateway.groups(**{"origin": "job", **labels})
        for family in group.families
        for sample in family.samples
        if not sample.name.endswith("_created") and not sample.name.startswith(("push_", "batch_"))
    }


def test_a_task_sets_its_own_in_a_line_and_each_try_begins_with_none(task, pushgateway):
    with task():
        metrics.gauge("rows", "Rows.", ["table"]).labels("orders").set(42)
        metrics.gauge("rows", "Rows.", ["table"]).labels(table="users").set(7)
        metrics.counter("refused", "Refused.").inc(3)
        metrics.histogram("size", "Size.", buckets=[1]).observe(2)
        Gauge("theirs", "Made elsewhere.", registry=metrics.registry()).set(1)
    found = values(pushgateway)
    assert found["rows", "orders"] == 42
    assert found["rows", "users"] == 7
    assert found[("refused_total",)] == 3
    assert found[("theirs",)] == 1
    assert found["size_bucket", "1"] == 0
    with task(try_number=2):
        metrics.gauge("other").set(1)
    assert values(pushgateway) == {("other",): 1}
    with task(try_number=3):
        pass  # a run without any leaves those of the run before
    assert values(pushgateway) == {("other",): 1}


def test_a_metric_that_is_made_at_the_top_of_a_file_is_of_the_task_that_sets_it(task, pushgateway):
    with task():
        AT_THE_TOP.set(7)
        OF_ORDERS.inc(2)
        works()
        with pytest.raises(ValueError, match="on purpose"):
            works(fails=True)
    found = values(pushgateway)
    assert found[("top_level_rows",)] == 7
    assert found["rows", "orders"] == 2
    assert found[("seconds_count",)] == 2
    assert found[("faults_total",)] == 1
    with task(try_number=2):
        AT_THE_TOP.set(8)
    assert values(pushgateway) == {("top_level_rows",): 8}


def test_each_instance_of_a_mapped_task_has_a_group_of_its_own_meanwhile(task, pushgateway):
    for index, table in enumerate(("orders", "users")):
        with task(map_index=index):
            metrics.gauge("rows", "Rows.", ["table"]).labels(table).set(index)
    assert values(pushgateway, origin="job[0]") == {("rows", "orders"): 0}
    assert values(pushgateway, origin="job[1]") == {("rows", "users"): 1}
    pushgateway.assert_pushed("batch_job_group_expiry_timestamp_seconds", origin="job[1]")
    with task(PushgatewayNotifier(by_map_index=True), map_index=2):
        metrics.gauge("rows", "Rows.", ["table"]).labels("lines").set(2)
    assert values(pushgateway, map_index="2") == {("rows", "lines"): 2}


@pytest.mark.parametrize("where", ["outside of a task", "without a callback", "before a deferral"])
def test_where_a_number_can_not_arrive_a_warning_says_so(where, task, caplog, request):
    name = f"rows_{request.node.callspec.indices['where']}"
    if where == "outside of a task":
        metrics.gauge(name, "").set(1)
        assert f"'{name}' is set and not pushed: no task runs here" in caplog.text
    elif where == "without a callback":
        with task(starts=False):
            metrics.gauge(name).set(1)
        assert "own metrics of etl.load are not pushed: it has no callback" in caplog.text
    else:
        with task() as ti:
            metrics.gauge(name).set(1)
            ti.state = "deferred"
            listener.before_stopping(SimpleNamespace())
        assert "before the task was deferred" in caplog.text


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: metrics.gauge("batch_job_rows"), "rename"),
        (lambda: metrics.gauge("push_time_seconds"), "rename"),
        (lambda: metrics.gauge(""), "empty"),
        (lambda: metrics.gauge("rows", "", ["dag_id"]), "'dag_id'; rename"),
        (lambda: (metrics.gauge("rows").set(1), metrics.counter("rows").inc()), "Gauge of this"),
    ],
)
def test_a_name_that_can_not_be_pushed_is_an_error_where_it_is_made(task, make, error):
    with task(), pytest.raises(ValueError, match=error):
        make()


def test_two_types_of_one_name_cost_the_second(task, pushgateway, caplog):
    with task():
        metrics.counter("rows").inc(2)
        with open(os.environ["PUSHGATE_METRICS_FILE"], "a") as file:
            file.write("# TYPE rows gauge\nrows 3\nmore 4\nno number\n")
        path = os.environ["PUSHGATE_METRICS_FILE"]
    assert not os.path.exists(path)
    assert values(pushgateway) == {("rows_total",): 2, ("more",): 4}
    assert "'rows' is set as a counter and as a gauge" in caplog.text
    assert "$PUSHGATE_METRICS_FILE, line 4" in caplog.text
