"""DAGs that the listener leaves out: what the gateway has of them came from callbacks alone."""

from datetime import timedelta

from airflow.sdk import AsyncCallback, DeadlineAlert, DeadlineReference, dag, task

from pushgate_airflow import PushgatewayNotifier

report = PushgatewayNotifier()


@dag(
    schedule=None,
    params={"fail": False},
    on_success_callback=report,
    on_failure_callback=report,
)
def called_back():
    @task
    def fails_if_asked(params):
        if params["fail"]:
            raise ValueError("on purpose")

    fails_if_asked()


@dag(
    schedule=None,
    deadline=DeadlineAlert(
        reference=DeadlineReference.DAGRUN_QUEUED_AT,
        interval=timedelta(milliseconds=1),
        callback=AsyncCallback(PushgatewayNotifier),
    ),
)
def overdue():
    @task
    def ok():
        pass

    ok()


called_back()
overdue()
