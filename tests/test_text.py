"""The encoder writes as generate_latest does, and refuses what a gateway would."""

import math
from enum import Enum as Enumeration

import prometheus_client
import pytest
from hypothesis import given
from prometheus_client import CollectorRegistry, Counter, Enum, Gauge, Histogram, Info, Summary
from prometheus_client.core import (
    GaugeHistogramMetricFamily,
    GaugeMetricFamily,
    Metric,
    UnknownMetricFamily,
)

from pushgate import (
    Family,
    GroupingKey,
    InvalidPayloadError,
    Sample,
    checked_text,
    encode,
    gauge,
)
from support.metrics import registries


class Collector:
    def __init__(self, *families):
        self.families = families

    def collect(self):
        return self.families


def of_samples(name, kind, *samples):
    family = Metric(name, "help", kind)
    for sample in samples:
        family.add_sample(*sample)
    return Collector(family)


@given(registries())
def test_every_registry_is_written_as_generate_latest_writes_it(registry):
    assert encode(registry).text == prometheus_client.generate_latest(registry)


def one_of_each_type():
    registry = CollectorRegistry()
    Counter("requests", "with\nnewline and \\", ["b", "a"], registry=registry).labels(
        'q"uote\\\n', ""
    ).inc(1e7)
    Gauge("dotted.name", "", ["label.name"], registry=registry).labels("ü").set(-0.0)
    Histogram("seconds", "h", ["route"], registry=registry).labels("/").observe(0.3)
    Summary("bytes", "s", registry=registry).observe(2)
    Info("build", "i", registry=registry).info({"version": "1"})
    Enum("state", "e", states=["a", "b"], registry=registry).state("b")
    registry.register(
        Collector(
            GaugeHistogramMetricFamily("gh", "g", buckets=[("1", 2), ("+Inf", 3)], gsum_value=4),
            UnknownMetricFamily("unknown", "u", value=math.nan),
            GaugeMetricFamily("inf", "i", value=-math.inf),
        )
    )
    return registry


def test_every_type_is_written_as_generate_latest_writes_it():
    registry = one_of_each_type()
    assert encode(registry).text == prometheus_client.generate_latest(registry)


@pytest.mark.parametrize(
    "value",
    [0, 1, -1, True, 0.1, 1e-7, 999999.0, 1e6, 1234567.5, 123456789.0, 1e15, 1e16, 1e22, -1e9,
     1.7976931348623157e308, -1.7976931348623157e308, math.inf, -math.inf, math.nan, 2**70],
)  # fmt: skip
def test_values_are_written_as_go_writes_them(value):
    metrics = of_samples("m", "gauge", ("m", {}, value))
    assert encode(metrics).text == prometheus_client.generate_latest(metrics)


@pytest.mark.parametrize("names", ["a", "ab", "abc"])
@pytest.mark.parametrize("text", ["prod", 'p"\\\n'])
def test_a_label_value_of_a_class_of_its_own_is_written_by_its_characters(names, text):
    environment = Enumeration("Environment", {"PRODUCTION": text}, type=str)
    metrics = of_samples("m", "gauge", ("m", dict.fromkeys(names, environment.PRODUCTION), 1))
    assert encode(metrics).text == prometheus_client.generate_latest(metrics)
    assert encode(metrics, GroupingKey("j", {"a": text})).samples == 1
    number = of_samples("m", "gauge", ("m", dict.fromkeys(names, 5), 1))
    assert encode(number).text.count(b'="5"') == len(names)


def test_our_own_families_need_no_registry():
    assert encode([gauge("m", "help", 1, {"a": "b"})]).text == (
        b'# HELP m help\n# TYPE m gauge\nm{a="b"} 1.0\n'
    )
    assert encode(gauge("m", "help", 1)) == encode([gauge("m", "help", 1)])


def test_none_is_the_global_registry_at_run_time(monkeypatch):
    registry = CollectorRegistry()
    Gauge("mine", "help", registry=registry).set(3)
    monkeypatch.setattr(prometheus_client, "REGISTRY", registry)
    assert encode(None).text == prometheus_client.generate_latest(registry)


def test_samples_are_counted_and_metadata_alone_is_none():
    registry = CollectorRegistry()
    Gauge("labelled", "help", ["a"], registry=registry)
    assert encode(registry).samples == 0
    assert encode(one_of_each_type()).samples > 20


@pytest.mark.parametrize("metrics", [3, "text", b"text", {"a": 1}])
def test_what_is_no_metrics_is_named(metrics):
    with pytest.raises(TypeError, match="pass a CollectorRegistry"):
        encode(metrics)


def two(*families):
    return Collector(*families)


