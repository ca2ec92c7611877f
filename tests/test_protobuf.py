"""Exemplars and native histograms by protobuf, and everything else as by text."""

import math
import struct

import pytest
from hypothesis import HealthCheck, given, settings
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import (
    BucketSpan,
    Exemplar,
    GaugeHistogramMetricFamily,
    Metric,
    NativeHistogram,
    Timestamp,
    UnknownMetricFamily,
)

from pushgate import (
    Family,
    Gateway,
    GatewayRejectedError,
    GatewayUnreachableError,
    GroupingKey,
    InvalidPayloadError,
    Sample,
    gauge,
)
from pushgate.embedded import EmbeddedGateway
from pushgate.protocol.families import needs_protobuf
from pushgate.protocol.protobuf import CONTENT_TYPE, encode_protobuf
from pushgate.protocol.protobuf_fields import double, integer, message, signed
from pushgate.protocol.text import CONTENT_TYPE as TEXT
from pushgate.transport.response import Response
from support.gateways import NEW, OLD, open_gateway
from support.metrics import GROUPINGS, registries

KEY = GroupingKey("j", {"k": "v"})
STATUS = b'{"status":"success","data":{"build_information":{"version":"%s"},"flags":{}}}'


def native(labels=None, **changes):
    values = {
        "count_value": 6.0,
        "sum_value": 12.5,
        "schema": 3,
        "zero_threshold": 0.001,
        "zero_count": 1,
        "pos_spans": [BucketSpan(0, 2), BucketSpan(1, 1)],
        "pos_deltas": [1, 1, -1],
        "neg_spans": [BucketSpan(-2, 1)],
        "neg_deltas": [1],
        "nh_exemplars": [Exemplar({"trace": "native"}, 1.5, 1700000000.25)],
    }
    family = Metric("nat", "Native.", "histogram")
    histogram = NativeHistogram(**{**values, **changes})
    family.add_sample("nat", labels or {}, 0, None, None, histogram)
    return family


def with_exemplars():
    registry = CollectorRegistry()
    Counter("rows", "Rows.", registry=registry).inc(3, exemplar={"trace": "counted"})
    Histogram("seconds", "S.", registry=registry).observe(0.3, exemplar={"trace": "timed"})
    Gauge("plain", "", registry=registry).set(1)
    return registry


class Sent:
    """A handler, and a reader of /api/v1/status; an ``answer`` that is an error is raised."""

    def __init__(self, answer):
        self.pushes, self.asked, self._answer = [], 0, answer

    def __call__(self, url, method, timeout, headers, data):
        return lambda: self.pushes.append((dict(headers)["Content-Type"], data))

    def request(self, url, method, timeout, *, path, max_body):
        self.asked += 1
        if isinstance(self._answer, Exception):
            raise self._answer
        return Response(200, "OK", None, self._answer)

    @property
    def types(self):
        return [kind for kind, _ in self.pushes]


def gateway_that_says(answer, **options):
    sent = Sent(answer)
    gateway = Gateway("gateway:1", handler=sent, **options)
    gateway._reader = sent
    return gateway, sent


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (integer(1, 150), "08 96 01"),  # the examples of protobuf.dev's page on encoding
        (message(2, b"testing"), "12 07 74 65 73 74 69 6e 67"),
        (integer(1, -2), "08 fe ff ff ff ff ff ff ff ff 01"),
        (signed(1, -1), "08 01"),
        (signed(1, 2**31 - 1), "08 fe ff ff ff 0f"),
        (signed(1, -(2**31)), "08 ff ff ff ff 0f"),
        (double(2, 1.0), "11 00 00 00 00 00 00 f0 3f"),
        (message(None, b"x" * 200)[:3], "c8 01 78"),
    ],
)
def test_fields_are_written_as_the_definition_has_them(written, expected):
    assert written == bytes.fromhex(expected)


def test_only_exemplars_and_native_histograms_need_it():
    assert needs_protobuf(with_exemplars().collect())
    assert needs_protobuf([native()])
    assert not needs_protobuf([gauge("m", "", 1), Family("c", "", "counter", [Sample("c", {}, 1)])])
    registry = CollectorRegistry()
    Histogram("seconds", "", registry=registry).observe(1)
    assert not needs_protobuf(registry.collect())


def test_what_needs_it_is_sent_so_and_the_version_is_asked_for_once():
    gateway, sent = gateway_that_says(STATUS % b"1.11.2")
    gateway.push("j", Gauge("plain", "", registry=None))
    assert sent.asked == 0
    for _ in range(2):
        gateway.push("j", with_exemplars())
    gateway.pushadd("j", iter([native()]))
    assert sent.types == [TEXT, CONTENT_TYPE, CONTENT_TYPE, CONTENT_TYPE]
    assert sent.asked == 1


