"""The Python API: `job` around code of this process, `run` for a command."""

import asyncio
import concurrent.futures
import contextlib
import inspect
import logging
import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from prometheus_client import Gauge

from pushgate import Gateway, Outbox
from pushgate_subprocess import Result, job, run
from support.faults import FaultServer, hang

DEADLINE = 50.0
NOBODY = "http://127.0.0.1:1"

pytestmark = pytest.mark.usefixtures("isolated")
needs_proc = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


class UnchangedError(Exception):
    """One that must come out as it went in."""


# --- the outcome ------------------------------------------------------------------------------


def test_a_body_that_ends_is_a_success(pushgateway, value):
    before = time.time()
    with job("backup", group={"team": "db"}, gateway=pushgateway.url, expect_every="24h"):
        pass
    now = time.time()
    assert before <= value("last_start_timestamp_seconds", team="db") <= now
    assert before <= value("last_success_timestamp_seconds") <= now
    assert 0 <= value("last_duration_seconds") <= now - before
    assert value("last_run_success") == 1
    assert value("expected_interval_seconds") == 86400
    assert value("last_vanished_timestamp_seconds") is None
    assert value("last_exit_code") is None


def test_a_clock_that_is_set_back_during_a_run_puts_its_end_not_before_its_start(
    pushgateway, value, monkeypatch
):
    with job("backup", gateway=pushgateway.url):
        begun = time.time()
        monkeypatch.setattr(time, "time", lambda: begun - 3600)
    end = value("last_completion_timestamp_seconds")
    assert end - value("last_start_timestamp_seconds") == pytest.approx(
        value("last_duration_seconds"), abs=1e-5
    )


@pytest.mark.parametrize(
    ("error", "success"),
    [
        (UnchangedError("no"), 0),
        (KeyboardInterrupt(), 0),
        (asyncio.CancelledError(), 0),
        (SystemExit("no"), 0),
        (SystemExit(0), 1),
        (SystemExit(), 1),
    ],
    ids=repr,
)
@pytest.mark.parametrize("way", ["decorator", "async"])
def test_an_exception_is_reported_and_raised_unchanged(pushgateway, value, way, error, success):
    reported = job("backup", gateway=pushgateway.url)

    def fail():
        raise error

    def fail_async():
        # asyncio would raise another CancelledError than the task's own.
        raise asyncio.run(caught())

    async def caught():
        try:
            async with reported:
                fail()
        except BaseException as raised:
            return raised

    ways = {"decorator": reported(fail), "async": fail_async}
    with pytest.raises(type(error)) as raised:
        ways[way]()
    assert raised.value is error
    assert (error.__context__, error.__cause__) == (None, None)
    assert raised.traceback[-1].name == "fail"
    assert value("last_run_success") == success


@pytest.mark.parametrize("way", ["url", "object", "environment"])
def test_a_gateway_is_a_url_an_object_or_in_the_environment(pushgateway, value, monkeypatch, way):
    if way == "environment":
        monkeypatch.setenv("PUSHGATE_GATEWAY", pushgateway.url)
    gateways = {"url": pushgateway.url, "object": Gateway(pushgateway.url)}
    with job("backup", gateway=gateways.get(way)):
        pass
    assert value("last_run_success") == 1


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({}, "no gateway is configured"),
        ({"name": "", "gateway": NOBODY}, "job"),
        ({"group": {"__x": "1"}, "gateway": NOBODY}, "__x"),
    ],
)
def test_what_cannot_be_pushed_runs_and_is_one_warning(caplog, arguments, told):
    with job(**{"name": "backup", **arguments}):
        done = True
    assert done
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("pushgate", logging.WARNING)
    assert told in record.getMessage()


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"push_timeout": 0}, ValueError),
        ({"heartbeat": float("nan")}, ValueError),
        ({"push_timeout": sys.maxsize}, ValueError),
        ({"expect_every": "daily"}, ValueError),
        ({"expect_every": "24"}, ValueError),
        ({"gateway": 9091}, TypeError),
        ({"group": ["table"]}, TypeError),
        ({"name": print}, TypeError),
    ],
)
def test_arguments_that_make_no_sense_are_refused_at_once(arguments, error):
    with pytest.raises(error):
        job(**{"name": "backup", **arguments})


def test_generators_are_refused():
    def generator():
        yield

    async def agenerator():
        yield

    for function in (generator, agenerator):
        with pytest.raises(TypeError, match="with job"):
            job("backup")(function)


