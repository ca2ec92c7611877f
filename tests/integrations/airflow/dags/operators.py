"""DAGs of test_operators.py. What they push comes from the run's ``conf``."""

from datetime import timedelta

from airflow.sdk import dag, task
from prometheus_client import CollectorRegistry, Counter

from pushgate_airflow import PruneGroupsOperator, PushMetricsOperator

FAILURES = []  # (try number, exception) of operator_fails


def fill(registry: CollectorRegistry) -> None:
    Counter("files_seen", "Files seen", ["kind"], registry=registry).labels("csv").inc(3)


def failed(context):
    FAILURES.append((context["ti"].try_number, context["exception"]))


@dag(schedule=None)
def operator_kinds():
    @task
    def load():
        return 42

    rows = load()
    PushMetricsOperator(
        task_id="from_dict",
        metrics={
            "rows_loaded": rows,
            'rows_by{table="orders"}': "{{ ti.xcom_pull('load') }}",
            'rows_by{table="users"}': 7,
        },
    )
    PushMetricsOperator(
        task_id="from_text",
        job="{{ dag.dag_id }}_text",
        grouping_key={"kind": "{{ dag_run.conf['kind'] }}"},
        metrics="""
            # HELP rows_total Rows so far
            # TYPE rows_total counter
            rows_total {{ 40 + 2 }}
        """,
        method="PUT",
    )
    PushMetricsOperator(task_id="from_function", metrics=fill, grouping_key={})


@dag(schedule=None)
def operator_mapped():
    PushMetricsOperator.partial(task_id="push", method="PUT").expand_kwargs(
        [
            {"metrics": {"rows_in_part": part}, "grouping_key": {"part": str(part)}}
            for part in (1, 2, 3)
        ]
    )

    PushMetricsOperator.partial(task_id="fill", metrics=fill).expand(
        grouping_key=[{"part": "a"}, {"part": "b"}]
    )


@dag(schedule=None)
def operator_mapped_without_a_key():
    PushMetricsOperator.partial(task_id="push", on_failure_callback=failed).expand(
        metrics=[{"rows_in_part": 1}, {"rows_in_part": 2}]
    )


@dag(
    schedule=None,
    default_args={"retries": 1, "retry_delay": timedelta(0), "on_failure_callback": failed},
)
def operator_prunes():
    PruneGroupsOperator(
        task_id="prune",
        older_than="{{ dag_run.conf['older_than'] }}",
        force=True,
        matchers=["job={{ dag_run.conf['job'] }}"],
    )


@dag(
    schedule=None,
    default_args={
        "retries": 1,
        "retry_delay": timedelta(0),
        "on_retry_callback": failed,
        "on_failure_callback": failed,
    },
    render_template_as_native_obj=True,
)
def operator_fails():
    PushMetricsOperator(
        task_id="push",
        metrics="{{ dag_run.conf['metrics'] }}",
        grouping_key="{{ dag_run.conf.get('grouping_key', {}) }}",
        timeout=2,
    )


operator_kinds()
operator_mapped()
operator_mapped_without_a_key()
operator_prunes()
operator_fails()
