"""A task's own metrics, and groups of single runs."""

import pytest
from celery import Task

from pushgate_celery import current, per_run
from support.celery_runs import make_app, observed, run


@pytest.fixture
def app():
    return make_app()


@pytest.fixture
def relay(app):
    with observed(app) as relay:
        yield relay


def test_a_tasks_metrics_travel_with_its_name(app, relay):
    @app.task(shared=False)
    def load():
        current().inc("rows", table="orders")
        current().inc("bytes_total", 5)
        current().observe("row_size", 2.5, name="allowed", value=None)
        current().set("level", -1)

    run(app.tasks[load.name])

    assert [tuple(metric) for metric in relay.metrics] == [
        ("inc", "rows_total", 1.0, {"table": "orders"}, load.name),
        ("inc", "bytes_total", 5.0, {}, load.name),
        ("observe", "row_size", 2.5, {"name": "allowed", "value": "None"}, load.name),
        ("set", "level", -1.0, {}, load.name),
    ]


def test_an_eager_task_inside_another_has_no_metrics_of_its_own(app, relay):
    @app.task(shared=False)
    def inner():
        current().inc("rows")

    @app.task(shared=False)
    def outer():
        inner.apply()

    run(app.tasks[outer.name])

    assert not relay.metrics


def test_a_task_that_is_called_as_a_function_is_part_of_the_one_that_calls_it(app, relay):
    @app.task(shared=False)
    def inner():
        current().inc("rows")

    @app.task(shared=False, bind=True)
    def outer(self, again=True):
        inner()
        if again:
            self(again=False)

    run(app.tasks[outer.name])

    assert [metric.task for metric in relay.metrics] == [outer.name] * 2


def test_outside_a_workers_task_nothing_travels(app, relay):
    current().inc("rows")
    current().observe("row_size", 2)

    assert not relay.records


def test_it_may_be_handed_on_to_a_thread_of_the_task(app, relay):
    from threading import Thread

    @app.task(shared=False)
    def load():
        thread = Thread(target=current().inc, args=("rows", 2))
        thread.start()
        thread.join()

    run(app.tasks[load.name])

    assert [metric.value for metric in relay.metrics] == [2.0]


@pytest.mark.parametrize(
    ("op", "name", "labels", "hint"),
    [
        ("inc", "rows loaded", {}, "letters, digits and _"),
        ("inc", "", {}, "letters, digits and _"),
        ("set", "celery_rows", {}, "begin with celery_"),
        ("set", "batch_job_rows", {}, "begin with batch_job_"),
        ("observe", "rows_bucket", {}, "_bucket"),
        ("set", "rows_count", {}, "_count"),
        ("set", "rows_total", {}, r"inc\(\)"),
        ("inc", "rows", {"job": "x"}, "label job"),
        ("inc", "rows", {"task": "x"}, "label task"),
        ("inc", "rows", {"le": "x"}, "label le"),
        ("inc", "rows", {"__name": "x"}, "not __ first"),
        ("inc", "rows", {"a-b": "x"}, "letters, digits and _"),
        ("inc", "rows", {"amount": 5}, r"inc\('rows', 5\)"),
    ],
)
def test_a_name_that_can_not_be_used_is_an_error_everywhere(op, name, labels, hint):
    with pytest.raises(ValueError, match=hint):
        getattr(current(), op)(name, 1, **labels)


@pytest.mark.parametrize(
    ("op", "value", "hint"),
    [
        ("inc", -1, "can't go down"),
        ("inc", float("nan"), "can't be added up"),
        ("observe", float("inf"), "can't be added up"),
        ("set", "many", "is no number"),
        ("inc", None, "is no number"),
    ],
)
def test_a_value_that_can_not_be_used_is_an_error(op, value, hint):
    with pytest.raises(ValueError, match=hint):
        getattr(current(), op)("rows", value)


def test_a_long_value_of_a_label_is_cut(app, relay):
    @app.task(shared=False)
    def load():
        current().inc("rows", table="x" * 10_000)

    run(app.tasks[load.name])

    assert len(relay.metrics[0].labels["table"]) == 200


# per_run


def group_of(relay):
    (start,), (end,) = relay.starts, relay.ends
    assert start.per_run == end.per_run
    return end.per_run


def test_below_app_task_names_of_arguments_name_the_run(app, relay):
    @app.task(shared=False)
    @per_run(grouping=["table", "day"], lifetime="2h")
    def load(table, day="monday"):
        pass

    run(app.tasks[load.name], "orders")

    assert group_of(relay) == [{"table": "orders", "day": "monday"}, 7200.0]


def test_above_app_task_a_function_names_the_run(app, relay):
    @per_run(grouping=lambda arguments: {"year": arguments["day"][:4]}, lifetime=60)
    @app.task(shared=False, bind=True)
    def load(self, *, day):
        pass

    run(app.tasks[load.name], day="2026-11-23")

    assert group_of(relay) == [{"year": "2026"}, 60.0]


def test_a_task_that_is_made_already_can_be_given_it(app, relay):
    @app.task(shared=False, autoretry_for=(OSError,))
    def load(table):
        pass

    made = per_run(grouping="table", lifetime=60)(app.tasks[load.name])
    run(made, "orders")

    assert group_of(relay) == [{"table": "orders"}, 60.0]


def test_the_run_of_a_class_can_be_given_it(app, relay):
    class Load(Task):
        name = "load"

        @per_run(grouping="table", lifetime=60)
        def run(self, table):
            pass

    run(app.register_task(Load()), "orders")

    assert group_of(relay) == [{"table": "orders"}, 60.0]


@pytest.mark.parametrize(
    "grouping",
    [
        lambda arguments: {"table": arguments["nothing"]},
        lambda arguments: None,
        lambda arguments: {},
        lambda arguments: {"task": "mine"},
        lambda arguments: {"not a label": "x"},
        lambda arguments: {"table": "x" * 5000},
    ],
    ids=["raises", "gives nothing", "empty", "taken", "no label", "too long"],
)
def test_a_grouping_that_fails_is_said_once_and_costs_only_the_runs_own_group(
    app, relay, caplog, grouping
):
    @app.task(shared=False)
    @per_run(grouping=grouping, lifetime=60)
    def load():
        pass

    for _ in range(2):
        run(app.tasks[load.name])

    assert [(end.state, end.per_run) for end in relay.ends] == [("success", None)] * 2
    assert len(caplog.records) == 1
    assert load.name in caplog.text


@pytest.mark.parametrize(
    ("options", "hint"),
    [
        ({"grouping": "table", "lifetime": 0}, "above 0"),
        ({"grouping": "table", "lifetime": "long"}, "not a duration"),
        ({"grouping": [], "lifetime": 1}, "at least one"),
        ({"grouping": "job", "lifetime": 1}, "can't be a label"),
        ({"grouping": ["not a label"], "lifetime": 1}, "not a label"),
    ],
)
def test_what_can_not_be_used_is_an_error_where_it_is_written(options, hint):
    with pytest.raises(ValueError, match=hint):
        per_run(**options)


def test_it_is_for_tasks_only():
    with pytest.raises(TypeError, match="for tasks"):
        per_run(grouping="table", lifetime=1)("load")