# --- functions --------------------------------------------------------------------------------


def test_a_function_keeps_its_name_arguments_and_result_and_may_call_itself(pushgateway, value):
    @job("backup", gateway=pushgateway.url)
    def count(n, *, step):
        """Counts."""
        return n and step + count(n - 1, step=step)

    assert (count.__name__, count.__doc__) == ("count", "Counts.")
    assert count(3, step=2) == 6
    assert value("last_run_success") == 1


def test_a_coroutine_function_stays_one(pushgateway, value):
    @job("backup", gateway=pushgateway.url)
    async def add(a, b):
        await asyncio.sleep(0)
        return a + b

    assert inspect.iscoroutinefunction(add)
    assert asyncio.run(add(1, 2)) == 3
    assert value("last_run_success") == 1


def test_async_with_in_a_loop_that_is_not_asyncios(pushgateway, value):
    async def body():
        async with job("backup", gateway=pushgateway.url):
            pass

    with pytest.raises(StopIteration):
        body().send(None)
    assert value("last_run_success") == 1


# --- many at once -----------------------------------------------------------------------------


def test_jobs_in_each_other(pushgateway, value):
    gateway = pushgateway.url
    with contextlib.suppress(UnchangedError), job("outer", gateway=gateway):
        with job("inner", gateway=gateway):
            pass
        raise UnchangedError
    assert value("last_run_success", job="inner") == 1
    assert value("last_run_success", job="outer") == 0


def test_tasks_that_share_a_job_and_end_in_any_order(pushgateway):
    reported = job("backup", gateway=pushgateway.url, start_push=False)
    ends = []

    async def work(turn, order):
        async with reported as mine:
            order[turn].set()
            await order[2 - turn].wait()
            if turn == 1:
                await asyncio.sleep(0)
            mine.gauge("turn").set(turn)
            ends.append(mine)

    async def main():
        order = [asyncio.Event() for _ in range(3)]
        await asyncio.gather(*(work(turn, order) for turn in range(3)))

    asyncio.run(main())
    assert len(set(map(id, ends))) == 3
    assert pushgateway.value("turn", origin="job") in (0, 1, 2)


def test_threads_that_share_a_job(pushgateway, value):
    together = threading.Barrier(4)

    @job("backup", gateway=pushgateway.url)
    def work(n):
        together.wait(DEADLINE)
        return 1 / n

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        results = [pool.submit(work, n) for n in (0, 1, 1, 1)]
    assert [r.result() for r in results[1:]] == [1, 1, 1]
    assert isinstance(results[0].exception(), ZeroDivisionError)
    assert value("last_completion_timestamp_seconds") is not None


def test_entered_in_one_thread_and_left_in_another(pushgateway, value):
    stack = contextlib.ExitStack()
    stack.enter_context(job("backup", gateway=pushgateway.url))
    thread = threading.Thread(target=stack.close)
    thread.start()
    thread.join(DEADLINE)
    assert value("last_run_success") == 1


def test_metrics_of_its_own_are_replaced_by_each_run(pushgateway, caplog):
    labels = {"job": "backup", "origin": "job"}
    with job("backup", gateway=pushgateway.url) as mine:
        mine.gauge("rows", "Rows.", ["table"]).labels("a").set(1)
        Gauge("elsewhere", "", registry=mine.registry).set(5)
    assert pushgateway.value("rows", table="a", **labels) == 1
    with pytest.raises(UnchangedError), job("backup", gateway=pushgateway.url):
        raise UnchangedError
    assert pushgateway.value("elsewhere", **labels) == 5
    with job("backup", gateway=pushgateway.url):
        pass
    assert pushgateway.groups(origin="job") == []
    assert caplog.records == []


# --- a gateway that hangs ---------------------------------------------------------------------


def test_a_gateway_that_hangs_does_not_stop_the_event_loop(recorder):
    recorder.hold = answer = threading.Event()

    async def work():
        async with job("backup", gateway=recorder.url, start_push=False, push_timeout=DEADLINE):
            pass

    async def main():
        # However busy the threads of the loop's executor are.
        loop = asyncio.get_running_loop()
        loop.set_default_executor(concurrent.futures.ThreadPoolExecutor(1))
        blocked = loop.run_in_executor(None, answer.wait)
        task = asyncio.create_task(work())
        while not recorder.requests:
            await asyncio.sleep(0.01)
        assert not task.done()
        answer.set()
        await task
        await blocked

    asyncio.run(main())


