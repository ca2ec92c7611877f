"""The handlers beside prometheus_client's, their errors, redirects, credentials and proxies."""

import base64
import copy
import gzip
import inspect
import pickle
import socket
import traceback
import urllib.error
from enum import Enum
from functools import partial
from typing import get_type_hints

import prometheus_client
import prometheus_client.exposition as theirs
import pytest
import trustme
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

import pushgate
from pushgate import (
    TLS,
    BasicAuth,
    BearerToken,
    Gateway,
    GatewayRejectedError,
    GatewayUnreachableError,
    HTTPHandler,
    Outbox,
    PushError,
    SettingsError,
    TLSFileError,
)
from support import faults
from support.certificates import Certificates
from support.faults import PATIENCE, FaultServer, answer

FUNCTIONS = ("push_to_gateway", "pushadd_to_gateway", "delete_from_gateway")
HANDLERS = (
    "default_handler",
    "basic_auth_handler",
    "tls_auth_handler",
    "passthrough_redirect_handler",
)
PATH = "/metrics/job/j"


class Environment(str, Enum):  # noqa: UP042 - a StrEnum shows what it holds
    PRODUCTION = "prod"


def registry():
    metrics = CollectorRegistry()
    Gauge("g", "A gauge", ["l"], registry=metrics).labels('é"\\\n').set(1e7)
    Counter("c", "A counter", registry=metrics).inc()
    Histogram("h", "A histogram", registry=metrics).observe(0.2)
    return metrics


class Recorder:
    """A user's handler that only writes down what it was called with."""

    def __init__(self):
        self.calls = []
        self.performed = 0

    def __call__(self, **call):
        self.calls.append({**call, "headers": list(call["headers"])})
        assert type(call["headers"]) is list
        return self._perform

    def _perform(self):
        self.performed += 1


def push(base, handler=pushgate.default_handler, **changes):
    call = {
        "url": base + PATH,
        "method": "PUT",
        "timeout": PATIENCE,
        "headers": [("Content-Type", "text/plain")],
        "data": b"m 1\n",
    }
    handler(**{**call, **changes})()


# Beside prometheus_client: the same signatures, and the same calls of a handler.


@pytest.mark.parametrize("name", [*FUNCTIONS, *HANDLERS, "instance_ip_grouping_key"])
def test_signatures_are_prometheus_clients(name):
    def shape(function):
        return [
            # The default handler is each library's own.
            (p.name, p.kind, getattr(p.default, "__name__", p.default))
            for p in inspect.signature(function).parameters.values()
        ]

    assert shape(getattr(pushgate, name)) == shape(getattr(theirs, name))


def test_instance_ip_grouping_key_is_prometheus_clients():
    assert pushgate.instance_ip_grouping_key() == prometheus_client.instance_ip_grouping_key()


GATEWAYS = (
    "localhost:9091",
    "http://h:1",
    "HTTPS://h:1",
    "https://h",
    "http://h///",
    "http://h/pre/",
    "[::1]:9091",
    "http://[::1]:9091/pre",
    "http://user:pass@h:1",
    "h",
)
JOBS = ("j", "a/b", "a b", " ", "a+b", "a&b=c?d#e%f", "~-_.", "a:b@c", "x\ny", "日本 /", "日本")
GROUPINGS = (
    None,
    {},
    {"a": 9},
    {"a": None},
    {"a": True},
    {"a": 1.5},
    {"b": "2", "a": "1"},
    {"a": "x", "_": "y", "B": "z"},
    {"a": ""},
    {"a": "???/>>>"},
    {"a": "%2F"},
    {"a": "\t"},
    {"a": "a/b c", "instance": "é"},
    {"a": Environment.PRODUCTION},
)


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize(
    ("gateway", "job", "grouping"),
    [
        *((gateway, "j", None) for gateway in GATEWAYS),
        *(("h:1", job, None) for job in (*JOBS, Environment.PRODUCTION)),
        *(("h:1", "j", grouping) for grouping in GROUPINGS),
    ],
)
def test_a_handler_is_called_as_prometheus_client_calls_it(function, gateway, job, grouping):
    given_grouping = copy.copy(grouping)
    recorder = Recorder()
    metrics = () if function == "delete_from_gateway" else (registry(),)
    for library in (pushgate, prometheus_client):
        push_it = getattr(library, function)
        push_it(gateway, job, *metrics, grouping_key=grouping, timeout=4.5, handler=recorder)
    ours, expected = recorder.calls
    assert without_created(ours) == without_created(expected)
    assert recorder.performed == 2
    assert grouping == given_grouping


