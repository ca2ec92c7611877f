"""`pushgate dbt`, with files that dbt 1.6 and 1.12 wrote, without SQL and most arguments."""

import json
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pushgate import Gateway, job_rows
from pushgate.cli import main

FOLDER = Path(__file__).parent
BAD = ("model.shop.totals", "model.shop.report")


def results(version="v6", *, without=(), age=60, **arguments):
    """What dbt wrote, as if it had ended ``age`` seconds ago."""
    data = json.loads((FOLDER / f"run_results_{version}.json").read_text())
    data["results"] = [r for r in data["results"] if r["unique_id"] not in without]
    data["args"] |= arguments
    now = datetime.fromtimestamp(time.time() - age, UTC)
    data["metadata"]["generated_at"] = now.isoformat().replace("+00:00", "Z")
    data["metadata"].pop("invocation_started_at", None)
    return json.dumps(data)


@pytest.fixture
def push(server, cli, tmp_path, monkeypatch):
    """Runs `pushgate dbt` where dbt wrote a text; returns its exit code and lines of stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PUSHGATE_GATEWAY", server.url)
    monkeypatch.setenv("PUSHGATE_RETRIES", "0")
    (tmp_path / "target").mkdir()

    def run(text, *options):
        (tmp_path / "target/run_results.json").write_text(text)
        code, _, lines = cli("dbt", *options)
        return code, lines

    return run


def groups(server):
    return {tuple(g.labels.values()): g for g in Gateway(server.url).groups()}


@pytest.mark.parametrize("version", ["v4", "v6"])
def test_the_invocation_and_each_model_are_told(server, push, version):
    assert push(results(version), "--models", "--job", "nightly") == (0, [])
    rows = {row.name: row for row in job_rows(Gateway(server.url).groups(), now=time.time())}
    assert {name: row.outcome for name, row in rows.items()} == {
        "nightly": "failed",
        "nightly seed.shop.raw_orders": "succeeded",
        "nightly model.shop.orders": "succeeded",
        "nightly snapshot.shop.orders_snapshot": "succeeded",
        "nightly model.shop.totals": "failed",
        "nightly model.shop.report": "upstream failed",
    }
    assert rows["nightly"].info["exception"] == "error: model.shop.totals"
    assert 3 < rows["nightly"].duration < 4
    own = groups(server)["nightly", "job"]
    statuses = {"success": 3, "pass": 2, "warn": 1, "error": 1, "skipped": 1}
    assert {s: own.value("dbt_nodes", status=s) for s in statuses} == statuses
    assert own.value("dbt_node_failed", node="model.shop.orders") == 0
    assert own.value("dbt_node_failed", node="model.shop.report") == 1
    assert own.value("dbt_test_failures", node="test.shop.not_null_orders_amount.106140f9fd") == 1
    assert own.value("dbt_node_rows_affected", node="seed.shop.raw_orders") == 2


def test_warnings_are_a_success_and_a_failure_keeps_it(server, push):
    assert push(results(without=BAD), "--expect-every", "24h") == (0, [])
    group = groups(server)["dbt",]
    assert group.value("batch_job_last_run_success") == 1
    assert group.value("batch_job_expected_interval_seconds") == 86400
    succeeded = group.value("batch_job_last_success_timestamp_seconds")
    assert push(results(age=0)) == (0, [])
    group = groups(server)["dbt",]
    assert group.value("batch_job_last_run_success") == 0
    assert group.value("batch_job_last_success_timestamp_seconds") == succeeded


def test_an_invocation_that_selected_nothing_is_no_success(server, push):
    everything = [r["unique_id"] for r in json.loads(results())["results"]]
    assert push(results(without=everything)) == (0, [])
    (row, *_) = job_rows(Gateway(server.url).groups(), now=time.time())
    assert (row.outcome, row.last_success) == ("skipped", None)


def test_a_model_that_may_go_is_never_overdue(server, push):
    push(results(), "--models", "--expect-every", "1h")
    rows = job_rows(Gateway(server.url).groups(), now=time.time())
    assert {row.name for row in rows if row.interval} == {"dbt"}


@pytest.mark.parametrize(
    ("text", "options", "said"),
    [
        (results()[:-500], (), "not all of it"),
        ("[]", (), "no artifact of dbt"),
        (results().replace("run-results/v6", "manifest/v12"), (), "give run_results.json"),
        (results().replace("run-results/v6", "run-results/v7"), (), "version 7"),
        (results().replace('"unique_id"', '"id"'), (), "not as its schema says"),
        (results(which="compile"), (), "builds nothing"),
        (results(empty=True), (), "a dry run"),
        (results(age=7300), (), "2h ago, and dbt has written none since"),
        (results(), ("no/such/file",), "no such file"),
    ],
)
def test_what_can_not_be_told_is_an_error_with_its_reason(server, push, text, options, said):
    code, (line,) = push(text, *options)
    assert code == 1
    assert "run_results.json" in line or "no/such/file" in line
    assert said in line
    assert groups(server) == {}


def test_more_models_than_groups_are_refused(server, push):
    data = json.loads(results())
    data["results"] = [{**data["results"][0], "unique_id": f"model.a.m{n}"} for n in range(501)]
    code, (line,) = push(json.dumps(data), "--models")
    assert (code, "leave --models out" in line) == (1, True)
    assert push(json.dumps(data)) == (0, [])
    assert set(groups(server)) == {("dbt",), ("dbt", "job")}


def test_what_can_not_be_delivered_waits_in_the_outbox(server, push):
    server.stop()
    code, (line,) = push(results(), "--models")
    assert (code, "waits in the outbox" in line) == (0, True)
    server.start()
    assert main(["flush"]) == 0
    assert len(groups(server)) == 7