@pytest.mark.parametrize(
    "answer",
    [STATUS % b"1.7.0", STATUS % b"1.5.0", STATUS % b"0.9", STATUS % b"", b"{}", b"<html>",
     GatewayUnreachableError("refused", method="GET", url="u")],
)  # fmt: skip
def test_a_gateway_that_does_not_take_it_gets_text_without_exemplars(answer):
    gateway, sent = gateway_that_says(answer)
    for _ in range(2):
        gateway.push("j", with_exemplars())
    assert sent.types == [TEXT, TEXT]
    assert b"rows_total 3.0" in sent.pushes[0][1]
    assert sent.asked == 1  # not again for a while


@pytest.mark.parametrize("version", [b"1.5.1", b"1.6.2", b"1.8.0", b"2.0.0", b"1.11.2-rc.1"])
def test_a_gateway_that_does_gets_it(version):
    gateway, sent = gateway_that_says(STATUS % version)
    gateway.push("j", native())
    assert sent.types == [CONTENT_TYPE]


def test_a_native_histogram_is_never_left_out_in_silence():
    gateway, sent = gateway_that_says(STATUS % b"1.7.0")
    with pytest.raises(InvalidPayloadError, match="native histogram"):
        gateway.push("j", native())
    unreachable = GatewayUnreachableError("refused", method="GET", url="u")
    gateway, sent = gateway_that_says(unreachable)
    for _ in range(2):  # a failure that may pass, as that of the push itself would be
        with pytest.raises(GatewayUnreachableError):
            gateway.push("j", native())
    assert sent.pushes == []
    assert sent.asked == 2


def test_it_can_be_switched_off():
    gateway, sent = gateway_that_says(STATUS % b"1.11.2", protobuf=False)
    gateway.push("j", with_exemplars())
    assert sent.types == [TEXT]
    assert sent.asked == 0


def test_a_gateway_that_answers_415_gets_text_from_then_on():
    with EmbeddedGateway() as embedded:
        gateway = Gateway(embedded.url)
        gateway.push("j", with_exemplars())
        gateway.push("j", with_exemplars())
        assert gateway.groups()[0].value("rows_total") == 3
        with pytest.raises(InvalidPayloadError, match="native histogram"):
            gateway.push("j", native())


def test_the_rules_of_the_text_hold():
    with pytest.raises(InvalidPayloadError, match="overwrite"):
        encode_protobuf(native({"k": "x"}), KEY)
    family = native()
    family.samples *= 2
    with pytest.raises(InvalidPayloadError, match="twice"):
        encode_protobuf(family, KEY)
    family.samples = [family.samples[0]._replace(timestamp=1.0)]
    with pytest.raises(InvalidPayloadError, match="timestamp"):
        encode_protobuf(family, KEY)
    gateway, _ = gateway_that_says(STATUS % b"1.11.2")
    with pytest.raises(InvalidPayloadError, match="nothing to push"):
        gateway.push("j", [])


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"schema": 9}, "schema is 9"),
        ({"schema": -53}, "schema is -53"),
        ({"zero_threshold": -1}, "zero threshold"),
        ({"zero_threshold": math.nan}, "zero threshold"),
        ({"pos_deltas": [1, 1]}, "spans are for 3 buckets"),
        ({"pos_spans": None}, "spans are for 0 buckets"),
        ({"pos_spans": [BucketSpan(0, 2), BucketSpan(-1, 1)]}, "go back"),
        ({"pos_deltas": [1, -2, 3]}, "whole numbers from 0 on"),
        ({"pos_deltas": [1, 0.5, 1]}, "whole numbers from 0 on"),
        ({"count_value": math.inf}, "whole numbers from 0 on"),
        ({"count_value": 7}, "its count is 7, its buckets hold 6"),
        ({"count_value": 5, "sum_value": math.nan}, "its count is 5, its buckets hold 6"),
    ],
)
def test_native_histograms_that_a_prometheus_would_refuse_are_refused(changes, why):
    with pytest.raises(InvalidPayloadError, match=why) as refusal:
        encode_protobuf(native(**changes))
    assert refusal.value.metric == "nat"
    encode_protobuf(native(count_value=7, sum_value=math.nan))  # one of the observations was NaN


@pytest.mark.parametrize("moment", [1700000000.25, Timestamp(1700000000, 250_000_000)])
def test_an_exemplar_is_written_with_its_labels_value_and_time(moment):
    family = Metric("c", "", "counter")
    family.add_sample("c_total", {}, 3, None, Exemplar({"trace": "x"}, 0.5, moment))
    label = b"\x0a\x0a\x0a\x05trace\x12\x01x"
    time = b"\x1a\x0b\x08\x80\xe2\xcf\xaa\x06\x10\x80\xe5\x9a\x77"
    assert label + b"\x11" + struct.pack("<d", 0.5) + time in encode_protobuf(family).body


