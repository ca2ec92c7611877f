"""UTF-8 names, end to end where they are asked for, and refused where they would do harm."""

import json
import pickle

import prometheus_client
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from pushgate import (
    Gateway,
    GatewayRejectedError,
    GroupingKey,
    InvalidGroupingKeyError,
    InvalidPayloadError,
    SettingsError,
    checked_text,
    cli,
    encode,
    gauge,
)
from pushgate.embedded import EmbeddedGateway
from pushgate.protocol.names import from_path, to_path
from support.faults import OK, FaultServer, answer, respond
from support.gateways import NEW, open_gateway

NAMES = st.text(
    st.characters(exclude_categories=["Cs"]) | st.sampled_from('._-:U0"\\\n% /'), min_size=1
)


@pytest.fixture(scope="module")
def utf8_gateway():
    """A real one that runs with the flag."""
    with open_gateway(NEW, "--push.enable-utf8-names") as server:
        yield server


def dotted_registry():
    registry = CollectorRegistry()
    Gauge("rows.loaded", "With\nnewline.", ["db.name", "plain"], registry=registry).labels(
        'a"\\\n', "é"
    ).set(3)
    Counter("http 100%", "", ["%s", "äh"], registry=registry).labels("1", "2").inc()
    Histogram("seconds.spent", "h", ["route"], registry=registry).labels("/").observe(0.3)
    Gauge("plain", "", registry=registry).set(1)
    return registry


def test_names_are_written_as_generate_latest_writes_them():
    registry = dotted_registry()
    assert encode(registry, utf8_names=True).text == prometheus_client.generate_latest(
        registry, "allow-utf-8"
    )
    assert encode(registry).text == prometheus_client.generate_latest(registry)


def test_a_payload_says_whether_every_gateway_reads_it():
    assert encode(dotted_registry(), utf8_names=True).utf8_names
    assert not encode(gauge("plain", "", 1, {"a": "é"}), utf8_names=True).utf8_names


@given(NAMES)
def test_a_label_in_a_path_is_what_it_was(name):
    assert to_path(name).replace("_", "").isalnum() or to_path(name) == name
    assert from_path(to_path(name)) == name


@pytest.mark.parametrize(
    ("labels", "path"),
    [
        ({"foo.bar": "x"}, "/U__foo_2e_bar/x"),
        ({"a/b": "x/y"}, "/U__a_2f_b@base64/eC95"),
        ({"plain_1": "x"}, "/plain_1/x"),
        ({"U__x": "x"}, "/U__U____x/x"),
        ({"1é_": "x"}, "/U___31__e9___/x"),
    ],
)
def test_a_key_escapes_what_a_path_can_not_hold(labels, path):
    key = GroupingKey("j", labels, utf8_names=True)
    assert key.path == f"/metrics/job/j{path}"
    assert key.labels == {"job": "j", **labels}
    assert key.needs_utf8_names == ("U__" in path)
    assert pickle.loads(pickle.dumps(key)) == key == eval(repr(key))
    assert key.with_labels(**{"b.c": 1}).labels["b.c"] == "1"


def test_a_key_of_plain_names_is_the_same_key_however_it_was_asked_for():
    assert GroupingKey("j", {"a": "b"}, utf8_names=True) == GroupingKey("j", {"a": "b"})
    assert GroupingKey("j", {"U__a": "b"}, utf8_names=True) != GroupingKey("j", {"U__a": "b"})
    assert str(GroupingKey("j", {"a.b": "c"}, utf8_names=True)) == '{job="j","a.b"="c"}'


@pytest.mark.parametrize(
    ("labels", "label", "advice"),
    [
        ({"": "x"}, "", "is empty"),
        ({"job": "x"}, "job", "leave it out"),
        ({"__x": "x"}, "__x", "'__'"),
        ({"._name__": "x"}, "._name__", "'__'"),
        ({"a\ud800": "x"}, "a\ud800", "lone surrogate"),
        ({"a.b": "1", "a_b": "2"}, "a_b", "without UTF-8 names"),
    ],
)
def test_keys_that_would_break_a_gateway_or_its_scrapes_are_refused(labels, label, advice):
    with pytest.raises(InvalidGroupingKeyError, match=advice) as refusal:
        GroupingKey("j", labels, utf8_names=True)
    assert refusal.value.label == label


