"""Every way in which a task ends, with the notifier in every slot."""

import os
import signal
from datetime import timedelta

from airflow.exceptions import AirflowSkipException
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import dag, get_current_context, task

from pushgate_airflow import PushgatewayNotifier, metrics

report = PushgatewayNotifier()


@dag(
    schedule=None,
    default_args={f"on_{slot}_callback": report for slot in ("execute", "success", "failure")}
    | {f"on_{slot}_callback": report for slot in ("retry", "skipped")},
    on_success_callback=report,
    on_failure_callback=report,
)
def outcomes():
    @task
    def ok():
        rows = metrics.gauge("rows_loaded", "Rows that the last run loaded.", ["table"])
        rows.labels("orders").set(42)

    @task
    def fails():
        raise ValueError("on purpose")

    @task(retries=1, retry_delay=timedelta(0))
    def retries():
        if get_current_context()["ti"].try_number == 1:
            raise ValueError("the first time")

    @task
    def skips():
        raise AirflowSkipException

    @task
    def killed():
        os.kill(os.getpid(), signal.SIGKILL)

    @task.branch
    def branch():
        return "chosen"

    @task
    def mapped(number):
        if number == 2:
            raise ValueError(number)

    @task(trigger_rule="all_done")
    def cleanup():
        pass

    failed = fails()
    failed >> EmptyOperator(task_id="after_failure")
    branch() >> [EmptyOperator(task_id="chosen"), EmptyOperator(task_id="not_chosen")]
    ok() >> [retries(), skips()]
    mapped.expand(number=[0, 1, 2])
    [failed, killed()] >> cleanup()


outcomes()
