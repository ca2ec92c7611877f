"""The replay rule for families that are not stored yet, such as those of Airflow's scheduler."""

import pytest

from pushgate import (
    Gateway,
    GroupingKey,
    JobRun,
    Outcome,
    end_families,
    gauge,
    newer_families,
    start_families,
)

NOW = 10_000.0
KEY = GroupingKey("etl")
RUN = JobRun(KEY, started_at=NOW - 60)


def outcome(status, ended_at=NOW - 10):
    return Outcome(status, ended_at, duration=50.0)


def told(gateway, run, end):
    """The gateway's group after this end was pushed."""
    families = start_families(run) if end is None else end_families(run, end)
    gateway_of(gateway).pushadd(KEY, families)
    return gateway.groups(**KEY.labels)[0]


def gateway_of(gateway):
    return Gateway(gateway.url)


@pytest.mark.parametrize("status", ["success", "failure", "skipped", "retry"])
def test_an_end_that_the_group_shows_says_nothing_newer(pushgateway, status):
    families = end_families(RUN, outcome(status))
    assert newer_families(families, None) == families
    group = told(pushgateway, RUN, outcome(status))
    assert newer_families(families, group) == []
    # Airflow's database knows the start earlier and the end later than the task's process.
    late = end_families(RUN._replace(started_at=NOW - 74), outcome(status, NOW - 8))
    assert newer_families(late, group)
    assert newer_families(late, group, run_started_at=NOW - 74) == []


@pytest.mark.parametrize(("held", "new"), [("failure", "success"), ("success", "failure")])
def test_another_kind_of_end_of_the_same_run_is_newer(pushgateway, held, new):
    group = told(pushgateway, RUN, outcome(held))
    families = newer_families(end_families(RUN, outcome(new)), group, run_started_at=NOW - 60)
    gateway_of(pushgateway).pushadd(KEY, families)
    pushgateway.assert_pushed("batch_job_last_run_success", int(new == "success"))
    pushgateway.assert_pushed(f"batch_job_last_{new}_timestamp_seconds", NOW - 10)


def test_what_comes_late_brings_the_times_that_are_missing_and_no_values(pushgateway):
    group = told(pushgateway, RUN._replace(started_at=NOW), outcome("success", NOW + 50))
    (family,) = newer_families(end_families(RUN, outcome("failure")), group)
    assert family.name == "batch_job_last_failure_timestamp_seconds"
    assert newer_families(start_families(RUN), group) == []


def test_who_does_not_know_why_a_run_failed_takes_nothing_from_what_is_told(pushgateway):
    run = RUN._replace(host="h1", run_id="r1", url="http://airflow/tasks/t/mapped/2")
    group = told(pushgateway, run, outcome("failure")._replace(exception="KeyError"))
    whole = run._replace(host="", url="http://airflow/tasks/t")  # a mapped task, by the database
    for run_id, is_newer in (("r1", False), ("r2", True)):
        families = end_families(whole._replace(run_id=run_id), outcome("failure"))
        found = [family.name for family in newer_families(families, group)]
        assert ("batch_job_last_run_info" in found) == is_newer


def test_families_of_other_names_are_left_to_the_caller(pushgateway):
    group = told(pushgateway, RUN, outcome("success"))
    rows = gauge("rows", "", 1)
    assert newer_families([rows], group) == [rows]