@pytest.mark.parametrize(
    ("metrics", "metric", "label", "advice"),
    [
        (gauge("m.x", "", 1, {"a.b": "1", "a_b": "2"}), "m.x", "a_b", "both written 'a_b'"),
        (gauge("m.x", "", 1, {"k_k": "1"}), "m.x", "k_k", "overwrite"),
        (gauge("m.x", "", 1, {"k.k": "1"}), "m.x", "k.k", "overwrite"),
        (gauge("m.x", "", 1, {"._name__": "1"}), "m.x", "._name__", "'__name__'"),
        (gauge("m.x", "", 1, {"__x": "1"}), "m.x", "__x", "begin with '__'"),
        (gauge("m.x", "", 1, {"日本": "1", "東京": "2"}), "m.x", "__", "both written"),
        (gauge("m.x", "", 1, {"": "1"}), "m.x", "", "must not be empty"),
        (gauge("m.x", "", 1, {"a\udcff": "1"}), "m.x", "a\udcff", "not valid Unicode"),
        (gauge("m\udcff", "", 1), "m\udcff", None, "not valid Unicode"),
        (gauge("m.x", "", 1, {"a.b": "\udcff"}), "m.x", "a.b", "not valid Unicode"),
        ([gauge("m.x", "", 1), gauge("m_x", "", 1)], "m_x", None, "sent twice"),
        (gauge("push_time.seconds", "", 1), "push_time.seconds", None, "sets itself"),
    ],
)
def test_metrics_that_an_older_prometheus_would_mangle_are_refused(metrics, metric, label, advice):
    key = GroupingKey("j", {"k.k": "v"}, utf8_names=True)
    with pytest.raises(InvalidPayloadError, match=advice) as refusal:
        encode(metrics, key, utf8_names=True)
    assert (refusal.value.metric, refusal.value.label) == (metric, label)


def test_checked_text_may_hold_quoted_names_where_that_is_asked_for():
    key = GroupingKey("j")
    text = b'# TYPE "m.x" gauge\n{"m.x","a b"="1",plain="2"} 3\nm{"l.x"="y"} 1\n{ "a\\"b" } 1\n'
    assert checked_text(text, key, utf8_names=True) == (text, 3, True)
    with pytest.raises(InvalidPayloadError, match="line 1: invalid metric name in comment"):
        checked_text(text, key)
    for wrong, why in (
        (b'{"m.x" 1\n', "line 1: invalid metric name"),
        (b'{""} 1\n', "line 1: invalid metric name"),
        (b'ok 1\n{"m.x","__name__"="y"} 1\n', "line 2: label name"),
        (b'ok 1\n{"m.x","a.b"="y",a_b="z"} 1\n', "line 2: the metric"),
        (b'{"m.\xff"} 1\n', "not UTF-8"),
    ):
        with pytest.raises(InvalidPayloadError, match=why):
            checked_text(wrong, key, utf8_names=True)


def test_a_gateway_without_the_flag_is_told_from_one_with_it_once():
    status = {"build_information": {"version": "1.11.2"}, "flags": {}}
    body = json.dumps({"status": "success", "data": status}).encode()
    with FaultServer(respond(OK, answer(body=body), OK)) as server:
        gateway = Gateway(server.url, utf8_names=True)
        gateway.push("j", gauge("plain", "", 1), {"plain": "x"})  # what every gateway reads
        for _ in range(2):
            with pytest.raises(SettingsError, match="enable-utf8-names"):
                gateway.push("j", gauge("m.x", "", 1))
            with pytest.raises(SettingsError, match="enable-utf8-names"):
                gateway.delete("j", {"a.b": "x"})
        assert [seen.method for seen in server.requests] == ["PUT", "GET"]


