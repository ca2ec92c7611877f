"""What a gateway holds, read back, whatever the names of metrics and labels."""

import pytest

from pushgate import Gateway, gauge


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
