"""Options as arguments, in the app's configuration and in the environment."""

from types import SimpleNamespace

import pytest
from celery import Celery

from pushgate import Gateway, Settings, SettingsError
from pushgate_celery._options import checked, from_conf, gateway_of


@pytest.fixture
def app():
    return Celery("tests", set_as_current=False)


def test_durations_may_be_text():
    given = checked({"interval": "1m", "linger": 5, "shutdown_timeout": None})

    assert given == {"interval": 60.0, "linger": 5.0}


@pytest.mark.parametrize(
    ("option", "value", "hint"),
    [
        ("gateway", "ftp://gateway", "http://"),
        ("gateway", 9091, "give a URL"),
        ("job", "", "job"),
        ("job", 5, "is no text"),
        ("transport", "thread", "'pipe', 'inline'"),
        ("interval", 0, "at least"),
        ("interval", "soon", "15m"),
        ("interval", True, "is no duration"),
        ("max_series", 2.5, "whole number"),
        ("max_series", 0, "from 10 on"),
        ("on_exit", "drop", "'keep', 'delete'"),
        ("shutdown_timeout", -1, "is no duration"),
        ("linger", float("nan"), "is no duration"),
        ("tasks", "shop.*", r"give a list of patterns, such as \['shop\.\*'\]"),
        ("tasks", [1], "patterns of task names"),
        ("tasks", 1, "is no list"),
        ("stamp_headers", "no", "neither True nor False"),
    ],
)
def test_a_wrong_value_is_named_with_what_to_give(option, value, hint):
    with pytest.raises(SettingsError, match=f"^pushgate_{option}: ") as caught:
        checked({option: value}, prefix="pushgate_")

    assert caught.match(hint)


def test_a_gateways_secret_is_in_no_error(app):
    with pytest.raises(SettingsError) as caught:
        checked({"gateway": "ftp://user:hunter2@gateway"})

    assert "hunter2" not in str(caught.value)


def test_options_stand_in_the_apps_configuration(app):
    app.conf.update(pushgate_interval="30s", pushgate_tasks=["a.*"])
    app.conf.pushgate_job = "shop"

    assert from_conf(app) == {"interval": 30.0, "tasks": ("a.*",), "job": "shop"}


@pytest.mark.parametrize(
    ("namespace", "module"),
    [
        (None, SimpleNamespace(pushgate_job="shop", broker_url="memory://")),
        ("CELERY", SimpleNamespace(CELERY_PUSHGATE_JOB="shop", PUSHGATE_OTHER="not Celery's")),
    ],
)
def test_options_stand_in_a_configuration_object(app, namespace, module):
    app.config_from_object(module, namespace=namespace)

    assert from_conf(app) == {"job": "shop"}


@pytest.mark.parametrize(
    ("namespace", "module"),
    [
        (None, SimpleNamespace(pushgate_intervall=1)),
        ("CELERY", SimpleNamespace(CELERY_PUSHGATE_INTERVALL=1)),
    ],
)
def test_a_misspelled_option_is_an_error_that_names_the_right_one(app, namespace, module):
    app.config_from_object(module, namespace=namespace)

    with pytest.raises(
        SettingsError, match=r"pushgate_intervall: .*did you mean pushgate_interval"
    ):
        from_conf(app)


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