def without_created(call):
    """Both registries are new each, and their _created samples differ."""
    lines = call["data"].splitlines(keepends=True)
    return {**call, "data": b"".join(line for line in lines if b"_created" not in line)}


@pytest.mark.parametrize("timeout", [30, None, 0.5])
@pytest.mark.parametrize("compression", [None, "gzip", "GZip", "snappy", "SNAPPY"])
def test_compression_and_timeout_reach_a_handler_as_prometheus_clients(compression, timeout):
    metrics, recorder = registry(), Recorder()
    for library in (pushgate, prometheus_client):
        library.push_to_gateway(
            "h", "j", metrics, timeout=timeout, handler=recorder, compression=compression
        )
    ours, expected = recorder.calls
    if (compression or "").lower() == "gzip":
        for call in recorder.calls:
            call["data"] = gzip.decompress(call["data"])
    assert ours == expected


@pytest.mark.parametrize("compression", ["", "zstd"])
def test_an_unknown_compression_is_prometheus_clients_error(compression):
    recorder = Recorder()
    for library in (pushgate, prometheus_client):
        with pytest.raises(ValueError, match="Unsupported compression type"):
            library.push_to_gateway("h", "j", registry(), handler=recorder, compression=compression)
    assert not recorder.calls


# On the wire beside prometheus_client.


def test_each_librarys_handlers_work_in_the_other(httpserver):
    httpserver.expect_request(
        PATH, headers={"Authorization": "Basic ZsO2OmLDpHI="}
    ).respond_with_data()

    for handlers, pusher in ((theirs, pushgate), (pushgate, prometheus_client)):

        def mine(url, method, timeout, headers, data, handlers=handlers):
            # The way of prometheus_client's documentation.
            headers.append(("X-Mine", "1"))
            return handlers.basic_auth_handler(url, method, timeout, headers, data, "fö", "bär")

        pusher.push_to_gateway(httpserver.url_for(""), "j", registry(), handler=mine)
        request, _ = httpserver.log[-1]
        assert request.headers["X-Mine"] == "1"
        pusher.delete_from_gateway(httpserver.url_for(""), "j", handler=mine)
    assert len(httpserver.log) == 4
    assert {response.status_code for _, response in httpserver.log} == {200}


def test_headers_appended_before_the_call_is_performed_are_sent():
    with FaultServer(faults.accept) as server:
        headers = [("Content-Type", "text/plain")]
        perform = pushgate.default_handler(server.url + PATH, "PUT", PATIENCE, headers, b"")
        headers.append(("X-Late", b"bytes, as prometheus_client appends"))
        perform()
        assert server.requests[0].header("X-Late") == "bytes, as prometheus_client appends"


def test_a_basic_auth_handler_performed_twice_sends_one_authorization_each_time():
    with FaultServer(faults.accept) as server:
        headers = []
        perform = pushgate.basic_auth_handler(
            server.url + PATH, "PUT", PATIENCE, headers, b"", "u", "p"
        )
        perform()
        perform()
        assert [seen.header("Authorization") for seen in server.requests] == ["Basic dTpw"] * 2
        assert headers == []  # the caller's list stays as it was


def test_of_two_headers_of_one_name_the_last_counts_as_in_prometheus_client():
    headers = [("Content-Type", "a"), ("X-A", "1"), ("content-type", "b")]
    with FaultServer(faults.accept) as server:
        for handler in (pushgate.default_handler, theirs.default_handler):
            push(server.url, handler, headers=list(headers))
        for seen in server.requests:
            assert (seen.header("Content-Type"), seen.header("X-A")) == ("b", "1")


# Errors.

LIBRARY_ERRORS = [OSError, urllib.error.URLError]


@pytest.mark.parametrize("handler", [pushgate.default_handler, theirs.default_handler])
def test_a_rejection_is_what_prometheus_clients_users_catch(handler):
    body = b"text format parsing error in line 1:\n  unexpected end\tof input stream\n"
    with FaultServer(faults.respond(answer("400 Bad Request", body, (("X-A", "b"),)))) as server:
        with pytest.raises(urllib.error.HTTPError) as caught:
            push(server.url, handler)
        error = caught.value
        assert all(isinstance(error, base) for base in LIBRARY_ERRORS)
        assert (error.code, error.headers["X-A"], error.read()) == (400, "b", body)
        assert error.url == error.geturl() == server.url + PATH
        assert str(error).startswith("HTTP Error 400: Bad Request")
        error.close()


