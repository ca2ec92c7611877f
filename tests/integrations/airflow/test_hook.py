"""The hook and its connection: which gateway, with what, and what the Test button says."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable
from typing import Any

import pytest
from airflow.exceptions import AirflowNotFoundException
from airflow.models import Connection as StoredConnection
from airflow.sdk import Connection
from airflow.utils.session import create_session

from pushgate import Gateway, Settings, SettingsError
from pushgate.embedded.pytest_plugin import PushgatewayFixture
from pushgate_airflow import PushgatewayHook, _gateway_lookup
from pushgate_airflow._gateway_lookup import agateway, connection_settings, gateway
from support.faults import FaultServer, answer, hang, respond
from support.gateways import GatewayUnderTest

Configure = Callable[..., None]
SECRET = "s3cret-word"


@pytest.fixture
def define(configure: Configure, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Define a connection by a variable, as a URI or by its fields."""

    def define(conn_id: str, uri: str | None = None, **fields: Any) -> None:
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", uri or json.dumps(fields))
        configure()

    return define


def of(**fields: Any) -> Settings:
    extra = fields.pop("extra", None)
    text = json.dumps(extra) if isinstance(extra, dict) else extra
    fields = {"conn_type": "pushgateway", **fields}
    settings = connection_settings(Connection(conn_id="metrics", extra=text, **fields))
    return settings._replace(origins={})


@pytest.mark.parametrize(
    ("fields", "url"),
    [
        ({"host": "gateway.example"}, "http://gateway.example"),
        ({"host": "gateway.example", "port": 9091}, "http://gateway.example:9091"),
        ({"host": "gateway.example:9091"}, "http://gateway.example:9091"),
        ({"host": "h", "schema": "https", "port": 443}, "https://h:443"),
        ({"host": "https://h/prefix", "port": 8443}, "https://h:8443/prefix"),
        ({"host": "https://h:8443/prefix", "port": 8443}, "https://h:8443/prefix"),
        ({"host": "HTTPS://h", "schema": "https"}, "HTTPS://h"),
        ({"host": "::1", "port": 9091}, "http://[::1]:9091"),
        ({"host": "[::1]", "port": 9091}, "http://[::1]:9091"),
        ({"host": "h", "conn_type": "https"}, "https://h"),
    ],
)
def test_host_schema_and_port_make_a_url(fields: dict[str, Any], url: str) -> None:
    assert of(**fields).gateway == url


def test_extras_are_taken_from_json_and_as_texts_from_a_uri() -> None:
    wanted = Settings(
        gateway="https://h:9091",
        username="me",
        password="p@ss",
        cafile="/ca.pem",
        certfile="/cert.pem",
        keyfile="/key.pem",
        insecure_skip_verify=True,
        headers=(("X-Scope-OrgID", "batch"),),
        redirects=2,
        timeout=2.5,
        compression="gzip",
        retries=0,
    )
    extra = {
        "cafile": "/ca.pem",
        "certfile": "/cert.pem",
        "keyfile": "/key.pem",
        "insecure_skip_verify": True,
        "headers": {"X-Scope-OrgID": "batch"},
        "redirects": 2,
        "timeout": 2.5,
        "compression": "gzip",
        "retries": 0,
        "token": "",
    }
    uri = (
        "pushgateway://me:p%40ss@h:9091/https?cafile=%2Fca.pem&certfile=%2Fcert.pem"
        "&keyfile=%2Fkey.pem&insecure_skip_verify=true&headers=%7B%22X-Scope-OrgID%22%3A+%22batch"
        "%22%7D&redirects=2&timeout=2.5&compression=gzip&retries=0"
    )

    assert of(host="h", port=9091, schema="https", login="me", password="p@ss", extra=extra) == (
        wanted
    )
    from_uri = connection_settings(Connection.from_uri(uri, conn_id="metrics"))
    assert from_uri._replace(origins={}) == wanted


