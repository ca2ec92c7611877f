"""The DAG that a test changes: a task is renamed, then the DAG is paused, and deleted."""

from datetime import datetime

from airflow.sdk import dag, task


@dag(schedule="@daily", start_date=datetime(2026, 1, 1), catchup=False)
def renamed():
    @task(task_id="old_name")
    def work():
        pass

    work()


renamed()
