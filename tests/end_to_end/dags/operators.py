"""A push, one that the gateway rejects, and a delete, by the connection in the database."""

from airflow.sdk import dag

from pushgate_airflow import DeleteGroupOperator, PushMetricsOperator


@dag(schedule=None)
def operators():
    push = PushMetricsOperator(
        task_id="push",
        job="warehouse",
        grouping_key={"dag": "{{ dag.dag_id }}"},
        metrics={"items_in_stock": 42},
    )
    rejected = PushMetricsOperator(
        task_id="rejected",
        job="another",
        # In the group warehouse it is a gauge.
        metrics="# TYPE items_in_stock counter\nitems_in_stock 1\n",
    )
    short_lived = PushMetricsOperator(task_id="short_lived", metrics={"x": 1})
    delete = DeleteGroupOperator(
        task_id="delete",
        job="airflow",
        grouping_key={"dag_id": "operators", "task_id": "short_lived", "origin": "operator"},
    )
    push >> rejected
    short_lived >> delete


operators()