def test_a_task_that_is_cancelled_while_it_pushes_ends_at_once(recorder):
    recorder.hold = recorder.stopping

    async def work():
        async with job("backup", gateway=recorder.url, start_push=False, push_timeout=3600):
            pass

    async def main():
        task = asyncio.create_task(work())
        await asyncio.get_running_loop().run_in_executor(None, recorder.next)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())


def test_no_thread_waits_for_a_gateway_that_hangs(waiting):
    async def work(name, url):
        async with job(name, gateway=url, start_push=False, push_timeout=3600):
            pass

    before = set(threading.enumerate())  # of other tests

    def others():
        new = {t.name for t in set(threading.enumerate()) - before}
        return [name for name in new - {"pushgate-loop"} if name.startswith("pushgate")]

    async def main(server):
        tasks = [asyncio.create_task(work(f"j{n}", server.url)) for n in range(100)]
        while server.accepted < len(tasks) or others():
            await asyncio.sleep(0.01)
        assert not any(task.done() for task in tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    with FaultServer(hang) as server:
        asyncio.run(main(server))
    assert len([group for group in waiting() if "origin" not in group.labels]) == 100


def test_handlers_that_block_hold_up_no_other_job_of_the_loop():
    together = threading.Barrier(20)

    def handler(**_request):
        return lambda: together.wait(DEADLINE)

    async def work(number):
        async with job(f"j{number}", gateway=Gateway(NOBODY, handler=handler), start_push=False):
            pass

    async def main():
        await asyncio.gather(*(work(number) for number in range(20)))

    asyncio.run(main())
    assert not together.broken


def test_heartbeats_go_on_while_the_body_holds_up_the_loop(recorder):
    async def main():
        options = {"heartbeat": 0.01, "start_push": False}
        async with job("backup", gateway=recorder.url, **options):
            assert recorder.next().body == recorder.next().body == b""

    asyncio.run(main())


def test_a_job_whose_loop_is_closed_is_kept(waiting, caplog):
    async def work(url):
        async with job("backup", gateway=url, push_timeout=3600):
            pass

    with FaultServer(hang) as server:
        loop = asyncio.new_event_loop()
        loop.set_exception_handler(lambda *_: None)  # its words about tasks that never end
        coroutine = work(server.url)
        task = loop.create_task(coroutine)
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()
        assert not task.done()
        coroutine.close()
    assert waiting()
    assert "it waits in the outbox" in caplog.text


@pytest.mark.parametrize("first", ["", "from gevent import monkey; monkey.patch_all()"])
def test_no_thread_is_left_after_the_last_job_and_threads_may_be_greenlets(recorder, first):
    program = f"""import asyncio, threading, time
{first}
async def main():
    async with job("backup", gateway=url): pass
asyncio.run(main())
while any(thread.name.startswith("pushgate") for thread in threading.enumerate()):
    time.sleep(0.01)
"""
    subprocess.run(in_python(program, recorder.url), check=True, timeout=DEADLINE)
    assert any(b"last_run_success 1" in request.body for request in recorder.requests)


def in_python(program, url):
    """The command line of a program that finds the gateway's ``url`` under that name."""
    header = f"import signal, sys\nfrom pushgate_subprocess import job, run\nurl = {url!r}\n"
    return [sys.executable, "-c", header + program]


def test_no_signal_handler_is_installed(pushgateway):
    numbers = [n for n in signal.valid_signals() if n not in (signal.SIGKILL, signal.SIGSTOP)]
    before = [signal.getsignal(number) for number in numbers]
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    with job("backup", gateway=pushgateway.url):
        run(["true"], job="command", gateway=pushgateway.url)
    assert [signal.getsignal(number) for number in numbers] == before
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == mask
    assert signal.set_wakeup_fd(-1) == -1


@needs_proc
def test_descriptors_and_threads_are_given_back(recorder):
    reported = job("backup", gateway=recorder.url, heartbeat=60)

    def once():
        with reported:
            run(["true"], job="command", gateway=recorder.url, tail_bytes=10)
        with pytest.raises(OSError, match="command not found"):
            run(["no-such-command"], job="command", gateway=recorder.url)
        assert b"last_exit_code 127" in recorder.requests[-1].body
        with pytest.raises(ValueError, match="no command"):
            run([], job="command", gateway=recorder.url)
        with pytest.raises(TypeError, match="is no list of words"):
            run("ls -l", job="command", gateway=recorder.url)

    once()
    files, threads = len(os.listdir("/proc/self/fd")), threading.active_count()
    for _ in range(20):
        once()
    assert len(os.listdir("/proc/self/fd")) <= files + 2  # connections that are kept
    assert threading.active_count() <= threads + 2


# --- commands ---------------------------------------------------------------------------------


def test_a_command_is_run_in_any_thread_reported_and_handed_back(pushgateway, value):
    script = 'echo out; echo err >&2; echo rows 7 >> "$PUSHGATE_METRICS_FILE"; exit 3'
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        result = pool.submit(
            run, ["sh", "-c", script], job="backup", gateway=pushgateway.url, tail_bytes=100
        ).result(DEADLINE)
    assert isinstance(result, Result)
    assert result[:4] == (3, 3, None, False)
    assert 0 < result.duration < DEADLINE
    assert (result.success, result.stdout, result.stderr) == (False, b"out\n", b"err\n")
    assert value("last_exit_code") == 3
    assert pushgateway.value("rows", origin="job") == 7


@pytest.mark.parametrize(
    ("command", "options", "result", "success"),
    [
        (["sh", "-c", "kill -9 $$"], {}, (137, -9, 9, False), False),
        (["sleep", "60"], {"timeout": "0.1s"}, (124, -15, 15, True), False),
        (["sh", "-c", "exit 3"], {"success_codes": [3]}, (3, 3, None, False), True),
        (["true"], {"min_duration": "1h"}, (0, 0, None, False), False),
    ],
)
def test_a_result_says_what_is_pushed(pushgateway, value, command, options, result, success):
    ended = run(command, job="backup", gateway=pushgateway.url, **options)
    assert (ended[:4], ended.success) == (result, success)
    assert (ended.stdout, ended.stderr) == (None, None)
    assert (value("last_timed_out"), value("last_run_success")) == (result[3], success)


def test_an_interrupt_ends_the_command_and_is_raised(pushgate, recorder):
    program = "run(['sh', '-c', 'echo; exec sleep 60'], job='backup', gateway=url)"
    process = pushgate.start(in_python(program, recorder.url))
    process.stdout.readline()
    recorder.next()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=DEADLINE)
    assert err.rstrip().endswith(b"KeyboardInterrupt")
    end = recorder.next().body.splitlines()
    assert b"batch_job_last_exit_code 143.0" in end
    assert b"batch_job_last_timed_out 0.0" in end


