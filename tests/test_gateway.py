"""Gateway and the push functions: what they send, when they try again, what they raise."""

import json
import math
import pickle
import threading
import time
import urllib.error
import warnings
from email.utils import formatdate
from itertools import pairwise

import prometheus_client
import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Summary
from prometheus_client.core import GaugeMetricFamily, UntypedMetricFamily

import pushgate
from pushgate import (
    BasicAuth,
    Gateway,
    GatewayRejectedError,
    GatewayUnreachableError,
    GroupingKey,
    HTTPHandler,
    InvalidPayloadError,
    SettingsError,
    gauge,
)
from pushgate.embedded import EmbeddedGateway
from support import faults
from support.fault_proxy import fault_proxy
from support.faults import OK, FaultServer, answer

METRICS = (gauge("m", "A metric", 1),)
NOBODY = "127.0.0.1:1"
BODY = b"# HELP m A metric\n# TYPE m gauge\nm 1.0\n"
DEFAULT = pushgate.default_handler
FUNCTIONS = (pushgate.push_to_gateway, pushgate.pushadd_to_gateway)


_sleep = time.sleep


class Clock:
    """Time that passes only in pauses of this thread, for the retries and the deadline."""

    def __init__(self):
        self.now = 1000.0
        self.thread = threading.current_thread()
        self.pauses = []
        self.during_pause = lambda: None

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        if threading.current_thread() is not self.thread:  # one that another test left behind
            _sleep(seconds)
            return
        self.pauses.append(seconds)
        self.now += seconds
        self.during_pause()


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(time, "sleep", clock.sleep)
    monkeypatch.setattr(time, "monotonic", clock.monotonic)
    return clock


def registry():
    metrics = CollectorRegistry()
    Gauge("m", "A metric", registry=metrics).set(1)
    return metrics


# What is sent.


def test_each_method_sends_its_request():
    with FaultServer(faults.accept) as server:
        gateway = Gateway(server.url + "/pre/")
        key = GroupingKey("j", {"a": "x/y"})
        gateway.push("j", METRICS, {"a": "x/y"})
        gateway.push(key, registry())
        gateway.pushadd(key, METRICS[0])
        gateway.delete(key)
        gateway.push(key, METRICS, {"b": "2"})
        assert [(seen.method, seen.target, seen.body) for seen in server.requests] == [
            ("PUT", "/pre/metrics/job/j/a@base64/eC95", BODY),
            ("PUT", "/pre/metrics/job/j/a@base64/eC95", BODY),
            ("POST", "/pre/metrics/job/j/a@base64/eC95", BODY),
            ("DELETE", "/pre/metrics/job/j/a@base64/eC95", b""),
            ("PUT", "/pre/metrics/job/j/a@base64/eC95/b/2", BODY),
        ]
        kind = "text/plain; version=0.0.4; charset=utf-8"
        assert {seen.header("Content-Type") for seen in server.requests} == {kind}
        assert server.accepted == 1


def test_a_delete_is_never_compressed():
    with FaultServer(faults.accept) as server:
        Gateway(server.url, compression="gzip").delete("j")
        assert server.requests[0].header("Content-Encoding") is None
        assert server.requests[0].body == b""


@pytest.mark.parametrize(
    ("error", "options", "advice"),
    [
        (SettingsError, {"url": "ftp://h"}, "neither http"),
        (SettingsError, {"url": "http//h:9091"}, "neither http"),
        (SettingsError, {"url": "https:/h:9091"}, "neither http"),
        (SettingsError, {"url": ""}, "give host:port or a URL"),
        (SettingsError, {"url": "http://h:port"}, "bad port"),
        (TypeError, {"handler": DEFAULT, "auth": BasicAuth("u", "p")}, "handler= replaces"),
        (TypeError, {"handler": DEFAULT, "redirects": 3}, "handler= replaces"),
        (TypeError, {"time_out": 3}, "time_out"),
        (TypeError, {"headers": "ab"}, "pairs of a name and a value"),
        (TypeError, {"auth": ("u", "p")}, "a BasicAuth or a BearerToken"),
        (TypeError, {"tls": "ca.pem"}, "tls is a TLS"),
        (TypeError, {"outbox": "/var/lib/outbox"}, "outbox is an Outbox"),
        (ValueError, {"retries": -1}, "counts from 0"),
        (ValueError, {"redirects": -1}, "counts from 0"),
        (ValueError, {"compression": "zstd"}, "Unsupported compression"),
        (ValueError, {"timeout": 0}, "seconds above 0"),
    ],
)
def test_options_that_make_no_sense_fail_at_construction(error, options, advice):
    with pytest.raises(error, match=advice):
        Gateway(**{"url": "h", **options})


