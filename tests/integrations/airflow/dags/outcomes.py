"""A DAG for each way in which a task can end, all with one notifier for every slot."""

from datetime import timedelta

from airflow.sdk import dag, task
from airflow.sdk.exceptions import AirflowException

from pushgate_airflow import PushgatewayNotifier, metrics, push_outcome

notifier = PushgatewayNotifier()
SLOTS = [f"on_{slot}_callback" for slot in ("execute", "success", "failure", "retry", "skipped")]
ARGS = {**dict.fromkeys(SLOTS, notifier), "retry_delay": timedelta(0)}


@dag(schedule="0 0 * * *", default_args=ARGS, on_success_callback=notifier)
def succeeds():
    @task
    def load():
        metrics.gauge("rows_loaded", "Rows loaded.", ["table"]).labels("orders").set(42)
        metrics.registry()

    load()


@dag(default_args=ARGS, on_failure_callback=notifier)
def fails():
    @task
    def load():
        metrics.gauge("rows_loaded", "Rows loaded.").set(7)
        raise AirflowException("no such table")

    @task
    def after():
        """It never runs."""

    load() >> after()


def by_owner(event, context):
    return {"owner": context["task"].owner, "try": event.try_number, "task_id": None}


@dag(
    schedule=None,
    default_args={
        "on_success_callback": [
            PushgatewayNotifier(
                job="{{ dag.dag_id }}", labels={"table": "{{ params.table }}", "run": "nightly"}
            ),
            PushgatewayNotifier(job="by-owner", labels=by_owner),
            PushgatewayNotifier(job="per-run", run_id_lifetime=timedelta(days=1)),
        ],
    },
    params={"table": "orders"},
)
def labelled():
    @task
    def first():
        pass

    @task(params={"table": "users"})
    def second():
        pass

    first() >> second()


@dag(schedule=None, on_success_callback=push_outcome)
def plain():
    @task(on_success_callback=push_outcome)
    def load():
        pass

    load()


succeeds()
fails()
labelled()
plain()
