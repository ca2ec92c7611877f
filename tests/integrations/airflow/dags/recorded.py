"""DAGs whose callbacks keep the contexts they are given."""

from datetime import timedelta

from airflow.sdk import dag, task
from airflow.sdk.exceptions import AirflowException, AirflowSkipException

from support.airflow_records import recording

ALL = ("execute", "success", "failure", "retry", "skipped")
ARGS = {f"on_{slot}_callback": recording(slot) for slot in ALL}


@dag(
    schedule=timedelta(hours=6),
    default_args={**ARGS, "retry_delay": timedelta(0)},
    on_success_callback=recording("dag success"),
    on_failure_callback=recording("dag failure"),
)
def recorded():
    @task
    def skips_itself():
        raise AirflowSkipException

    @task(retries=1)
    def fails():
        raise AirflowException("on purpose")

    @task
    def succeeds(number):
        pass

    skips_itself()
    succeeds.expand(number=[1])
    fails()


@dag(schedule=None)
def shared_slots():
    """A callback that sits in both of the slots which the dag-processor calls alike."""
    both = recording("both")

    @task(retries=1, on_failure_callback=both, on_retry_callback=both)
    def killed():
        pass

    killed()


recorded()
shared_slots()
