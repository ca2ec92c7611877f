"""Faults on the wire, and connections over threads, forks and the interpreter's end."""

import gc
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial

import pytest

from pushgate import (
    TLS,
    Gateway,
    GatewayRejectedError,
    GatewayTimeoutError,
    GatewayUnreachableError,
    HTTPHandler,
    SettingsError,
    default_handler,
    gauge,
)
from pushgate.transport.pool import close_idle
from support import faults
from support.certificates import Certificates
from support.faults import OK, PATIENCE, FaultServer, answer
from support.fresh_process import fork, wait_for

BIG = b"x" * 8_000_000  # more than the kernel buffers of a loopback connection hold
SOON = 0.1  # a deadline that is meant to pass
PATH = "/metrics/job/j"


@pytest.fixture(scope="module", autouse=True)
def _quick_collections():
    """Collections after each test look only at what the tests made."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(autouse=True)
def _nothing_left_open(_no_proxies_and_no_connections):
    yield
    close_idle()
    gc.collect()  # a socket left open warns here, and a warning is an error


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return Certificates(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def server_tls(files):
    return files.context()


@pytest.fixture(scope="module")
def client_tls(files):
    return TLS(cafile=files.ca)


@pytest.fixture(params=["http", "https"])
def serve(request, server_tls):
    """Makes a FaultServer with these scripts, behind TLS for https."""

    def serve(*scripts):
        encrypted = request.param == "https"
        server = FaultServer(*[faults.over_tls(server_tls, s) if encrypted else s for s in scripts])
        server.url = server.url.replace("http", request.param)
        return server

    return serve


def push(base, data=b"m 1\n", timeout=PATIENCE, tls=None):
    handler = HTTPHandler(tls=tls) if tls else default_handler
    handler(url=base + PATH, method="PUT", timeout=timeout, headers=[], data=data)()


def ask(base, path, timeout=PATIENCE):
    """A request whose response is looked at."""
    return HTTPHandler().request(base + path, "PUT", timeout, [], path.encode())


def echo(peer):
    """Answer every request with its own path, so that answers can be told apart."""
    while seen := peer.request():
        peer.send(answer(body=b"OK", headers=(("X-Path", seen.target),)))


# The deadline.

_HEAD = b"HTTP/1.1 200 OK\r\nX-Long: "

STALLS = {
    "nothing is read or answered": faults.hang,
    "no answer": faults.respond_and_hang(b""),
    "status line stops": faults.respond_and_hang(b"HTTP/1.1 2"),
    "headers stop": faults.respond_and_hang(_HEAD),
    "body stops": faults.respond_and_hang(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nbad"),
    "chunk stops": faults.respond_and_hang(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nbad"
    ),
    "last chunk is missing": faults.respond_and_hang(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nyes\r\n"
    ),
    "only 100 Continue": faults.respond_and_hang(b"HTTP/1.1 100 Continue\r\n\r\n"),
    "only 103 Early Hints": faults.respond_and_hang(b"HTTP/1.1 103 Early Hints\r\n\r\n"),
    "status line drips": faults.respond_and_drip(b"HTTP/1.1 200 ", b"O"),
    "headers drip": faults.respond_and_drip(_HEAD, b"y"),
    "header lines drip": faults.respond_and_drip(b"HTTP/1.1 200 OK\r\n", b"A: b\r\n"),
    "body drips": faults.respond_and_drip(
        b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n", b"z"
    ),
    "chunks drip": faults.respond_and_drip(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nz\r\n"
    ),
    "100 Continue drips": faults.respond_and_drip(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
}


@pytest.mark.parametrize(
    ("stall", "serve"),
    [
        *((stall, "http") for stall in STALLS),
        *((stall, "https") for stall in ("no answer", "headers drip", "body stops", "chunks drip")),
    ],
    indirect=["serve"],
)
def test_the_deadline_holds_against_a_server_that_stalls(stall, serve, client_tls):
    with serve(STALLS[stall]) as server:
        begun = time.monotonic()
        with pytest.raises(GatewayUnreachableError, match="timed out") as caught:
            push(server.url, timeout=SOON, tls=client_tls)
        assert time.monotonic() - begun < PATIENCE / 2
    assert caught.value.retryable


def test_the_deadline_holds_against_a_server_that_does_not_read_the_body(serve, client_tls):
    with serve(faults.hang) as server, pytest.raises(GatewayUnreachableError, match="timed out"):
        push(server.url, data=BIG, timeout=SOON, tls=client_tls)


@pytest.mark.parametrize("dripping", [False, True], ids=["silent", "dripping"])
def test_the_deadline_holds_in_the_tls_handshake(dripping, client_tls):
    # A TLS record header that announces more than ever comes.
    script = faults.respond_and_hang(b"")
    if dripping:

        def script(peer):
            peer.send(b"\x16\x03\x03\x40\x00")
            peer.drip(b"\x02")

    with (
        FaultServer(script) as server,
        pytest.raises(GatewayUnreachableError, match="timed out"),
    ):
        push(server.url.replace("http", "https"), timeout=SOON, tls=client_tls)


@pytest.mark.parametrize(
    "script",
    [
        faults.hang,
        faults.respond_and_hang(b"HTTP/1.1 200 "),
        faults.respond_and_drip(b"HTTP/1.1 200 OK\r\nX: ", b"x"),
        faults.respond_and_hang(b"HTTP/1.1 200 OK\r\n\r\n"),  # a tunnel to nowhere
    ],
    ids=["hangs", "stops", "drips", "leads nowhere"],
)
def test_the_deadline_holds_at_the_proxy(script, monkeypatch):
    with FaultServer(script) as proxy:
        monkeypatch.setenv("https_proxy", proxy.url)
        with pytest.raises(GatewayUnreachableError, match="timed out"):
            push("https://gateway.example:9091", timeout=SOON)


def test_the_deadline_holds_against_a_resolver_that_does_not_answer(monkeypatch):
    answered = threading.Event()

    def getaddrinfo(*_, flags=0, **__):
        if not flags & socket.AI_NUMERICHOST:
            answered.wait(PATIENCE)
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    try:
        with pytest.raises(GatewayUnreachableError, match=r"timed out.*slow\.example"):
            push("http://slow.example:9091", timeout=SOON)
    finally:
        answered.set()
        for thread in threading.enumerate():
            if thread.name == "pushgate-resolve":
                thread.join(PATIENCE)


def resolve_to(monkeypatch, *addresses):
    """Let every name lead to these: host and port, and a family other than AF_INET."""
    found = [
        (*(family or [socket.AF_INET]), socket.SOCK_STREAM, 0, "", (host, port))
        for host, port, *family in addresses
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)


def test_addresses_that_swallow_packets_do_not_hold_up_the_next_one(monkeypatch):
    with FaultServer(faults.accept) as server, silent_address() as silent:
        resolve_to(monkeypatch, silent, silent, ("127.0.0.1", server.port))
        # Without a time-out: the kernel gives such an address up after two minutes.
        arguments = f"http://three.example:{server.port}", b"m 1\n", None
        pushing = threading.Thread(target=push, args=arguments, daemon=True)
        pushing.start()
        pushing.join(PATIENCE)
        assert len(server.requests) == 1


def test_an_address_that_answers_late_is_waited_for(monkeypatch):
    with silent_address() as silent:
        resolve_to(monkeypatch, silent, ("127.0.0.1", 1))
        with pytest.raises(GatewayTimeoutError, match="timed out"):
            push("http://two.example:1", timeout=0.5)


@contextmanager
def silent_address():
    """Where packets are swallowed: a listener whose queue is full."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener, ExitStack() as stack:
        address = listener.getsockname()
        is_full = False
        while not is_full:
            sock = stack.enter_context(socket.socket())
            sock.setblocking(False)
            sock.connect_ex(address)
            is_full = not select.select([], [sock], [], 0.2)[1]
        yield address


