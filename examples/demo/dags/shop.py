"""A DAG that only tells a number: the listener reports its tasks and runs."""

from datetime import UTC, datetime

from airflow.sdk import dag, task

from pushgate_airflow import metrics


@dag(schedule="@daily", start_date=datetime(2026, 1, 1, tzinfo=UTC), catchup=False)
def shop():
    @task
    def count_stock() -> None:
        metrics.gauge("items_in_stock", "Items in stock.").set(42)

    @task
    def charge() -> None:
        raise ValueError("order 13 was declined")

    count_stock() >> charge()


shop()
