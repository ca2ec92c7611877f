"""More tasks than one worker of two processes takes at once, of which some fail."""

import os
import signal
from datetime import timedelta

from airflow.sdk import dag, get_current_context, task

from pushgate_airflow import PushgatewayNotifier

report = PushgatewayNotifier()


@dag(
    schedule=None,
    default_args={"on_success_callback": report, "on_failure_callback": report},
    on_success_callback=report,
    on_failure_callback=report,
)
def spread():
    @task
    def ok():
        pass

    @task
    def fails():
        raise ValueError("on purpose")

    @task(retries=1, retry_delay=timedelta(0))
    def retries():
        if get_current_context()["ti"].try_number == 1:
            raise ValueError("the first time")

    @task
    def killed():
        os.kill(os.getpid(), signal.SIGKILL)

    for number in range(6):
        ok.override(task_id=f"ok_{number}")()
    fails()
    retries()
    killed()


spread()
