"""The events that callbacks are called for, from the contexts that Airflow makes.

A task's own process: recorded in a real run. The dag-processor: its own code runs the callbacks, on
requests that are built as the scheduler builds them. A deadline: a context as Airflow makes it.
"""

from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
import structlog

from pushgate_airflow._events import Event
from support.airflow_records import RECORDS, recording

LOG = structlog.get_logger()
SIX_HOURS = 21_600.0


def event_of(context):
    """What a notifier says of ``context``."""
    RECORDS.clear()
    recording("by hand")(context)
    (record,) = RECORDS
    return record.event


@pytest.fixture(scope="module")
def run(dags):
    """A run of ``recorded``, whose contexts are in ``in_task``."""
    RECORDS.clear()
    return dags["recorded"].test()


@pytest.fixture
def bag(dags):
    return SimpleNamespace(dags=dags)


def requested(bag, request):
    """What the dag-processor's callbacks were given for ``request``: slot, and Event."""
    from airflow.dag_processing.processor import _execute_callbacks

    RECORDS.clear()
    _execute_callbacks(bag, [request], LOG)
    return [(record.slot, record.event) for record in RECORDS]


PLACE = {"filepath": "recorded.py", "bundle_name": "dags-folder", "bundle_version": None}


@pytest.mark.parametrize("last_ti", [True, False], ids=["", "no task to name"])
@pytest.mark.parametrize(
    ("reason", "state"),
    [("success", "success"), ("task_failure", "failed"), ("timed_out", "failed")],
)
def test_a_run_in_the_dag_processor(bag, run, reason, state, last_ti):
    from airflow.callbacks.callback_requests import DagCallbackRequest, DagRunContext

    run.state, run.run_type = state, "scheduled"
    ti = run.get_task_instances()[0] if last_ti else None
    request = DagCallbackRequest(
        dag_id="recorded",
        run_id=run.run_id,
        context_from_server=DagRunContext(dag_run=run, last_ti=ti),
        is_failure_callback=state == "failed",
        msg=reason,
        **PLACE,
    )
    ((_, event),) = requested(bag, request)

    assert (event.dag_id, event.task_id, event.state) == ("recorded", None, state)
    assert event.run_id == run.run_id
    if last_ti:
        assert event.started_at == run.start_date.timestamp()
        assert event.ended_at == run.end_date.timestamp()
        assert event.expected_interval == pytest.approx(SIX_HOURS, abs=1)


def lost(dag_run, ti, *, callback_type, max_tries, context=True):
    """The request for a task whose process is gone, as the scheduler makes it."""
    from airflow.api_fastapi.execution_api.datamodels.taskinstance import DagRun, TIRunContext
    from airflow.callbacks.callback_requests import TaskCallbackRequest

    return TaskCallbackRequest(
        ti=ti,
        msg="killed",
        task_callback_type=callback_type,
        context_from_server=TIRunContext(
            dag_run=DagRun.model_validate(dag_run, from_attributes=True),
            max_tries=max_tries,
            variables=[],
            connections=[],
            xcom_keys_to_clear=[],
        )
        if context
        else None,
        **PLACE,
    )


@pytest.mark.parametrize(
    ("callback_type", "try_number", "state"),
    [
        ("up_for_retry", 1, "up_for_retry"),
        ("failed", 2, "failed"),
        (None, 1, "failed"),  # stuck in the queue: that is not tried again
    ],
)
def test_a_lost_task_in_the_dag_processor_is_what_its_slot_says(
    bag, run, callback_type, try_number, state
):
    from airflow.utils.state import TaskInstanceState

    run.run_type = "scheduled"
    ti = run.get_task_instance("fails")
    ti.try_number = try_number
    kind = callback_type and TaskInstanceState(callback_type)
    ((slot, event),) = requested(bag, lost(run, ti, callback_type=kind, max_tries=1))

    assert slot == {"up_for_retry": "retry", "failed": "failure"}[state]
    told = event._replace(ended_at=None, host="", exception="")
    assert told == Event(
        *("recorded", "fails", run.run_id, state, -1, try_number),
        expected_interval=pytest.approx(SIX_HOURS, abs=1),
    )


@pytest.mark.parametrize(("try_number", "state"), [(1, "up_for_retry"), (2, "failed")])
def test_a_lost_task_with_one_callback_in_both_slots_is_what_the_scheduler_decided(
    bag, run_dag, try_number, state
):
    from airflow.utils.state import TaskInstanceState

    dag_run = run_dag("shared_slots")
    ti = dag_run.get_task_instance("killed")
    ti.try_number = try_number
    request = lost(dag_run, ti, callback_type=TaskInstanceState(state), max_tries=1)
    ((_, event),) = requested(bag, request)
    assert event.state == state


def test_a_missed_deadline(run):
    from airflow.api_fastapi.core_api.datamodels.dag_run import DAGRunResponse
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session
    from sqlalchemy import select

    at = datetime(2026, 1, 1, tzinfo=UTC)
    with create_session() as session:
        of_the_database = session.scalar(select(DagRun).where(DagRun.run_id == run.run_id))
        dag_run = DAGRunResponse.model_validate(of_the_database).model_dump(mode="json")
    for deadline_time in (at, at.isoformat(), "2026-01-01T00:00:00Z"):
        event = event_of({"dag_run": dag_run, "deadline": {"deadline_time": deadline_time}})
        assert event[:4] == ("recorded", None, run.run_id, "deadline_missed")
        assert event.ended_at == at.timestamp()


def test_what_is_no_context_of_airflows_says_so(caplog):
    recording("by hand")({"dag_id": "etl"})
    assert "none of Airflow's" in caplog.text