def test_an_address_family_that_the_machine_lacks_is_passed_over(monkeypatch):
    with FaultServer(faults.accept) as server:
        resolve_to(monkeypatch, ("127.0.0.9", server.port, 9999), ("127.0.0.1", server.port))
        push(f"http://two.example:{server.port}")


@pytest.mark.parametrize("timeout", [None, float("inf"), 1e15, 3_000_000.0], ids=str)
def test_an_endless_timeout_is_one(timeout):
    with FaultServer(faults.accept) as server:
        push(server.url, timeout=timeout)


# Answers of every kind.

_LATER = b"".join(b"X-%d: y\r\n" % n for n in range(100_000))

FINE = {
    "as a Pushgateway": OK,
    "with other headers": answer("202 Accepted"),
    "without a reason": b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n",
    "100 Continue first": b"HTTP/1.1 100 Continue\r\n\r\n" + OK,
    "103 Early Hints first": b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + OK,
    "both first": b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n" + answer(),
    "chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "with trailers": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: b\r\n\r\n",
    "204": b"HTTP/1.1 204 No Content\r\n\r\n",
    "0.9": b"HTTP/0.9 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n",
}


@pytest.mark.parametrize("data", FINE.values(), ids=FINE)
@pytest.mark.parametrize("sized", ["at once", "in single bytes"])
def test_an_answer_of_any_shape_is_understood_and_its_connection_kept(data, sized):
    def script(peer):
        while peer.request():
            for piece in [data] if sized == "at once" else [bytes([b]) for b in data]:
                peer.send(piece)

    with FaultServer(script) as server:
        for _ in range(3):
            push(server.url)
        assert server.accepted == 1
        assert len(server.requests) == 3


