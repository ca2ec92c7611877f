"""What a gateway holds, read back, whatever the names of metrics and labels."""

import pytest

from pushgate import Gateway, PushError, gauge
from support.faults import FaultServer, answer, respond


@pytest.mark.parametrize(
    ("name", "label"),
    [
        *((name, "a") for name in ("labels", "last_push_successful", "metrics", "time_stamp")),
        *(("m", label) for label in ("metrics", "name", "metric", "value", "self", "type")),
    ],
)
def test_metrics_and_labels_of_any_name_are_read_back(gateway_url, name, label):
    gateway = Gateway(gateway_url)
    gateway.push("j", gauge(name, "h", 3), {label: "x"})
    (group,) = gateway.groups()
    assert group.labels == {"job": "j", label: "x"}
    assert group.last_push_successful is True
    assert group.value(name, job="j", **{label: "x"}) == 3


def test_a_group_is_made_read_and_deleted_whatever_its_labels_values_are(gateway_url):
    values = ("..", ".", "a/b", "???/>>>", "=", "job@base64", "%2F", "", " ", "é\x00\n", "日本")
    labels = {f"l{number}": value for number, value in enumerate(values)}
    gateway = Gateway(gateway_url)
    gateway.push("job", gauge("m", "h", 1))
    for job in ("..", "a/b"):
        gateway.push(job, gauge("m", "h", 1), labels)
        assert {"job": job, **labels} in [group.labels for group in gateway.groups()]
        gateway.delete(job, labels)
    gateway.pushadd("job", ())  # deletes are queued, in order with pushes
    assert [group.labels for group in gateway.groups()] == [{"job": "job"}]


@pytest.mark.parametrize("value", ["NaN", "+Inf", "-Inf", "1700000000000"])
def test_a_time_that_no_clock_shows_is_no_time_of_a_push(gateway, value):
    name = "push_failure_time_seconds"  # it replaces the gateway's own
    gateway.exchange("PUT", "/metrics/job/j", f"# TYPE {name} gauge\n{name} {value}\n")
    (group,) = Gateway(gateway.url).groups()
    assert group.push_failure_time == 0


def read(body):
    with FaultServer(respond(answer(body=body))) as server:
        return Gateway(server.url).groups()


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"[]", b"null", b'{"status":"success"}', b'{"data":[1]}', b'{"data":7}',
     b'{"data":[{"labels":{}}]}', b"\xff", b'{"data":[{"labels":{},"last_push_successful":true,'
     b'"m":{"metrics":[{}],"type":"GAUGE","time_stamp":"then"}}]}',
     b'{"status":"success","data":[{"labels":{"job":"j"},"last_push_successful":true}',
     b'{"status":"success","data":[{"labels":', b'{"status":"success","data":' + b"[" * 100_000],
)  # fmt: skip
def test_a_response_that_is_cut_off_or_no_pushgateways_is_an_error(body):
    with pytest.raises(PushError, match="not the response of a Pushgateway"):
        read(body)
    with FaultServer(respond(answer(body=body))) as server, pytest.raises(PushError):
        Gateway(server.url).version()


def test_a_response_may_be_laid_out_otherwise():
    one = b'{"labels":{"job":"j"},"last_push_successful":true}'
    for body in (b'{"data": [%s]}' % one, b' {"status": "success", "data": [ %s ]}' % one):
        assert [group.labels for group in read(body)] == [{"job": "j"}]


def test_a_native_histogram_is_read_by_its_sum_and_count():
    """Its buckets are a list, from Pushgateway 1.8.0 on."""
    (group,) = read(
        b"""{"status":"success","data":[{"labels":{"job":"j"},"last_push_successful":true,
        "n":{"time_stamp":"2026-11-23T20:23:19.66Z","type":"HISTOGRAM","metrics":[{"labels":{},
        "buckets":[[3,"-0.001","0.001","1"]],"count":"1","sum":"0.5"}]}}]}"""
    )
    assert [sample[:3] for sample in group.families[0].samples] == [
        ("n_sum", {}, 0.5),
        ("n_count", {}, 1),
    ]
