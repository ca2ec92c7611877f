"""The operators in runs of DAGs: what arrives at a gateway, and how a task that can't fails."""

import time

import pytest
from airflow.sdk.exceptions import AirflowFailException

from pushgate import Gateway, GatewayRejectedError, GatewayUnreachableError, GroupingKey, gauge
from pushgate.embedded import EmbeddedGateway
from pushgate_airflow import DeleteGroupOperator, PruneGroupsOperator, PushMetricsOperator
from support.faults import FaultServer, answer, respond


@pytest.fixture
def server(gateway_url):
    """The gateway that is configured."""
    return Gateway(gateway_url)


def values(server, **labels):
    """What the group with exactly these labels holds, by name and the label ``table``."""
    group = next(group for group in server.groups() if group.labels == labels)
    return {
        f"{sample.name} {sample.labels.get('table', '')}".strip(): sample.value
        for family in group.families
        for sample in family.samples
    }


def test_a_dict_a_text_and_a_function_arrive_templated(server, run_dag):
    server.push("operator_kinds_text", [gauge("old", "", 1)], {"kind": "nightly"})
    server.push("airflow", [gauge("old", "", 1)])

    run = run_dag("operator_kinds", run_conf={"kind": "nightly"})

    assert run.state == "success"
    assert values(
        server, job="airflow", dag_id="operator_kinds", task_id="from_dict", origin="operator"
    ) == {"rows_loaded": 42, "rows_by orders": 42, "rows_by users": 7}
    # It is a PUT, the other one a POST.
    assert values(server, job="operator_kinds_text", kind="nightly") == {"rows_total": 42}
    found = values(server, job="airflow")
    assert (found["files_seen_total"], found["old"]) == (3, 1)
    types = {family.name: family.type for group in server.groups() for family in group.families}
    assert types["rows_by"] == "gauge"
    assert types["rows_total"] == "counter"


def test_mapped_tasks_push_each_to_its_own_group(server, run_dag):
    run = run_dag("operator_mapped")

    assert run.state == "success"
    for part in (1, 2, 3):
        assert values(server, job="airflow", part=str(part)) == {"rows_in_part": part}
    for part in ("a", "b"):
        assert values(server, job="airflow", part=part)["files_seen_total"] == 3


@pytest.fixture
def failures(dags):
    """The tries that failed, with their exceptions."""
    (callback,) = dags["operator_fails"].get_task("push").on_failure_callback
    found = callback.__globals__["FAILURES"]
    found.clear()
    yield found
    found.clear()


def test_mapped_tasks_without_a_grouping_key_would_overwrite_each_other_and_fail(
    gateway_url, run_dag, failures
):
    run = run_dag("operator_mapped_without_a_key")

    assert run.state == "failed"
    assert {"give grouping_key" in str(error) for _, error in failures} == {True}
    assert Gateway(gateway_url).groups() == []


def test_deleting_removes_exactly_the_group_and_none_there_is_no_error(server):
    server.push("old", [gauge("m", "", 1)], {"table": "orders"})
    server.push("old", [gauge("m", "", 1)])
    task = DeleteGroupOperator(task_id="delete", job="old", grouping_key={"table": "orders"})

    for _ in range(2):
        task.execute({})

    assert [group.labels for group in server.groups()] == [{"job": "old"}]


def test_pruning_removes_what_is_stale_and_matches_and_returns_it(configure, run_dag):
    clock = [time.time() - 2 * 86_400]
    with EmbeddedGateway(clock=lambda: clock[0]) as server:
        configure(gateway=server.url)
        for job in ("old", "other"):
            Gateway(server.url).push(job, [gauge("m", "", 1)])
        clock[0] = time.time()
        Gateway(server.url).push("old", [gauge("m", "", 1)], {"table": "orders"})

        run = run_dag("operator_prunes", run_conf={"older_than": "1d", "job": "old"})

        held = [group.labels for group in Gateway(server.url).groups()]
    assert run.state == "success"
    assert held == [{"job": "other"}, {"job": "old", "table": "orders"}]
    assert run.get_task_instance("prune").xcom_pull(task_ids="prune") == [{"job": "old"}]


