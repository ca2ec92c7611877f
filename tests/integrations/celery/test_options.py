"""Options as arguments, in the app's configuration and in the environment."""

from types import SimpleNamespace

import pytest
from celery import Celery

from pushgate import Gateway, Settings, SettingsError
from pushgate_celery._celery_options import gateway_of, given_options, options_in_configuration


@pytest.fixture
def app():
    return Celery("tests", set_as_current=False)


def test_durations_may_be_text():
    given = given_options({"interval": "1m", "linger": 5, "shutdown_timeout": None})

    assert given == {"interval": 60.0, "linger": 5.0}


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
def test_a_wrong_value_is_named_with_what_to_give(option, value, hint):
    with pytest.raises(SettingsError, match=f"^{option}: ") as caught:
        given_options({option: value})

    assert caught.match(hint)


def test_a_gateways_secret_is_in_no_error(app):
    with pytest.raises(SettingsError) as caught:
        given_options({"gateway": "ftp://user:hunter2@gateway"})

    assert "hunter2" not in str(caught.value)


def test_options_stand_in_the_apps_configuration(app):
    app.conf.update(pushgate_interval="30s", pushgate_tasks=["a.*"])
    app.conf.pushgate_job = "shop"

    assert options_in_configuration(app) == {"interval": 30.0, "tasks": ("a.*",), "job": "shop"}


@pytest.mark.parametrize(
    ("namespace", "module"),
    [
        (None, SimpleNamespace(pushgate_job="shop", broker_url="memory://")),
        ("CELERY", SimpleNamespace(CELERY_PUSHGATE_JOB="shop", PUSHGATE_OTHER="not Celery's")),
    ],
)
def test_options_stand_in_a_configuration_object(app, namespace, module):
    app.config_from_object(module, namespace=namespace)

    assert options_in_configuration(app) == {"job": "shop"}


@pytest.mark.parametrize(
    ("namespace", "module"),
    [
        (None, SimpleNamespace(pushgate_intervall=1)),
        ("CELERY", SimpleNamespace(CELERY_PUSHGATE_INTERVALL=1)),
    ],
)
def test_a_misspelled_option_is_an_error_that_names_the_right_one(app, namespace, module):
    app.config_from_object(module, namespace=namespace)

    with pytest.raises(SettingsError, match=r"pushgate_intervall: .*did you mean 'interval'"):
        options_in_configuration(app)


def test_the_gateway_is_the_arguments_then_the_configurations_then_the_environments():
    environ = {"PUSHGATE_GATEWAY": "http://three", "PUSHGATE_TIMEOUT": "3"}
    one, two = {"gateway": "http://one"}, {"gateway": "http://two"}

    found = [
        gateway_of(one, two, environ),
        gateway_of({}, two, environ),
        gateway_of({}, {}, environ),
    ]

    assert [settings.gateway for settings in found] == ["http://one", "http://two", "http://three"]
    assert {settings.timeout for settings in found} == {3.0}


def test_settings_and_gateways_are_taken_as_they_are():
    settings = Settings(gateway="http://one", timeout=1.0)
    gateway = Gateway("http://one")

    assert gateway_of({"gateway": settings}, {}, {"PUSHGATE_TIMEOUT": "3"}) is settings
    assert gateway_of({"gateway": gateway}, {}, {}) is gateway


def test_without_any_gateway_there_is_none(tmp_path):
    assert gateway_of({}, {}, {"HOME": str(tmp_path)}) is None
