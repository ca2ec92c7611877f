"""A task's own metrics, and groups of single runs."""

from threading import Thread

import pytest
from celery import Task
from celery.utils.nodenames import default_nodename

from pushgate_celery import current, per_run
from support.celery_inline import make_app, observed, run

OURS = ("instance", "job", "origin")
NODE = default_nodename(None)


@pytest.fixture
def app():
    return make_app()


@pytest.fixture
def seen(app):
    with observed(app) as seen:
        yield seen


def define(app, name="load", **options):
    return lambda function: app.task(name=name, shared=False, **options)(function) and function


def own(seen, **labels):
    """What a group of the tasks' own holds: name and labels to value."""
    group = seen.group(origin="job", **labels)
    samples = [s for family in (group.families if group else ()) for s in family.samples]
    return {
        (s.name, *sorted(v for k, v in s.labels.items() if k not in OURS)): s.value
        for s in samples
        if not s.name.startswith("push_")
    }


def test_counts_and_observations_add_up_and_the_last_gauge_counts(app, seen):
    @define(app)
    def load():
        current().inc("rows", table="orders")
        current().inc("bytes_total", 5)
        current().observe("row_size", 2.5, name="allowed")
        current().observe("step_seconds", 0.07)
        current().set("level", -1, table="a")
        current().set("level", 7, table="b")

    for _ in range(2):
        run(app.tasks["load"])

    held = own(seen, instance=NODE)
    assert held["rows_total", "load", "orders"] == 2
    assert held["bytes_total", "load"] == 10
    assert held["row_size_sum", "allowed", "load"] == 5
    assert held["step_seconds_bucket", "0.1", "load"] == 2
    levels = own(seen, task="load")
    assert levels == {("level", "a", "load"): -1, ("level", "b", "load"): 7}


def test_it_may_be_used_in_a_thread_and_by_what_the_task_calls(app, seen):
    @define(app, "inner")
    def inner():
        current().inc("rows")

    @define(app)
    def load():
        app.tasks["inner"]()  # as a function, it is a part of this task
        thread = Thread(target=current().inc, args=("rows", 2))
        thread.start()
        thread.join()

    run(app.tasks["load"])

    assert own(seen, instance=NODE)["rows_total", "load"] == 3


def test_outside_a_task_nothing_travels(seen):
    current().inc("rows")
    current().observe("row_size", 2)

    assert not own(seen, instance=NODE)


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


@pytest.mark.parametrize(
    ("op", "name", "labels"),
    [
        ("observe", "rows_total2", {"k": "v"}),
        ("inc", "rows", {"j": "v"}),
        ("set", "size_seconds", {}),
    ],
    ids=["refused by nobody", "other labels", "another type"],
)
def test_a_metric_that_clashes_is_refused_counted_and_said_once(
    app, seen, caplog, op, name, labels
):
    @define(app, "first")
    def first():
        current().inc("rows", k="v")
        current().observe("size_seconds", 1)

    @define(app, "second")
    def second():
        getattr(current(), op)(name, 1, **labels)

    run(app.tasks["first"])
    for _ in range(3):
        run(app.tasks["second"])

    clashes = name != "rows_total2"
    assert seen.total("pushgate_metrics_refused_total") == (3 if clashes else 0)
    assert len(caplog.messages) == clashes
    assert not clashes or ("in first" in caplog.text and "in second" in caplog.text)
    assert seen.ends == {("first", "success"): 1, ("second", "success"): 3}


def test_a_label_with_too_many_values_leaves_room_for_the_totals(app):
    @define(app)
    def load():
        for user in range(30):
            current().inc("logins", user=user)
            current().set("last_login", 1, user=user)

    with observed(app, max_series=20) as seen:
        run(app.tasks["load"])
        held = own(seen, instance=NODE)
        assert sum(v for (name, *_), v in held.items() if name == "logins_total") == 30
        assert len(held) + len(own(seen, task="load")) < 20
        assert seen.ends == {("load", "success"): 1}


def test_a_long_value_of_a_label_is_cut(app, seen):
    @define(app)
    def load():
        current().inc("rows", table="x" * 10_000)

    run(app.tasks["load"])

    ((_, *values),) = own(seen, instance=NODE)
    assert max(map(len, values)) == 120


# per_run


def group_of(seen, **labels):
    return seen.group(task="load", **labels)


def test_below_app_task_names_of_arguments_name_the_run(app, seen):
    @app.task(name="load", shared=False)
    @per_run(grouping=["table", "day"], lifetime="2h")
    def load(table, day="monday"):
        pass

    run(app.tasks["load"], "orders")

    group = group_of(seen, table="orders", day="monday")
    ended = group.value("batch_job_last_success_timestamp_seconds")
    assert group.value("batch_job_group_expiry_timestamp_seconds") == ended + 7200
    assert "group_expiry_timestamp" not in seen.task("load")


def test_above_app_task_a_function_names_the_run(app, seen):
    @per_run(grouping=lambda arguments: {"year": arguments["day"][:4]}, lifetime=60)
    @app.task(name="load", shared=False, bind=True)
    def load(self, *, day):
        raise KeyError

    run(app.tasks["load"], day="2026-11-23")

    assert group_of(seen, year="2026").value("batch_job_last_run_success") == 0


def test_a_task_that_is_made_already_can_be_given_it(app, seen):
    @app.task(name="load", shared=False, autoretry_for=(OSError,))
    def load(table):
        pass

    run(per_run(grouping="table", lifetime=60)(app.tasks["load"]), "orders")

    assert group_of(seen, table="orders")


def test_the_run_of_a_class_can_be_given_it(app, seen):
    class Load(Task):
        name = "load"

        @per_run(grouping="table", lifetime=60)
        def run(self, table):
            pass

    run(app.register_task(Load()), "orders")

    assert group_of(seen, table="orders")


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
    app, seen, caplog, grouping
):
    @app.task(name="load", shared=False)
    @per_run(grouping=grouping, lifetime=60)
    def load():
        pass

    for _ in range(2):
        run(app.tasks["load"])

    assert seen.ends == {("load", "success"): 2}
    assert len(caplog.records) == 1
    assert "load" in caplog.text


def test_the_groups_of_runs_are_bounded(app):
    @app.task(name="load", shared=False)
    @per_run(grouping="number", lifetime=60)
    def load(number):
        pass

    with observed(app, max_series=10) as seen:
        for number in range(12):
            run(app.tasks["load"], number)
        found = [number for number in range(12) if group_of(seen, number=str(number))]
        assert found == list(range(10))
        assert seen.total("pushgate_series_overflowed_total") > 0


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
