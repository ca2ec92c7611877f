"""Pushes beside a job: gateway.every and gateway.at_end."""

import asyncio
import threading

import pytest

from pushgate import AsyncGateway, Gateway, PushError, gauge
from support.faults import FaultServer, hang
from support.fresh_process import fork, in_fresh_process, wait_for


class Rows:
    """Counts how often it is collected, and has the number pushed."""

    def __init__(self):
        self.count = 0
        self.changed = threading.Event()

    def collect(self):
        self.count += 1
        if self.count > 2:
            self.changed.set()
        return [gauge("rows", "", self.count)]


def pushed(server):
    (group,) = Gateway(server.url).groups()
    return group.value("rows")


def test_pushes_now_and_then_and_at_the_end_beside_what_the_group_holds(server):
    gateway, rows = Gateway(server.url), Rows()
    gateway.pushadd("j", [gauge("other", "", 7)], {"k": "v"})
    with gateway.every(0.01, "j", rows, {"k": "v"}):
        assert rows.changed.wait(20)
    assert pushed(server) == rows.count
    assert gateway.groups()[0].value("other") == 7


def test_the_same_in_an_event_loop(server):
    rows = Rows()

    async def main():
        async with AsyncGateway(server.url) as gateway, gateway.every(0.01, "j", rows):
            while not rows.changed.is_set():
                await asyncio.sleep(0.01)

    asyncio.run(main())
    assert pushed(server) == rows.count


def test_decorators_push_when_the_function_ends_also_by_an_error(server):
    rows, gateway, loop_gateway = Rows(), Gateway(server.url), AsyncGateway(server.url)

    @gateway.at_end("j", rows)
    def double(number):
        """Its docstring."""
        if number is None:
            raise KeyError("the job's own")
        return 2 * number

    @loop_gateway.every(60, "j", rows)
    async def triple(number):
        return 3 * number

    assert (double(2), pushed(server), double.__doc__) == (4, 1, "Its docstring.")
    with pytest.raises(KeyError, match="the job's own"):
        double(None)
    assert pushed(server) == 2
    assert asyncio.run(triple(2)) == 6
    assert pushed(server) == 3


@pytest.mark.parametrize("told", ["on_error", "log"])
def test_nothing_that_fails_is_raised_into_the_job(told, caplog):
    errors = []

    def tell(error):
        errors.append(error)
        raise RuntimeError("of on_error itself")

    options = {"on_error": tell} if told == "on_error" else {}

    class Broken:
        def collect(self):
            raise ZeroDivisionError

    async def main():
        gateway = AsyncGateway("127.0.0.1:1", retries=0)
        async with gateway.every(0.01, "j", [], **options):
            await asyncio.sleep(0.05)
        async with gateway.at_end("j", Broken(), **options):
            pass

    gateway = Gateway("127.0.0.1:1", retries=0)
    with gateway.every(60, "", [], **options), gateway.at_end("j", Broken(), **options):
        pass
    asyncio.run(main())
    if told == "on_error":
        kinds = {type(error) for error in errors}
        assert ZeroDivisionError in kinds
        assert any(isinstance(error, PushError) for error in errors)
    else:
        assert "a push for the job" in caplog.text


def test_a_job_that_is_cancelled_is_not_held_up_twice():
    with FaultServer(hang) as server:

        async def main():
            async def work():
                async with AsyncGateway(server.url, timeout=60).at_end("j", Rows()):
                    await asyncio.sleep(60)

            task = asyncio.create_task(work())
            await asyncio.sleep(0)
            task.cancel()  # the last push begins
            while not server.accepted:
                await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        asyncio.run(main())


def leave_also_in_a_fork(url):
    rows = Rows()
    pushes = Gateway(url).every(60, "j", rows)
    with pushes:
        wait_for(fork(pushes.__exit__))
        assert Gateway(url).groups() == []


def test_a_forked_child_pushes_nothing(server):
    in_fresh_process(leave_also_in_a_fork, server.url)
    assert pushed(server) == 1


@pytest.mark.parametrize("gateway", [Gateway("g:1"), AsyncGateway("g:1")], ids=["sync", "async"])
def test_what_makes_no_sense_is_refused_at_once(gateway):
    async def coroutine():
        pass

    def generator():
        yield

    wrong = coroutine if isinstance(gateway, Gateway) else int
    with pytest.raises(TypeError, match="coroutine function; take"):
        gateway.at_end("j", [])(wrong)
    with pytest.raises(TypeError, match="generator"):
        gateway.at_end("j", [])(generator)
    with pytest.raises(TypeError, match="on_error is a coroutine function"):
        gateway.at_end("j", [], on_error=coroutine)
    for seconds in (0, -1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="give seconds above 0"):
            gateway.every(seconds, "j", [])


def test_a_last_push_for_which_the_loop_was_closed_is_told(gateway_url):
    told = []

    async def work():
        async with AsyncGateway(gateway_url).every(600, "a", [], on_error=told.append):
            await asyncio.Event().wait()

    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda *_: None)  # its words about tasks that never end
    coroutine = work()
    task = loop.create_task(coroutine)
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    coroutine.close()
    assert not task.done()
    assert [str(error) for error in told] == ["the event loop was closed before the last push"]
