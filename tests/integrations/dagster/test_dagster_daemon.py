"""A real Dagster with its daemon: code server, run workers, run queue and run monitoring."""

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import dagster
import pytest

from pushgate import Gateway, job_rows
from pushgate.embedded import EmbeddedGateway
from support.fault_proxy import fault_proxy

PATIENCE = 120.0  # seconds
CODE_LOCATION = Path(__file__).with_name("code_location.py")
CONFIGURATION = """
telemetry: {enabled: false}
run_monitoring: {enabled: true, poll_interval_seconds: 1}
run_coordinator:
  module: dagster.core.run_coordinator
  class: QueuedRunCoordinator
  config:
    dequeue_interval_seconds: 1
    tag_concurrency_limits: [{key: held, limit: 0}]
"""


class Site:
    def __init__(self, home, gateway, proxy):
        self.home = home
        self.proxy = proxy
        self._gateway = Gateway(gateway.url)

    def launch(self, *names):
        (self.home / "launch.new").write_text(" ".join(names))
        (self.home / "launch.new").rename(self.home / "launch")

    def rows(self):
        groups = self._gateway.groups()
        return {row.labels["task"]: row for row in job_rows(groups, now=time.time())}

    def wait_for(self, **outcomes):
        """Wait until the gateway holds these of the jobs."""
        self.wait(lambda: {name: row.outcome for name, row in self.rows().items()} == outcomes)
        return self.rows()

    def wait(self, condition):
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline, f"{self.rows()}\n{self.log()}"
            time.sleep(0.2)

    def log(self):
        return (self.home / "log").read_text()

    def ends(self, task):
        labels = {"job": "dagster", "task": task, "code_location": CODE_LOCATION.name}
        return len(self.proxy.pushes_of("batch_job_last_completion_timestamp_seconds", **labels))


@contextmanager
def daemon(home, gateway_url):
    """Ends with all that it has started."""
    environment = {**os.environ, "DAGSTER_HOME": str(home), "PUSHGATE_GATEWAY": gateway_url}
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(
            [Path(sys.executable).with_name("dagster-daemon"), "run", "-f", CODE_LOCATION],
            env=environment,
            cwd=home,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            yield
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


@pytest.mark.end_to_end
def test_runs_are_told_however_they_end_and_after_an_outage_and_a_restart(tmp_path):
    (tmp_path / "dagster.yaml").write_text(CONFIGURATION)
    with (
        dagster.DagsterInstance.from_config(str(tmp_path)) as instance,
        EmbeddedGateway() as gateway,
        fault_proxy(int(gateway.url.rpartition(":")[2]), down=True) as proxy,
    ):
        site = Site(tmp_path, gateway, proxy)
        site.launch("succeeds", "fails", "crashes")
        with daemon(tmp_path, proxy.url):
            site.wait(lambda: {run.is_finished for run in instance.get_runs()} == {True})
            site.wait(lambda: "wait in Dagster's database" in site.log())
        assert site.rows() == {}

        proxy.listen()
        site.launch("sleeps", "queues")
        with daemon(tmp_path, proxy.url):
            rows = site.wait_for(
                succeeds="succeeded",
                fails="failed",
                crashes="failed",
                sleeps="running",
                queues="unknown",
            )
            run_id = rows["fails"].info["run_id"]
            url = f"https://dagster.example/runs/{run_id}"
            assert rows["fails"].info == {"exception": "KeyError", "run_id": run_id, "url": url}
            assert rows["queues"].missed_deadline
            assert {row.labels["code_location"] for row in rows.values()} == {CODE_LOCATION.name}

            [sleeping] = instance.get_runs(dagster.RunsFilter(job_name="sleeps"))
            instance.run_launcher.terminate(sleeping.run_id)
            [queued] = instance.get_runs(dagster.RunsFilter(job_name="queues"))
            instance.report_run_canceled(queued)
            rows = site.wait_for(
                succeeds="succeeded",
                fails="failed",
                crashes="failed",
                sleeps="skipped",
                queues="skipped",
            )
            assert rows["sleeps"].duration > 0
            assert rows["queues"].duration is None
        ended = ("succeeds", "fails", "crashes", "sleeps")
        assert {name: site.ends(name) for name in ended} == dict.fromkeys(ended, 1)
