"""The link from a task to its group."""

from __future__ import annotations

from types import SimpleNamespace
from urllib.parse import unquote, urlsplit

import pytest

from pushgate_airflow import plugin
from pushgate_airflow._configuration import configuration
from pushgate_airflow.links import GroupLink


def url(**key):
    key = SimpleNamespace(**{"dag_id": "etl", "task_id": "load", "run_id": "r", **key})
    return GroupLink().get_link(None, ti_key=key)


def test_it_names_the_group_as_the_gateways_page_does(configure):
    configure(gateway="http://pushgateway.example:9091/prefix/")
    found = url(task_id="a-b,c")
    assert found.startswith("http://pushgateway.example:9091/prefix/#:~:text=")
    fragment = urlsplit(found).fragment.removeprefix(":~:text=")
    assert unquote(fragment) == 'job="airflow" dag_id="etl" task_id="a-b,c"'
    assert not set(fragment) & set("-,&"), "they mean something else in a text fragment"


def test_it_holds_no_credentials_and_prefers_the_address_for_people(configure):
    configure(gateway="https://user:secret@pushgateway.example", ui_url=None)
    assert "secret" not in url()
    assert url().startswith("https://pushgateway.example/#")
    configure(ui_url="https://for.people.example")
    assert url().startswith("https://for.people.example/#")


@pytest.mark.parametrize(
    ("options", "is_there"),
    [
        ({}, False),
        ({"listener": True}, False),
        ({"gateway": "http://pushgateway.example"}, False),
        ({"gateway": "http://pushgateway.example", "listener": True}, True),
        ({"ui_url": "http://pushgateway.example"}, True),
    ],
)
def test_it_is_there_where_its_address_is_known_and_tasks_are_reported(
    configure, options, is_there
):
    configure(**{"gateway": None, "listener": None, "ui_url": None, **options})
    assert bool(plugin._links(configuration())) == is_there
