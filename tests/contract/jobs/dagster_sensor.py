"""A job by Dagster's in-process API, and then a tick of the sensor, as its daemon evaluates it.

The database and the cursor stay in the job's folder, as they outlive a code server. Without the
daemon, whose processes take seconds to start: tests/integrations/dagster has that.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

import dagster

import pushgate_dagster
from contract.jobs.body import body, log_to_stderr, tell

SILENT = {"telemetry": {"enabled": False}}  # it writes to stderr
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
told: dict[str, object] = {}


@dagster.op
def work() -> None:
    if told:
        body(told)


@dagster.job
def load() -> None:
    work()


# An empty database takes a second to make, and the first run a second for its imports.
template = tempfile.mkdtemp(prefix="dagster")
with dagster.DagsterInstance.local_temp(template, SILENT) as instance:
    load.execute_in_process(QUIET, instance)
    instance.wipe()


def run(job: Mapping[str, object]) -> None:
    log_to_stderr()
    if not Path("home").exists():
        shutil.copytree(template, "home")
    with dagster.DagsterInstance.local_temp("home", SILENT) as instance:
        if not job["only_later"]:
            told.update(job)
            result = load.execute_in_process(QUIET, instance, raise_on_error=False)
            tell("success" if result.success else "failure")
        tick(instance)


def tick(instance: dagster.DagsterInstance) -> None:
    kept = Path("cursor")
    cursor = kept.read_text() if kept.exists() else None
    context = dagster.build_sensor_context(instance, cursor)
    pushgate_dagster.outcome_sensor()(context)
    kept.write_text(context.cursor or "")