def test_a_rejection_says_why():
    body = b"text format parsing error in line 1:\n  unexpected end\tof input stream\n"
    with (
        FaultServer(faults.respond(answer("400 Bad Request", body))) as server,
        pytest.raises(GatewayRejectedError) as caught,
    ):
        pushgate.pushadd_to_gateway(server.url, "j", registry(), {"a": "b"})
    error = caught.value
    assert str(error) == (
        "HTTP Error 400: Bad Request: text format parsing error in line 1: unexpected end of"
        " input stream"
    )
    assert (error.status, error.method, error.retryable) == (400, "POST", False)
    assert error.group == {"job": "j", "a": "b"}


@pytest.mark.parametrize(
    "body",
    [b"\x1b[31mred\x07\x00\r\nX: y", b"\xff\xfe\x80", "日本\u2028\u202e".encode(), b"w" * 100_000],
    ids=["escapes", "no UTF-8", "line separators", "long"],
)
def test_a_servers_words_are_one_printable_line(body):
    with (
        FaultServer(faults.respond(answer("500 \x1b[1mOops", body))) as server,
        pytest.raises(GatewayRejectedError) as caught,
    ):
        push(server.url)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1000


def test_an_unreachable_gateway_is_an_urlerror():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
    with pytest.raises(urllib.error.URLError, match="refused") as caught:
        pushgate.delete_from_gateway(url, "j", {"a": "b"})
    error = caught.value
    assert isinstance(error, GatewayUnreachableError)
    assert str(error) == f"DELETE {url}{PATH}/a/b: {error.reason}"
    assert error.group == {"job": "j", "a": "b"}


def test_authorities_that_the_environment_names_later_count(files, monkeypatch):
    before = TLS().context()
    assert TLS().context() is before
    monkeypatch.setenv("SSL_CERT_FILE", files.ca)
    assert TLS().context() is not before


def every_error():
    def caught(call):
        with pytest.raises(PushError) as info:
            call()
        return info.value

    errors = [
        caught(lambda: pushgate.GroupingKey("", {})),
        caught(lambda: pushgate.Gateway("ftp://x")),
        caught(lambda: pushgate.Settings.load({"retries": "many"}, {})),
        caught(lambda: TLS(cafile="/no/such/file").context()),
        caught(lambda: pushgate.Gateway("h").push("j", ())),
        pushgate.MissingExtraError("snappy needs it", extra="snappy"),
        pushgate.DeletionError("one was", deleted=("a",), left=("b",)),
        pushgate.UnconfirmedDeletionError("none was", deleted=(), left=("a",)),
    ]
    rejecting = faults.respond(answer("429 Slow Down", b"wait", (("Retry-After", "7"),)))
    for script, timeout in ((rejecting, PATIENCE), (faults.reset, PATIENCE), (faults.hang, 0.2)):
        with FaultServer(script) as server:
            errors.append(
                caught(
                    lambda s=server, t=timeout: pushgate.delete_from_gateway(s.url, "j", timeout=t)
                )
            )
    errors.append(caught(lambda: pushgate.delete_from_gateway("[::1]x:1", "j")))
    errors.append(caught(lambda: pushgate.delete_from_gateway("nowhere.invalid", "j")))
    return errors


def test_every_error_survives_pickling_and_copying():
    errors = every_error()
    assert {type(error) for error in errors} == {
        *(getattr(pushgate, name) for name in pushgate.__all__ if name.endswith("Error")),
    } - {PushError, pushgate.DeliveryError}
    for error in errors:
        if isinstance(error, pushgate.DeliveryError):
            error.kept = True
        for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
            assert type(twin) is type(error)
            assert str(twin) == str(error)
            assert repr(twin) == repr(error)
            for name in ("label", "value", "metric", "extra", "method", "url", "group", "code"):
                assert getattr(twin, name, None) == getattr(error, name, None)
            for name in ("retryable", "retry_after", "reason", "kept", "deleted", "left"):
                assert getattr(twin, name, None) == getattr(error, name, None)
        if isinstance(error, GatewayRejectedError):
            assert pickle.loads(pickle.dumps(error)).read() == b"wait"


# Secrets.

PASSWORD, TOKEN, KEY = "hunter2-päss/word", "t0ken-of-mine", "k3y-of-mine"


def quoted(text):
    from urllib.parse import quote

    return quote(text, safe="")


def texts_of(error):
    shown = [*traceback.format_exception(error), str(error), repr(error), repr(error.args)]
    if isinstance(error, GatewayRejectedError):
        shown.append(repr(error.read()))
    shown += [repr(getattr(error, name, "")) for name in ("__notes__", "url", "reason", "filename")]
    cause = error.__cause__
    return "\n".join(shown) + (texts_of(cause) if cause else "")


