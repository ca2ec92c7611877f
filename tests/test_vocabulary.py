"""A run and its outcome as families: the one vocabulary."""

import re
from pathlib import Path

import pytest

from pushgate import (
    CommandEnd,
    DirectSink,
    Gateway,
    GroupingKey,
    JobRun,
    Outcome,
    Status,
    end_families,
    job_rows,
    mapped_families,
    start_families,
)
from pushgate.jobs import vocabulary

RUN = JobRun(GroupingKey("j"), started_at=100.0, expected_interval=60.0)
PREFIX = "batch_job_"


def published(families):
    return {family.name.removeprefix(PREFIX): family.samples[0].value for family in families}


def test_the_page_names_every_metric():
    page = (Path(__file__).parents[1] / "docs/reference/vocabulary.md").read_text()
    names = {value for value in vars(vocabulary).values() if str(value).startswith(PREFIX)}
    described = {f"{PREFIX}{name}" for name in re.findall(r"`(\w+)", page)}
    assert names - {PREFIX} <= described


def test_a_start():
    assert published(start_families(RUN)) == {
        "last_start_timestamp_seconds": 100.0,
        "expected_interval_seconds": 60.0,
    }


def test_a_success_and_a_failure_differ_in_two_metrics():
    success = published(end_families(RUN, Outcome(Status.SUCCESS, 130.0, duration=30.0)))
    failure = published(end_families(RUN, Outcome(Status.FAILURE, 130.0, duration=30.0)))
    assert success.pop("last_success_timestamp_seconds") == 130.0
    assert failure.pop("last_failure_timestamp_seconds") == 130.0
    assert (success.pop("last_run_success"), failure.pop("last_run_success")) == (1, 0)
    assert success == failure
    assert success["last_duration_seconds"] == 30.0
    assert success["last_completion_timestamp_seconds"] == 130.0


def test_a_clock_that_was_set_back_makes_no_negative_times():
    outcome = Outcome(Status.SUCCESS, 90.0, duration=-10.0, queue_wait=-1.0)
    told = published(end_families(RUN, outcome))
    assert (told["last_duration_seconds"], told["last_queue_wait_seconds"]) == (0.0, 0.0)


@pytest.mark.parametrize("status", [Status.SKIPPED, Status.UPSTREAM_FAILED])
def test_a_run_that_never_started_touches_nothing_else(status):
    families = end_families(RUN, Outcome(status, 130.0))
    assert published(families) == {f"last_{status.value}_timestamp_seconds": 130.0}


def test_a_run_that_began_and_then_skipped_is_no_longer_running():
    skipped = published(end_families(RUN, Outcome(Status.SKIPPED, 130.0, duration=30.0)))
    assert skipped == {
        "last_start_timestamp_seconds": 100.0,
        "expected_interval_seconds": 60.0,
        "last_completion_timestamp_seconds": 130.0,
        "last_skipped_timestamp_seconds": 130.0,
        "last_duration_seconds": 30.0,
        "last_run_info": 1,
    }


def test_a_try_that_is_tried_again_is_neither_a_failure_nor_an_end():
    outcome = Outcome(Status.RETRY, 130.0, duration=30.0, try_number=1, queue_wait=2.0)
    assert published(end_families(RUN, outcome)) == {
        "last_start_timestamp_seconds": 100.0,
        "expected_interval_seconds": 60.0,
        "last_retry_timestamp_seconds": 130.0,
        "last_try_number": 1,
        "last_queue_wait_seconds": 2.0,
        "last_run_info": 1,
    }


def test_a_missed_deadline_says_nothing_of_how_the_run_goes_on(pushgateway):
    DirectSink(Gateway(pushgateway.url)).missed_deadline(RUN, 120.0)
    (group,) = pushgateway.groups(job="j")
    assert group.value("batch_job_last_deadline_missed_timestamp_seconds") == 120.0
    assert [f.name for f in group.families if f.name.startswith(PREFIX)] == [
        "batch_job_last_deadline_missed_timestamp_seconds"
    ]


def test_a_group_of_one_run_says_when_it_may_go():
    run = JobRun(GroupingKey("j", {"run": "7"}), 100.0, expires_at=400.0)
    assert published(start_families(run))["group_expiry_timestamp_seconds"] == 400.0