@pytest.mark.parametrize(
    ("metrics", "metric", "label", "advice"),
    [
        (of_samples("m", "gauge", ("m", {}, 1, 1234.5)), "m", None, "timestamp"),
        (of_samples("m", "gauge", ("m", {"a": "1"}, 1), ("m", {"a": "1"}, 2)), "m", None, "twice"),
        (
            of_samples(
                "m", "gauge", ("m", {"a": "1", "b": "2"}, 1), ("m", {"b": "2", "a": "1"}, 2)
            ),
            "m",
            None,
            "twice",
        ),
        (of_samples("m", "gauge", ("m", {"job": "x"}, 1)), "m", "job", "overwrite"),
        (of_samples("m", "gauge", ("m", {"instance": "x"}, 1)), "m", "instance", "overwrite"),
        (of_samples("m", "gauge", ("m", {"__x": "x"}, 1)), "m", "__x", "begin with '__'"),
        (of_samples("m", "gauge", ("m", {"": "x"}, 1)), "m", "", "must not be empty"),
        (of_samples("m", "gauge", ("m", {"a.b": "", "a_b": ""}, 1)), "m", "a_b", "both written"),
        (two(gauge("m", "", 1), gauge("m", "", 2)), "m", None, "sent twice"),
        (two(gauge("a.b", "", 1), gauge("a_b", "", 2)), "a_b", None, "sent twice"),
        (
            two(Family("c", "", "counter", [Sample("c_total", {}, 1)]), gauge("c_total", "", 1)),
            "c_total",
            None,
            "sent twice",
        ),
        (
            two(Family("h", "", "histogram", []), gauge("h_count", "", 1)),
            "h_count",
            None,
            "rename one",
        ),
        (two(gauge("x", "", 1), of_samples("m", "gauge", ("x", {}, 1)).families[0]), "x", None,
         "family of its own"),
        (of_samples("m", "gauge", ("m", {"a": "\ud800"}, 1)), "m", "a", "not valid Unicode"),
        (Collector(gauge("m", "\udcff", 1)), "m", None, "the help text of"),
        (of_samples("m", "gauge", ("m", {}, "x")), "m", None, "not a number"),
        (of_samples("m", "gauge", ("m", {}, None)), "m", None, "not a number"),
        (Collector(gauge("push_time_seconds", "", 1)), "push_time_seconds", None, "sets itself"),
    ],
)  # fmt: skip
def test_what_a_gateway_would_refuse_or_alter_is_refused(metrics, metric, label, advice):
    key = GroupingKey("j", {"instance": "i"})
    with pytest.raises(InvalidPayloadError, match=advice) as refusal:
        encode(metrics, key)
    assert (refusal.value.metric, refusal.value.label) == (metric, label)
    assert isinstance(refusal.value, ValueError)


@pytest.mark.parametrize(
    ("kind", "name", "labels", "value", "advice"),
    [
        ("histogram", "m_bucket", {}, 1, "must hold a number"),
        ("histogram", "m_bucket", {"le": "x"}, 1, "must hold a number"),
        ("histogram", "m_bucket", {"le": "1_0"}, 1, "must hold a number"),
        ("histogram", "m_bucket", {"le": "1e999"}, 1, "must hold a number"),
        ("histogram", "m", {}, 1, "native histogram"),
        ("histogram", "m_bucket", {"le": "1"}, -1, "begin at 0"),
        ("histogram", "m_count", {}, -1, "begin at 0"),
        ("summary", "m", {"quantile": "x"}, 1, "must hold a number"),
        ("summary", "m_count", {}, math.nan, "begin at 0"),
        (
            "histogram",
            "m_count",
            {"le": "1"},
            1,
            "the label 'le', which a gateway drops or refuses",
        ),
        ("histogram", "m_sum", {"le": "x"}, 1, "the label 'le', which a gateway drops or refuses"),
        ("summary", "m_count", {"quantile": "1"}, 1, "the label 'quantile', which a gateway drops"),
        ("summary", "m_sum", {"quantile": ""}, 1, "the label 'quantile', which a gateway drops"),
    ],
)
def test_distributions_that_a_gateway_would_refuse_or_wrap_are_refused(
    kind, name, labels, value, advice
):
    with pytest.raises(InvalidPayloadError, match=advice):
        encode(of_samples("m", kind, (name, labels, value)))


@pytest.mark.parametrize(("kind", "label"), [("histogram", "le"), ("summary", "quantile")])
def test_a_grouping_label_a_distribution_needs_is_refused(kind, label):
    metrics = of_samples("m", kind, ("m_count", {}, 1), ("m_sum", {}, 1))
    with pytest.raises(InvalidPayloadError, match="rename the grouping label"):
        encode(metrics, GroupingKey("j", {label: "x"}))


