"""DAGs that know nothing of pushgate."""

import time
from datetime import datetime

from airflow.sdk import dag, task


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
    """Nobody triggers it: the scheduler makes one run, of the last day."""

    @task
    def ok():
        pass

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
