"""The notifier in real runs: what each way to end publishes, and that nothing disturbs the run."""

import asyncio
import copy
import pickle
import threading
import time
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from urllib.parse import quote

import pytest
from airflow.sdk import BaseHook

from pushgate import job_rows
from pushgate_airflow import PushgatewayNotifier, push_outcome
from support.faults import FaultServer, hang

PREFIX = "batch_job_"
RUN_INFO = "batch_job_last_run_info"
END = {"last_completion_timestamp_seconds", "last_duration_seconds", "last_try_number"}
START = {"last_start_timestamp_seconds"}


@pytest.fixture
def published(gateway_url, pushgateway):
    """The vocabulary's values in the group with exactly these labels beside ``job="airflow"``."""

    def published(job="airflow", **labels):
        for group in pushgateway.groups(job=job, **labels):
            if group.labels == {"job": job, **labels}:
                return {
                    family.name.removeprefix(PREFIX): family.samples[0].value
                    for family in group.families
                    if not family.name.startswith("push_") and family.name != RUN_INFO
                }
        return None

    return published


def test_a_success(run_dag, published):
    before = time.time()
    assert run_dag("succeeds").state == "success"

    task = published(dag_id="succeeds", task_id="load")
    assert task.keys() == {
        *START,
        *END,
        "last_success_timestamp_seconds",
        "last_run_success",
    }
    assert task["last_run_success"] == task["last_try_number"] == 1
    assert before < task["last_start_timestamp_seconds"] < task["last_success_timestamp_seconds"]
    assert task["last_duration_seconds"] == pytest.approx(
        task["last_completion_timestamp_seconds"] - task["last_start_timestamp_seconds"], abs=1e-3
    )
    run = published(dag_id="succeeds")
    assert run.keys() == {*task, "last_timed_out"} - {"last_try_number"}


def test_a_failure_keeps_its_own_metrics_and_what_comes_after_it_is_not_published(
    run_dag, published, pushgateway
):
    assert run_dag("fails").state == "failed"

    task = published(dag_id="fails", task_id="load")
    assert task.keys() == {
        *START,
        *END,
        "last_failure_timestamp_seconds",
        "last_run_success",
    }
    assert task["last_run_success"] == 0
    assert published(dag_id="fails")["last_run_success"] == 0
    assert published(dag_id="fails", task_id="after") is None
    pushgateway.assert_pushed("rows_loaded", 7, dag_id="fails", task_id="load", origin="job")


def test_a_failure_says_where_to_look(run_dag, pushgateway, gateway_url, monkeypatch):
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://airflow.example/")
    page = f"https://airflow.example/dags/fails/runs/{quote(run_dag('fails').run_id)}"
    told = {row.labels.get("task_id"): row.info for row in job_rows(pushgateway.groups(), now=0)}
    assert told["load"]["url"] == f"{page}/tasks/load?try_number=1"
    assert told["load"]["exception"] == "AirflowException"
    assert told["load"]["host"]
    assert told[None]["url"] == page


def test_labels_are_rendered_anew_for_each_task_that_shares_the_notifier(
    run_dag, published, pushgateway
):
    run = run_dag("labelled")

    for task, table in (("first", "orders"), ("second", "users")):
        labels = {"dag_id": "labelled", "task_id": task, "table": table, "run": "nightly"}
        assert published("labelled", **labels), labels
        of_run = published("per-run", dag_id="labelled", task_id=task, run_id=run.run_id)
        assert of_run["group_expiry_timestamp_seconds"] == pytest.approx(
            of_run["last_completion_timestamp_seconds"] + 86_400, abs=1e-3
        )
    assert published("by-owner", dag_id="labelled", owner="airflow", **{"try": "1"})


def started(*, state="success", run_id="r", map_index=-1, **changed):
    """A context as a task's own process makes it, of which the notifier reads little."""
    ti = SimpleNamespace(
        dag_id="etl",
        task_id="load",
        run_id=run_id,
        map_index=map_index,
        try_number=1,
        state=state,
        start_date=datetime.now(UTC),
        end_date=None,
    )
    return {"ti": ti, **changed}


