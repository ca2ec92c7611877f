"""The labels of a DAG's runs come from the DAG and its run, whichever task Airflow names."""

from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from airflow.sdk import DAG, BaseOperator

from pushgate_airflow import PushgatewayNotifier


@pytest.fixture
def dag():
    with DAG("labels", schedule=None, params={"team": "core"}) as dag:
        BaseOperator(task_id="first", owner="ann")
        BaseOperator(task_id="second", owner="bob", params={"team": "b"})
    return dag


def context(dag, task_id, conf=None):
    """As the dag-processor makes it: with the task and the params of some task of the run."""
    task = dag.get_task(task_id)
    run = SimpleNamespace(state="failed", start_date=None, end_date=datetime.now(UTC), conf=conf)
    params = {**dag.params.dump(), **task.params.dump()}
    context = {"dag": dag, "dag_run": run, "run_id": "r", "reason": "task_failure"}
    return {**context, "ti": SimpleNamespace(task_id=task_id), "task": task, "params": params}


def test_the_runs_of_a_dag_are_in_one_group(dag, gateway_url, pushgateway, caplog):
    notify = PushgatewayNotifier(
        labels={"team": "{{ params.team }}", "owner": "{{ task.owner }}", "of": "{{ dag.dag_id }}"}
    )
    notify(context(dag, "first"))
    notify(context(dag, "second"))
    (group,) = pushgateway.groups()
    assert group.labels == {"job": "airflow", "dag_id": "labels", "team": "core", "of": "labels"}
    assert "without the label 'owner'" in caplog.text
    assert "no 'task'" in caplog.text


def test_a_run_may_choose_a_param(dag, gateway_url, pushgateway):
    PushgatewayNotifier(labels={"team": "{{ params.team }}"})(
        context(dag, "second", {"team": "night"})
    )
    pushgateway.assert_pushed("batch_job_last_run_success", 0, team="night")


def test_a_function_of_a_task_is_refused_with_a_warning(dag, gateway_url, pushgateway, caplog):
    PushgatewayNotifier(labels=lambda _, context: {"owner": context["task"].owner})(
        context(dag, "first")
    )
    assert not pushgateway.groups()
    assert "no 'task'" in caplog.text


def test_a_deadline_alert_without_the_dag_says_what_it_lacks(gateway_url, pushgateway, caplog):
    run = {"dag_id": "labels", "dag_run_id": "r", "conf": {}}
    deadline = {"deadline_time": datetime.now(UTC).isoformat()}
    PushgatewayNotifier(labels={"team": "{{ params.team }}", "x": "y"}).notify(
        {"dag_run": run, "deadline": deadline}
    )
    pushgateway.assert_pushed("batch_job_last_deadline_missed_timestamp_seconds", x="y")
    assert "without the label 'team'" in caplog.text