@pytest.mark.parametrize(
    "metrics",
    [(), CollectorRegistry(), GaugeMetricFamily("m", "No sample")],
    ids=["none", "an empty registry", "a family without samples"],
)
def test_a_put_of_nothing_is_refused_unless_the_group_is_to_be_cleared(metrics):
    with FaultServer(faults.accept) as server:
        gateway = Gateway(server.url)
        with pytest.raises(InvalidPayloadError, match="clear=True"):
            gateway.push("j", metrics)
        assert not server.requests
        gateway.push("j", metrics, clear=True)
        gateway.pushadd("j", metrics)  # a heartbeat
        assert [seen.method for seen in server.requests] == ["PUT", "POST"]


def test_the_put_function_warns_of_an_empty_registry_at_its_callers_line():
    with FaultServer(faults.accept) as server:
        with pytest.warns(UserWarning, match="empties the group") as caught:
            pushgate.push_to_gateway(server.url, "j", CollectorRegistry())
        assert [(w.filename) for w in caught] == [__file__]
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            pushgate.pushadd_to_gateway(server.url, "j", CollectorRegistry())
        assert [seen.method for seen in server.requests] == ["PUT", "POST"]


def test_bad_metrics_and_keys_are_refused_before_a_byte_is_sent():
    twice = (gauge("m", "", 1), gauge("m", "", 2))
    with FaultServer(faults.accept) as server:
        gateway = Gateway(server.url)
        for call in (gateway.push, gateway.pushadd):
            with pytest.raises(InvalidPayloadError):
                call("j", twice)
            with pytest.raises(pushgate.InvalidGroupingKeyError):
                call("", METRICS)
        with pytest.raises(pushgate.InvalidGroupingKeyError):
            gateway.delete("j", {"__a": "b"})
        assert server.accepted == 0


# Trying again.


def test_a_gateway_that_comes_up_between_attempts_gets_the_push(clock):
    with (
        EmbeddedGateway() as embedded,
        fault_proxy(int(embedded.url.rpartition(":")[2]), down=True) as proxy,
    ):
        clock.during_pause = proxy.listen
        Gateway(proxy.url).push("j", METRICS)
        assert [push.body.encode() for push in proxy.took] == [BODY]


_DATE = formatdate(usegmt=True)  # now: a wait of none

PASSING = {
    "reset": faults.reset,
    "closed": faults.respond_and_close(b""),
    "cut short": faults.respond_and_close(b"HTTP/1.1 2"),
    **{
        status: faults.respond(answer(f"{status} Later"), OK)
        for status in ("408", "429", "500", "502", "503", "504")
    },
}


