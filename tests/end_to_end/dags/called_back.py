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


of_a_team = PushgatewayNotifier(
    job="team", labels={"team": "{{ params.team }}", "owner": "{{ task.owner }}"}
)


@dag(
    schedule=None,
    params={"team": "core", "fail": ""},
    on_success_callback=of_a_team,
    on_failure_callback=of_a_team,
)
def labelled():
    @task
    def first(params):
        if params["fail"] == "first":
            raise ValueError("on purpose")

    @task(owner="bob", params={"team": "b"})
    def second(params):
        if params["fail"] == "second":
            raise ValueError("on purpose")

    first() >> second()


called_back()
overdue()
labelled()