def echo_head(peer):
    """Not HTTP: a server that says back what it hears, the secrets first."""
    lines = peer.head().split(b"\r\n")
    peer.send(b"\r\n".join(sorted(lines, key=lambda line: b"okie" in line, reverse=True)))
    peer.sock.close()


def echo_each(status, place):
    """Say every secret back, as it came and in every form it can be taken apart into."""

    def script(peer):
        while seen := peer.request():
            values = [value for name, value in seen.headers if name not in ("host", "user-agent")]
            for value in tuple(values):
                values += value.split()[1:]
            values += [base64.b64decode(v.split()[1]).decode() for v in values if "Basic " in v]
            values += [PASSWORD] if any("Basic" in v for v in values) else []
            text = " | ".join(values)
            if place == "Location":
                location = f"http://u:{quoted(PASSWORD)}@127.0.0.1:1/?echo={quoted(text)}"
                peer.send(answer(status, headers=(("Location", location),)))
            elif place == "Location as it is":
                raw = text.encode().decode("latin-1")
                peer.send(answer(status, headers=(("Location", f"/{raw}"),)))
            elif place == "reason":
                peer.send(answer(f"{status} {text.encode().decode('latin-1')}"))
            else:
                peer.send(answer(status, text.encode()))

    return script


ECHOES = {
    "in a body": echo_each("403 Forbidden", "body"),
    "in a reason": echo_each("403", "reason"),
    "in a target": echo_each("302 Found", "Location"),
    "in an odd target": echo_each("302 Found", "Location as it is"),
    "as garbage": echo_head,
    "not at all": faults.reset,
}
CARRIERS = {
    "basic": (lambda: HTTPHandler(auth=BasicAuth("me", PASSWORD)), "", ""),
    "basic, redirects": (
        lambda: HTTPHandler(auth=BasicAuth("me", PASSWORD), redirects=5),
        "",
        "",
    ),
    "url": (HTTPHandler, f"me:{quoted(PASSWORD)}@", ""),
    "user name only in url": (HTTPHandler, f"{quoted(PASSWORD)}@", ""),
    "bearer": (lambda: HTTPHandler(auth=BearerToken(TOKEN)), "", ""),
    "header": (lambda: HTTPHandler(headers=(("X-Api-Key", KEY),)), "", ""),
    "header with a scheme": (lambda: HTTPHandler(headers=(("X-Auth", f"Key {KEY}"),)), "", ""),
    "cookie": (lambda: HTTPHandler(headers=(("Cookie", f"session={KEY}"),)), "", ""),
    "the call's own header": (HTTPHandler, "", f"Bearer {TOKEN}"),
}


@pytest.mark.parametrize("script", ECHOES.values(), ids=ECHOES)
@pytest.mark.parametrize("carrier", CARRIERS.values(), ids=CARRIERS)
def test_no_credential_is_in_any_text_of_an_error(carrier, script):
    make, userinfo, authorization = carrier
    headers = [("Authorization", authorization)] if authorization else []
    with FaultServer(script) as server:
        with pytest.raises(pushgate.DeliveryError) as caught:
            push(server.url.replace("//", f"//{userinfo}"), make(), headers=headers)
        shown = texts_of(caught.value) + texts_of(pickle.loads(pickle.dumps(caught.value)))
        sent = (
            [value for name, value in server.requests[0].headers if name == "authorization"]
            if (server.requests)
            else []
        )
    basic = base64.b64encode(f"me:{PASSWORD}".encode()).decode()
    raw = PASSWORD.encode().decode("latin-1")
    for secret in (PASSWORD, quoted(PASSWORD), raw, TOKEN, KEY, basic, *sent):
        assert secret not in shown


def test_a_short_header_value_does_not_blot_out_the_servers_words():
    with FaultServer(faults.respond(answer("400 Bad Request", b"in line 1: bad"))) as server:
        handler = HTTPHandler(headers=(("X-Scope-OrgID", "1"),))
        with pytest.raises(GatewayRejectedError, match="in line 1: bad"):
            push(server.url, handler)


def test_reprs_hold_no_secret():
    handler = HTTPHandler(auth=BasicAuth("me", PASSWORD), headers=(("X-Key", KEY),))
    gateway = pushgate.Gateway(f"http://me:{quoted(PASSWORD)}@h", headers=[("X-Key", KEY)])
    for value in (handler, BasicAuth("me", PASSWORD), BearerToken(TOKEN), gateway, gateway.url):
        shown = repr(value) + str(value)
        assert not any(secret in shown for secret in (PASSWORD, quoted(PASSWORD), TOKEN, KEY))