def test_a_connection_survives_airflows_own_cache_which_keeps_uris() -> None:
    connection = Connection(
        conn_id="metrics",
        conn_type="pushgateway",
        host="https://h/prefix",
        port=8443,
        login="me",
        password="p@/:s",
        extra=json.dumps({"headers": {"A": "b"}, "timeout": 3}),
    )

    again = Connection.from_uri(connection.get_uri(), conn_id="metrics")

    assert connection_settings(again) == connection_settings(connection)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "there is no host"),
        ({"host": f"http://me:{SECRET}@h"}, "move them to login and password"),
        ({"host": "h", "schema": "prefix"}, "a path goes into the host"),
        ({"host": "http://h", "schema": "https"}, "clear one"),
        ({"host": "h:1", "port": 2}, "clear one"),
        ({"host": "h i"}, "holds a space"),
        ({"host": "h", "extra": "{"}, "no JSON object"),
        ({"host": "h", "extra": {"tokn": SECRET}}, "'tokn'; did you mean 'token'?"),
        ({"host": "h", "extra": {"timeout": "soon"}}, "extra 'timeout' of the connection"),
        ({"host": "h", "extra": {"timeout": 0}}, "above 0"),
        ({"host": "h", "extra": {"retries": -1}}, "whole number"),
        ({"host": "h", "extra": {"insecure_skip_verify": "maybe"}}, "neither true nor false"),
        ({"host": "h", "extra": {"compression": "zip"}}, "gzip, snappy"),
        ({"host": "h", "extra": {"headers": "A: b"}}, "extra 'headers': give an object"),
        ({"host": "h", "extra": {"headers": {"A": f"{SECRET}\n"}}}, "the header 'A'"),
        ({"host": "h", "extra": {"token": f"{SECRET} "}}, "a token has no spaces"),
        ({"host": "h", "login": "me"}, "no password"),
        ({"host": "h", "password": SECRET}, "no user name"),
        ({"host": "h", "login": "a:b", "password": SECRET}, "colon"),
        ({"host": "h", "login": "me", "password": SECRET, "extra": {"token": "t"}}, "not both"),
        ({"host": "h", "extra": {"keyfile": "/k"}}, "no certificate"),
    ],
)
def test_an_unfit_connection_is_refused_by_name_and_without_its_secret(
    fields: dict[str, Any], words: str
) -> None:
    with pytest.raises(SettingsError) as raised:
        of(**fields)

    assert "the connection 'metrics'" in str(raised.value)
    assert words in str(raised.value)
    assert SECRET not in f"{raised.value!r}{raised.value.__cause__!r}"


@pytest.mark.parametrize(
    "fields",
    [
        {"login": "me", "password": "file:PATH"},
        {"extra": {"token": "file:PATH"}},
        {"extra": {"headers": {"X-Key": "file:PATH"}}},
    ],
)
def test_a_secret_is_never_read_from_a_file_for_whoever_edits_a_connection(
    fields: dict[str, Any], tmp_path: Any
) -> None:
    (tmp_path / "secret").write_text(SECRET)
    fields = json.loads(json.dumps(fields).replace("PATH", str(tmp_path / "secret")))

    with pytest.raises(SettingsError, match="file:/path is not read in a connection"):
        of(host="h", **fields)


def test_tasks_push_by_connections_from_variables_and_from_the_database(
    pushgateway: PushgatewayFixture, define: Callable[..., None], run_dag: Callable[..., Any]
) -> None:
    host, _, port = pushgateway.url.removeprefix("http://").partition(":")
    define("by_json", conn_type="pushgateway", host=pushgateway.url, extra={"compression": "gzip"})
    define("by_uri", f"pushgateway://{host}:{port}/http?timeout=5")
    stored = StoredConnection(
        conn_id="stored",
        conn_type="pushgateway",
        host=host,
        port=int(port),
        extra='{"retries": 1}',
    )
    with create_session() as session:
        session.add(stored)
    try:
        for conn_id in ("by_json", "by_uri", "stored"):
            run = run_dag("operator_by_connection", run_conf={"conn_id": conn_id})
            assert run.state == "success"
    finally:
        with create_session() as session:
            session.delete(session.merge(stored))

    found = {group.labels["job"] for group in Gateway(pushgateway.url).groups()}
    assert found == {"by_json", "by_uri", "stored"}


