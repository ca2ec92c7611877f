"""Airflow on several machines' worth of processes: Celery on redis, PostgreSQL, two workers."""

import os
from contextlib import ExitStack
from pathlib import Path

import pytest

from pushgate import Gateway
from support import airflow_services, brokers, debian, fault_proxy, older_celery, postgres, servers
from support.airflow_rest import until

pytestmark = pytest.mark.end_to_end

DAGS = Path(__file__).parent / "dags"
WORKERS = ("w1", "w2")
END = "batch_job_last_completion_timestamp_seconds"
SUCCEED = (*(f"ok_{number}" for number in range(6)), "retries")
FAIL = ("fails", "killed")


@pytest.fixture
def dags(tmp_path):
    """The one DAG of this test: parsing the others would only take time."""
    folder = tmp_path / "dags"
    folder.mkdir()
    (folder / "spread.py").symlink_to(DAGS / "spread.py")
    return folder


def test_two_workers_and_a_scheduler_report_each_end_once(tmp_path, dags):
    airflow_services.require()
    with ExitStack() as stack:
        server = stack.enter_context(servers.pushgateway(debian.require("pushgateway-1.11")))
        proxy = stack.enter_context(fault_proxy.fault_proxy(server.port))
        redis = stack.enter_context(brokers.redis())
        database = stack.enter_context(postgres.postgresql())
        path = [*older_celery.require(), *filter(None, [os.environ.get("PYTHONPATH")])]
        worker = ("celery", "worker", "--skip-serve-logs", "--without-mingle", "--without-gossip")
        airflow = stack.enter_context(
            airflow_services.airflow(
                tmp_path / "airflow",
                dags,
                {
                    "core__executor": "CeleryExecutor",
                    "core__parallelism": "8",
                    "celery__broker_url": f"{redis}/0",
                    "celery__result_backend": f"db+{database}",
                    "celery__worker_concurrency": "2",
                    "database__sql_alchemy_conn": database,
                    "pushgate__gateway": proxy.url,
                    "pushgate__listener": "True",
                },
                {"C_FORCE_ROOT": "1", "PYTHONPATH": os.pathsep.join(path)},
                more={name: (*worker, "--celery-hostname", f"{name}@test") for name in WORKERS},
            )
        )
        for name in WORKERS:
            airflow.services[name].wait_logged(" ready.")
        airflow.wait_parsed({"spread"})

        run = airflow.trigger("spread")
        assert run.wait() == "failed"
        states = dict.fromkeys(SUCCEED, "success") | dict.fromkeys(FAIL, "failed")
        assert run.tasks() == states
        for name in WORKERS:
            assert "received" in airflow.services[name].log, f"{name} had no task"

        gateway = Gateway(server.url)

        def held():
            groups = [g for g in gateway.groups() if g.labels.get("dag_id") == "spread"]
            ended = {
                g.labels.get("task_id"): g.value("batch_job_last_run_success")
                for g in groups
                if g.value(END) is not None
            }
            return ended if len(ended) == len(states) + 1 else None

        wanted = dict.fromkeys(SUCCEED, 1) | dict.fromkeys((*FAIL, None), 0)
        assert until(held, lambda: f"all groups are there\n{airflow.logs()}") == wanted
        # What ended twice by mistake would have been pushed by now, or is once the scheduler ends.
        airflow.services["scheduler"].stop()
        for labels in ({}, *({"task_id": task_id} for task_id in states)):
            pushes = proxy.pushes_of(END, job="airflow", dag_id="spread", **labels)
            assert len(pushes) == 1, pushes
