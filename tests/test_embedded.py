"""What only the embedded gateway has; what it shares with real ones is in test_conformance.py."""

import http.client
import socket
import struct
import sys
import threading
from contextlib import closing
from urllib.parse import urlsplit

import pytest

from pushgate import Gateway, gauge
from pushgate.embedded import EmbeddedGateway
from support.gateways import EMBEDDED, GatewayUnderTest

JOB = "/metrics/job/x"


def under_test(gateway):
    return GatewayUnderTest(EMBEDDED, gateway.url)


def address(gateway):
    parts = urlsplit(gateway.url)
    return parts.hostname or "", parts.port or 0


def test_it_listens_on_loopback_and_is_quiet(server, capfd):
    assert server.url.startswith("http://127.0.0.1:")
    assert under_test(server).exchange("PUT", "/metrics/job/x/k", "").status == 400
    assert capfd.readouterr() == ("", "")


def test_push_times_and_dates_come_from_its_clock():
    with EmbeddedGateway(clock=lambda: 1234.5) as gateway:
        answer = under_test(gateway).exchange("PUT", JOB, "m 1\n")
        (group,) = under_test(gateway).groups()
    assert answer.headers["Date"] == "Thu, 01 Jan 1970 00:20:34 GMT"
    assert group["push_time_seconds"]["metrics"][0]["value"] == "1234.5"
    assert group["m"]["time_stamp"] == "1970-01-01T00:20:34.500000Z"


def test_groups_survive_a_restart_on_the_same_port_but_not_a_wipe(server):
    under_test(server).exchange("PUT", JOB, "m 1\n")
    server.stop()
    with pytest.raises(RuntimeError, match="before start"):
        _ = server.url
    server.start()
    with pytest.raises(RuntimeError, match="already listening"):
        server.start()
    assert [group["labels"] for group in under_test(server).groups()] == [{"job": "x"}]
    server.wipe()
    assert under_test(server).groups() == []


def test_stop_ends_kept_connections_and_their_threads():
    before = threading.active_count()
    gateway = EmbeddedGateway()
    gateway.start()
    with closing(http.client.HTTPConnection(*address(gateway), timeout=60)) as connection:
        connection.request("PUT", JOB, b"m 1\n")
        connection.getresponse().read()
        gateway.stop()
        assert connection.sock.recv(1) == b""
    gateway.stop()  # twice does no harm
    assert threading.active_count() <= before  # another test's may have ended


def test_serve_forever_returns_on_stop():
    with EmbeddedGateway() as gateway:
        server = threading.Thread(target=gateway.serve_forever)
        server.start()
        gateway.stop()
        server.join(timeout=60)
        assert not server.is_alive()


def test_a_push_cut_short_changes_nothing(server):
    with socket.create_connection(address(server), timeout=60) as connection:
        connection.sendall(
            b"PUT /metrics/job/x HTTP/1.1\r\nHost: h\r\nContent-Length: 8\r\n\r\nm 1\n"
        )
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(4096).startswith(b"HTTP/1.1 400 ")
    assert under_test(server).groups() == []


def test_a_client_that_resets_does_no_harm(server):
    connection = socket.create_connection(address(server), timeout=60)
    connection.sendall(b"PUT /metrics/job/x HTTP/1.1\r\n")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
    assert under_test(server).exchange("PUT", JOB, "m 1\n").status == 200


def test_snappy_without_its_library(server, monkeypatch):
    monkeypatch.setitem(sys.modules, "snappy", None)
    answer = under_test(server).exchange("PUT", JOB, b"m 1\n", Content_Encoding="snappy")
    assert answer.status == 415
    assert "pip install 'pushgate[snappy]'" in answer.text


def test_concurrent_pushes_to_one_group_are_all_kept(server):
    gateway = under_test(server)

    def push(number):
        for turn in range(10):
            answer = gateway.exchange("POST", JOB, f"m_{number}_{turn} 1\n")
            assert answer.status == 200

    threads = [threading.Thread(target=push, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (group,) = gateway.groups()
    assert len([name for name in group if name.startswith("m_")]) == 80


def test_the_fixture_compares_label_values_as_text(pushgateway):
    Gateway(pushgateway.url).push("j", gauge("m", "h", 1, {"part": "7"}), {"shard": 3})
    pushgateway.assert_pushed("m", 1, shard=3, part=7)
    assert pushgateway.value("m", shard=3) == 1
    assert len(pushgateway.groups(shard=3)) == 1
    with pytest.raises(AssertionError):
        pushgateway.assert_not_pushed("m", shard=3)
