"""A DAG without a callback: the listener reports it."""

from datetime import timedelta

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import dag, task
from airflow.sdk.exceptions import AirflowException, AirflowSkipException

from pushgate_airflow import metrics


@dag(schedule="@hourly")
def observed():
    @task
    def loads():
        metrics.gauge("rows_loaded", "Rows loaded.").set(42)

    @task
    def fails():
        raise AirflowException("no such table")

    @task
    def after_a_failure():
        """It never runs."""

    @task(retries=1, retry_delay=timedelta(0))
    def tries_again(ti=None):
        if ti.try_number == 1:
            raise AirflowException("not yet")

    @task
    def skips_itself():
        raise AirflowSkipException

    @task.branch
    def chooses():
        return "chosen"

    @task
    def chosen():
        pass

    @task
    def not_chosen():
        pass

    @task
    def each(table):
        if table == "refunds":
            raise AirflowException("no such table")

    @task
    def each_is_well(table):
        pass

    loads()
    fails() >> after_a_failure()
    tries_again()
    skips_itself()
    chooses() >> [chosen(), not_chosen()]
    each.expand(table=["orders", "refunds", "users"])
    each_is_well.expand(table=["orders", "users"])
    EmptyOperator(task_id="nothing")


observed()
