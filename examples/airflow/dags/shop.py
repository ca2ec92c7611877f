"""A shop's night: an import, a charge that is declined, a count for the gateway.

One object in the slots of `default_args` reports every task, whatever the way in which it ends.
"""

from datetime import datetime, timedelta

from airflow.sdk import dag, task

from pushgate_airflow import PushgatewayNotifier, PushMetricsOperator, metrics

report = PushgatewayNotifier()  # to the connection pushgateway_default, or what is configured


@dag(
    schedule="@daily",
    start_date=datetime(2026, 1, 1),
    catchup=False,
    default_args={
        "on_success_callback": report,
        "on_failure_callback": report,
        "on_retry_callback": report,
        "on_skipped_callback": report,
        "retries": 1,
        "retry_delay": timedelta(seconds=1),
    },
    on_success_callback=report,
    on_failure_callback=report,
    params={"plums": 7},
)
def shop():
    @task
    def import_prices(table: str) -> int:
        rows = 1200
        imported = metrics.gauge("rows_imported", "Rows that the last run imported.", ["table"])
        imported.labels(table).set(rows)
        return rows

    @task(retries=0)
    def charge(order: int) -> None:
        if order == 13:
            raise ValueError(f"order {order} was declined")

    stock = PushMetricsOperator(
        task_id="report_stock",
        job="shop_stock",
        metrics={"items_in_stock": 42, 'items_ordered{item="plum"}': "{{ params.plums }}"},
    )
    import_prices("vegetables") >> [stock, charge(13)]


shop()
