"""Callback, listener, and a task that waits for the end of the failed one."""

from airflow.sdk import dag, task

from pushgate_airflow import PushgatewayNotifier, metrics

report = PushgatewayNotifier()


@dag(
    schedule=None,
    default_args={"on_success_callback": report, "on_failure_callback": report},
    on_failure_callback=report,
    on_success_callback=report,
)
def while_shut():
    @task
    def fails():
        metrics.gauge("rows_loaded", "Rows loaded.").set(7)
        raise ValueError("on purpose")

    @task(trigger_rule="all_done")
    def cleanup():
        pass

    fails() >> cleanup()


while_shut()
