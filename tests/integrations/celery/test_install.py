"""What install connects, where it starts something, and that uninstall takes it all back."""

import subprocess
import sys
from types import SimpleNamespace

import pytest
from celery import signals

from pushgate import Gateway, Settings, SettingsError
from pushgate.embedded import EmbeddedGateway
from pushgate_celery import _install, install
from support.celery_runs import ListRelay, Sender, make_app, run

URL = "http://127.0.0.1:1"


def receivers():
    found = [getattr(signals, name) for name in signals.__all__]
    return {signal.name: list(signal.receivers) for signal in found}


@pytest.fixture
def app():
    app = make_app()
    before = receivers()
    yield app
    if (installation := _install._installations.get(app)) is not None:
        installation.uninstall()
    assert receivers() == before


@pytest.fixture
def relays(monkeypatch):
    """The relays that were started, as (aggregator, options, ListRelay)."""
    started = []

    class Relay(ListRelay):
        def __init__(self, aggregator, **options):
            super().__init__()
            self.options = options

        def start(self):
            started.append(self)

    monkeypatch.setattr(_install, "Relay", Relay)
    return started


def worker_of(app, **fields):
    """A WorkController that begins."""
    fields = {"pool_cls": "solo", "hostname": "celery@here", "soft_time_limit": None, **fields}
    controller = Sender(app=app, **fields)
    signals.worker_init.send(sender=controller)
    return controller


def test_a_process_that_only_publishes_starts_nothing(app, relays):
    install(app, URL)

    names = {name for name, there in receivers().items() if there}
    assert not relays
    assert {"task_prerun", "task_postrun", "task_received"}.isdisjoint(names)


def test_a_worker_starts_a_relay_with_all_that_the_pusher_needs(app, relays):
    install(app, URL, interval="5s", job="shop", on_exit="delete", linger=1, max_series=99)
    worker_of(app)

    (relay,) = relays
    options = relay.options.pop("options")
    assert options.pop("started_at") > 0
    assert options == {
        "job": "shop",
        "node": "celery@here",
        "max_series": 99,
        "on_exit": "delete",
    }
    assert relay.options["settings"].gateway == URL
    assert (relay.options["interval"], relay.options["linger"]) == (5.0, 1.0)


def test_uninstalling_says_goodbye_and_takes_everything_back(app, relays):
    before = receivers()
    installation = install(app, URL)
    worker_of(app)
    assert receivers() != before
    installation.uninstall()

    assert receivers() == before
    assert relays[0].records == [["g"]]
    assert len(relays[0].closed) == 1
    installation.uninstall()
    assert len(relays[0].closed) == 1


def test_a_second_worker_of_the_same_process_is_observed_too(app, relays):
    @app.task(name="work", shared=False)
    def work():
        pass

    install(app, URL)
    worker_of(app, pool_cls="prefork", hostname="first@here")
    signals.worker_shutdown.send(sender=None)
    assert relays[0].records == [["g"]]
    worker_of(app, pool_cls="prefork", hostname="second@here")
    run(app.tasks["work"])

    assert [relay.options["options"]["node"] for relay in relays] == ["first@here", "second@here"]
    assert relays[0].records == [["g"]]
    assert len(relays[1].ends) == 1


def test_the_same_options_again_are_the_same_installation(app):
    first = install(app, URL, interval="60s")
    before = receivers()

    assert install(app, URL, interval=60) is first
    assert receivers() == before


def test_other_options_than_the_first_times_are_an_error(app):
    installation = install(app, URL)
    with pytest.raises(SettingsError, match=r"job, tasks: .*uninstall"):
        install(app, URL, job="other", tasks=["a"])
    installation.uninstall()
    assert install(app, URL, job="other") is not installation


def test_a_proxy_of_an_app_is_that_app(app):
    from celery.local import Proxy

    assert install(Proxy(lambda: app), URL) is install(app, URL)


@pytest.mark.parametrize("options", [{"interval": "soon"}, {"gateway": "ftp://x"}, {"job": ""}])
def test_a_wrong_argument_is_an_error_at_once(app, options):
    with pytest.raises(SettingsError, match=next(iter(options))):
        install(app, **options)


def test_a_gateway_object_can_not_be_handed_to_another_process(app):
    with pytest.raises(SettingsError, match="URL or Settings"):
        install(app, Gateway(URL))


def test_something_else_than_an_app_is_refused():
    with pytest.raises(TypeError, match="not a str"):
        install("proj.celery")


def test_a_worker_of_another_app_is_not_observed(app, relays):
    install(app, URL)
    worker_of(make_app())

    assert not relays


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
    app, relays, caplog, conf, fields, line
):
    app.conf.update(conf)
    install(app, URL)
    worker_of(app, **fields)

    assert not relays
    (record,) = caplog.records
    assert record.levelname == "ERROR"
    assert line in record.message
    assert "not observed" in record.message


def test_a_worker_without_a_gateway_says_so_once(app, relays, caplog, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("PUSHGATE_GATEWAY", raising=False)
    install(app)
    worker_of(app)

    assert not relays
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "PUSHGATE_GATEWAY" in record.message


def test_a_pusher_that_can_not_be_started_does_not_stop_the_worker(app, caplog, monkeypatch):
    class Broken:
        def __init__(self, *args, **kwargs):
            pass

        def start(self):
            raise OSError("no processes left")

    monkeypatch.setattr(_install, "Relay", Broken)
    install(app, URL)
    worker_of(app)

    assert "no processes left" in caplog.text


def test_the_configuration_is_read_when_the_worker_begins(app, relays):
    install(app, job="argument")
    app.conf.update(
        pushgate_gateway=Settings(gateway=URL), pushgate_job="conf", pushgate_interval=2
    )
    worker_of(app)

    assert relays[0].options["options"]["job"] == "argument"
    assert relays[0].options["interval"] == 2.0


def test_task_events_that_nobody_needs_are_pointed_out(app, relays, caplog):
    install(app, URL)
    controller = worker_of(app, task_events=True)
    timer = SimpleNamespace(call_repeatedly=lambda *a: None, cancel=lambda entry: None)
    consumer = Sender(controller=controller, pool=SimpleNamespace(), timer=timer)
    signals.worker_ready.send(sender=consumer)

    assert [record.message for record in caplog.records if "-E" in record.message]


def test_inline_pushes_what_eager_tasks_do(app):
    with EmbeddedGateway() as gateway:
        install(app, Gateway(gateway.url), transport="inline", job="tests")

        @app.task(shared=False)
        def fails():
            raise KeyError

        fails.apply()
        run(app.tasks[fails.name])
        (group,) = (g for g in Gateway(gateway.url).groups() if g.labels.get("task") == fails.name)
        totals = next(g for g in Gateway(gateway.url).groups() if "instance" in g.labels)

    assert group.labels["job"] == "tests"
    assert group.value("batch_job_last_run_success") == 0
    finished = totals.family("celery_task_finished_total").samples
    assert sum(sample.value for sample in finished if sample.labels["exception"]) == 2


def python(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_the_pusher_needs_no_celery():
    found = python(
        "import sys; sys.modules['celery'] = None;"
        "import pushgate_celery._worker_aggregator; print('ok')"
    )
    assert found.stdout == "ok\n", found.stderr


def test_without_celery_the_error_says_what_to_install():
    found = python("import sys; sys.modules['celery'] = None; from pushgate_celery import install")

    assert "pip install 'pushgate[celery]'" in found.stderr