CLOSING = {
    "Connection: close": answer(headers=(("Connection", "close"),)),
    "HTTP/1.0": b"HTTP/1.0 200 OK\r\n\r\n",
    "HTTP/1.0 with a length": b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
    "close-delimited": b"HTTP/1.1 200 OK\r\n\r\nend",
}
OUT_OF_STEP = {
    "said twice": answer() + answer(),
    "said twice, as a Pushgateway": OK + OK,
    "said one and a half times": answer() + OK[:20],
    "longer than it says": answer(body=b"x") + b"yz",
    "chunked, then more": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nHTTP",
}


@pytest.mark.parametrize("data", CLOSING.values(), ids=CLOSING)
def test_a_connection_that_ends_is_not_used_again(data):
    with FaultServer(faults.respond_and_close(data), faults.accept) as server:
        push(server.url)
        push(server.url)
        assert server.accepted == 2


@pytest.mark.parametrize("data", OUT_OF_STEP.values(), ids=OUT_OF_STEP)
def test_a_connection_that_says_more_than_its_answer_is_closed(data):
    with FaultServer(faults.respond_and_hang(data), faults.accept) as server:
        push(server.url)
        push(server.url)
        assert server.accepted == 2
        server.wait_closed(1)


@pytest.mark.parametrize("data", [OK, answer()], ids=["as a Pushgateway", "otherwise"])
def test_an_answer_that_comes_uncalled_is_never_taken_for_the_next_requests(data):
    said = threading.Event()

    def talkative(peer):
        peer.request()
        peer.send(data)
        peer.send(answer("500 Late", headers=(("X-Path", "/uncalled"),)))
        faults.wait_sent(peer.sock)
        said.set()

    with FaultServer(talkative, echo) as server:
        ask(server.url, "/first")
        assert said.wait(PATIENCE)
        assert ask(server.url, "/second").headers["X-Path"] == "/second"


def test_what_tls_has_decrypted_but_nobody_read_counts_as_out_of_step(server_tls, client_tls):
    # One TLS record: 8192 bytes end with the first answer, which is all a first read takes.
    filler = 8192 - len(answer(headers=(("X-Filler", ""),)))
    data = answer(headers=(("X-Filler", "f" * filler),))
    assert len(data) == 8192

    def talkative(peer):
        peer.request()
        peer.send(data + answer("500 Late"))

    with FaultServer(
        faults.over_tls(server_tls, talkative), faults.over_tls(server_tls, faults.accept)
    ) as server:
        url = server.url.replace("http", "https")
        push(url, tls=client_tls)
        push(url, tls=client_tls)
        assert server.accepted == 2