@pytest.mark.parametrize(
    "url",
    [
        "http://me:s3cret/with@h:1",
        "http://me:s3cret?with@h:1",
        "http://me:s3cret#with@h:1",
        "http://me:s3cret with@h:1",
        "http://me:s3crét@h:1",
        "http://me:s3cret@h:port",
        "http://me:s3cret@",
        "http://me:s3cret@[h:1",
        "http://me:12/s3cret@h",
        "ftp://me:s3cret@h",
        "http://me:s3cret@h/?q",
        "http://h:1/?token=s3cret",
        "http://h:port/#s3cret",
    ],
)
def test_a_url_that_cannot_be_used_is_refused_without_its_password(url):
    with pytest.raises(SettingsError) as caught:
        pushgate.Gateway(url)
    assert "s3c" not in texts_of(caught.value)


def test_credentials_that_are_no_unicode_are_refused_without_showing_them():
    for auth in (BasicAuth("me", "s3cret\udcff"), BearerToken("s3cret\udcff")):
        with FaultServer(faults.accept) as server, pytest.raises(SettingsError) as caught:
            push(server.url, HTTPHandler(auth=auth))
        assert "s3cret" not in texts_of(caught.value)


# Redirects.

REDIRECTS = (301, 302, 303, 307, 308)
METHODS = ("PUT", "POST", "DELETE")


def redirecting(status, *targets):
    """Answer with these Locations in turn, then accept."""
    answers = [answer(f"{status} Elsewhere", headers=(("Location", t),)) for t in targets]
    return faults.respond(*answers, answer())


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("status", REDIRECTS)
def test_the_default_handler_follows_no_redirect_and_names_the_target(status, method):
    with FaultServer(redirecting(status, "/elsewhere")) as server:
        with pytest.raises(GatewayRejectedError, match="/elsewhere; use passthrough") as caught:
            push(server.url, method=method)
        assert caught.value.code == status
        assert [seen.method for seen in server.requests] == [method]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("status", REDIRECTS)
def test_passthrough_replays_method_body_and_headers(status, method):
    userinfo = "me:pass@"
    with FaultServer(redirecting(status, "/elsewhere", "again?q=1")) as server:
        push(
            server.url.replace("//", f"//{userinfo}"),
            pushgate.passthrough_redirect_handler,
            method=method,
            headers=[("Content-Type", "text/plain"), ("X-Mine", "kept")],
        )
        assert [seen.target for seen in server.requests] == [PATH, "/elsewhere", "/again?q=1"]
        for seen in server.requests:
            assert (seen.method, seen.body) == (method, b"m 1\n")
            assert seen.header("X-Mine") == "kept"
            assert seen.header("Authorization") == "Basic bWU6cGFzcw=="


@pytest.mark.parametrize("status", REDIRECTS)
def test_another_origin_gets_the_content_and_no_secret(status):
    with FaultServer(faults.accept) as other:
        home = f"http://127.0.0.1:{other.port}/there"
        with FaultServer(redirecting(status, home)) as server:
            push(
                server.url,
                HTTPHandler(auth=BasicAuth("me", "pass"), headers=(("X-Key", "key"),), redirects=1),
                headers=[
                    ("Content-Type", "text/plain"),
                    ("Content-Encoding", "gzip"),
                    ("Cookie", "c"),
                    ("Proxy-Authorization", "p"),
                ],
            )
        (seen,) = other.requests
    assert (seen.method, seen.target, seen.body) == ("PUT", "/there", b"m 1\n")
    assert {name for name, _ in seen.headers} == {
        *("host", "content-length", "content-type", "content-encoding"),
    }
    assert seen.header("Host") == f"127.0.0.1:{other.port}"


def test_secrets_do_not_come_back_with_a_redirect_to_the_first_origin():
    def back(peer):
        while peer.request():
            peer.send(answer("307 Back", headers=(("Location", f"{server.url}/back"),)))

    with FaultServer(back) as other, FaultServer(redirecting(307, f"{other.url}/")) as server:
        handler = HTTPHandler(auth=BearerToken("t"), redirects=5)
        push(server.url, handler)
        assert [seen.header("Authorization") for seen in server.requests] == ["Bearer t", None]


