"""A DAG that knows nothing of pushgate: the listener reports it."""

from airflow.sdk import dag, task


@dag(schedule=None)
def backup():
    @task
    def dump() -> None:
        print("dumped")

    @task
    def upload() -> None:
        print("uploaded")

    dump() >> upload()


backup()
