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
    GatewayUnreachableError,
    GroupingKey,
    InvalidPayloadError,
    Sample,
    gauge,
)
from pushgate.embedded import EmbeddedGateway
from pushgate.protocol.protobuf import CONTENT_TYPE, encode_protobuf
from pushgate.protocol.text import CONTENT_TYPE as TEXT
from support.faults import OK, FaultServer, answer
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


class Pushgateway(FaultServer):
    """Answers its status with ``status``, an HTTP response, and all else as a Pushgateway does."""

    def __init__(self, status):
        self._status = status
        super().__init__(self._answer)

    def _answer(self, peer):
        while seen := peer.request():
            peer.send(self._status if seen.method == "GET" else OK)

    @property
    def types(self):
        return [seen.header("Content-Type") for seen in self.requests if seen.method != "GET"]

    @property
    def asked(self):
        return sum(seen.method == "GET" for seen in self.requests)


def of_version(version):
    return answer(body=STATUS % version)


def pushed(metrics, key=KEY):
    """What is sent of ``metrics`` to a gateway that takes protobuf."""
    with Pushgateway(of_version(b"1.11.2")) as server:
        Gateway(server.url).push(key, metrics)
        assert server.types == [CONTENT_TYPE]
        return server.requests[-1].body


def test_what_needs_it_is_sent_so_and_the_version_is_asked_for_once():
    plain = CollectorRegistry()
    Histogram("seconds", "", registry=plain).observe(1)
    with Pushgateway(of_version(b"1.11.2")) as server:
        gateway = Gateway(server.url)
        gateway.push("j", plain)
        gateway.push("j", [gauge("m", "", 1), Family("c", "", "counter", [Sample("c", {}, 1)])])
        assert server.asked == 0
        for _ in range(2):
            gateway.push("j", with_exemplars())
        gateway.pushadd("j", iter([native()]))
        assert server.types == [TEXT, TEXT, CONTENT_TYPE, CONTENT_TYPE, CONTENT_TYPE]
        assert server.asked == 1


@pytest.mark.parametrize(
    "status",
    [of_version(b"1.7.0"), of_version(b"1.5.0"), of_version(b"0.9"), of_version(b""),
     answer(body=b"{}"), answer(body=b"<html>"), answer("403 Forbidden")],
)  # fmt: skip
def test_a_gateway_that_does_not_take_it_gets_text_without_exemplars(status):
    with Pushgateway(status) as server:
        gateway = Gateway(server.url)
        for _ in range(2):
            gateway.push("j", with_exemplars())
        assert server.types == [TEXT, TEXT]
        assert b"rows_total 3.0" in server.requests[-1].body
        assert server.asked == 1  # not again for a while


@pytest.mark.parametrize("version", [b"1.5.1", b"1.6.2", b"1.8.0", b"2.0.0", b"1.11.2-rc.1"])
def test_a_gateway_that_does_gets_it(version):
    with Pushgateway(of_version(version)) as server:
        Gateway(server.url).push("j", native())
        assert server.types == [CONTENT_TYPE]


def test_a_native_histogram_is_never_left_out_in_silence():
    with Pushgateway(of_version(b"1.7.0")) as server:
        with pytest.raises(InvalidPayloadError, match="native histogram"):
            Gateway(server.url).push("j", native())
        assert server.types == []
    gateway = Gateway(server.url, retries=0)  # which is gone
    for _ in range(2):  # a failure that may pass, as that of the push itself would be
        with pytest.raises(GatewayUnreachableError):
            gateway.push("j", native())


def test_it_can_be_switched_off():
    with Pushgateway(of_version(b"1.11.2")) as server:
        Gateway(server.url, protobuf=False).push("j", with_exemplars())
        assert server.types == [TEXT]
        assert server.asked == 0


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
        pushed(native({"k": "x"}))
    family = native()
    family.samples *= 2
    with pytest.raises(InvalidPayloadError, match="twice"):
        pushed(family)
    family.samples = [family.samples[0]._replace(timestamp=1.0)]
    with pytest.raises(InvalidPayloadError, match="timestamp"):
        pushed(family)


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
        pushed(native(**changes))
    assert refusal.value.metric == "nat"
    pushed(native(count_value=7, sum_value=math.nan))  # one of the observations was NaN


@pytest.mark.parametrize("moment", [1700000000.25, Timestamp(1700000000, 250_000_000)])
def test_an_exemplar_is_written_with_its_labels_value_and_time(moment):
    family = Metric("c", "", "counter")
    family.add_sample("c_total", {}, 3, None, Exemplar({"trace": "x"}, 0.5, moment))
    label = b"\x0a\x0a\x0a\x05trace\x12\x01x"
    time = b"\x1a\x0b\x08\x80\xe2\xcf\xaa\x06\x10\x80\xe5\x9a\x77"
    assert label + b"\x11" + struct.pack("<d", 0.5) + time in pushed(family)


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
        pushed(family)
    assert refusal.value.metric == "c"


class Both:
    """The odd ones, beside a registry."""

    def __init__(self, registry, job):
        self._registry = registry
        self._job = job

    def collect(self):
        yield from self._registry.collect()
        yield GaugeHistogramMetricFamily("gh", "g", buckets=[("1", 2), ("+Inf", 3)], gsum_value=4)
        yield UnknownMetricFamily("unknown", "u", value=math.nan)
        yield Family("odd", "h", "gauge", [Sample("odd", {}, 1), Sample("stray", {"a": "b"}, 2)])
        yield Family("odder", "h", "gauge", [Sample("stray", {"a": "c"}, 3)])
        yield Family("same", "h", "gauge", [Sample("same", {"job": self._job}, 3)])
        yield Family(
            "s", "h", "summary", [Sample("s", {"quantile": "0.5"}, 1), Sample("s_sum", {}, 2)]
        )


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(registry=registries(), grouping=GROUPINGS)
@pytest.mark.end_to_end
def test_a_real_gateway_reads_the_same_from_it_as_from_text(real_gateway, registry, grouping):
    key, metrics = GroupingKey(*grouping), Both(registry, grouping[0])
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
    gateway.send_directly("PUT", key, messages, content_type=CONTENT_TYPE)
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
