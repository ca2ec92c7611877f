"""Airflow's own services, real and all at once, against a real Pushgateway."""

import json
import math
import shutil
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import pytest

from pushgate import Gateway
from support import airflow_rest, airflow_services, debian, fault_proxy, postgres, servers
from support.airflow_rest import until

pytestmark = pytest.mark.end_to_end

DAGS = Path(__file__).parent / "dags"
PATIENCE = 60.0  # seconds
END, SUCCESS, FAILURE, SKIPPED, RETRY, UPSTREAM_FAILED = (
    f"batch_job_last_{what}_timestamp_seconds"
    for what in ("completion", "success", "failure", "skipped", "retry", "upstream_failed")
)


class Site(NamedTuple):
    dags: Path
    airflow: airflow_services.Airflow
    proxy: fault_proxy.FaultProxy
    gateway: Gateway
    runs: dict[str, airflow_rest.Run]

    def group(self, **labels):
        """The group of exactly these labels, beside the job; None where there is none."""
        wanted = {"job": "airflow", **labels}
        return next((g for g in self.gateway.groups() if g.labels == wanted), None)

    def wait_for(self, metric, **labels):
        """The group, once it has the metric."""

        def there():
            group = self.group(**labels)
            return group if group and group.value(metric) is not None else None

        return until(there, lambda: f"{metric} of {labels}\n{self.airflow.logs()}", PATIENCE)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Everything, with a run of each DAG on its way."""
    airflow_services.require()
    with ExitStack() as stack:
        server = stack.enter_context(servers.pushgateway(debian.require("pushgateway-1.11")))
        proxy = stack.enter_context(fault_proxy.fault_proxy(server.port))
        # On SQLite, four services at once on a busy machine find their database locked.
        database = stack.enter_context(postgres.postgresql())
        dags = Path(shutil.copytree(DAGS, tmp_path_factory.mktemp("dags"), dirs_exist_ok=True))
        airflow = stack.enter_context(
            airflow_services.airflow(
                tmp_path_factory.mktemp("airflow"),
                dags,
                {
                    "database__sql_alchemy_conn": database,
                    "core__test_connection": "Enabled",
                    "core__dags_are_paused_at_creation": "True",
                    "pushgate__listener": "True",
                    "pushgate__listener_deny": "called_back, overdue, labelled",
                },
                # For the scheduler, which looks no connection up.
                {"PUSHGATE_GATEWAY": proxy.url},
            )
        )
        airflow.api(
            "POST",
            "/connections",
            {"connection_id": "pushgateway_default", **connection(proxy.url)},
        )
        triggered = {"outcomes", "listened", "marked", "called_back", "overdue", "operators"}
        triggered |= {"own_metrics"}
        airflow.wait_parsed({*triggered, "scheduled", "while_shut", "renamed", "labelled"})
        airflow.unpause()
        runs = {dag_id: airflow.trigger(dag_id) for dag_id in sorted(triggered)}
        yield Site(dags, airflow, proxy, Gateway(server.url), runs)


def connection(url, **more):
    return {"conn_type": "pushgateway", "host": url, **more}


def test_every_way_in_which_a_task_ends_is_in_its_group(site):
    run = site.runs["outcomes"]
    assert run.wait() == "failed"
    ends = {
        "ok": "success",
        "fails": "failed",
        "after_failure": "upstream_failed",
        "retries": "success",
        "skips": "skipped",
        "killed": "failed",
        "cleanup": "success",
        "branch": "success",
        "chosen": "success",
        "not_chosen": "skipped",
    }
    mapped = {"mapped[0]": "success", "mapped[1]": "success", "mapped[2]": "failed"}
    assert run.tasks() == ends | mapped

    metric = {"success": SUCCESS, "failed": FAILURE, "upstream_failed": UPSTREAM_FAILED}
    for task_id, state in ends.items():
        group = site.wait_for(metric.get(state, SKIPPED), dag_id="outcomes", task_id=task_id)
        others = {SUCCESS, FAILURE, SKIPPED, UPSTREAM_FAILED} - {metric.get(state, SKIPPED)}
        assert [name for name in others if group.value(name) is not None] == []
    assert site.group(dag_id="outcomes", task_id="retries").value(RETRY) is not None
    assert site.group(dag_id="outcomes", task_id="retries").value("batch_job_last_try_number") == 2
    assert site.wait_for(FAILURE, dag_id="outcomes").value(SUCCESS) is None
    whole = site.wait_for("batch_job_last_mapped_runs", dag_id="outcomes", task_id="mapped")
    assert whole.value("batch_job_last_mapped_runs", state="success") == 2
    assert whole.value("batch_job_last_mapped_runs", state="failed") == 1


def test_callback_and_listener_together_push_each_end_once(site):
    site.runs["outcomes"].wait()
    site.wait_for(FAILURE, dag_id="outcomes")
    site.wait_for(FAILURE, dag_id="outcomes", task_id="killed")  # by the scheduler
    tasks = ("ok", "fails", "retries", "killed", "cleanup", "branch", "chosen")
    for labels in ({}, *({"task_id": task_id} for task_id in tasks)):
        pushes = site.proxy.pushes_of(END, job="airflow", dag_id="outcomes", **labels)
        assert len(pushes) == 1, pushes


def test_a_dag_that_knows_nothing_of_pushgate_is_reported(site):
    assert site.runs["listened"].wait() == "failed"
    assert site.wait_for(SUCCESS, dag_id="listened", task_id="ok").value(FAILURE) is None
    assert site.wait_for(FAILURE, dag_id="listened", task_id="fails").value(SUCCESS) is None
    after = site.wait_for(UPSTREAM_FAILED, dag_id="listened", task_id="after")
    assert after.value(FAILURE) is None
    assert site.wait_for(FAILURE, dag_id="listened").value("batch_job_last_run_success") == 0


def test_a_run_that_the_scheduler_makes_says_when_the_next_is_due(site):
    group = site.wait_for(SUCCESS, dag_id="scheduled")
    assert group.value("batch_job_expected_interval_seconds") == 86400


def test_a_task_that_somebody_marks_as_failed_is_reported(site):
    run = site.runs["marked"]

    def running():
        return run.tasks().get("waits") == "running"

    until(running, lambda: f"it runs: {run.tasks()}", PATIENCE)
    site.airflow.api(
        "PATCH", f"/dags/marked/dagRuns/{run.run_id}/taskInstances/waits", {"new_state": "failed"}
    )
    assert run.wait() == "failed"
    site.wait_for(FAILURE, dag_id="marked", task_id="waits")


def test_the_callbacks_of_a_dag_report_its_runs_without_the_listener(site):
    assert site.runs["called_back"].wait() == "success"
    succeeded = site.wait_for(SUCCESS, dag_id="called_back").value(SUCCESS)
    assert site.airflow.run("called_back", {"fail": True}).state == "failed"
    group = site.wait_for(FAILURE, dag_id="called_back")
    assert group.value("batch_job_last_run_success") == 0
    assert group.value(SUCCESS) == succeeded
    assert site.group(dag_id="called_back", task_id="fails_if_asked") is None


def test_the_runs_of_a_dag_are_in_one_group_whichever_task_failed(site):
    for fail in ("first", ""):
        site.airflow.run("labelled", {"fail": fail})
    site.wait_for(SUCCESS, job="team", dag_id="labelled", team="core")
    assert [g.labels for g in site.gateway.groups() if g.labels["job"] == "team"] == [
        {"job": "team", "dag_id": "labelled", "team": "core"}
    ]


def test_a_test_run_and_a_backfill_leave_what_production_said(site):
    own = {"dag_id": "scheduled", "task_id": "ok", "origin": "job"}
    site.wait_for(SUCCESS, dag_id="scheduled")
    assert site.wait_for("rows", **own).value("rows") == 1

    def pushed():
        groups = [g for g in site.gateway.groups() if g.labels.get("dag_id") == "scheduled"]
        return {tuple(g.labels.values()): g.push_time for g in groups}

    before = pushed()
    site.airflow.cli("tasks", "test", "scheduled", "ok")
    dates = {"from_date": "2026-02-01T00:00:00Z", "to_date": "2026-02-03T00:00:00Z"}
    backfill = site.airflow.api("POST", "/backfills", {"dag_id": "scheduled", **dates})
    path = f"/backfills/{backfill['id']}"
    until(lambda: site.airflow.api("GET", path)["completed_at"], site.airflow.logs, PATIENCE)
    runs = site.airflow.api("GET", "/dags/scheduled/dagRuns?run_type=backfill")["dag_runs"]
    assert sorted(run["state"] for run in runs) == ["failed", "success", "success"]
    assert pushed() == before


def test_a_missed_deadline_is_reported_by_the_triggerer(site):
    site.wait_for("batch_job_last_deadline_missed_timestamp_seconds", dag_id="overdue")


def test_the_test_button_says_whether_a_pushgateway_answers(site):
    def tested(**connection):
        body = {"connection_id": "tested", "conn_type": "pushgateway", **connection}
        return site.airflow.api("POST", "/connections/test", body)

    good = tested(host=site.proxy.url)
    assert good["status"], good
    bad = tested(host="http://127.0.0.1:1", login="me", password="dragon")
    assert not bad["status"]
    assert "127.0.0.1:1" in bad["message"]
    assert "dragon" not in bad["message"]


def test_operators_push_and_delete_and_fail_with_what_the_gateway_says(site):
    run = site.runs["operators"]
    assert run.wait() == "failed"
    assert run.tasks() == {
        "push": "success",
        "rejected": "failed",
        "short_lived": "success",
        "delete": "success",
    }
    group = site.group(job="warehouse", dag="operators")
    assert group.value("items_in_stock") == 42
    assert site.group(job="another") is None or site.group(job="another").families == ()
    key = {"dag_id": "operators", "task_id": "short_lived", "origin": "operator"}
    assert site.group(**key) is None
    assert len(site.proxy.pushes_of("x", job="airflow", **key)) == 1
    path = f"/dags/operators/dagRuns/{run.run_id}/taskInstances/rejected/logs/1"
    assert "inconsistent" in json.dumps(site.airflow.api("GET", path))


def test_own_metrics_arrive_from_wherever_a_tasks_code_runs(site):
    assert site.runs["own_metrics"].wait() == "success"
    for task_id, metric, value in (
        ("at_module_level", "top_level_rows", 7),
        ("elsewhere", "external_rows", 8),
        ("in_a_child", "top_level_rows", 9),
        ("in_bash", "bash_rows", 10),
    ):
        group = site.wait_for(metric, dag_id="own_metrics", task_id=task_id, origin="job")
        assert group.value(metric) == value
    key = {"dag_id": "own_metrics", "task_id": "mapped"}
    whole = site.wait_for("mapped_rows", **key, origin="job")
    rows = {sample.labels["table"]: sample.value for sample in whole.family("mapped_rows").samples}
    assert rows == {"orders": 6, "users": 5, "lines": 5}
    until(lambda: not site.group(**key, origin="job[2]"), "the instances' groups end", PATIENCE)


def test_of_what_is_renamed_paused_or_deleted_nothing_is_due_and_nothing_stays(site):
    """Each run's end has the scheduler look at once, and not within half a minute."""
    interval = "batch_job_expected_interval_seconds"
    old = {"dag_id": "renamed", "task_id": "old_name"}
    assert site.wait_for(SUCCESS, **old).value(interval) == 86400
    site.wait_for(SUCCESS, dag_id="renamed")

    file = site.dags / "renamed.py"
    file.write_text(file.read_text().replace("old_name", "new_name"))
    site.airflow.parse("renamed", "new_name")
    site.airflow.run("renamed")
    until(lambda: not site.group(**old), site.airflow.logs, PATIENCE)
    assert site.group(dag_id="renamed", task_id="new_name").value(SUCCESS)

    site.airflow.api("PATCH", "/dags/renamed", {"is_paused": True})
    site.airflow.run("called_back")
    until(
        lambda: math.isnan(site.group(dag_id="renamed").value(interval)),
        site.airflow.logs,
        PATIENCE,
    )

    file.unlink()
    site.airflow.api("DELETE", "/dags/renamed")
    site.airflow.run("called_back")
    until(
        lambda: all(g.labels.get("dag_id") != "renamed" for g in site.gateway.groups()),
        site.airflow.logs,
        PATIENCE,
    )


