"""What install takes, what it connects, where it starts something, and that uninstall undoes it."""

import subprocess
import sys
from types import SimpleNamespace

import pytest
from celery import signals
from celery.local import Proxy

from pushgate import Gateway, Settings, SettingsError
from pushgate.embedded import EmbeddedGateway
from pushgate_celery import install
from support.celery_inline import Seen, make_app, run

URL = "http://127.0.0.1:1"


class Controller(SimpleNamespace):
    """What sends worker_init."""

    __hash__ = object.__hash__


def receivers():
    found = [getattr(signals, name) for name in signals.__all__]
    return {signal.name: list(signal.receivers) for signal in found}


@pytest.fixture
def app():
    return make_app()


@pytest.fixture
def installed(app):
    """install, which is undone with the test; then nothing of it is left.

    Ask for it after ``gateway``: a pusher whose gateway is gone takes seconds to give up.
    """
    before, made = receivers(), []

    def call(*arguments, **options):
        made.append(install(app, *arguments, **options))
        return made[-1]

    yield call
    for installation in made:
        installation.uninstall()
    assert receivers() == before
    assert not app.steps["consumer"]


@pytest.fixture
def gateway(monkeypatch, tmp_path):
    monkeypatch.setenv("PUSHGATE_STATE_DIR", str(tmp_path))
    with EmbeddedGateway() as server:
        yield server


def begin(app, **fields):
    """A worker begins."""
    fields = {"pool_cls": "solo", "hostname": "celery@here", "soft_time_limit": None, **fields}
    controller = Controller(app=app, **fields)
    signals.worker_init.send(sender=controller)
    return controller


def groups(gateway):
    return {frozenset(group.labels.items()): group for group in Gateway(gateway.url).groups()}


def worker_group(gateway, job="celery", node="celery@here"):
    return groups(gateway)[frozenset({("job", job), ("instance", node)})]


# Options


@pytest.mark.parametrize(
    ("option", "value", "hint"),
    [
        ("gateway", "ftp://gateway", "http://"),
        ("gateway", 9091, "give a URL"),
        ("job", "", "job"),
        ("job", 5, "text"),
        ("transport", "thread", "pipe"),
        ("interval", 0, "at least"),
        ("interval", "soon", "15m"),
        ("interval", True, "not a duration"),
        ("task_interval", "-1s", "not a duration"),
        ("max_series", 2.5, "number"),
        ("max_series", 0, "10"),
        ("on_exit", "drop", "keep"),
        ("shutdown_timeout", -1, "not a duration"),
        ("linger", float("nan"), "not a duration"),
        ("tasks", [1], "name"),
        ("tasks", 1, "not a list"),
        ("stamp_headers", "nein", "true"),
    ],
)
def test_a_wrong_value_is_an_error_at_once_that_says_what_to_give(app, option, value, hint):
    with pytest.raises(SettingsError, match=f"^{option}: ") as caught:
        install(app, **{option: value})

    assert caught.match(hint)


def test_a_gateways_secret_is_in_no_error(app):
    with pytest.raises(SettingsError) as caught:
        install(app, "ftp://user:hunter2@gateway")

    assert "hunter2" not in str(caught.value)


def test_a_gateway_object_can_not_be_handed_to_another_process(app):
    with pytest.raises(SettingsError, match="URL or Settings"):
        install(app, Gateway(URL))


def test_something_else_than_an_app_is_refused():
    with pytest.raises(TypeError, match="not a str"):
        install("proj.celery")


def test_the_same_options_again_are_the_same_installation(app, installed):
    first = installed(URL, interval="60s")
    before = receivers()

    assert installed(URL, interval=60) is first
    assert install(Proxy(lambda: app), URL, interval=60) is first
    assert receivers() == before


def test_other_options_than_the_first_times_are_an_error(installed):
    installation = installed(URL)
    with pytest.raises(SettingsError, match=r"job, tasks: .*uninstall"):
        installed(URL, job="other", tasks=["a"])
    installation.uninstall()
    assert installed(URL, job="other") is not installation


@pytest.mark.parametrize(
    ("namespace", "names"),
    [
        (None, ("pushgate_job", "pushgate_gateway")),
        ("CELERY", ("CELERY_PUSHGATE_JOB", "CELERY_PUSHGATE_GATEWAY")),
    ],
)
def test_options_stand_in_the_apps_configuration(app, gateway, installed, namespace, names):
    values = dict(zip(names, ("shop", gateway.url), strict=True))
    app.config_from_object(
        SimpleNamespace(**values, PUSHGATE_OTHER="of others"), namespace=namespace
    )
    installation = installed()
    begin(app)
    installation.uninstall()

    assert worker_group(gateway, job="shop").value("celery_worker_up") == 0


