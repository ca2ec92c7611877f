"""What people get wrong when they push: it works all the same, or the error says what to change."""

import pytest

from pushgate import (
    Gateway,
    GatewayRejectedError,
    GroupingKey,
    default_handler,
    delete_from_gateway,
    gauge,
    push_to_gateway,
    pushadd_to_gateway,
)
from support.faults import FaultServer, answer

ONE = gauge("x", "", 1)


def failure(url, expected, **options):
    with pytest.raises(expected) as raised:
        Gateway(url, retries=0, **options).push("j", ONE)
    return raised.value


def test_the_handler_may_be_none(server):
    push_to_gateway(server.url, "a", ONE, handler=None)
    pushadd_to_gateway(server.url, "b", ONE, handler=None)
    delete_from_gateway(server.url, "a", handler=None)
    assert [group.labels for group in Gateway(server.url).groups()] == [{"job": "b"}]
    push_to_gateway(server.url, "a", ONE, {}, 5, default_handler)


def test_a_handler_that_cannot_be_called_is_a_type_error(server):
    for push in (
        Gateway(server.url, handler="basic_auth").push,
        lambda job, metrics: push_to_gateway(server.url, job, metrics, handler=7),
        lambda job, metrics: push_to_gateway(server.url, job, metrics, handler=lambda **_: None),
    ):
        with pytest.raises(TypeError, match="not callable"):
            push("a", ONE)
    assert Gateway(server.url).groups() == []


@pytest.mark.parametrize("labels", ["db1", [("instance", "db1")], 7, {"instance"}])
def test_a_grouping_key_that_is_no_mapping_is_a_clear_type_error(labels):
    for use in (
        lambda: GroupingKey("j", labels),
        lambda: push_to_gateway("gateway:1", "j", ONE, labels),
        lambda: Gateway("gateway:1").push("j", ONE, labels),
        lambda: Gateway("gateway:1").push(GroupingKey("j"), ONE, labels),
    ):
        with pytest.raises(TypeError, match="the grouping key is a mapping of label names"):
            use()


@pytest.mark.parametrize("end", ["/metrics", "/metrics/", "/metrics//", "/"])
def test_a_url_may_end_as_a_scrapers_does(server, end):
    push_to_gateway(server.url + end, "a", ONE)
    assert Gateway(server.url + end).url == server.url
    assert len(Gateway(server.url + end).groups()) == 1


def answers(text, kind="text/plain", status="404 Not Found"):
    return lambda peer: [
        peer.send(answer(status, text.encode(), (("Content-Type", kind),)))
        for _ in iter(peer.request, None)
    ]


def test_a_404_asks_whether_it_is_a_pushgateway():
    with FaultServer(answers("404 page not found\n")) as other:
        error = failure(other.url, GatewayRejectedError)
    assert error.reason == "Not Found: 404 page not found; not a Pushgateway?"
    assert error.read() == b"404 page not found\n"


PAGE = """<!DOCTYPE html><html>
<head><title>503 Busy</title><style>body { color: red }</style><script>if (a < b) {}</script></head>
<body><h1>Down</h1><p>back at&nbsp;5 &amp; later</body></html>"""


@pytest.mark.parametrize(
    ("page", "text"),
    [
        (PAGE, "Down back at 5 & later"),
        ("<html><head><title>Sign in</title></head></html>", "Sign in"),
        ("<" * 60_000, "<"),
        ("<script>" * 8_000, ""),
    ],
)
def test_an_error_has_the_text_of_a_proxys_page_and_no_tags(page, text):
    with FaultServer(answers(page, "text/html", "503 Busy")) as proxy:
        error = failure(proxy.url, GatewayRejectedError)
    assert " ".join(error.reason.split()).startswith(f"Busy: {text}" if text else "Busy")
    assert ">" not in error.reason
    assert "red" not in error.reason
    assert error.read().decode() == page
