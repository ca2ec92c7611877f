"""Answers that no Pushgateway gives: by web pages, proxies, other servers, and dead connections."""

import socket
import subprocess
import sys
import threading

import pytest

from pushgate import (
    Gateway,
    GatewayRejectedError,
    GatewayUnreachableError,
    GroupingKey,
    Outbox,
    PushError,
    gauge,
    push_to_gateway,
)
from support import faults
from support.faults import FaultServer, answer, respond

METRICS = [gauge("m", "h", 1)]
HTML = (("Content-Type", "text/html"),)
PAGES = {
    "a page": answer(body=b"<html>Down for maintenance</html>", headers=HTML),
    "a page without a length": b"HTTP/1.0 200 OK\r\nContent-Type: text/html\r\n\r\n<html>",
    "a page without its type": answer(body=b" <!DOCTYPE html><p>Sign in"),
    "an exporter's metrics": answer(body=b"# HELP up Up\n# TYPE up gauge\nup 1\n" * 9),
    "JSON": answer(body=b'{"error":"maintenance"}', headers=(("Content-Type", "text/json"),)),
    "JSON without its type": answer(body=b'{"error":"sign in"}'),
    "a short sentence": answer(body=b"Please log in", headers=(("Content-Type", "text/plain"),)),
    "a short page after a mark": answer(body=b"\xef\xbb\xbf<p>Sign in"),
    "blanks without end": answer(body=b" " * 60_000 + b"a b"),
    "no text": answer(body=b"\x1f\x8b\x08\0\0"),
}
DELIVERIES = {
    "empty 200": answer(),
    "empty 202": answer("202 Accepted"),
    "empty 204": b"HTTP/1.1 204 No Content\r\n\r\n",
    "a word": answer(body=b"OK\n"),
    "an empty page": answer(headers=HTML),
    "no JSON": answer(headers=(("Content-Type", "application/json"),)),
}


@pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)
def test_a_success_with_a_page_is_no_delivery_and_what_it_should_have_taken_waits(page, tmp_path):
    outbox = Outbox(tmp_path / "outbox")
    with FaultServer(faults.respond_and_close(page)) as server:
        gateway = Gateway(server.url, outbox=outbox, retries=0)
        with pytest.raises(GatewayRejectedError, match="the URL of a Pushgateway") as caught:
            gateway.pushadd("j", METRICS)
        assert not gateway.ready()
        assert not outbox.flush(gateway).delivered
    error = caught.value
    assert (error.status, error.retryable, error.permanent, error.kept) == (200, True, False, True)
    assert [group.labels for group in outbox.waiting()] == [{"job": "j"}]


@pytest.mark.parametrize("data", DELIVERIES.values(), ids=DELIVERIES)
def test_a_success_without_a_page_is_a_delivery(data):
    with FaultServer(respond(data)) as server:
        push_to_gateway(server.url, "j", METRICS)


def test_a_success_that_names_no_length_is_a_delivery_at_once():
    with FaultServer(faults.respond_and_hang(b"HTTP/1.1 200 OK\r\n\r\n")) as server:
        push_to_gateway(server.url, "j", METRICS, timeout=60)


UNREADABLE = {
    "reset": faults.respond_and_reset(b"HTTP/1.0 407 Who\r\nContent-Type: text/html\r\n\r\n<html>"),
    "endless": faults.respond_and_hang(b"HTTP/1.1 407 Who\r\nContent-Length: 1000\r\n\r\nno"),
    "no chunk": faults.respond_and_close(
        b"HTTP/1.1 407 Who\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nno"
    ),
    "many headers": faults.respond_and_hang(b"HTTP/1.1 407 Who\r\n" + b"A: b\r\n" * 200),
    "a long header": faults.respond_and_hang(b"HTTP/1.1 407 Who\r\nA: " + b"b" * 70_000),
    "cut in its headers": faults.respond_and_close(b"HTTP/1.1 407 Who\r\nContent-Le"),
    "cut": faults.respond_and_close(b"HTTP/1.1 407 Who\r\nContent-Length: 99\r\n\r\nno"),
    "drips": faults.respond_and_drip(b"HTTP/1.1 407 Who\r\nContent-Length: 60000\r\n\r\n", b"z"),
}