CALLS = {
    "push": lambda gateway: gateway.push("j", METRICS),
    "pushadd": lambda gateway: gateway.pushadd("j", METRICS),
    "delete": lambda gateway: gateway.delete("j"),
    "ready": lambda gateway: gateway.ready() or pytest.fail("not ready"),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize("script", PASSING.values(), ids=PASSING)
def test_a_failure_that_may_pass_is_tried_again_after_a_pause(script, call, clock):
    with FaultServer(script, faults.accept) as server:
        call(Gateway(server.url))
        first, second = server.requests
        assert first[:2] == second[:2]
        assert first.body == second.body
    assert len(clock.pauses) == 1
    assert 0.05 <= clock.pauses[0] <= 0.1


@pytest.mark.parametrize("count", [0, 1, 5])
def test_retries_are_as_many_as_asked_for_with_growing_pauses(count, clock):
    with FaultServer(faults.respond(answer("503 Busy", b"busy"))) as server:
        with pytest.raises(GatewayRejectedError, match="busy") as caught:
            Gateway(server.url, retries=count).push("j", METRICS)
        assert len(server.requests) == 1 + count
    assert caught.value.group == {"job": "j"}
    assert len(clock.pauses) == count
    for number, pause in enumerate(clock.pauses):
        assert 0.05 * 2**number <= pause <= 0.1 * 2**number


def test_pauses_are_bounded_however_many_there_are(clock):
    with pytest.raises(GatewayUnreachableError):
        Gateway(NOBODY, retries=60, timeout=None).push("j", METRICS)
    assert len(clock.pauses) == 60
    assert max(clock.pauses) <= 5.0


def test_pauses_are_jittered(clock):
    for _ in range(20):
        with pytest.raises(GatewayUnreachableError):
            Gateway(NOBODY, retries=1).push("j", METRICS)
    assert len(set(clock.pauses)) > 10


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 409, 413, 431])
def test_a_failure_that_stays_is_not_tried_again(status, clock):
    with FaultServer(faults.respond(answer(f"{status} No", b"never"))) as server:
        with pytest.raises(GatewayRejectedError, match="never"):
            Gateway(server.url).push("j", METRICS)
        assert len(server.requests) == 1
    assert not clock.pauses


def test_the_functions_never_try_again(clock):
    for function in FUNCTIONS:
        with FaultServer(faults.respond(answer("503 Busy"))) as server:
            with pytest.raises(GatewayRejectedError):
                function(server.url, "j", registry())
            assert len(server.requests) == 1
    assert not clock.pauses


@pytest.mark.parametrize("status", ["429 Slow Down", "503 Busy"])
@pytest.mark.parametrize(
    ("header", "at_least", "at_most"),
    [
        ("0", 0.05, 0.1),  # or all tries would be gone at once
        ("3", 3.0, 3.0),
        pytest.param(_DATE, 0.05, 0.1, id="a date that has passed"),
        ("+5 s", 5.0 - 2, 5.0),
        *((odd, 0.05, 0.1) for odd in ("soon", "-3", "", "nan", "1e3")),
        *((f"Thu, {odd}", 0.05, 0.1) for odd in ("99 Jan 1970 00:00:00 GMT", "01 Jan 99999")),
        ("Thu, 01 Jan 1970 00:00:00 +9999999", 0.05, 0.1),
    ],
)
def test_a_retry_after_is_honoured(status, header, at_least, at_most, clock):
    if header == "+5 s":
        header = formatdate(time.time() + 5, usegmt=True)
    busy = faults.respond(answer(status, headers=(("Retry-After", header),)), OK)
    with FaultServer(busy, faults.accept) as server:
        Gateway(server.url).push("j", METRICS)
    assert len(clock.pauses) == 1
    assert at_least <= clock.pauses[0] <= at_most


@pytest.mark.parametrize(
    ("timeout", "asked"), [(10.0, "10"), (10.0, "3600"), (None, "86400"), (1.0, "9" * 400)]
)
def test_a_retry_after_beyond_the_deadline_gives_up_at_once(timeout, asked, clock):
    busy = answer("429 Slow Down", headers=(("Retry-After", asked),))
    with FaultServer(faults.respond(busy)) as server:
        with pytest.raises(GatewayRejectedError) as caught:
            Gateway(server.url, timeout=timeout).push("j", METRICS)
        assert caught.value.retry_after == float(asked)
        assert len(server.requests) == 1
    assert not clock.pauses