def test_arguments_go_before_the_configuration_and_that_before_the_environment(
    app, installed, gateway, monkeypatch
):
    monkeypatch.setenv("PUSHGATE_GATEWAY", URL)
    app.conf.update(pushgate_gateway=Settings(gateway=gateway.url), pushgate_job="conf")
    installation = installed(job="argument")
    begin(app)
    installation.uninstall()

    assert worker_group(gateway, job="argument")


@pytest.mark.parametrize(
    ("conf", "fields", "line"),
    [
        ({"pushgate_on_exit": "drop"}, {}, "pushgate_on_exit: 'drop'"),
        ({"pushgate_intervall": 3}, {}, "did you mean 'interval'"),
        ({}, {"pool_cls": "prefork", "pool_start_method": "spawn"}, "'fork'"),
        ({"pushgate_transport": "inline"}, {"pool_cls": "prefork"}, "every child"),
    ],
)
def test_a_worker_that_can_not_be_observed_says_why_and_goes_on(
    app, installed, caplog, conf, fields, line
):
    app.conf.update(conf)
    installed(URL)
    begin(app, **fields)

    assert not signals.task_prerun.receivers
    (record,) = caplog.records
    assert record.levelname == "ERROR"
    assert line in record.message
    assert "not reported" in record.message


def test_a_worker_without_a_gateway_says_so_once(app, installed, caplog, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("PUSHGATE_GATEWAY", raising=False)
    installed()
    begin(app)

    (record,) = caplog.records
    assert record.levelname == "ERROR"
    assert "PUSHGATE_GATEWAY" in record.message


def test_a_pusher_that_can_not_be_started_does_not_stop_the_worker(
    app, installed, caplog, monkeypatch
):
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    installed(URL)
    begin(app)

    assert "/no/such/python" in caplog.text
    assert not signals.task_prerun.receivers


# Life


def test_a_process_that_only_publishes_starts_nothing(installed):
    before = receivers()
    installed(URL)

    names = {name for name, there in receivers().items() if there != before[name]}
    assert {"task_prerun", "task_postrun", "task_failure"}.isdisjoint(names)


def test_nothing_runs_in_the_main_process_for_a_task_that_goes_well(app, gateway, installed):
    installed(gateway.url)
    begin(app, pool_cls="prefork")

    for name in ("task_received", "task_success", "task_sent", "heartbeat_sent"):
        assert not getattr(signals, name).receivers


def test_uninstalling_tells_the_end_and_takes_everything_back(app, gateway, installed):
    before = receivers()
    installation = installed(gateway.url)
    begin(app)
    assert receivers() != before
    for _ in range(2):
        installation.uninstall()
        assert receivers() == before

    group = worker_group(gateway)
    assert (group.value("celery_worker_up"), group.value("celery_worker_crashed")) == (0, 0)


def test_a_second_worker_of_the_same_process_is_observed_too(app, gateway, installed):
    @app.task(name="work", shared=False)
    def work():
        pass

    installation = installed(gateway.url)
    begin(app, pool_cls="prefork", hostname="first@here")
    signals.worker_shutdown.send(sender=None)
    assert worker_group(gateway, node="first@here").value("celery_worker_up") == 0
    begin(app, pool_cls="prefork", hostname="second@here")
    run(app.tasks["work"])
    installation.uninstall()

    assert Seen(gateway.url).ends == {("work", "success"): 1}
    assert worker_group(gateway, node="second@here").value("celery_worker_up") == 0


@pytest.mark.parametrize(("on_exit", "left"), [("keep", True), ("delete", False)])
def test_a_workers_group_stays_or_goes_with_it(app, gateway, installed, on_exit, left):
    installation = installed(gateway.url, on_exit=on_exit)
    begin(app)
    installation.uninstall()

    assert bool(groups(gateway)) == left


@pytest.mark.parametrize(("exitcode", "crashed"), [(None, 0), (0, 0), (1, 1)])
def test_an_exit_code_tells_a_crash(app, gateway, installed, exitcode, crashed):
    installed(gateway.url)
    controller = begin(app)
    controller.exitcode = exitcode
    signals.worker_shutdown.send(sender=controller)

    assert worker_group(gateway).value("celery_worker_crashed") == crashed


def test_a_worker_of_another_app_is_not_observed(installed):
    installed(URL)
    begin(make_app())

    assert not signals.task_prerun.receivers


def test_task_events_that_nobody_needs_are_pointed_out(app, gateway, installed, caplog):
    installed(gateway.url)
    controller = begin(app, task_events=True)
    signals.worker_ready.send(sender=Controller(controller=controller))

    assert [record.message for record in caplog.records if "-E" in record.message]


# Imports


def python(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_the_pusher_is_spared_celery_and_prometheus_client():
    found = python("import sys, pushgate_celery._worker_aggregator; print(*sys.modules)")

    assert found.stdout
    assert not {"celery", "kombu", "prometheus_client"} & set(found.stdout.split())


def test_without_celery_the_error_says_what_to_install():
    found = python("import sys; sys.modules['celery'] = None; from pushgate_celery import install")

    assert "pip install 'pushgate[celery]'" in found.stderr
