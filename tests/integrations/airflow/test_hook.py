"""The hook and its connection: which gateway, with what, and what the Test button says."""

import asyncio
import json
import socket

import pytest
from airflow.exceptions import AirflowNotFoundException
from airflow.sdk import Connection

from pushgate import SettingsError, TLSFileError, gauge
from pushgate_airflow import PushgatewayHook
from support.faults import FaultServer, answer, hang, respond

SECRET = "s3cret-word"


@pytest.fixture
def define(configure, monkeypatch):
    """Define a connection by a variable, as a URI or by its fields."""

    def define(conn_id, uri=None, **fields):
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", uri or json.dumps(fields))
        configure()

    return define


@pytest.fixture
def of(define):
    """The gateway of a connection with these fields."""

    def of(uri=None, **fields):
        define("metrics", uri, **{"conn_type": "pushgateway", **fields})
        return PushgatewayHook("metrics").get_conn()

    return of


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
def test_host_schema_and_port_make_a_url(of, fields, url):
    assert of(**fields).url == url


@pytest.mark.parametrize("kind", ["json", "uri", "as Airflow's own cache keeps it"])
def test_extras_are_taken_from_json_and_as_texts_from_a_uri(of, kind):
    extra = {"headers": {"X-Scope-OrgID": "batch"}, "timeout": 2.5, "compression": "gzip"}
    with FaultServer(respond(answer("202 Accepted"))) as server:
        fields = {"host": server.url, "login": "me", "password": "p@/:s"}
        fields |= {"extra": json.dumps({**extra, "token": "", "retries": 0})}
        if kind == "uri":
            gateway = of(
                f"pushgateway://me:p%40%2F%3As@127.0.0.1:{server.port}/http?timeout=2.5"
                "&headers=%7B%22X-Scope-OrgID%22%3A+%22batch%22%7D&compression=gzip&retries=0"
            )
        elif kind == "json":
            gateway = of(**fields)
        else:
            known = Connection(conn_id="metrics", conn_type="pushgateway", **fields)
            gateway = of(known.get_uri())
        gateway.push("j", gauge("m", "", 1))
        (seen,) = server.requests
    assert gateway.timeout == 2.5
    assert seen.header("x-scope-orgid") == "batch"
    assert seen.header("content-encoding") == "gzip"
    assert seen.header("authorization") == "Basic bWU6cEAvOnM="


def test_tls_files_are_those_of_the_machine(of):
    gateway = of(host="https://127.0.0.1:1", extra={"cafile": "/nowhere/ca.pem"})
    with pytest.raises(TLSFileError, match=r"/nowhere/ca\.pem"):
        gateway.push("j", gauge("m", "", 1))


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
        ({"host": "h", "extra": {"headers": "A: b"}}, "extra 'headers': give an object"),
        ({"host": "h", "extra": {"token": f"{SECRET} "}}, "a token has no spaces"),
        ({"host": "h", "login": "me"}, "no password"),
        ({"host": "h", "login": "me", "password": SECRET, "extra": {"token": "t"}}, "not both"),
    ],
)
def test_an_unfit_connection_is_refused_by_name_and_without_its_secret(of, fields, words):
    with pytest.raises(SettingsError) as raised:
        of(**fields)
    assert "the connection 'metrics'" in str(raised.value)
    assert words in str(raised.value)
    assert SECRET not in f"{raised.value!r}{raised.value.__cause__!r}"


@pytest.mark.parametrize(
    "fields",
    [
        {"login": "me", "password": "file:/etc/hostname"},
        {"extra": {"token": "file:/etc/hostname"}},
        {"extra": {"headers": {"X-Key": "file:/etc/hostname"}}},
    ],
)
def test_a_secret_is_never_read_from_a_file_for_whoever_edits_a_connection(of, fields):
    with pytest.raises(SettingsError, match="file:/path is not read in a connection"):
        of(host="h", **fields)