@pytest.mark.parametrize(
    ("options", "labels"),
    [
        ({}, {"dag_id": "etl", "task_id": "load"}),
        (
            {"by_map_index": True, "job": "prod"},
            {"job": "prod", "dag_id": "etl", "task_id": "load", "map_index": "3"},
        ),
        (
            {"labels": {"team": "data", "dag_id": "orders", "task_id": None}},
            {"dag_id": "orders", "team": "data"},
        ),
        (
            {"run_id_lifetime": 60},
            {"dag_id": "etl", "task_id": "load", "run_id": "manual__orders"},
        ),
        # A run may be triggered with the id of its DAG or task, or a word.
        ({"labels": {"table": "orders"}}, {"dag_id": "etl", "task_id": "load", "table": "orders"}),
    ],
)
def test_the_labels_of_a_group(gateway_url, published, options, labels):
    PushgatewayNotifier(**options)(started(map_index=3, run_id="manual__orders"))
    assert published(**labels)


@pytest.mark.parametrize(
    "labels",
    [
        {"run": "manual__orders"},
        {"run": "etl/manual__orders"},
        {"table": ""},
        {"table": "{{ nothing }}"},
        lambda event, context: {"run": event.run_id},
        lambda event, context: {"origin": "x"},
    ],
)
def test_labels_that_would_make_a_group_for_each_run_or_be_mistaken_are_refused(
    gateway_url, pushgateway, labels, caplog
):
    notifier = PushgatewayNotifier(labels=labels)
    notifier(started(run_id="manual__orders", nothing=""))
    assert pushgateway.groups() == []
    assert "the push of success for etl.load failed" in caplog.text


@pytest.mark.parametrize("hangs", ["the look-up", "the name", "the gateway", "a label"])
def test_whatever_hangs_the_callback_returns_at_its_deadline(monkeypatch, configure, hangs, caplog):
    configure(gateway=None)
    released = threading.Event()

    def never(*_args, **_options):
        released.wait(30)
        raise OSError("released")

    options = {"gateway": "http://pushgateway.test:9091"}
    server = FaultServer(hang)
    if hangs == "the look-up":
        monkeypatch.setattr(BaseHook, "get_connection", never)
        options = {"conn_id": "gateway"}
    elif hangs == "the name":
        monkeypatch.setattr("socket.getaddrinfo", never)
    elif hangs == "a label":
        options["labels"] = never
    else:
        options = {"gateway": server.url}

    began = time.monotonic()
    with server:
        PushgatewayNotifier(deadline=0.2, **options)(started())
        assert time.monotonic() - began < 10
        assert not released.is_set()
    assert "failed" in caplog.text or "gave up" in caplog.text
    released.set()


def test_the_notifier_and_its_context_stay_as_they_were(gateway_url, published):
    notifier = PushgatewayNotifier(labels={"table": "{{ table }}"}, job="{{ table }}")
    before = pickle.dumps(notifier)
    context = started(table="orders", reason="another notifier's, which makes it no run")
    copied = dict(context)

    notifier(context)

    assert context == copied
    assert published("orders", dag_id="etl", task_id="load", table="orders")
    assert pickle.dumps(notifier) == before
    assert repr(copy.deepcopy(notifier)) == repr(pickle.loads(before)) == repr(notifier)


def test_what_the_listener_tells_is_left_to_it(configure, gateway_url, published):
    configure(listener=True)
    PushgatewayNotifier()(started())
    push_outcome(started())
    assert published(dag_id="etl", task_id="load") is None

    PushgatewayNotifier(labels={"team": "a"})(started())  # another group
    assert published(dag_id="etl", task_id="load", team="a")
    PushgatewayNotifier(gateway=gateway_url)(started())  # perhaps another gateway
    assert published(dag_id="etl", task_id="load")


def test_a_run_is_left_to_a_listener_that_has_a_gateway(
    configure, pushgateway, published, run_dag, monkeypatch
):
    """The scheduler looks no connection up, and dag.test() has no scheduler."""
    configure(listener=True, gateway=pushgateway.url)
    run_dag("plain")
    assert published(dag_id="plain") is None
    monkeypatch.setenv("AIRFLOW_CONN_PUSHGATEWAY_DEFAULT", pushgateway.url)
    configure(gateway=None)
    run_dag("plain")
    assert published(dag_id="plain")


def test_what_the_listener_is_denied_the_notifier_tells(configure, gateway_url, published, run_dag):
    configure(listener=True, listener_deny="plain")
    run_dag("plain")
    assert published(dag_id="plain")
    assert published(dag_id="plain", task_id="load")


