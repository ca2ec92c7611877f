"""The code location of test_dagster_daemon.py. It launches what the file ``launch`` names."""

import os
import signal
import time
from pathlib import Path

import dagster

import pushgate_dagster


@dagster.op
def load():
    pass


@dagster.op
def lookup():
    raise KeyError("no such row")


@dagster.op
def crash():
    os.kill(os.getpid(), signal.SIGKILL)


@dagster.op
def sleep():
    time.sleep(600)


def job(name, op, **tags):
    graph = dagster.GraphDefinition(name, node_defs=[op])
    return graph.to_job(executor_def=dagster.in_process_executor, tags=tags)


JOBS = [
    job("succeeds", load),
    job("fails", lookup),
    job("crashes", crash),
    job("sleeps", sleep),
    job("queues", load, held="yes"),
]


@dagster.sensor(
    jobs=JOBS,
    minimum_interval_seconds=1,
    default_status=dagster.DefaultSensorStatus.RUNNING,
)
def launch(context):
    wanted = Path(os.environ["DAGSTER_HOME"], "launch").read_text()
    if wanted != context.cursor:
        context.update_cursor(wanted)
        for name in wanted.split():
            yield dagster.RunRequest(job_name=name)


defs = dagster.Definitions(
    jobs=JOBS,
    sensors=[
        launch,
        pushgate_dagster.outcome_sensor(
            minimum_interval_seconds=1,
            queue_deadline=1,
            webserver_url="https://dagster.example/",
        ),
    ],
)
