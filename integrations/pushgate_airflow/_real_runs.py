"""Which runs are reported: no test, no backfill, and none older than a run that has ended.

Those would overwrite what production's last run said (docs/adr/0018-only-real-runs-speak.md).
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from pushgate_airflow._configuration import configuration
from pushgate_airflow._events import expected_interval, plain_state

if TYPE_CHECKING:
    from pushgate_airflow._events import Event

_TEST = "it is a test run; set [pushgate] test_runs = True to push those, too"
_BACKFILL = "it is a backfill"
_OVERTAKEN = "a run of a later date has ended before"

# `airflow tasks test` gives its run this name.
# https://github.com/apache/airflow/blob/3.3.2/airflow-core/src/airflow/cli/commands/task_command.py
_TEST_RUN_ID = "__airflow_temporary_run_"
_BACKFILL_RUN_ID = "backfill__"
# Seconds. A run without a schedule that is younger than this is taken for the latest.
_IS_NEW = 60.0

# Test runs that this process knows: a DAG's callbacks in dag.test() are not told who began the run.
_MAX_TESTS = 100
_tests: dict[tuple[str, str], None] = {}


def is_reported(run: Any, event: Event, *, has_own_group: bool = False) -> bool:
    """Whether the run is neither a test nor a backfill; if not, one line says so.

    ``run`` is a DagRun of the database or of a task's process, a dict, or None where not known.
    ``has_own_group``: a backfill in a group of its own overwrites nothing.
    """
    name = (event.dag_id, event.run_id)
    is_test = name in _tests or _is_test(run, event.run_id) or _runs_in_test_process()
    if is_test and not configuration().test_runs:
        _tests[name] = None
        if len(_tests) > _MAX_TESTS:
            del _tests[next(iter(_tests))]
        return _left_out(event.dag_id, event.run_id, _TEST)
    if _is_backfill(run, event.run_id) and not has_own_group:
        return _left_out(event.dag_id, event.run_id, _BACKFILL)
    return True


def is_overtaken(dag: Any, run: Any) -> bool:
    """Whether a run of a later date has ended, by Airflow's supervisor, which may hang.

    For a task's process and a dag-processor. Asks only where a later run is possible. False where
    Airflow can't tell: before 3.1, and for runs without a logical date.
    """
    if run is None or _is_latest(dag, run):
        return False
    try:
        return any(_is_later(_latest(run, state), run) for state in ("success", "failed"))
    except Exception as error:  # Airflow's, of whatever kind: it is better to report the run
        logging.getLogger("pushgate").debug("whether a later run has ended: %r", error)
        return False


def is_overtaken_in_database(run: Any) -> bool:
    """The same in a scheduler, by at most one query in the session of ``run``."""
    due = _due(run)
    if due is None or _is_latest(_of(run, "dag"), run):
        return False
    from airflow.models.dagrun import DagRun
    from sqlalchemy import func, select
    from sqlalchemy.orm import object_session

    session = object_session(run)
    if session is None:  # as in dag.test()
        return False
    moment = datetime.fromtimestamp(due, UTC)
    later = select(DagRun.id).where(
        DagRun.dag_id == _of(run, "dag_id"),
        DagRun.state.in_(("success", "failed")),
        DagRun.run_type != "backfill",
        DagRun.run_after > moment,
        func.coalesce(DagRun.data_interval_end, DagRun.run_after) > moment,
        func.coalesce(DagRun.triggering_user_name, "") != "dag_test",
    )
    if session.execute(later.limit(1)).first() is None:
        return False
    return not _left_out(_of(run, "dag_id"), _of(run, "run_id"), _OVERTAKEN)


def _is_later(other: Any, run: Any) -> bool:
    due, its_due = _due(run), _due(other)
    if due is None or its_due is None or its_due <= due:
        return False
    if _is_test(other, _of(other, "run_id")) or _is_backfill(other, _of(other, "run_id")):
        return False
    return not _left_out(_of(run, "dag_id"), _of(run, "run_id"), _OVERTAKEN)


def _latest(run: Any, state: str) -> Any:
    """Of the DAG's runs that ended in ``state``, that of the latest logical date, or None."""
    from airflow.sdk.execution_time import task_runner
    from airflow.sdk.execution_time.comms import GetPreviousDagRun

    end_of_time = datetime(9999, 1, 1, tzinfo=UTC)
    question = GetPreviousDagRun(dag_id=_of(run, "dag_id"), logical_date=end_of_time, state=state)
    return task_runner.SUPERVISOR_COMMS.send(question).dag_run  # type: ignore[union-attr]


def _is_latest(dag: Any, run: Any) -> bool:
    """Whether the schedule shows that no later run can have ended."""
    due = _due(run)
    if due is None:
        return True
    interval = None if dag is None else expected_interval(dag, run)
    return time.time() < due + max(interval or 0.0, _IS_NEW)


def _due(run: Any) -> float | None:
    """The moment that the run is for. One that is triggered for an old date is due then."""
    moments = (_of(run, "run_after"), _of(run, "data_interval_end"))
    return min((moment.timestamp() for moment in moments if moment is not None), default=None)


def _is_test(run: Any, run_id: str) -> bool:
    return (
        run_id.startswith(_TEST_RUN_ID)
        or plain_state(_of(run, "triggered_by")) == "test"
        or _of(run, "triggering_user_name") == "dag_test"  # a task's process knows no more
    )


def _is_backfill(run: Any, run_id: str) -> bool:
    return plain_state(_of(run, "run_type")) == "backfill" or run_id.startswith(_BACKFILL_RUN_ID)


def _runs_in_test_process() -> bool:
    """Whether this process runs tasks itself, as ``dag.test()`` and ``airflow tasks test`` do."""
    runner = sys.modules.get("airflow.sdk.execution_time.task_runner")
    comms = getattr(runner, "SUPERVISOR_COMMS", None)
    return type(comms).__name__ == "InProcessSupervisorComms"


def _of(run: Any, name: str) -> Any:
    """A field of a run. Of a database's object, only what is loaded."""
    if isinstance(run, Mapping):
        return run.get(name)
    if "_sa_instance_state" in getattr(run, "__dict__", ()):
        return vars(run).get(name)
    return getattr(run, name, None)


@lru_cache(maxsize=1000)
def _left_out(dag_id: str, run_id: str, why: str) -> bool:
    """Log, once, that nothing of the run is pushed. Always False."""
    text = "nothing is pushed of the run %r of %r: %s"
    logging.getLogger("pushgate").info(text, run_id, dag_id, why)
    return False