def test_a_gateway_that_hangs_stops_neither_the_scheduler_nor_a_run(site):
    for run in site.runs.values():
        run.wait()
    site.proxy.hang()
    try:
        with site.airflow.heartbeat_gaps() as gaps:
            run = site.airflow.run("while_shut")
        assert run.tasks() == {"fails": "failed", "cleanup": "success"}
        assert site.proxy.met_fault > 0
        assert len(gaps) > 2
    finally:
        site.proxy.heal()
    # What a task's own process could not push in time, the scheduler still does.
    site.wait_for(SUCCESS, dag_id="while_shut")
    site.wait_for(FAILURE, dag_id="while_shut", task_id="fails")
    # And what only the task knew comes from its host's outbox, by whoever pushes there next.
    site.airflow.run("listened")
    own = site.wait_for("rows_loaded", dag_id="while_shut", task_id="fails", origin="job")
    assert own.value("rows_loaded") == 7


def test_a_scheduler_that_is_stopped_first_says_what_it_knows(site):
    after = site.wait_for(UPSTREAM_FAILED, dag_id="listened", task_id="after")
    told = after.value(UPSTREAM_FAILED)
    site.airflow.run("listened")
    assert site.airflow.services["scheduler"].stop() == 0
    assert site.group(dag_id="listened", task_id="after").value(UPSTREAM_FAILED) > told