def test_redirects_end_after_ten_hops_within_one_deadline():
    with FaultServer(redirecting(302, *["/round"] * 50)) as server:
        with pytest.raises(GatewayRejectedError, match="gave up after 10 redirects"):
            push(server.url, pushgate.passthrough_redirect_handler)
        assert len(server.requests) == 11

    def slow(peer):
        while peer.request():
            if server.stopping.wait(0.05):
                return
            peer.send(answer("302 Found", headers=(("Location", "/round"),)))

    with FaultServer(slow) as server, pytest.raises(GatewayUnreachableError, match="timed out"):
        push(server.url, pushgate.passthrough_redirect_handler, timeout=0.15)


@pytest.mark.parametrize(
    "location",
    ["ftp://h/x", "javascript:alert(1)", "http://[", "http://h:port/", "/é", "/\x01"],
)
@pytest.mark.parametrize("redirects", [0, 5])
def test_a_redirect_to_nowhere_is_a_rejection(location, redirects):
    with FaultServer(redirecting(302, location)) as server:
        with pytest.raises(GatewayRejectedError, match="is no URL that can be followed"):
            push(server.url, HTTPHandler(redirects=redirects))
        assert len(server.requests) == 1


@pytest.mark.parametrize("status", [300, 304, 305, 302])
def test_a_redirect_without_a_target_is_a_rejection(status):
    with (
        FaultServer(faults.respond(answer(f"{status} What", b"words"))) as server,
        pytest.raises(GatewayRejectedError) as caught,
    ):
        push(server.url, HTTPHandler(redirects=5))
    assert caught.value.code == status


# Credentials and TLS.


@pytest.mark.parametrize(
    ("handler", "userinfo", "expected"),
    [
        (HTTPHandler(auth=BasicAuth("fö", "bär")), "", "Basic ZsO2OmLDpHI="),
        (HTTPHandler(auth=BasicAuth("u", "")), "", "Basic dTo="),
        (partial(pushgate.basic_auth_handler, username=1, password=2), "", "Basic MToy"),
        (HTTPHandler(auth=BearerToken("abc")), "", "Bearer abc"),
        (HTTPHandler(), "f%C3%B6:b%C3%A4r@", "Basic ZsO2OmLDpHI="),
        (HTTPHandler(), "a%40b:c%3Ad%2Fe@", "Basic YUBiOmM6ZC9l"),
        (HTTPHandler(), "token@", "Basic dG9rZW46"),
        (HTTPHandler(auth=BearerToken("abc")), "u:p@", "Bearer abc"),
        (HTTPHandler(), "", None),
    ],
)
def test_credentials_are_sent(handler, userinfo, expected):
    with FaultServer(faults.accept) as server:
        push(server.url.replace("//", f"//{userinfo}"), handler)
        (seen,) = server.requests
    assert seen.header("Authorization") == expected
    assert seen.header("Host") == f"127.0.0.1:{server.port}"
    assert seen.target == PATH


def test_the_calls_own_authorization_goes_before_the_handlers():
    with FaultServer(faults.accept) as server:
        push(server.url, HTTPHandler(auth=BearerToken("h")), headers=[("authorization", "mine")])
        assert server.requests[0].header("Authorization") == "mine"


@pytest.mark.parametrize(("user", "password"), [(None, None), ("u", None), (None, "p")])
def test_basic_auth_handler_without_both_sends_none(user, password):
    with FaultServer(faults.accept) as server:
        pushgate.basic_auth_handler(server.url + PATH, "PUT", 9, [], b"", user, password)()
        assert server.requests[0].header("Authorization") is None


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return Certificates(tmp_path_factory.mktemp("tls"))


def test_client_certificate_basic_auth_headers_and_redirects_compose(files):
    script = faults.over_tls(files.context(client_certificate=True), redirecting(307, "/there"))
    with FaultServer(script) as server:
        handler = HTTPHandler(
            auth=BasicAuth("u", "p"),
            tls=TLS(cafile=files.ca, certfile=files.both),
            headers=(("X-Mine", "1"),),
            redirects=2,
        )
        push(server.url.replace("http", "https"), handler)
        assert [seen.target for seen in server.requests] == [PATH, "/there"]
        for seen in server.requests:
            assert seen.header("Authorization") == "Basic dTpw"
            assert seen.header("X-Mine") == "1"


@pytest.mark.parametrize("handlers", [pushgate, theirs])
def test_tls_auth_handler_takes_prometheus_clients_arguments(handlers, files):
    with FaultServer(files.script(client_certificate=True)) as server:
        url = server.url.replace("http", "https") + PATH
        call = (url, "PUT", PATIENCE, [], b"m 1\n", files.cert, files.key)
        handlers.tls_auth_handler(*call, files.ca)()
        handlers.tls_auth_handler(*call, insecure_skip_verify=True)()
        assert len(server.requests) == 2