BROKEN = {
    "closed without an answer": faults.respond_and_close(b""),
    "reset without an answer": faults.reset,
    "closed in the status line": faults.respond_and_close(b"HTTP/1.1 2"),
    "closed in a chunk": faults.respond_and_close(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nabc"
    ),
    "reset in the headers": faults.respond_and_reset(b"HTTP/1.1 400 Bad\r\n"),
    "reset in the body": faults.respond_and_reset(
        b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nabc"
    ),
    "another protocol": faults.respond_and_close(b"SSH-2.0-OpenSSH_9.2\r\n"),
    "random bytes": faults.respond_and_close(bytes(range(256)) * 8),
    "no line end": faults.respond_and_close(b"z" * 200_000),
    "a hundred thousand headers": faults.respond_and_close(b"HTTP/1.1 200 OK\r\n" + _LATER),
    "a header without end": faults.respond_and_close(b"HTTP/1.1 200 OK\r\nA: " + b"b" * 200_000),
    "a status that is no number": faults.respond_and_close(b"HTTP/1.1 OK fine\r\n\r\n"),
    "a chunk size that is none": faults.respond_and_close(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n"
    ),
    "a chunk that is longer than its size": faults.respond_and_close(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok, more\r\n0\r\n\r\n"
    ),
    "an interim answer of HTTP/2": faults.respond_and_close(b"HTTP/2 103 Early Hints\r\n\r\n"),
}


@pytest.mark.parametrize("script", BROKEN.values(), ids=BROKEN)
def test_an_answer_that_breaks_off_or_is_none_is_an_unreachable_gateway(script):
    with FaultServer(script) as server:
        with pytest.raises(GatewayUnreachableError) as caught:
            push(server.url)
        assert caught.value.retryable
        assert str(caught.value).startswith(f"PUT {server.url}{PATH}: ")
        assert server.accepted == 1  # a fresh connection's failure is reported, not tried again


def test_an_answer_before_the_body_is_sent_is_the_answer(serve, client_tls):
    script = faults.refuse_early(answer("413 Payload Too Large", b"at most 1 MB"))
    with (
        serve(script) as server,
        pytest.raises(GatewayRejectedError, match="at most 1 MB") as caught,
    ):
        push(server.url, data=BIG, tls=client_tls)
    assert caught.value.code == 413


def test_a_success_before_the_body_is_sent_is_no_success():
    with FaultServer(faults.refuse_early(OK)) as server, pytest.raises(GatewayUnreachableError):
        push(server.url, data=BIG)


def test_refused_and_unknown_hosts_say_so():
    with pytest.raises(GatewayUnreachableError, match="refused") as caught:
        push("http://127.0.0.1:1")
    assert isinstance(caught.value.__cause__, ConnectionRefusedError)
    for host, retryable in (("no-such-host.invalid", True), ("a..b", False), ("a" * 64, False)):
        with pytest.raises(GatewayUnreachableError) as caught:
            push(f"http://{host}")
        assert caught.value.retryable is retryable


# Header injection and request smuggling.


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("X-A", "b\r\nX-Evil: 1"),
        ("X-A", "b\nX-Evil: 1"),
        ("X-A", b"b\r\n\r\nGET / HTTP/1.1"),
        ("X-A", "b\0"),
        ("X-A", "日本"),
        ("X-A\r\nX-Evil", "1"),
        ("X-A:", "1"),
        ("X A", "1"),
        ("", "1"),
        ("X-Ä", "1"),
        ("Transfer-Encoding", "chunked"),
    ],
)
def test_a_header_that_would_break_out_is_refused_before_anything_is_sent(name, value):
    with FaultServer(faults.accept) as server:
        with pytest.raises(SettingsError, match="header") as caught:
            default_handler(
                url=server.url + PATH,
                method="PUT",
                timeout=PATIENCE,
                headers=[("Authorization", "Bearer s3cret"), (name, value)],
                data=b"",
            )()
        assert "s3cret" not in repr(caught.value.args)
        assert server.accepted == 0


