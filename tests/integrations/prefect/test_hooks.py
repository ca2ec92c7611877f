"""What the hooks make of Prefect's own states and runs, without a server."""

import asyncio
import logging
import threading
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import cloudpickle
import pytest
from prefect import flow
from prefect.client.schemas.objects import FlowRun
from prefect.states import Cancelling, Completed, Crashed, Failed, Running

from pushgate import Gateway, Status
from pushgate.embedded import EmbeddedGateway
from pushgate_prefect import hooks
from support.fault_proxy import fault_proxy
from support.workers import until

STARTED = datetime(2026, 11, 28, 12, tzinfo=UTC)
ENDED = STARTED + timedelta(seconds=12.5)


class RecordingSink:
    def __init__(self):
        self.told = []

    def started(self, run):
        self.told.append((run, None))

    def finished(self, run, outcome):
        self.told.append((run, outcome))


def observed(sink, **options):
    @flow(**hooks(sink=sink), **options)
    def load():
        pass

    return load


def flow_run(**fields):
    return FlowRun(flow_id=uuid4(), **fields)


def enter(observed_flow, run, state):
    """What Prefect does when a run enters a state; the hook is the same for all."""
    return observed_flow.on_running_hooks[0](observed_flow, run, state)


@pytest.mark.parametrize(
    ("state", "status", "exception"),
    [
        (Completed(timestamp=ENDED), Status.SUCCESS, ""),
        (Completed(name="Warm", timestamp=ENDED), Status.SUCCESS, ""),
        (Completed(name="Skipped", timestamp=ENDED), Status.SKIPPED, ""),
        (Completed(name="Cached", timestamp=ENDED), Status.SKIPPED, ""),
        (Failed(data=KeyError("x"), timestamp=ENDED), Status.FAILURE, "KeyError"),
        (Failed(data=Failed(data=OSError()), timestamp=ENDED), Status.FAILURE, "OSError"),
        (Failed(message="a person's", timestamp=ENDED), Status.FAILURE, ""),
        (Failed(name="TimedOut", timestamp=ENDED), Status.FAILURE, "TimedOut"),
        (Crashed(timestamp=ENDED), Status.FAILURE, "Crashed"),
        (Cancelling(timestamp=ENDED), Status.SKIPPED, ""),
    ],
    ids=str,
)
def test_each_end_has_its_outcome(state, status, exception):
    sink, run = RecordingSink(), flow_run()
    load = observed(sink, timeout_seconds=60)
    enter(load, run, Running(timestamp=STARTED))
    enter(load, run, state)
    (started, none), (ended, outcome) = sink.told
    assert none is None
    assert started == ended
    assert (ended.key.job, ended.key.labels["task"]) == ("prefect", "load")
    assert (ended.started_at, ended.run_id) == (STARTED.timestamp(), str(run.id))
    assert outcome[:3] == (status, ENDED.timestamp(), 12.5)
    assert outcome.timed_out is (state.name == "TimedOut")
    assert outcome.exception == exception


def test_a_try_that_failed_is_told_when_the_next_one_starts_and_the_end_is_of_the_last():
    sink, run = RecordingSink(), flow_run(run_count=1)
    load = observed(sink, retries=1, retry_delay_seconds=2)
    enter(load, run, Running(timestamp=STARTED))
    enter(load, run, Running(timestamp=STARTED + timedelta(seconds=10)))
    enter(load, run, Completed(timestamp=ENDED))
    _, (again, retry), (_, end) = sink.told
    assert (retry.status, retry.ended_at) == (Status.RETRY, STARTED.timestamp() + 8)
    assert again.started_at == STARTED.timestamp() + 10
    assert (end.status, end.duration) == (Status.SUCCESS, 2.5)


def test_a_loop_goes_on_while_a_hundred_ends_hang():
    ends = threading.Barrier(101)

    class HangingSink(RecordingSink):
        def finished(self, run, outcome):
            ends.wait(30)

    async def main():
        load = observed(HangingSink())
        reports = [enter(load, flow_run(), Completed()) for _ in range(100)]
        tasks = [asyncio.ensure_future(report) for report in reports]
        while ends.n_waiting < 100:
            await asyncio.sleep(0.01)
        ends.wait(30)
        await asyncio.gather(*tasks)

    asyncio.run(main())


def test_a_report_whose_flow_is_cancelled_meanwhile_ends_without_a_word():
    began, goes_on, ended = threading.Event(), threading.Event(), threading.Event()

    class HangingSink(RecordingSink):
        def finished(self, run, outcome):
            began.set()
            goes_on.wait(30)
            ended.set()

    async def main():
        report = asyncio.ensure_future(enter(observed(HangingSink()), flow_run(), Completed()))
        while not began.is_set():
            await asyncio.sleep(0.01)
        report.cancel()
        await asyncio.gather(report, return_exceptions=True)

    asyncio.run(main())
    goes_on.set()
    assert ended.wait(30)
    for thread in threading.enumerate():  # a traceback of it would fail this test
        if thread.name == "pushgate-aside":
            thread.join()


def test_a_runner_that_tells_of_a_crash_waits_for_no_gateway(monkeypatch, caplog):
    with (
        EmbeddedGateway() as gateway,
        fault_proxy(int(gateway.url.rpartition(":")[2])) as proxy,
    ):
        proxy.hang()
        monkeypatch.setenv("PUSHGATE_GATEWAY", proxy.url)
        monkeypatch.setenv("PUSHGATE_TIMEOUT", "5")
        enter(observed(None), flow_run(), Crashed())
        assert caplog.records == []  # of a push that has failed
        proxy.heal()
        until(Gateway(gateway.url).groups, "the crash")


def test_a_flow_goes_on_where_no_gateway_is_configured_and_one_line_says_so(caplog):
    load = observed(None)
    with caplog.at_level(logging.WARNING, "pushgate"):
        for _ in range(2):
            enter(load, flow_run(), Completed())
    [record] = caplog.records
    assert record.levelname == "ERROR"
    assert "this process's flow runs are not reported: no gateway is" in record.getMessage()


def test_a_flow_with_hooks_can_be_sent_to_another_process():
    load = cloudpickle.loads(cloudpickle.dumps(observed(None)))
    assert len(load.on_completion_hooks) == 1