@pytest.mark.parametrize(
    "exemplar",
    [
        Exemplar({"trace": "\udcff"}, 1),
        Exemplar({"trace": "x"}, "y"),
        Exemplar({"trace": "x"}, 1, math.nan),
        Exemplar({"trace": "x"}, 1, math.inf),
        (1, 2),
    ],
)
def test_an_exemplar_that_can_not_be_written_is_named(exemplar):
    family = Metric("c", "", "counter")
    family.add_sample("c_total", {}, 3, None, exemplar)
    with pytest.raises(InvalidPayloadError, match="exemplar or native histogram") as refusal:
        encode_protobuf(family)
    assert refusal.value.metric == "c"


class Both:
    """The odd ones, beside a registry."""

    def __init__(self, registry):
        self._registry = registry

    def collect(self):
        yield from self._registry.collect()
        yield GaugeHistogramMetricFamily("gh", "g", buckets=[("1", 2), ("+Inf", 3)], gsum_value=4)
        yield UnknownMetricFamily("unknown", "u", value=math.nan)
        yield Family("odd", "h", "gauge", [Sample("odd", {}, 1), Sample("stray", {"a": "b"}, 2)])
        yield Family("odder", "h", "gauge", [Sample("stray", {"a": "c"}, 3)])
        yield Family(
            "s", "h", "summary", [Sample("s", {"quantile": "0.5"}, 1), Sample("s_sum", {}, 2)]
        )


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(registry=registries(), grouping=GROUPINGS)
@pytest.mark.end_to_end
def test_a_real_gateway_reads_the_same_from_it_as_from_text(real_gateway, registry, grouping):
    key, metrics = GroupingKey(*grouping), Both(registry)
    gateway = Gateway(real_gateway.url, protobuf=False)
    try:
        messages = encode_protobuf(metrics, key).body
    except InvalidPayloadError:
        with pytest.raises(InvalidPayloadError):
            gateway.push(key, metrics)
        return
    gateway.push(key, metrics)
    (by_text,) = gateway.groups()
    gateway.delete(key)
    gateway.send("PUT", key, messages, content_type=CONTENT_TYPE)
    (by_protobuf,) = gateway.groups()
    gateway.delete(key)

    assert comparable(by_protobuf) == comparable(by_text)


def comparable(group):
    return group.labels, {
        (family.name, family.type, family.documentation, s.name, *sorted(s.labels.items())): (
            "NaN" if math.isnan(s.value) else s.value
        )
        for family in group.families
        for s in family.samples
    }


@pytest.fixture(scope="module", params=[OLD, NEW])
def real_gateway(request):
    with open_gateway(request.param) as server:
        yield server


@pytest.mark.end_to_end
def test_exemplars_and_native_histograms_reach_a_scrape(real_gateway):
    gateway = Gateway(real_gateway.url)
    gateway.push(KEY, [with_exemplars(), native()])
    scrape = real_gateway.exchange("GET", "/metrics", Accept=CONTENT_TYPE).text
    for trace in ("counted", "timed", "native"):
        assert f"\x05trace\x12{chr(len(trace))}{trace}" in scrape
    assert gateway.groups()[0].value("nat_count") == 6
    if not real_gateway.is_old:  # which has no form for them in its API
        (entry,) = real_gateway.groups()
        # Computed by the gateway from schema, spans and deltas.
        assert entry["nat"]["metrics"][0]["buckets"] == [
            [1, "-0.8408964152537144", "-0.7711054127039704", "1"],
            [3, "-0.001", "0.001", "1"],
            [0, "0.9170040432046711", "1", "1"],
            [0, "1", "1.0905077326652577", "2"],
            [0, "1.189207115002721", "1.2968395546510096", "1"],
        ]
    real_gateway.wipe()


@pytest.mark.end_to_end
def test_names_and_compression_go_with_it():
    with open_gateway(NEW, "--push.enable-utf8-names") as server:
        gateway = Gateway(server.url, utf8_names=True, compression="gzip")
        counter = Counter("rows.read", "", ["db.name"], registry=None)
        counter.labels("shop").inc(2, exemplar={"trace": "dotted"})
        gateway.push("j", counter, {"a.b": "c"})
        (group,) = gateway.groups()
        assert group.labels == {"job": "j", "a.b": "c"}
        assert group.value("rows.read_total", **{"db.name": "shop"}) == 2
        assert "dotted" in server.exchange("GET", "/metrics", Accept=CONTENT_TYPE).text


def test_another_rejection_is_raised():
    gateway = Gateway("gateway:1", handler=_refusing)
    gateway._reader = Sent(STATUS % b"1.11.2")
    with pytest.raises(GatewayRejectedError, match="no"):
        gateway.push("j", native())


def _refusing(url, method, timeout, headers, data):
    def perform():
        raise GatewayRejectedError(status=400, reason="no", method=method, url=url, headers=None)

    return perform
