"""DAGs that know nothing of pushgate, but for numbers of their own."""

import time
from datetime import datetime

from airflow.sdk import dag, task

from pushgate_airflow import metrics


@dag(schedule=None)
def listened():
    @task
    def ok():
        pass

    @task
    def fails():
        raise ValueError("on purpose")

    @task
    def after():
        pass

    ok() >> fails() >> after()


@dag(schedule="@daily", start_date=datetime(2026, 1, 1), catchup=False)
def scheduled():
    """The scheduler makes one run, of the last day. Of a backfill, one fails."""

    @task
    def ok(dag_run):
        metrics.gauge("rows").set(1 if dag_run.run_type == "scheduled" else 2)
        if dag_run.run_type == "backfill" and dag_run.logical_date.day == 2:
            raise ValueError("on purpose")

    ok()


@dag(schedule=None)
def marked():
    @task
    def waits():
        time.sleep(600)  # Airflow ends it

    waits()


listened()
scheduled()
marked()