def test_what_is_named_goes_before_what_is_configured(
    configure: Configure, define: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    define("other", "http://other:1")
    define("pushgateway_default", "http://default:2")
    monkeypatch.setenv("PUSHGATE_GATEWAY", "http://environment:3")
    configure(gateway="http://configured:4")

    assert gateway("other").url == "http://other:1"
    assert gateway().url == "http://configured:4"
    assert gateway("pushgateway_default").url == "http://configured:4"

    configure(gateway=None)
    assert gateway().url == "http://default:2"
    configure(conn_id="other")
    assert gateway().url == "http://other:1"

    monkeypatch.delenv("AIRFLOW_CONN_OTHER")
    configure()
    assert gateway().url == "http://environment:3"
    assert PushgatewayHook(None).get_conn().url == "http://environment:3"

    monkeypatch.delenv("PUSHGATE_GATEWAY")
    configure()
    with pytest.raises(SettingsError, match="AIRFLOW__PUSHGATE__GATEWAY"):
        gateway()
    with pytest.raises(AirflowNotFoundException):
        gateway("nowhere")


def test_an_event_loop_finds_the_same(
    configure: Configure, define: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    define("other", "http://other:1")

    assert asyncio.run(agateway("other")).url == "http://other:1"
    assert asyncio.run(PushgatewayHook("other").aget_conn()).url == "http://other:1"
    configure(conn_id="other")
    assert asyncio.run(PushgatewayHook().aget_conn()).url == "http://other:1"
    with pytest.raises(AirflowNotFoundException):
        asyncio.run(agateway("nowhere"))
    configure(gateway="http://configured:4")
    assert asyncio.run(agateway()).url == "http://configured:4"


def test_a_changed_connection_is_seen_after_a_while(
    define: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    define("other", "http://other:1")
    now = _gateway_lookup.time.monotonic()
    monkeypatch.setattr(_gateway_lookup.time, "monotonic", lambda: now)
    assert gateway("other").url == "http://other:1"
    monkeypatch.setenv("AIRFLOW_CONN_OTHER", "http://moved:1")
    assert gateway("other").url == "http://other:1"

    monkeypatch.setattr(_gateway_lookup.time, "monotonic", lambda: now + 301)

    assert gateway("other").url == "http://moved:1"


def test_the_test_button_names_the_gateway_it_found_and_pushes_nothing(
    gateway: GatewayUnderTest, define: Callable[..., None]
) -> None:
    define("other", conn_type="pushgateway", host=gateway.url, login="me", password=SECRET)

    ok, text = PushgatewayHook("other").test_connection()

    assert ok
    assert text.startswith("Pushgateway 1.")
    assert text.endswith(f" at {gateway.url}, as the user 'me'")
    assert gateway.groups() == []


def test_the_test_button_tests_the_connection_and_not_what_is_configured(
    configure: Configure, define: Callable[..., None], pushgateway: PushgatewayFixture
) -> None:
    configure(gateway="http://127.0.0.1:1")
    define("pushgateway_default", pushgateway.url)

    assert PushgatewayHook().test_connection()[0]


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        ("401 Unauthorized", b"", "credentials are refused"),
        ("403 Forbidden", b"not you", "not you"),
        ("404 Not Found", b"", "not as a Pushgateway"),
        ("200 OK", b"<html>", "is it the address of a Pushgateway?"),
        ("200 OK", b"{}", "is it the address of a Pushgateway?"),
        ("502 Bad Gateway", b"", "502"),
    ],
)
def test_the_test_button_says_what_is_wrong_and_no_secret(
    define: Callable[..., None], status: str, body: bytes, words: str
) -> None:
    with FaultServer(respond(answer(status, body + SECRET.encode()))) as server:
        define("other", conn_type="pushgateway", host=server.url, extra={"token": SECRET})
        ok, text = PushgatewayHook("other").test_connection()

    assert not ok
    assert words in text
    assert SECRET not in text


def test_credentials_that_only_writing_asks_for_are_tested_too(
    define: Callable[..., None],
) -> None:
    version = b'{"status":"success","data":{"build_information":{"version":"1.11.2"}}}'
    with FaultServer(respond(answer(body=version), answer("401 Unauthorized"))) as server:
        define("other", conn_type="pushgateway", host=server.url)
        ok, text = PushgatewayHook("other").test_connection()

    assert not ok
    assert "asks for credentials" in text


def test_the_test_button_does_not_wait_for_ever(define: Callable[..., None]) -> None:
    with FaultServer(hang) as server:
        define("other", conn_type="pushgateway", host=server.url, extra={"timeout": 0.2})
        ok, text = PushgatewayHook("other").test_connection()

    assert not ok
    assert "timed out" in text


def test_the_test_button_has_a_hint_for_a_missing_port(define: Callable[..., None]) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        define("with_port", f"http://127.0.0.1:{nobody.getsockname()[1]}")
        ok, text = PushgatewayHook("with_port").test_connection()
    define("without", "http://127.0.0.1")

    assert not ok
    assert "refused" in text
    assert "9091" not in text
    assert "9091" in PushgatewayHook("without").test_connection()[1]