def test_where_pidfds_are_forbidden_a_commands_end_is_known_all_the_same(
    pushgateway, value, monkeypatch
):
    def forbidden(_pid):
        raise PermissionError(1, "seccomp")

    monkeypatch.setattr(os, "pidfd_open", forbidden, raising=False)
    assert run(["sh", "-c", "exit 3"], job="backup", gateway=pushgateway.url).exit_status == 3
    limited = run(["sleep", "60"], job="backup", gateway=pushgateway.url, timeout=0.01)
    assert (limited.timed_out, value("last_timed_out")) == (True, 1)


def test_a_process_that_ignores_sigchld_is_told_so(pushgate, pushgateway, value):
    program = (
        "signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n"
        "try: run(['true'], job='backup', gateway=url)\n"
        "except ChildProcessError: sys.exit(9)\n"
    )
    code, _, err = pushgate.run(in_python(program, pushgateway.url))
    assert (code, err) == (9, b"")
    assert value("last_run_success") == 0


def test_a_gateway_of_the_callers_own_keeps_as_it_was_told_to(waiting, tmp_path):
    own = Outbox(tmp_path / "own")
    for outbox in (None, own):
        with job("backup", gateway=Gateway(NOBODY, retries=0, outbox=outbox)) as mine:
            mine.gauge("rows").set(2)
    assert waiting() == []
    assert len(own.waiting()) == 2


def test_a_job_that_is_interrupted_in_its_push_is_kept(recorder, pushgate, waiting):
    program = "with job('backup', gateway=url, start_push=False, push_timeout=3600): pass"
    recorder.hold = recorder.stopping
    process = pushgate.start(in_python(program, recorder.url))
    recorder.next()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=DEADLINE)
    assert b"KeyboardInterrupt" in err
    assert {"job": "backup"} in [group.labels for group in waiting()]