def test_one_deadline_bounds_all_attempts(clock):
    left = []

    def handler(timeout, **_):
        left.append(timeout)
        clock.now += 2.0  # each attempt takes two seconds

        def fail():
            raise GatewayUnreachableError("refused", method="PUT", url="u")

        return fail

    with pytest.raises(GatewayUnreachableError, match="refused"):
        Gateway("h", handler=handler, timeout=5.0, retries=50).push("j", METRICS)
    # 5, then what two seconds and a pause leave, twice.
    assert len(left) == 3
    assert left[0] == 5.0
    assert all(a is not None and b is not None and a - b > 2.0 for a, b in pairwise(left))
    assert clock.now <= 1000.0 + 5.0 + 2.0


def test_a_pause_that_took_too_long_is_not_followed_by_an_attempt(clock):
    def suspend():
        clock.now += 3600

    clock.during_pause = suspend
    with FaultServer(faults.respond(answer("503 Busy"))) as server:
        with pytest.raises(GatewayRejectedError):
            Gateway(server.url).push("j", METRICS)
        assert len(server.requests) == 1


@pytest.mark.parametrize("timeout", [0, -1, math.nan])
def test_a_timeout_that_is_none_is_refused(timeout, clock):
    with FaultServer(faults.accept) as server:
        for call in (
            lambda: Gateway(server.url, timeout=timeout).push("j", METRICS),
            lambda: Gateway(server.url).push("j", METRICS, timeout=timeout),
            lambda: Gateway(server.url).groups(timeout=timeout),
            lambda: pushgate.push_to_gateway(server.url, "j", registry(), timeout=timeout),
        ):
            with pytest.raises(ValueError, match="timeout"):
                call()
        assert server.accepted == 0
    assert not clock.pauses


@pytest.mark.parametrize("timeout", [None, math.inf, 5, 0.5])
def test_a_timeout_reaches_the_handler(timeout):
    seen = []

    def handler(timeout, **_):
        seen.append(timeout)
        return lambda: None

    Gateway("h", handler=handler, timeout=timeout).push("j", METRICS)
    for function in FUNCTIONS:
        function("h", "j", registry(), timeout=timeout, handler=handler)
    assert seen == [timeout] * 3


# Handlers of the user's.


@pytest.mark.parametrize(
    "error", [OSError("o"), urllib.error.URLError("u"), RuntimeError("r"), KeyError("k")]
)
@pytest.mark.parametrize("when", ["prepared", "performed"])
def test_whatever_a_handler_raises_arrives_as_it_is_and_once(error, when, clock):
    calls = []

    def handler(**call):
        calls.append(call)

        def fail():
            raise error

        return fail() if when == "prepared" else fail

    for push in (
        lambda: Gateway("h", handler=handler).push("j", METRICS),
        lambda: pushgate.push_to_gateway("h", "j", registry(), handler=handler),
    ):
        with pytest.raises(type(error)) as caught:
            push()
        assert caught.value is error
    assert len(calls) == 2
    assert not clock.pauses


def test_a_handler_may_alter_its_headers_at_each_attempt(clock):
    def handler(headers, **call):
        headers.append(("X-Attempt", "1"))
        return HTTPHandler()(headers=headers, **call)

    with FaultServer(PASSING["503"], faults.accept) as server:
        Gateway(server.url, handler=handler).push("j", METRICS)
        for seen in server.requests:
            assert seen.header("X-Attempt") == "1"
        assert len(server.requests) == 2


def test_prometheus_clients_handler_serves_a_gateway_also_in_another_process():
    with FaultServer(faults.accept) as server:
        gateway = Gateway(server.url, handler=prometheus_client.exposition.default_handler)
        gateway = pickle.loads(pickle.dumps(gateway))
        gateway.push("j", METRICS)
        assert server.requests[0].body == BODY


def test_reading_with_a_handler_of_the_users_knows_the_urls_credentials():
    def never(**_):
        raise AssertionError("reading does not push")

    data = json.dumps({"status": "success", "data": []}).encode()
    with FaultServer(faults.respond(answer(body=data))) as server:
        assert Gateway(server.url.replace("//", "//u:p@"), handler=never).groups() == []
        assert server.requests[0].header("Authorization") == "Basic dTpw"


