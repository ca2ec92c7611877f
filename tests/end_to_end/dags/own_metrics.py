"""Numbers of a task's own, from all the places where a task's code may run."""

import multiprocessing
import sys

from airflow.sdk import dag, task

from pushgate_airflow import metrics

TOP = metrics.gauge("top_level_rows", "Made where prometheus_client's users make theirs.")


@dag(schedule=None)
def own_metrics():
    @task
    def at_module_level():
        TOP.set(7)

    @task.external_python(python=sys.executable)
    def elsewhere():
        from pushgate_airflow import metrics

        metrics.gauge("external_rows", "Set in another interpreter.").set(8)

    @task
    def in_a_child():
        child = multiprocessing.get_context("fork").Process(target=TOP.set, args=(9,))
        child.start()
        child.join()

    @task.bash
    def in_bash():
        return 'echo "bash_rows 10" >> "$PUSHGATE_METRICS_FILE"'

    @task
    def mapped(table):
        metrics.gauge("mapped_rows", "One a table.", ["table"]).labels(table).set(len(table))

    at_module_level()
    elsewhere()
    in_a_child()
    in_bash()
    mapped.expand(table=["orders", "users", "lines"])


own_metrics()
