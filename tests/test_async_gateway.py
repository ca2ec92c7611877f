"""AsyncGateway and pushgate.aio: what Gateway does, in event loops that nothing holds up."""

import asyncio
import contextlib
import gc
import os
import socket
import threading
import time

import pytest

from pushgate import (
    TLS,
    AsyncGateway,
    Gateway,
    GatewayUnreachableError,
    GroupingKey,
    PushError,
    SettingsError,
    aio,
    basic_auth_handler,
    encode,
    gauge,
    passthrough_redirect_handler,
)
from support import faults
from support.certificates import Certificates
from support.faults import OK, FaultServer, answer
from support.fresh_process import in_fresh_process

METRICS = [gauge("x", "", 1)]
LARGE = [gauge(f"m{number}", "help " * 20_000, 1) for number in range(40)]  # 4 MB


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request):
    """Runs a coroutine in a loop of its own."""
    if request.param == "asyncio":
        return lambda main: asyncio.run(main, debug=True)
    return pytest.importorskip("uvloop").run


def threads_of_loops():
    """The names of those of pushgate and of the default executor."""
    names = (thread.name for thread in threading.enumerate())
    return [name for name in names if name.startswith(("pushgate-aside", "asyncio"))]


async def outcomes(calls):
    return await asyncio.gather(*calls, return_exceptions=True)


def test_it_has_the_methods_of_a_gateway(run, gateway_url):
    async def main():
        async with AsyncGateway(gateway_url) as gateway:
            assert await gateway.ready()
            await gateway.push("a", METRICS, {"k": "v"})
            await gateway.pushadd("a", [gauge("y", "", 2)], {"k": "v"})
            await gateway.push("b", METRICS)
            await gateway.delete("b")
            (group,) = await gateway.groups()
            assert group.labels == {"job": "a", "k": "v"}
            assert [family.name for family in group.families] == ["x", "y"]
            assert [found async for found in gateway.iter_groups()] == [group]
            await gateway.delete_group(group.labels)
            assert await gateway.groups() == []
            assert b"pushgateway_build_info" in await gateway.scrape()
            assert (await gateway.status())[0] == await gateway.version()
            assert abs(await gateway.clock_offset()) < 60
            assert await gateway.started_at() < time.time() + 60
            with pytest.raises(ValueError, match="would empty the group"):
                await gateway.push("a", [])

    run(main())


def test_the_functions_have_the_signatures_of_prometheus_client(run, gateway):
    async def main():
        await aio.push_to_gateway(gateway.url, "a", METRICS, {"k": "v"}, compression="gzip")
        await aio.pushadd_to_gateway(gateway.url, "a", [gauge("y", "", 2)], {"k": "v"}, 5)
        await aio.push_to_gateway(gateway.url, job="b", registry=METRICS)
        await aio.delete_from_gateway(gateway.url, "b", handler=passthrough_redirect_handler)
        with pytest.warns(UserWarning, match="no samples") as warned:
            await aio.push_to_gateway(gateway.url, "c", [])
        assert warned[0].filename == __file__

    run(main())
    held = {group["labels"]["job"]: group for group in gateway.groups()}
    assert held.keys() == {"a", "c"}
    assert held["a"]["labels"] == {"job": "a", "k": "v"}
    assert {"x", "y"} <= held["a"].keys()


def test_hundreds_of_pushes_at_once_all_arrive(run, gateway_url):
    async def main():
        gateway = AsyncGateway(gateway_url, timeout=30)
        await asyncio.gather(*(gateway.push(f"j{n}", METRICS) for n in range(200)))
        assert len(await gateway.groups()) == 200

    run(main())


