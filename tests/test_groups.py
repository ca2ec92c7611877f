"""What a gateway holds, read back, whatever the names of metrics and labels."""

import pytest

from pushgate import Gateway, PushError, gauge
from pushgate.protocol.groups import read_groups


@pytest.mark.parametrize("name", ["labels", "last_push_successful", "metrics", "time_stamp"])
def test_a_metric_of_any_name_is_read_back(gateway_url, name):
    gateway = Gateway(gateway_url)
    gateway.push("j", gauge(name, "h", 3), {"a": "b"})
    (group,) = gateway.groups()
    assert group.labels == {"job": "j", "a": "b"}
    assert group.last_push_successful is True
    assert group.value(name, job="j") == 3


@pytest.mark.parametrize("label", ["metrics", "name", "metric", "value", "self", "type"])
def test_a_label_of_any_name_is_read_back(gateway_url, label):
    gateway = Gateway(gateway_url)
    gateway.push("j", gauge("m", "h", 3), {label: "x"})
    (group,) = gateway.groups()
    assert group.labels == {"job": "j", label: "x"}
    assert group.value("m", **{label: "x"}) == 3


@pytest.mark.parametrize(
    "answer",
    [
        b'{"status":"success","data":[{"labels":{"job":"j"},"last_push_successful":true}',
        b'{"status":"success","data":[{"labels":',
        b'{"status":"success"}',
        b"<html>",
        b'{"status":"success","data":' + b"[" * 100_000,
    ],
)
def test_an_answer_that_is_cut_off_or_no_gateways_is_an_error(answer):
    with pytest.raises(PushError, match="not the response of a Pushgateway"):
        list(read_groups(answer))


def test_an_answer_may_be_laid_out_otherwise():
    one = b'{"labels":{"job":"j"},"last_push_successful":true}'
    for answer in (b'{"data": [%s]}' % one, b' {"status": "success", "data": [ %s ]}' % one):
        assert [group.labels for group in read_groups(answer)] == [{"job": "j"}]


def test_a_native_histogram_is_read_by_its_sum_and_count():
    """Its buckets are a list, from Pushgateway 1.8.0 on."""
    answer = b"""{"status":"success","data":[{"labels":{"job":"j"},"last_push_successful":true,
        "n":{"time_stamp":"2026-11-23T20:23:19.66Z","type":"HISTOGRAM","metrics":[{"labels":{},
        "buckets":[[3,"-0.001","0.001","1"]],"count":"1","sum":"0.5"}]}}]}"""
    (group,) = read_groups(answer)
    assert [sample[:3] for sample in group.families[0].samples] == [
        ("n_sum", {}, 0.5),
        ("n_count", {}, 1),
    ]
