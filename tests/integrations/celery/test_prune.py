"""The task that beat runs to delete what nobody pushes any more."""

import time
from datetime import timedelta

import pytest

from pushgate import DeliveryError, Gateway, Settings, SettingsError, gauge
from pushgate.embedded import EmbeddedGateway
from pushgate_celery import add_prune_task, install
from support.celery_runs import make_app


@pytest.fixture
def server():
    """A gateway with two groups of two days ago and one of now."""
    clock = [time.time() - 2 * 86_400]
    with EmbeddedGateway(clock=lambda: clock[0]) as server:
        for job in ("celery", "other"):
            Gateway(server.url).push(job, gauge("m", "h", 1))
        clock[0] = time.time()
        Gateway(server.url).push("celery", gauge("m", "h", 1), {"task": "t"})
        yield server


@pytest.mark.parametrize("older_than", ["1d", 86_400, timedelta(days=1)])
def test_the_task_deletes_what_is_stale_and_matches(server, older_than):
    app = make_app()
    task = add_prune_task(app, server.url, older_than=older_than, matchers="job=celery")

    assert app.tasks["pushgate.prune"].run is task.run
    assert "pushgate.prune" not in make_app().tasks
    assert task() == 1
    held = [group.labels for group in Gateway(server.url).groups()]
    assert held == [{"job": "other"}, {"job": "celery", "task": "t"}]
    assert task() == 0


@pytest.mark.parametrize("kind", [Settings, Gateway])
def test_the_gateway_may_be_given_as_install_takes_it(server, kind):
    gateway = Settings(gateway=server.url) if kind is Settings else Gateway(server.url)
    assert add_prune_task(make_app(), gateway, older_than="1d", name="tidy")() == 2


def test_the_gateway_is_else_the_configurations_or_the_environments(server, monkeypatch):
    app = make_app()
    task = add_prune_task(app, older_than="1d", matchers=["job=celery"])
    with pytest.raises(SettingsError, match="no gateway is configured"):
        task()
    monkeypatch.setenv("PUSHGATE_GATEWAY", server.url)
    assert task() == 1
    app.conf.pushgate_gateway = "http://127.0.0.1:1"
    with pytest.raises(DeliveryError):
        task()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"older_than": "1 week"}, "older_than: '1 week' is not a duration"),
        ({"older_than": 0}, "older_than: it is 0"),
        ({"older_than": "1d", "matchers": "celery"}, "matchers: 'celery' is no matcher"),
        ({"older_than": "1d", "gateway": "ftp://x"}, "gateway: "),
    ],
)
def test_what_makes_no_sense_is_refused_where_the_app_is_made(options, words):
    with pytest.raises(SettingsError, match=words):
        add_prune_task(make_app(), **options)


def test_it_stands_beside_install(server):
    app = make_app()
    installation = install(app, server.url)
    try:
        assert add_prune_task(app, server.url, older_than="1d")() == 2
    finally:
        installation.uninstall()