# Reading back.


def test_groups_are_typed(gateway):
    metrics = CollectorRegistry()
    Gauge("a_gauge", "One", ["l"], registry=metrics).labels("x").set(math.inf)
    Counter("a_counter", "Two", registry=metrics).inc(3)
    Histogram("a_histogram", "Three", buckets=(0.5, 1), registry=metrics).observe(0.7)
    Summary("a_summary", "Four", registry=metrics).observe(4)

    class Untyped:
        def collect(self):
            yield UntypedMetricFamily("an_untyped", "Five", value=math.nan)

    metrics.register(Untyped())
    pushed = Gateway(gateway.url)
    pushed.push("j", metrics, {"instance": "a/b", "aa": ""})
    (group,) = pushed.groups()

    assert list(group.labels.items()) == [("job", "j"), ("aa", ""), ("instance", "a/b")]
    assert group.last_push_successful
    assert group.push_time > 1.6e9
    assert group.push_failure_time == 0
    kinds = {f.name: (f.type, f.documentation) for f in group.families if "created" not in f.name}
    assert kinds == {
        "a_gauge": ("gauge", "One"),
        "a_counter_total": ("counter", "Two"),
        "a_histogram": ("histogram", "Three"),
        "a_summary": ("summary", "Four"),
        "an_untyped": ("untyped", "Five"),
    }
    assert all(f.pushed_at == pytest.approx(group.push_time, abs=5) for f in group.families)
    assert group.value("a_gauge", l="x") == math.inf
    assert group.value("a_gauge", l="y") is None
    assert group.value("a_counter_total") == 3
    assert group.value("a_histogram_bucket", le="0.5") == 0
    assert group.value("a_histogram_bucket", le="1") == 1
    assert group.value("a_histogram_bucket", le="+Inf") == 1
    assert (group.value("a_histogram_sum"), group.value("a_histogram_count")) == (0.7, 1)
    assert (group.value("a_summary_sum"), group.value("a_summary_count")) == (4, 1)
    untyped = group.value("an_untyped")
    assert untyped is not None
    assert math.isnan(untyped)
    assert group.family("a_gauge") is not None
    assert group.family("nothing") is None


def test_ready_and_version(gateway):
    pushed = Gateway(gateway.url)
    assert pushed.ready() is True
    assert pushed.version()[:1].isdigit()
    assert 0 <= time.time() - pushed.started_at() < 86_400


def test_a_gateway_that_is_away_or_not_ready_is_not_ready(clock):
    assert Gateway(NOBODY).ready() is False
    with FaultServer(faults.respond(answer("503 Not Ready"))) as server:
        assert Gateway(server.url).ready() is False


@pytest.mark.parametrize("url", ["", None, "http://", "http://h/metrics/job/j"])
def test_a_gateway_that_is_none_is_a_url_error(url):
    with pytest.raises(urllib.error.URLError):
        pushgate.push_to_gateway(url, "j", registry())


def test_headers_may_be_a_mapping_and_a_handlers_a_list():
    with FaultServer(faults.accept) as server:
        Gateway(server.url, headers={"X-Mine": "a"}).push("j", METRICS)
        Gateway(server.url, handler=HTTPHandler(headers=[("X-Mine", "a")])).push("j", METRICS)
        assert [seen.header("X-Mine") for seen in server.requests] == ["a", "a"]


def test_credentials_show_no_secret_to_what_walks_values():
    for secret in (pushgate.BasicAuth("u", "hunter22"), pushgate.BearerToken("hunter22")):
        assert "hunter22" not in f"{secret} {secret!r} %s" % secret
        with pytest.raises(TypeError):
            json.dumps(secret)
        assert pickle.loads(pickle.dumps(secret)) == secret
    with pytest.raises(TypeError, match="none is missing"):
        pushgate.BearerToken(None)