WEB_PAGE = answer(body=b"<p>It works!", headers=(("Content-Type", "text/html"),))
CHUNKED = (
    b"HTTP/1.1 400 Bad Request\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"4\r\nlate\r\n2\r\n!!\r\n0\r\n\r\n"
)
SCRIPTS = {
    "reset": faults.reset,
    "hangs": faults.hang,
    "a web page": faults.respond(WEB_PAGE),
    "400 in chunks": faults.respond(CHUNKED),
    "503": faults.respond(answer("503 Busy", headers=(("Retry-After", "1"),))),
    "a redirect": faults.respond(answer("302 Found", headers=(("Location", "http://u:p@h/"),))),
    "413 while it sends": faults.refuse_early(answer("413 Too Large", b"too much")),
    "no HTTP": faults.respond_and_close(b"SSH-2.0-OpenSSH\r\n"),
    "cut in the head": faults.respond_and_reset(b"HTTP/1.1 200 OK\r\nX: "),
    "drips": faults.respond_and_drip(b"HTTP/1.1 200 OK\r\nX: ", b"y"),
    "interim": faults.respond(b"HTTP/1.1 103 Early\r\nLink: x\r\n\r\n" + answer("422 No", b"bad")),
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_errors_are_those_of_a_gateway(name, run):
    """Also where the body is too large to be sent at once."""
    with FaultServer(SCRIPTS[name]) as server:
        options = {"retries": 0, "timeout": 0.3 if name in ("hangs", "drips") else 20}
        metrics = LARGE if "sends" in name else METRICS
        with pytest.raises(PushError) as expected:
            Gateway(server.url, **options).push("a", metrics)
        with pytest.raises(PushError) as raised:
            run(AsyncGateway(server.url, **options).push("a", metrics))
    assert type(raised.value) is type(expected.value)
    assert str(raised.value) == str(expected.value)
    assert raised.value.group == {"job": "a"}


def test_retries_redirects_and_idle_connections_that_were_closed(run):
    with FaultServer(faults.accept) as there:
        moved = answer("307 Moved", headers=(("Location", f"{there.url}/metrics/job/a"),))
        once = faults.respond_and_close(OK)
        with FaultServer(once, faults.reset, faults.respond(answer("503 No"), moved)) as server:

            async def main():
                gateway = AsyncGateway(server.url, redirects=1)
                await gateway.push("a", METRICS)
                server.wait_closed(1)
                await gateway.push("a", METRICS)

            run(main())
    assert [seen.method for seen in there.requests] == ["PUT"]


def test_a_large_body_by_tls_through_a_proxy(run, tmp_path, monkeypatch):
    certificates = Certificates(tmp_path)
    with (
        FaultServer(certificates.script(client_certificate=True)) as server,
        FaultServer(faults.proxy_to(server.port)) as proxy,
    ):
        monkeypatch.setenv("https_proxy", proxy.url)
        tls = TLS(certificates.ca, certificates.cert, certificates.key)
        gateway = AsyncGateway(f"https://gateway.example:{server.port}", tls=tls, timeout=30)

        async def main():
            await asyncio.gather(*(gateway.push(f"j{n}", LARGE) for n in range(2)))

        run(main())
        assert [len(seen.body) for seen in server.requests] == [len(encode(LARGE).text)] * 2


def test_gateways_that_hang_delay_only_their_own_pushes(run, server):
    with FaultServer(faults.hang) as hanging:

        async def main():
            hung = AsyncGateway(hanging.url, timeout=60)
            waiting = [asyncio.create_task(hung.push(f"j{n}", METRICS)) for n in range(50)]
            gateway = AsyncGateway(server.url)
            for _ in range(5):
                await gateway.push("a", METRICS)
            assert not any(task.done() for task in waiting)
            assert not threads_of_loops()
            for task in waiting:
                task.cancel()
            await outcomes(waiting)

        run(main())


def test_a_cancelled_push_closes_its_connection(run):
    with FaultServer(faults.hang) as server:

        async def main():
            gateway = AsyncGateway(server.url, timeout=None)
            tasks = [asyncio.create_task(gateway.push(f"j{n}", METRICS)) for n in range(50)]
            while server.accepted < len(tasks):
                await asyncio.sleep(0.01)
            for task in tasks:
                task.cancel()
            errors = await outcomes(tasks)
            assert {type(error) for error in errors} == {asyncio.CancelledError}

        run(main())
        gc.collect()  # a socket that was not closed is an error here
        assert not [name for name in os.listdir("/proc/self/fd") if is_to(name, server.port)]


def is_to(name, port):
    with contextlib.suppress(OSError), socket.socket(fileno=os.dup(int(name))) as sock:
        return sock.family == socket.AF_INET and sock.getpeername()[1] == port
    return False


def test_a_look_up_that_hangs_takes_one_thread(run, monkeypatch):
    over, asked, real = threading.Event(), [], socket.getaddrinfo

    def hang(name, *arguments, flags=0, **options):
        if name != b"gateway.example" or flags:
            return real(name, *arguments, flags=flags, **options)
        asked.append(name)
        over.wait(20)
        raise socket.gaierror(1, "no")

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    gateway = AsyncGateway("gateway.example", timeout=0.5, retries=0)

    async def main():
        errors = await outcomes(gateway.push(f"j{n}", METRICS) for n in range(50))
        assert all("timed out while looking up" in str(error) for error in errors)

    try:
        run(main())
    finally:
        over.set()
    assert len(asked) == 1


def test_a_large_registry_leaves_others_their_turn(run):
    turns = []

    async def handler(**request):
        turns.append(count)

    count = 0

    async def main():
        nonlocal count

        async def others():
            nonlocal count
            while True:
                await asyncio.sleep(0)
                count += 1

        task = asyncio.create_task(others())
        gateway = AsyncGateway("gateway:1", handler=handler, compression="gzip")
        many = [gauge(f"g{n}", "", n, {"k": "v" * 100}) for n in range(10_000)]
        await gateway.push("a", many)
        task.cancel()

    run(main())
    assert turns[0] > 2


def test_a_handler_is_a_coroutine_function(run):
    seen = []

    async def handler(*, url, method, timeout, headers, data):
        seen.append((url, method, dict(headers)["Content-Type"][:10], data[-6:]))
        raise OSError("mine")

    async def main():
        with pytest.raises(OSError, match="mine"):
            await AsyncGateway("gateway:1", handler=handler).push("a", METRICS)
        await aio.pushadd_to_gateway("gateway:1", "a", METRICS, handler=lambda **_: print)

    with pytest.raises(TypeError, match="would block the event loop"):
        run(main())
    assert seen == [("http://gateway:1/metrics/job/a", "PUT", "text/plain", b"x 1.0\n")]
    with pytest.raises(TypeError, match="would block the event loop"):
        AsyncGateway("gateway:1", handler=basic_auth_handler)
    with pytest.raises(TypeError, match="take an AsyncGateway"):
        Gateway("gateway:1", handler=handler)


def test_what_fails_is_kept_and_delivered_later_in_order(run, outbox, server):
    gateway = AsyncGateway(server.url, outbox=outbox, retries=0)

    async def main():
        server.stop()
        errors = await outcomes(gateway.push(f"j{n}", METRICS) for n in range(50))
        assert all(error.kept for error in errors)
        assert len(outbox.waiting()) == 50
        server.start()
        await gateway.push("j0", [gauge("x", "", 2)])
        while not outbox.is_empty():
            await gateway.pushadd("j0", [])

    run(main())
    held = {group.labels["job"]: group.value("x") for group in Gateway(server.url).groups()}
    assert (len(held), held["j0"], held["j1"]) == (50, 2, 1)


def test_no_thread_waits_for_the_network_while_the_outbox_is_used(run, outbox):
    with FaultServer(faults.hang) as server:
        key = GroupingKey("waits")
        assert outbox.keep(server.url, [("PUT", key, b"x 1\n", time.time())])

        async def main():
            gateway = AsyncGateway(server.url, outbox=outbox, timeout=60)
            tasks = [asyncio.create_task(gateway.push(f"j{n}", METRICS)) for n in range(50)]
            while server.accepted < len(tasks):
                await asyncio.sleep(0.01)
            while threads_of_loops():  # they end, although no push does
                await asyncio.sleep(0.01)
            assert not any(task.done() for task in tasks)
            for task in tasks:
                task.cancel()
            await outcomes(tasks)

        run(main())


def test_a_cancelled_push_is_not_kept(run, outbox):
    with FaultServer(faults.hang) as server:

        async def main():
            gateway = AsyncGateway(server.url, outbox=outbox)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.2):
                    await gateway.push("a", METRICS)

        run(main())
    assert outbox.is_empty()