def info_of(run, outcome):
    """The labels of `last_run_info`; None where it is not published."""
    found = [f for f in end_families(run, outcome) if f.name == "batch_job_last_run_info"]
    return found[0].samples[0].labels if found else None


WHERE = {"host": "db1", "run_id": "r7", "url": "https://a.example/log?try=1"}
FAILED = Outcome(Status.FAILURE, 130.0, exception="KeyError")


def test_a_failed_run_says_where_to_look_and_a_success_names_its_host_alone():
    run = RUN._replace(**WHERE)
    assert info_of(run, FAILED) == {**WHERE, "exception": "KeyError"}
    assert info_of(run, FAILED._replace(status="retry")) == {**WHERE, "exception": "KeyError"}
    for status in ("success", "skipped"):  # no new series with each run of a job that goes well
        assert info_of(run, FAILED._replace(status=status, duration=1.0)) == {"host": "db1"}
    assert info_of(run, Outcome(Status.SKIPPED, 130.0)) is None, "no run took place"
    assert info_of(RUN, Outcome(Status.FAILURE, 130.0)) == {}, "nothing is known"


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (CommandEnd(3), "exit 3"),
        (CommandEnd(137, signal=9), "signal 9"),
        (CommandEnd(124, signal=15, timed_out=True), "timed out"),
    ],
)
def test_a_command_says_how_it_failed(command, words):
    outcome = Outcome(Status.FAILURE, 130.0, command=command)
    assert info_of(RUN, outcome) == {"exception": words}
    assert info_of(RUN, outcome._replace(status=Status.SUCCESS)) == {}


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ({"host": "db\n1\udce4"}, {"host": "db?1?"}),
        ({"host": "h" * 900, "run_id": "r" * 900}, {"host": "h" * 255, "run_id": "r" * 250}),
        ({"url": "https://me:secret@a.example/log@1"}, {"url": "https://a.example/log@1"}),
        ({"url": "https://a.example/" + "x" * 1000}, {}),
    ],
)
def test_what_a_run_says_is_bounded_and_fit_for_every_gateway(given, shown):
    outcome = Outcome(Status.FAILURE, 130.0, exception="E")
    assert info_of(RUN._replace(**given), outcome) == {**shown, "exception": "E"}


def test_the_next_end_replaces_what_the_last_one_said_and_the_groups_labels_stay(gateway_url):
    gateway = Gateway(gateway_url)
    run = JobRun(GroupingKey("j", {"host": "db9"}), 100.0, **WHERE)
    for outcome in (FAILED, FAILED._replace(exception='Odd"\\'), Outcome("retry", 130.0)):
        gateway.pushadd(run.key, end_families(run, outcome))
    (group,) = gateway.groups()
    (sample,) = group.family("batch_job_last_run_info").samples
    assert sample.labels.items() >= {**WHERE, "job": "j", "host": "db9"}.items()
    assert "exception" not in sample.labels
    (row,) = job_rows([group], now=140.0)
    assert row.info == {**WHERE, "host": "db9"}
    assert "last_run_info" not in row.numbers
    gateway.pushadd(run.key, end_families(run._replace(host=""), Outcome("success", 150.0)))
    (row,) = job_rows(gateway.groups(), now=160.0)
    assert row.info == {"host": "db9"}, "a success tells of no run that failed before"


def test_a_status_may_be_its_value_and_nothing_else():
    by_value = end_families(RUN, Outcome("success", 130.0))
    assert published(by_value)["last_run_success"] == 1
    with pytest.raises(ValueError, match="succes"):
        end_families(RUN, Outcome("succes", 130.0))


def test_a_mapped_task_tells_how_many_instances_ended_in_each_state_and_the_longest():
    counts, longest = mapped_families({"success": 3, "failed": 0}, 12.5)
    assert [(s.labels, s.value) for s in counts.samples] == [
        ({"state": "success"}, 3.0),
        ({"state": "failed"}, 0.0),
    ]
    assert published([longest]) == {"last_mapped_longest_seconds": 12.5}
    assert len(mapped_families({"skipped": 2})) == 1, "no instance began, so none was the longest"
