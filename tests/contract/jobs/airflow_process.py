"""Airflow's own code around a task, and around a DAG's run, with the listener that the plugin adds.

A task ends as in its process: Airflow's `finalize` calls callbacks and listeners. A run begins and
ends as in the scheduler, whose hooks get a DagRun of the database.
"""

from __future__ import annotations

import datetime
import os
import uuid
from collections.abc import Mapping
from types import SimpleNamespace

os.environ["AIRFLOW_HOME"] = os.getcwd()
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
os.environ["AIRFLOW__LOGGING__LOGGING_LEVEL"] = "ERROR"

import airflow.jobs.scheduler_job_runner  # noqa: F401 - as in a scheduler, before it forks
import structlog
from airflow.listeners.listener import get_listener_manager as of_the_core
from airflow.models.dagrun import DagRun
from airflow.sdk import DAG, BaseOperator
from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance, finalize
from airflow.sdk.listener import get_listener_manager as of_a_task
from airflow.utils.state import DagRunState, TaskInstanceState
from sqlalchemy.orm import configure_mappers

from contract.jobs.body import JobError, body, log_to_stderr, tell

configure_mappers()  # takes a second


def now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def run(job: Mapping[str, object]) -> None:
    log_to_stderr()
    {"task": run_task, "scheduler": run_dag}[str(job["process"])](job)


def run_task(job: Mapping[str, object]) -> None:
    with DAG("contract", schedule=None):
        task = BaseOperator(task_id="load")
    ti = RuntimeTaskInstance.model_construct(
        id=uuid.uuid4(),
        dag_id="contract",
        task_id="load",
        run_id="r",
        try_number=1,
        map_index=-1,
        task=task,
        start_date=now(),
        state=TaskInstanceState.RUNNING,
    )
    hook = of_a_task().hook
    hook.on_task_instance_running(previous_state=TaskInstanceState.QUEUED, task_instance=ti)
    error = None
    try:
        body(job)
        ti.state = TaskInstanceState.SUCCESS
    except JobError as raised:
        ti.state, error = TaskInstanceState.FAILED, raised
    ti.end_date = now()
    log = structlog.get_logger()
    finalize(ti, ti.state, ti.get_template_context(), log, error)
    tell("failure" if ti.state == TaskInstanceState.FAILED else "success")


def run_dag(job: Mapping[str, object]) -> None:
    dag_run = DagRun("contract", "r", start_date=now(), state=DagRunState.RUNNING)
    hook = of_the_core().hook
    hook.on_dag_run_running(dag_run=dag_run, msg="")
    try:
        body(job)
        dag_run.state, end = DagRunState.SUCCESS, hook.on_dag_run_success
    except JobError:
        dag_run.state, end = DagRunState.FAILED, hook.on_dag_run_failed
    dag_run.end_date = now()
    end(dag_run=dag_run, msg="")
    tell("failure" if dag_run.state == DagRunState.FAILED else "success")
    hook.before_stopping(component=SimpleNamespace(job_type="SchedulerJob"))