@pytest.mark.parametrize(
    ("state", "began", "ended"),
    [
        ("success", True, {"last_success", "last_completion"}),
        ("failed", True, {"last_failure", "last_completion"}),
        ("up_for_retry", True, {"last_retry"}),
        ("skipped", True, {"last_skipped", "last_completion"}),
        ("upstream_failed", True, {"last_upstream_failed"}),
        ("removed", True, {"last_skipped"}),
        ("deferred", True, None),
    ],
)
def test_what_a_state_means(gateway_url, published, state, began, ended):
    PushgatewayNotifier()(started(state=state))
    found = published(dag_id="etl", task_id="load")
    times = {name.removesuffix("_timestamp_seconds") for name in found or () if "_time" in name}
    assert (times - {"last_start"} if found else None) == ended


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"conn_id": "a", "gateway": "http://b"}, "not both"),
        ({"gateway": "ftp://b"}, "http://"),
        ({"labels": "table"}, "mapping"),
        ({"labels": {"job": "x"}}, "job"),
        ({"labels": {"origin": "x"}}, "origin"),
        ({"labels": {"run_id": "{{ run_id }}"}}, "run_id_lifetime"),
        ({"labels": {"day": "{{ macros.ds_add(ds, 1) }}"}}, "made of ds, .* run_id_lifetime"),
        ({"job": "load {{ dag_run.logical_date }}"}, "job is made of logical_date"),
        ({"job": ""}, "job name is empty"),
        ({"deadline": 0}, "above 0"),
        ({"deadline": float("inf")}, "deadline is inf"),
        ({"run_id_lifetime": timedelta(0)}, "above 0"),
    ],
)
def test_a_notifier_that_can_not_work_is_an_error_in_the_dag_file(options, error):
    with pytest.raises((ValueError, TypeError), match=error):
        PushgatewayNotifier(**options)


def test_a_template_of_what_names_the_job_and_not_the_run_is_taken():
    PushgatewayNotifier(labels={"table": "{{ params.ds_table }} of {{ dag.owner }}", "ds": "x"})
    PushgatewayNotifier(labels={"day": "{{ ds }}"}, run_id_lifetime=60)


def test_it_prints_without_secrets():
    notifier = PushgatewayNotifier(gateway="http://me:secret@gateway:9091")
    assert repr(notifier) == "PushgatewayNotifier('http://gateway:9091')"


def test_a_dag_with_it_serializes_the_same_each_time(dags):
    from airflow.serialization.serialized_objects import DagSerialization

    for dag in (dags["succeeds"], dags["labelled"]):
        assert DagSerialization.to_dict(dag) == DagSerialization.to_dict(copy.deepcopy(dag))


DEADLINE = {
    "dag_run": {"dag_id": "etl", "dag_run_id": "r", "start_date": "2026-01-01T00:00:00Z"},
    "deadline": {"id": "d", "deadline_time": "2026-01-01T01:00:00Z"},
}
MISSED = 1767229200.0


@pytest.mark.parametrize("callback", [PushgatewayNotifier, push_outcome])
def test_a_missed_deadline_in_an_executor(callback, gateway_url, published):
    import structlog
    from airflow.sdk import SyncCallback
    from airflow.sdk.execution_time.callback_supervisor import execute_callback

    path = SyncCallback(callback).path
    assert execute_callback(path, {"context": DEADLINE}, "", None, structlog.get_logger()) == (
        True,
        None,
    )
    assert published(dag_id="etl") == {"last_deadline_missed_timestamp_seconds": MISSED}


def test_airflows_slow_look_up_costs_the_push_nothing_where_no_task_waits(
    monkeypatch, configure, pushgateway, published
):
    get_connection = BaseHook.get_connection

    def slow(conn_id):
        time.sleep(0.3)
        return get_connection(conn_id)

    monkeypatch.setenv("AIRFLOW_CONN_SLOW", pushgateway.url)
    monkeypatch.setattr(BaseHook, "get_connection", slow)
    PushgatewayNotifier("slow", deadline=0.2)(DEADLINE)
    assert published(dag_id="etl") == {"last_deadline_missed_timestamp_seconds": MISSED}


def test_a_hanging_look_up_does_not_stop_the_triggerers_loop(monkeypatch, configure, caplog):
    configure(gateway=None)
    released = threading.Event()
    monkeypatch.setattr(BaseHook, "get_connection", lambda _: released.wait(30))
    monkeypatch.setattr("pushgate_airflow.notifier._LOOK_UP", 0.2)

    async def run():
        ticks = 0
        report = asyncio.ensure_future(PushgatewayNotifier("gateway").async_notify(DEADLINE))
        while not report.done():
            await asyncio.sleep(0.01)
            ticks += 1
        released.set()
        return ticks

    assert asyncio.run(run()) > 2
    assert "failed" in caplog.text