@pytest.mark.parametrize("script", UNREADABLE.values(), ids=UNREADABLE)
def test_a_status_counts_also_where_the_rest_cannot_be_read(script):
    with FaultServer(script) as server, pytest.raises(GatewayRejectedError, match="Who") as caught:
        push_to_gateway(server.url, "j", METRICS, timeout=60)
    assert caught.value.status == 407


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
NO_HTTP = {
    "a negative chunk": CHUNKED + b"-5\r\nabcde\r\n0\r\n\r\n",
    "a huge chunk": CHUNKED + b"f" * 30 + b"\r\nab",
    "a huge length": b"HTTP/1.1 200 OK\r\nContent-Length: %s\r\n\r\n{}" % (b"9" * 27),
    "an absurd length": b"HTTP/1.1 200 OK\r\nContent-Length: %s\r\n\r\n{}" % (b"9" * 5000),
    "a huge number": answer(
        body=b'{"status":"success","data":[{"labels":{"job":"a"},"last_push_successful":true,'
        b'"push_time_seconds":{"time_stamp":"2026-01-01T00:00:00Z","type":"GAUGE","metrics":'
        b'[{"labels":{},"value":1%s}]}}]}' % (b"0" * 400)
    ),
    "a version of many digits": answer(
        body=b'{"data":{"build_information":{"version":"%s"},"flags":{}}}' % (b"9" * 5000)
    ),
    "labels that are a number": answer(
        body=b'{"status":"success","data":[{"labels":7,"last_push_successful":true}]}'
    ),
    "a label that is a number": answer(
        body=b'{"status":"success","data":[{"labels":{"job":7},"last_push_successful":true}]}'
    ),
}


@pytest.mark.parametrize("data", NO_HTTP.values(), ids=NO_HTTP)
def test_what_cannot_be_read_is_a_push_error(data):
    with FaultServer(faults.respond_and_close(data)) as server:
        gateway = Gateway(server.url, retries=0, timeout=5)
        with pytest.raises(PushError):
            gateway.groups()
        with pytest.raises(PushError):
            gateway.status()
        with pytest.raises(PushError):
            gateway.started_at()
        gateway.ready()


def test_groups_are_read_whatever_pieces_they_come_in():
    groups = ",".join(
        f'{{"labels":{{"job":"j{n}","path":"ä{"x" * 40}"}},"last_push_successful":true}}'
        for n in range(300)
    )
    data = answer(body=f'{{"status":"success", "data" : [{groups}] }}'.encode())

    def piecewise(peer):
        peer.request()
        for at in range(0, len(data), 701):
            peer.send(data[at : at + 701])

    with FaultServer(piecewise) as server:
        found = [group.labels["job"] for group in Gateway(server.url).groups()]
    assert found == [f"j{n}" for n in range(300)]


def test_a_stream_that_breaks_off_is_an_unreachable_gateway():
    cut = b'HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n{"status":"success","data":['
    with (
        FaultServer(faults.respond_and_close(cut)) as server,
        pytest.raises(GatewayUnreachableError, match="cut short"),
    ):
        Gateway(server.url, retries=0).groups()


# Grows by what it reads of an answer, and prints by how much, in KiB.
READER = """
import resource, sys
from pushgate import Gateway, PushError, gauge
gateway = Gateway(sys.argv[1], retries=0, timeout=float(sys.argv[2]))
try:
    gateway.pushadd("warm", [gauge("m", "h", 1)])
except PushError:
    pass
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    for group in gateway.iter_groups():
        pass
except PushError as error:
    print(type(error).__name__, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def _error_page(peer):
    while peer.request():
        peer.send(b"HTTP/1.1 503 Busy\r\nContent-Length: %d\r\n\r\n" % (100 << 20))
        for _ in range(100):
            peer.send(b"x" * (1 << 20))


def _endless(peer):
    peer.request()
    peer.send(b'HTTP/1.1 200 OK\r\n\r\n{"status":"success","data":[')
    while True:
        peer.send(b'{"labels":{"job":"x"},"last_push_successful":true},' * 1000)


@pytest.mark.parametrize(
    ("script", "timeout", "error"),
    [(_error_page, 20, "GatewayRejectedError"), (_endless, 0.5, "GatewayTimeoutError")],
    ids=["an error page of 100 MB", "an answer without end"],
)
def test_what_a_reader_holds_of_an_answer_is_bounded(script, timeout, error):
    with FaultServer(script) as server:
        command = [sys.executable, "-c", READER, server.url, str(timeout)]
        ran = subprocess.run(command, capture_output=True, text=True, check=True)
    name, growth = ran.stdout.split()
    assert name == error
    assert int(growth) < 20 * 1024


def test_of_a_long_complaint_the_beginning_is_told():
    with FaultServer(respond(answer("400 Bad", body=b"why " * 50_000))) as server:
        with pytest.raises(GatewayRejectedError, match="Bad: why why") as caught:
            Gateway(server.url).push(GroupingKey("j"), METRICS)
        assert len(caught.value.read()) <= 64 * 1024


def test_what_comes_slowly_on_a_kept_connection_has_all_of_the_time():
    def slow(peer):
        peer.request()
        peer.send(answer(body=b"OK"))
        peer.request()
        peer.send(b'HTTP/1.1 200 OK\r\n\r\n{"status":"success","data":[')
        late.wait(faults.PATIENCE)
        peer.send(b'{"labels":{"job":"j"},"last_push_successful":true}]}')
        peer.sock.shutdown(socket.SHUT_WR)

    late = threading.Event()
    with FaultServer(slow) as server:
        gateway = Gateway(server.url, retries=0, timeout=5)
        gateway.ready()
        threading.Timer(2.6, late.set).start()  # after the half that is for the beginning
        assert [group.labels for group in gateway.groups()] == [{"job": "j"}]