@pytest.mark.parametrize("method", ["PUT / HTTP/1.1\r\nX: y\r\n\r\nGET", "PU T", ""])
def test_a_method_that_would_break_out_is_refused(method):
    with FaultServer(faults.accept) as server:
        with pytest.raises(SettingsError, match="method"):
            default_handler(server.url + PATH, method, PATIENCE, [], b"")()
        assert server.accepted == 0


@pytest.mark.parametrize("given", ["0", "3", "999"])
def test_the_bodys_length_is_ours_to_say(given):
    smuggled = b"PUT /metrics/job/evil HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
    with FaultServer(faults.accept) as server:
        headers = [("content-length", given)]
        default_handler(server.url + PATH, "PUT", PATIENCE, headers, smuggled)()
        default_handler(server.url + PATH, "PUT", PATIENCE, [], b"m 2\n")()
    assert [seen.body for seen in server.requests] == [smuggled, b"m 2\n"]
    assert {seen.target for seen in server.requests} == {PATH}


# Connections kept.


def test_each_origin_has_its_own_connections():
    with FaultServer(echo) as one, FaultServer(echo) as other:
        for server in (one, other, one, other):
            assert ask(server.url, f"/{server.port}").headers["X-Path"] == f"/{server.port}"
        assert (one.accepted, other.accepted) == (1, 1)


def close(peer):
    faults.wait_sent(peer.sock)
    peer.sock.close()


def reset(peer):
    faults.wait_sent(peer.sock)
    peer.reset()


def at_the_next(end):
    """``end`` once the next request is there."""

    def ending(peer):
        peer.request()
        end(peer)

    return ending


ENDS_OF_KEPT = {
    "closed while idle": close,
    "reset while idle": reset,
    "closed under the next request": at_the_next(close),
    "reset under the next request": at_the_next(reset),
    "reset in the next body": lambda peer: (peer.head(), peer.reset()),
    "silent from then on": at_the_next(faults.hang),
    "given up by the server": at_the_next(
        lambda peer: peer.send(answer("408 Timeout", headers=(("Connection", "close"),)))
    ),
}


@pytest.mark.parametrize("name", ENDS_OF_KEPT)
def test_a_kept_connection_that_has_ended_is_replaced_silently(name, serve, client_tls):
    def script(peer):
        peer.request()
        peer.send(OK)
        ENDS_OF_KEPT[name](peer)

    data = BIG if "body" in name else b"m 2\n"
    with serve(script, faults.accept) as server:
        push(server.url, tls=client_tls)
        if "idle" in name:
            server.wait_closed(1)
        push(server.url, data, 4.0 if "silent" in name else PATIENCE, client_tls)
        assert [seen.body for seen in server.requests if seen.connection == 1] == [data]
        assert server.accepted == 2


def test_a_kept_connection_is_replaced_once_and_not_for_ever():
    def once(peer):
        peer.request()
        peer.send(OK)
        peer.request()
        peer.reset()

    with FaultServer(once, faults.reset) as server:
        push(server.url)
        with pytest.raises(GatewayUnreachableError):
            push(server.url)
        assert server.accepted == 2


def test_an_old_idle_connection_is_not_trusted(monkeypatch):
    with FaultServer(faults.accept) as server:
        push(server.url)
        now = time.monotonic()
        monkeypatch.setattr(time, "monotonic", lambda: now + 3600)
        push(server.url)
        assert server.accepted == 2
        server.wait_closed(1)


def test_idle_connections_are_bounded():
    threads = 30
    together = threading.Barrier(threads)

    def script(peer):
        peer.request()
        together.wait(PATIENCE)  # all are connected at once
        peer.send(OK)
        faults.accept(peer)

    with FaultServer(script) as server:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(lambda _: push(server.url), range(threads)))
        assert server.accepted == threads
        server.wait_closed(threads - 16)


def test_origins_with_idle_connections_are_bounded(monkeypatch):
    with FaultServer(faults.accept) as server:
        resolve_to(monkeypatch, ("127.0.0.1", server.port))
        for n in range(64):
            push(f"http://gateway-{n}.example:{server.port}")
        server.wait_closed(64 - 16)