@pytest.mark.parametrize(
    ("older_than", "matchers", "reason"),
    [
        ("1d", [], "it would be 1 of the gateway's 1 groups"),
        ("7", [], "'7' has no unit"),
        ("1 week", [], "'1 week'"),
        ("0s", [], "above 0"),
        ("1d", ['job="'], "job"),
    ],
)
def test_pruning_much_or_by_what_makes_no_sense_deletes_nothing(
    configure, older_than, matchers, reason
):
    ahead = [0.0]
    with EmbeddedGateway(clock=lambda: time.time() + ahead[0]) as server:
        configure(gateway=server.url)
        Gateway(server.url).push("old", [gauge("m", "", 1)])
        ahead[0] = 2 * 86_400
        task = PruneGroupsOperator(task_id="prune", older_than=older_than, matchers=matchers)
        with pytest.raises(AirflowFailException, match=reason):
            task.execute({})
        assert len(Gateway(server.url).groups()) == 1


def test_a_rejected_push_fails_at_once_with_the_servers_reason(server, run_dag, failures):
    server.send("PUT", GroupingKey("other"), b"# TYPE m counter\nm 1\n")

    run = run_dag("operator_fails", run_conf={"metrics": {"m": 1}})

    ((attempt, error),) = failures
    assert run.state == "failed"
    assert attempt == 1
    assert isinstance(error, AirflowFailException)
    assert isinstance(error.__cause__, GatewayRejectedError)
    assert "400" in str(error)
    assert "should be a Counter" in str(error) or "inconsistent" in str(error)
    assert values(server, job="other") == {"m": 1}
    assert not any(group.families for group in server.groups() if group.labels["job"] != "other")


@pytest.mark.parametrize(
    ("metrics", "grouping_key", "reason"),
    [
        ({"rows": None}, {}, "pushed an XCom"),
        ({"rows": "many"}, {}, "'many', which is no number"),
        ({"rows": 10**400}, {}, "no number"),
        ({"ro-ws": 1}, {}, "'ro-ws 1.0'"),
        ({"rows 1\nmore": 1}, {}, "no name of a metric"),
        ({'rows{origin="x"}': 1}, {"origin": "y"}, "label origin"),
        ('rows{name="\ud800"} 1', {}, "UTF-8"),
        ("rows 1\nrows 2\n", {}, "line 2: "),
        ("rows 1 1700000000000", {}, "timestamp"),
        ({}, {}, "no metric to push"),
        ({"rows": 1}, {"table": None}, "no value for 'table'"),
        ({"rows": 1}, {"table": ""}, "no value for 'table': it is ''"),
    ],
)
def test_what_no_gateway_would_take_fails_for_good_and_is_not_sent(
    server, metrics, grouping_key, reason
):
    task = PushMetricsOperator(task_id="t", metrics=metrics, grouping_key=grouping_key)
    with pytest.raises(AirflowFailException) as caught:
        task.execute({})
    assert reason in str(caught.value)
    assert server.groups() == []


def test_what_may_pass_is_tried_again_as_the_task_says(configure, run_dag, failures, monkeypatch):
    configure(gateway="http://127.0.0.1:1")
    monkeypatch.setenv("PUSHGATE_RETRIES", "0")
    run = run_dag("operator_fails", run_conf={"metrics": {"m": 1}})

    assert run.state == "failed"
    assert [attempt for attempt, _ in failures] == [1, 2]
    assert {type(error) for _, error in failures} <= {*GatewayUnreachableError.__subclasses__()}


def test_wrong_credentials_fail_for_good_and_are_not_in_the_reason(configure):
    with FaultServer(respond(answer("401 Unauthorized"))) as server:
        configure(gateway=server.url.replace("//", "//me:s3cret-word@"))
        task = PushMetricsOperator(task_id="t", metrics={"m": 1}, grouping_key={})
        with pytest.raises(AirflowFailException, match="401") as caught:
            task.execute({})
    assert "s3cret-word" not in f"{caught.value!r}{caught.value.__cause__!r}"


def test_an_exception_of_the_users_function_is_not_ours(gateway_url):
    def stumble(registry):
        raise ValueError("the user's own")

    task = PushMetricsOperator(task_id="t", metrics=stumble, grouping_key={})
    with pytest.raises(ValueError, match="the user's own"):
        task.execute({})


def test_wrong_arguments_fail_where_the_dag_is_written():
    with pytest.raises(ValueError, match="method is 'post'"):
        PushMetricsOperator(task_id="t", metrics={}, method="post")
    with pytest.raises(ValueError, match="timeout is 0"):
        PushMetricsOperator(task_id="t", metrics={}, timeout=0)