def push_more_than_there_are_descriptors(url):
    import resource  # which Windows has not

    resource.setrlimit(resource.RLIMIT_NOFILE, (60, 60))
    gateway = AsyncGateway(url, retries=0)
    errors = asyncio.run(outcomes(gateway.push("a", METRICS) for _ in range(100)))
    assert {type(error) for error in errors if error} == {GatewayUnreachableError}


def test_pushes_that_use_up_all_descriptors_fail_as_others_do():
    with FaultServer(faults.accept) as server:
        in_fresh_process(push_more_than_there_are_descriptors, server.url)


def test_it_runs_on_the_loop_of_anyio(gateway_url):
    anyio = pytest.importorskip("anyio")

    async def main():
        gateway = AsyncGateway(gateway_url)
        async with anyio.create_task_group() as tasks:
            for number in range(10):
                tasks.start_soon(gateway.push, f"j{number}", METRICS)
        with FaultServer(faults.hang) as hanging, anyio.move_on_after(0.2) as scope:
            await AsyncGateway(hanging.url).push("a", METRICS)
        assert scope.cancelled_caught
        assert len(await gateway.groups()) == 10

    anyio.run(main, backend="asyncio")


def test_one_object_serves_loops_that_come_and_go(gateway_url):
    gateway = AsyncGateway(gateway_url)
    for turn in range(3):
        asyncio.run(gateway.push("a", [gauge("x", "", turn)]))
    assert Gateway(gateway_url).groups()[0].value("x") == 2


def test_a_loop_that_cannot_watch_sockets_is_named(monkeypatch, gateway_url):
    def no_reader(*_):
        raise NotImplementedError

    async def main():
        loop = asyncio.get_running_loop()
        monkeypatch.setattr(loop, "add_reader", no_reader)
        await AsyncGateway(gateway_url).push("a", METRICS)

    with pytest.raises(SettingsError, match="SelectorEventLoop"):
        asyncio.run(main())


def test_nothing_listens(run):
    with pytest.raises(GatewayUnreachableError, match="refused"):
        run(AsyncGateway("127.0.0.1:1", retries=0).push("a", METRICS))