def test_what_is_named_goes_before_what_is_configured(configure, define, monkeypatch):
    def url(conn_id=None):
        return PushgatewayHook(conn_id).get_conn().url

    define("other", "http://other:1")
    define("pushgateway_default", "http://default:2")
    monkeypatch.setenv("PUSHGATE_GATEWAY", "http://environment:3")
    configure(gateway="http://configured:4")
    assert url("other") == "http://other:1"
    assert url() == url("pushgateway_default") == "http://configured:4"
    configure(gateway=None)
    assert url() == "http://default:2"
    configure(conn_id="other")
    assert url() == "http://other:1"
    monkeypatch.delenv("AIRFLOW_CONN_OTHER")
    assert url() == "http://environment:3"
    monkeypatch.delenv("PUSHGATE_GATEWAY")
    with pytest.raises(SettingsError, match="AIRFLOW__PUSHGATE__GATEWAY"):
        url()
    with pytest.raises(AirflowNotFoundException):
        url("nowhere")


def test_an_event_loop_finds_the_same(configure, define):
    define("other", "http://other:1")
    assert asyncio.run(PushgatewayHook("other").aget_conn()).url == "http://other:1"
    with pytest.raises(AirflowNotFoundException):
        asyncio.run(PushgatewayHook("nowhere").aget_conn())
    configure(gateway="http://configured:4")
    assert asyncio.run(PushgatewayHook().aget_conn()).url == "http://configured:4"


def test_the_test_button_names_the_gateway_it_found_and_pushes_nothing(gateway, define):
    define("other", conn_type="pushgateway", host=gateway.url, login="me", password=SECRET)

    ok, text = PushgatewayHook("other").test_connection()

    assert ok
    assert text.startswith("Pushgateway 1.")
    assert text.endswith(f" at {gateway.url}, as the user 'me'")
    assert gateway.groups() == []


def test_the_test_button_tests_the_connection_and_not_what_is_configured(
    configure, define, pushgateway
):
    configure(gateway="http://127.0.0.1:1")
    define("pushgateway_default", pushgateway.url)

    assert PushgatewayHook().test_connection()[0]


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (None, b"", "timed out"),
        ("401 Unauthorized", b"", "credentials are refused"),
        ("403 Forbidden", b"not you", "not you"),
        ("404 Not Found", b"", "not as a Pushgateway"),
        ("200 OK", b"<html>", "is it the address of a Pushgateway?"),
        ("200 OK", b"{}", "is it the address of a Pushgateway?"),
        ("502 Bad Gateway", b"", "502"),
    ],
)
def test_the_test_button_says_what_is_wrong_and_no_secret(define, status, body, words):
    script = respond(answer(status, body + SECRET.encode())) if status else hang
    with FaultServer(script) as server:
        extra = {"token": SECRET, **({} if status else {"timeout": 0.2})}
        define("other", conn_type="pushgateway", host=server.url, extra=extra)
        ok, text = PushgatewayHook("other").test_connection()

    assert not ok
    assert words in text
    assert SECRET not in text


def test_credentials_that_only_writing_asks_for_are_tested_too(define):
    version = b'{"status":"success","data":{"build_information":{"version":"1.11.2"}}}'
    with FaultServer(respond(answer(body=version), answer("401 Unauthorized"))) as server:
        define("other", conn_type="pushgateway", host=server.url)
        ok, text = PushgatewayHook("other").test_connection()

    assert not ok
    assert "asks for credentials" in text


def test_the_test_button_has_a_hint_for_a_missing_port(define):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        define("with_port", f"http://127.0.0.1:{nobody.getsockname()[1]}")
        ok, text = PushgatewayHook("with_port").test_connection()
    define("without", "http://127.0.0.1")

    assert not ok
    assert "refused" in text
    assert "9091" not in text
    assert "9091" in PushgatewayHook("without").test_connection()[1]