def test_pushes_with_equal_tls_files_share_one_connection(files):
    with FaultServer(files.script(client_certificate=True)) as server:
        url = server.url.replace("http", "https") + PATH
        for _ in range(3):
            pushgate.tls_auth_handler(
                url, "PUT", PATIENCE, [], b"", files.cert, files.key, files.ca
            )()
        assert server.accepted == 1


def test_a_missing_client_certificate_is_named_by_the_servers_alert(files):
    with FaultServer(files.script(client_certificate=True)) as server:
        for data in (b"m 1\n", b"x" * 4_000_000):
            with pytest.raises(GatewayUnreachableError, match="CERTIFICATE_REQUIRED") as caught:
                push(
                    server.url.replace("http", "https"),
                    HTTPHandler(tls=TLS(cafile=files.ca)),
                    data=data,
                )
            assert not caught.value.retryable


def test_a_server_name_that_is_not_in_the_certificate_is_refused(files, monkeypatch):
    with FaultServer(files.script()) as server:
        with pytest.raises(GatewayUnreachableError, match=r"not trusted.*localhost") as caught:
            push(f"https://localhost:{server.port}", HTTPHandler(tls=TLS(cafile=files.ca)))
        assert not caught.value.retryable
        assert not server.requests


def test_plain_http_on_a_tls_port_and_tls_on_a_plain_one_say_so(files):
    def speak_plainly(peer):
        peer.sock.recv(65536)
        peer.send(answer("400 Bad Request"))

    with (
        FaultServer(speak_plainly) as server,
        pytest.raises(GatewayUnreachableError, match="the port speaks plain HTTP, and not TLS"),
    ):
        push(server.url.replace("http", "https"))
    with (
        FaultServer(files.script()) as server,
        pytest.raises(GatewayUnreachableError),
    ):
        push(server.url)


def test_tls_files_that_cannot_be_used_are_named_at_once(files, tmp_path):
    missing, garbage = str(tmp_path / "missing.pem"), tmp_path / "garbage.pem"
    garbage.write_text("no PEM")
    call = ("https://127.0.0.1:1" + PATH, "PUT", PATIENCE, [], b"")
    for cert, key, ca, name in (
        (missing, files.key, files.ca, "missing.pem"),
        (files.cert, missing, files.ca, "missing.pem"),
        (files.cert, files.key, missing, "missing.pem"),
        (str(garbage), files.key, files.ca, "garbage.pem"),
        (files.cert, files.key, str(garbage), "garbage.pem"),
    ):
        with pytest.raises(TLSFileError, match=name) as caught:
            pushgate.tls_auth_handler(*call, cert, key, ca)
        assert isinstance(caught.value, OSError)


def test_an_encrypted_key_is_refused_without_a_prompt(tmp_path):
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    certificate = trustme.CA().issue_cert("c.example").cert_chain_pems[0].bytes()
    path = tmp_path / "encrypted.pem"
    path.write_bytes(
        certificate
        + ec.generate_private_key(ec.SECP256R1()).private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"pass"),
        )
    )
    with pytest.raises(TLSFileError, match="pass phrase"):
        TLS(certfile=str(path)).context()


def test_a_certificate_that_changes_on_disk_is_used_at_once(tmp_path):
    first, second = Certificates(tmp_path), None
    handler = HTTPHandler(tls=TLS(cafile=first.ca, certfile=first.both))
    with FaultServer(first.script(client_certificate=True)) as server:
        push(server.url.replace("http", "https"), handler)
    second = Certificates(tmp_path)  # the same paths
    with FaultServer(second.script(client_certificate=True)) as server:
        push(server.url.replace("http", "https"), handler)
        assert len(server.requests) == 1


# Proxies by environment.


def test_http_proxy_gets_the_absolute_form_and_its_credentials(monkeypatch):
    with FaultServer(faults.accept) as proxy:
        monkeypatch.setenv("http_proxy", f"http://pr%C3%B6x:p%40ss@127.0.0.1:{proxy.port}")
        for handler in (pushgate.default_handler, theirs.default_handler):
            push("http://gateway.example:9091", handler)
        for seen in proxy.requests:
            assert seen.target == "http://gateway.example:9091" + PATH
            assert seen.header("Host") == "gateway.example:9091"
            expected = "Basic " + base64.b64encode("pröx:p@ss".encode()).decode()
            assert seen.header("Proxy-Authorization") == expected
        push("http://other.example")
        assert proxy.accepted == 3  # each origin has its connection; prometheus_client's is the 2nd


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_https_proxy_makes_a_tunnel(scheme, files, monkeypatch):
    handler = HTTPHandler(auth=BasicAuth("u", "p"), tls=TLS(cafile=files.ca))
    with (
        FaultServer(files.script()) as server,
        FaultServer(faults.proxy_to(server.port)) as proxy,
    ):
        monkeypatch.setenv("HTTPS_PROXY", f"{scheme}://u:p%40ss@127.0.0.1:{proxy.port}")
        for _ in range(2):
            push("https://gateway.example:9091", handler)
        (connect,) = proxy.requests  # the tunnel is kept, too
        assert connect.target == "gateway.example:9091"
        assert connect.header("Proxy-Authorization") == "Basic dTpwQHNz"
        assert connect.header("Authorization") is None
        for seen in server.requests:
            assert seen.header("Proxy-Authorization") is None
            assert seen.header("Authorization") == "Basic dTpw"
            assert seen.target == PATH