@pytest.mark.parametrize("ending", [faults.reset, faults.respond_and_close(b"garbage\r\n")])
def test_a_failure_leaves_no_connection_behind(ending, serve, client_tls):
    with serve(ending) as server:
        with pytest.raises(GatewayUnreachableError):
            push(server.url, tls=client_tls)
        server.wait_closed(1)


def test_a_failed_handshake_and_a_refused_tunnel_leave_no_connection_behind(
    server_tls, monkeypatch
):
    with FaultServer(faults.over_tls(server_tls, faults.accept)) as server:
        with pytest.raises(GatewayUnreachableError, match="not trusted") as caught:
            push(server.url.replace("http", "https"))
        assert not caught.value.retryable
        server.wait_closed(1)
    with FaultServer(faults.respond(answer("403 No"))) as proxy:
        monkeypatch.setenv("https_proxy", proxy.url)
        with pytest.raises(GatewayUnreachableError, match=r"refused the tunnel.*403 Forbidden"):
            push("https://gateway.example")
        proxy.wait_closed(1)


class OverTimeError(Exception):
    """What a job's time limit raises, wherever the job is: Celery's is such a one."""


@pytest.mark.parametrize("kind", [KeyboardInterrupt, OverTimeError])
def test_what_a_signals_handler_raises_passes_and_leaves_no_connection_behind(kind):
    asked = threading.Event()

    def script(peer):
        peer.request()
        asked.set()

    def interrupt(*_):
        raise kind

    previous = signal.signal(signal.SIGUSR1, interrupt)
    try:
        with FaultServer(script) as server:
            main = threading.main_thread().ident
            assert main is not None

            def strike():
                asked.wait(PATIENCE)
                signal.pthread_kill(main, signal.SIGUSR1)

            striker = threading.Thread(target=strike)
            striker.start()
            with pytest.raises(kind):
                Gateway(server.url).push("j", gauge("m", "", 1))
            striker.join()
            server.wait_closed(1)
    finally:
        signal.signal(signal.SIGUSR1, previous)


# Threads.


def test_threads_are_not_disturbed_by_connections_that_others_find_dead():
    threads, pushes = 12, 25

    def moody(peer):
        """Answers a few requests, then ends in one way or another, saying nothing of it."""
        for _ in range(1 + peer.number % 4):
            seen = peer.request()
            if seen is None:
                return
            peer.send(answer(headers=(("X-Path", seen.target),)))
        if peer.number % 3 == 1:
            faults.wait_sent(peer.sock)
            peer.reset()
        else:
            peer.sock.close()

    def work(thread):
        for n in range(pushes):
            path = f"/{thread}/{n}"
            assert ask(server.url, path).headers["X-Path"] == path
            if n % 8 == 7:
                close_idle()

    with FaultServer(moody) as server, ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, range(threads)))


PATCHED = {
    "gevent": "from gevent import monkey; monkey.patch_all()",
    "eventlet": "import eventlet; eventlet.monkey_patch()",
}


@pytest.mark.parametrize("library", PATCHED)
def test_greenlets_of_a_patched_process_have_their_turn_while_others_wait(library):
    script = f"""
import warnings; warnings.simplefilter("ignore")
{PATCHED[library]}
import {library}, os, sys
from pushgate import TLS, Gateway, gauge
hanging, good = sys.argv[1:]
for number in range(10):
    for url in (f"http://{{hanging}}", f"https://{{hanging}}"):
        gateway = Gateway(url, tls=TLS(insecure_skip_verify=True), timeout=600, retries=0)
        {library}.spawn(gateway.push, "j", gauge("x", "", 1))
for _ in range(5):
    {library}.sleep(0)
    Gateway(good, retries=0).push("j", gauge("x", "", 1))
os._exit(0)
"""
    with FaultServer(faults.hang) as hanging, FaultServer(faults.accept) as server:
        urls = (hanging.url.removeprefix("http://"), f"localhost:{server.port}")
        subprocess.run([sys.executable, "-c", script, *urls], check=True, timeout=PATIENCE)
        assert hanging.accepted, "no push hung"  # not all are seen: the process ends meanwhile
        assert len(server.requests) == 5