def test_where_the_flag_can_not_be_read_the_push_is_sent():
    sent = []

    def handler(url, method, timeout, headers, data):
        return lambda: sent.append((url, data))

    Gateway("127.0.0.1:1", utf8_names=True, handler=handler, retries=0).push(
        "j", gauge("m.x", "", 1), {"a.b": "c"}
    )
    assert sent == [
        (
            "http://127.0.0.1:1/metrics/job/j/U__a_2e_b/c",
            b'# HELP "m.x" \n# TYPE "m.x" gauge\n{"m.x"} 1.0\n',
        )
    ]


@pytest.mark.end_to_end
def test_names_of_any_text_come_back_from_a_real_gateway(utf8_gateway):
    gateway = Gateway(utf8_gateway.url, utf8_names=True)
    labels = {"foo.bar": "x", "a/b": "x/y", "日本": "", "U__x": "1", 'q"\n': "2", "😀": "3"}
    gateway.push("j", dotted_registry(), labels)
    gateway.pushadd("j", gauge("more.rows", "", 2, {"in.side": "é", "foo.bar": "x"}), labels)

    (group,) = gateway.groups()
    assert group.labels == {"job": "j", **labels}
    assert group.value("rows.loaded", **{"db.name": 'a"\\\n'}) == 3
    assert group.value("http 100%_total", **{"%s": "1", "äh": "2"}) == 1
    assert group.value("seconds.spent_count") == 1
    assert group.value("more.rows", **{"in.side": "é"}) == 2
    assert utf8_gateway.exchange("GET", "/metrics").status == 200
    gateway.delete("j", labels)
    gateway.pushadd("next", ())  # deletes are queued, in order with pushes
    assert [group.labels for group in gateway.groups()] == [{"job": "next"}]
    utf8_gateway.wipe()


@pytest.mark.end_to_end
def test_the_command_line_has_them_too(utf8_gateway, tmp_path, capsys):
    file = tmp_path / "metrics"
    file.write_text('{"rows.loaded","db.name"="shop"} 42\n')
    where = ["--gateway", utf8_gateway.url, "--job", "j", "--group", "foo.bar=x"]
    assert cli.main(["push", *where, "--utf8-names", str(file)]) == 0
    assert cli.main(["show", *where[:2], '"foo.bar"=x']) == 0
    shown = capsys.readouterr().out
    assert '{job="j","foo.bar"="x"}' in shown
    assert 'rows.loaded{"db.name"="shop"}  42' in shown
    assert cli.main(["delete", *where]) == 2
    assert cli.main(["delete", *where, "--utf8-names"]) == 0
    utf8_gateway.wipe()


def test_a_push_of_quoted_names_says_which_option_they_need(tmp_path, capsys):
    file = tmp_path / "metrics"
    where = ["--gateway", "127.0.0.1:9", "--job", "j", str(file)]
    file.write_text('ok 1\n{"rows.loaded"} 42\n')
    assert cli.main(["push", *where]) == 1
    assert "line 2: invalid metric name; names in quotes need --utf8" in capsys.readouterr().err
    file.write_text("1x 1\n")
    assert cli.main(["push", *where]) == 1
    assert "--utf8-names" not in capsys.readouterr().err


@pytest.mark.end_to_end
def test_what_is_refused_a_real_gateway_would_take_and_break(utf8_gateway):
    """Why the checks compare names with underscores: so the default scrape shows them."""
    utf8_gateway.exchange("PUT", "/metrics/job/j", '{"m","a.b"="1",a_b="2"} 1\n')
    assert 'a_b="1",a_b="2"' in utf8_gateway.exchange("GET", "/metrics").text
    utf8_gateway.wipe()
    assert utf8_gateway.exchange("PUT", "/metrics/job/j/U______x/v", "m 1\n").status == 400
    assert utf8_gateway.exchange("GET", "/metrics").status == 500
    utf8_gateway.wipe()


def test_a_text_that_was_encoded_by_somebody_else_is_rejected_by_the_gateway_itself():
    with EmbeddedGateway() as embedded, pytest.raises(GatewayRejectedError, match="line 1"):
        Gateway(embedded.url).send("PUT", GroupingKey("j"), b'{"m.x"} 1\n')