def test_a_label_that_the_grouping_key_has_with_the_same_value_is_written():
    metrics = of_samples(
        "m",
        "gauge",
        ("m", {"instance": "7", "job": "j", "a": "x"}, 1),
        ("m", {"instance": "7", "a": 'x"'}, 2),
        ("m", {"a": "z"}, 3),
        ("other", {"db_name": ""}, 4),
    )
    key = GroupingKey("j", {"instance": 7, "db_name": "", "U__x_2e_y": "1"})
    assert encode(metrics, key).text == prometheus_client.generate_latest(metrics)


@pytest.mark.parametrize("value", ['a"\\\n', "h1", "", "{}", 'h",m="'])
@pytest.mark.parametrize("others", [{}, {"a": "x"}, {"z": '",m="h1'}])
@pytest.mark.parametrize("label", ["m", "k"])
def test_a_series_with_such_a_label_is_the_series_without_it(label, value, others):
    key = GroupingKey("j", {label: value})
    twice = of_samples("m", "gauge", ("m", {**others, label: value}, 1), ("m", others, 2))
    with pytest.raises(InvalidPayloadError, match="is there twice"):
        encode(twice, key)
    other = of_samples("m", "gauge", ("m", {**others, label: value}, 1), ("m", {"b": ""}, 2))
    assert encode(other, key).samples == 2


@pytest.mark.parametrize("label", ["x.y", "x_y", "U__x_2e_y"])
def test_a_label_that_a_gateway_may_take_for_another_is_refused(label):
    with pytest.raises(InvalidPayloadError, match="overwrite"):
        encode(gauge("m", "", 1, {label: "1"}), GroupingKey("j", {"U__x_2e_y": "1"}))


def test_all_parts_of_a_distribution_have_such_a_label_or_none_has():
    key = GroupingKey("j", {"k": "v"})
    bucket = ("m_bucket", {"le": "+Inf", "k": "v"}, 1)
    whole = of_samples("m", "histogram", bucket, ("m_count", {"k": "v"}, 1))
    assert encode(whole, key).samples == 2
    with pytest.raises(InvalidPayloadError, match="give it to all of them, or to none"):
        encode(of_samples("m", "histogram", bucket, ("m_count", {}, 1)), key)


@pytest.mark.parametrize("seconds", [math.nan, math.inf, -math.inf, -1.0, 1.7e12, 1.8e308 * -1])
@pytest.mark.parametrize("labels", [{}, {"a": "b"}])
@pytest.mark.parametrize("family", ["batch_job_x_timestamp_seconds", "stray"])
def test_a_time_of_the_job_metrics_that_no_clock_shows_is_refused(family, labels, seconds):
    name = "batch_job_x_timestamp_seconds"
    metrics = of_samples(family, "gauge", (name, labels, seconds))
    with pytest.raises(
        InvalidPayloadError, match=r"give Unix seconds \(time\.time\(\)\)"
    ) as refusal:
        encode(metrics)
    assert refusal.value.metric == name
    assert encode(of_samples(family, "gauge", (name, labels, 1.7e9))).samples == 1
    assert encode(of_samples("x_timestamp_seconds", "gauge", ("m", labels, seconds))).samples == 1


def test_an_empty_instance_is_no_instance():
    metrics = of_samples("m", "gauge", ("m", {"instance": "", "a": "x"}, 1), ("m", {"a": "x"}, 2))
    with pytest.raises(InvalidPayloadError, match="twice"):
        encode(metrics, GroupingKey("j"))
    apart = of_samples("m", "gauge", ("m", {"instance": ""}, 1), ("m", {"instance": "i"}, 2))
    assert encode(apart, GroupingKey("j")).samples == 2


def test_metrics_may_come_in_a_list():
    registry = CollectorRegistry()
    metrics = [Gauge("a", "", registry=registry), gauge("b", "", True)]
    assert encode(metrics).text.endswith(b"b 1.0\n")
    with pytest.raises(TypeError, match="cannot push a int"):
        encode([1])


def test_label_values_that_only_look_alike_are_no_duplicates():
    metrics = of_samples("m", "gauge", ("m", {"a": 'x",b="y', "b": ""}, 1), ("m", {"a": "x"}, 2))
    assert encode(metrics).text == prometheus_client.generate_latest(metrics)


def test_checked_text_stays_as_it_was_but_for_what_editors_and_windows_do():
    key = GroupingKey("load", {"table": "orders"})
    text = b'# HELP rows Rows\n# TYPE rows counter\nrows 1\n# a remark\nfree{x="1"} 2e3\n'
    assert checked_text(text, key)[:2] == (text, 2)
    assert checked_text(b"\xef\xbb\xbfrows 1\r\nmore 2", key)[:2] == (b"rows 1\nmore 2\n", 2)
    assert checked_text(b"", key)[:2] == (b"", 0)