# Fork.


def test_a_forked_child_opens_its_own_connection_and_leaves_the_parents_alone(serve, client_tls):
    with serve(faults.accept) as server:
        url = server.url
        push(url, b"parent 1\n", tls=client_tls)

        def work():
            push(url, b"child 1\n", tls=client_tls)
            push(url, b"child 2\n", tls=client_tls)

        wait_for(fork(work))
        push(url, b"parent 2\n", tls=client_tls)
        assert [(seen.body, seen.connection) for seen in server.requests] == [
            (b"parent 1\n", 0),
            (b"child 1\n", 1),
            (b"child 2\n", 1),
            (b"parent 2\n", 0),
        ]


def test_a_forked_child_that_exits_leaves_the_parents_connection_alone(server_tls, client_tls):
    with FaultServer(faults.over_tls(server_tls, faults.accept)) as server:
        url = server.url.replace("http", "https")
        push(url, tls=client_tls)
        wait_for(fork(close_idle))  # as atexit does
        push(url, tls=client_tls)
        assert server.accepted == 1


def test_children_forked_while_threads_push_work_and_disturb_nobody():
    stop = threading.Event()
    failures = []

    def keep_pushing(thread):
        n = 0
        try:
            while not stop.is_set():
                path = f"/{thread}/{n}"
                assert ask(server.url, path).headers["X-Path"] == path
                n += 1
        except BaseException as error:
            failures.append(error)

    def child_work(number):
        for n in range(3):
            path = f"/child{number}/{n}"
            assert ask(server.url, path).headers["X-Path"] == path

    with FaultServer(echo) as server:
        threads = [threading.Thread(target=keep_pushing, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        try:
            wait_for(*[fork(partial(child_work, number)) for number in range(8)])
        finally:
            stop.set()
            for thread in threads:
                thread.join()
    assert not failures


# The interpreter's end.

_PRELUDE = """
import atexit, sys, threading
import pushgate
url = sys.argv[1]
def push(path):
    pushgate.default_handler(f"{url}{path}", "PUT", 20, [], b"m 1\\n")()
"""

ENDINGS = {
    "after a push": "push('/a')",
    "after pushes from threads": """
threads = [threading.Thread(target=push, args=(f'/{n}',)) for n in range(4)]
[t.start() for t in threads]; [t.join() for t in threads]
""",
    "with a daemon thread at work": """
def forever():
    while True: push('/d')
threading.Thread(target=forever, daemon=True).start()
push('/a')
""",
    "from a thread that outlives the main one": """
def outlive():
    threading.main_thread().join()
    push('/b'); push('/last')
push('/a')
threading.Thread(target=outlive).start()
""",
    "after an uncaught exit": "push('/a'); sys.exit(0)",
    "pushing from an atexit hook": "push('/a'); atexit.register(push, '/last')",
    "pushing from an atexit hook older than ours": "atexit.register(push, '/last')",
    "pushing from a __del__": """
class AtEnd:
    def __del__(self): push('/last')
keep = AtEnd()
push('/a')
""",
    "pushing from a __del__ in a cycle": """
class AtEnd:
    def __init__(self): self.me = self
    def __del__(self): push('/last')
keep = AtEnd()
push('/a')
""",
}


@pytest.mark.parametrize("ending", ENDINGS.values(), ids=ENDINGS)
def test_the_interpreter_ends_without_a_warning(ending):
    with FaultServer(faults.accept) as server:
        # A name, as looking it up needs a thread, which a finalizing interpreter never starts.
        url = f"http://localhost:{server.port}"
        ended = subprocess.run(
            [
                *(sys.executable, "-X", "dev", "-W", "error"),
                *("-c", _PRELUDE + ending, url),
            ],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert (ended.returncode, ended.stderr) == (0, "")
        assert server.requests
        if "outlive" in ending:
            assert server.accepted == 1
        if "/last" in ending:
            assert server.requests[-1].target == "/last"