@pytest.mark.parametrize(
    ("host", "exempt"),
    [
        ("10.1.2.3", "10.1.2.3"),
        ("10.1.2.3", "*"),
        ("10.1.2.3", "example.org, 10.1.2.3:{port}"),
        ("10.1.2.3", "x/y, ::/0 10.0.0.0/8"),
        ("[fd00::1]", "10.0.0.0/8,fd00::/8"),
        ("[fd00::1]", "fd00::1"),
        ("gateway.example.org", ".example.org"),
        ("gateway.example.org", "*.Example.org"),
    ],
)
def test_no_proxy_goes_straight(host, exempt, monkeypatch):
    with FaultServer(faults.accept) as proxy, FaultServer(faults.accept) as server:
        here = [(socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", server.port))]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: here)
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.setenv("no_proxy", exempt.format(port=server.port))
        push(f"http://{host}:{server.port}")
        assert (proxy.accepted, server.accepted) == (0, 1)


@pytest.mark.parametrize(
    "value",
    ["socks5://u:s3cret@h:1", "http://u:s3cret@h:port", "http://u:s3cret@", "http://u:s3cret@[h"],
)
def test_a_proxy_that_cannot_be_used_is_named_without_its_password(value, monkeypatch, tmp_path):
    monkeypatch.setenv("http_proxy", value)
    outbox = Outbox(tmp_path)
    with pytest.raises(urllib.error.URLError, match="http_proxy") as caught:
        Gateway("http://gateway.example", outbox=outbox).push("j", registry())
    assert "s3cret" not in texts_of(caught.value)
    assert len(outbox.waiting()) == 1  # the push is right, and waits for a better proxy


def test_a_proxys_failures_name_the_proxy_and_not_its_password(monkeypatch):
    def blabbing(peer):
        while seen := peer.request():
            echoed = seen.header("Proxy-Authorization") or ""
            peer.send(answer(f"407 {echoed} u:s3cret", f"{echoed} u:s3cret".encode()))

    with FaultServer(blabbing) as proxy:
        for name in ("http_proxy", "https_proxy"):
            monkeypatch.setenv(name, f"http://u:s3cret@127.0.0.1:{proxy.port}")
        for scheme in ("http", "https"):
            with pytest.raises(pushgate.DeliveryError, match="407") as caught:
                push(f"{scheme}://gateway.example")
            assert "s3cret" not in texts_of(caught.value)
            assert "dTpz" not in texts_of(caught.value)
    with pytest.raises(GatewayUnreachableError, match=f"proxy 127.0.0.1:{proxy.port} .*refused"):
        push("https://gateway.example")


# Small print.


@pytest.mark.parametrize(
    "name", ["Host", "content-length", "Content-Encoding", "Transfer-Encoding", "Connection"]
)
def test_headers_that_each_request_sets_itself_are_refused(name):
    handler = HTTPHandler(headers=((name, "x"),))
    with pytest.raises(ValueError, match=f"'{name}' is one that each request sets itself"):
        handler("http://127.0.0.1:1/", "PUT", 1.0, [], b"")()
    with pytest.raises(ValueError, match="each request sets itself"):
        pushgate.Gateway("g:1", headers={name: "x"})


@pytest.mark.parametrize("options", [{"auth": ("u", "p")}, {"tls": "ca"}, {"headers": {"X": "1"}}])
def test_options_of_another_type_are_named(options):
    with pytest.raises(TypeError, match=f"^{next(iter(options))} (is|are) "):
        push("http://127.0.0.1:1", HTTPHandler(**options))


@pytest.mark.parametrize("name", [*FUNCTIONS, *HANDLERS])
def test_the_annotations_can_be_read(name):
    assert "gateway" in get_type_hints(getattr(pushgate, name)) or "handler" in name
