"""DirectSink: no job is harmed or held up, and what does not arrive in time waits on disk."""

import threading
import time

import pytest

from pushgate import (
    DirectSink,
    Gateway,
    GatewayDisconnectedError,
    GatewayUnreachableError,
    GroupingKey,
    InvalidGroupingKeyError,
    JobRun,
    Outbox,
    Outcome,
    OwnMetrics,
    Report,
    Status,
    gauge,
    own_metrics_key,
)
from support.faults import PATIENCE
from support.fresh_process import fork, in_fresh_process, wait_for

KEY = GroupingKey("backup", {"instance": "db1"})
RUN = JobRun(KEY, started_at=100.0)
SUCCESS = Outcome(Status.SUCCESS, ended_at=130.0, duration=30.0)
FAILURE = Outcome(Status.FAILURE, ended_at=140.0, duration=30.0)
ROWS = [gauge("rows", "", 7)]
REFUSED = "http://127.0.0.1:1"  # nobody listens there


class Never:
    """Something that hangs until the test ends."""

    def __init__(self):
        self.was_called, self._over = threading.Event(), threading.Event()

    def __call__(self, *_arguments, **_options):
        self.was_called.set()
        self._over.wait(PATIENCE)
        raise OSError("the test is over")

    def end(self):
        self._over.set()


@pytest.fixture
def never():
    never = Never()
    yield never
    never.end()


class Collector:
    def __init__(self, families):
        self.collect = lambda: families


def gateway_of(url, outbox=None):
    return Gateway(url, retries=0, outbox=outbox)


def held(server, key=KEY):
    for group in Gateway(server.url).groups():
        if group.labels == {"instance": "", **key.labels}:
            return {family.name for family in group.families}
    return None


def waiting(outbox):
    return [dict(group.labels) for group in outbox.waiting()]


def names(*short):
    return {f"batch_job_{name}" for name in short}


def test_a_run_is_pushed_and_a_failure_keeps_the_success_before(server):
    sink = DirectSink(gateway_of(server.url))
    sink.started(RUN)
    while not held(server):
        time.sleep(0.001)
    assert names("last_start_timestamp_seconds") <= held(server)
    sink.finished(RUN, SUCCESS)
    sink.alive(RUN)
    sink.missed_deadline(RUN, 150.0)
    sink.finished(RUN, FAILURE)
    assert names(
        "last_success_timestamp_seconds",
        "last_failure_timestamp_seconds",
        "last_deadline_missed_timestamp_seconds",
    ) <= held(server)
    assert sink.last_error is None


def test_own_metrics_are_replaced_and_stay_after_a_failure_without_any(server):
    sink = DirectSink(gateway_of(server.url))
    own = own_metrics_key(KEY)
    for outcome, metrics, expected in (
        (SUCCESS, [*ROWS, gauge("bytes", "", 1)], {"rows", "bytes"}),
        (SUCCESS, ROWS, {"rows"}),
        (FAILURE, OwnMetrics().collect, {"rows"}),
        (SUCCESS, None, {"rows"}),
        (SUCCESS, OwnMetrics(), None),
    ):
        sink.finished(RUN, outcome, metrics)
        found = held(server, own)
        assert (found and {name for name in found if not name.startswith("push_")}) == expected


def test_own_metrics_are_made_once_and_by_name(caplog):
    own = OwnMetrics()
    assert own.collect() == []
    own.gauge("rows").set(1)
    own.gauge("rows").inc()
    own.counter("done").inc()
    assert {family.name for family in own.collect()} == {"rows", "done"}
    with pytest.raises(ValueError, match="'rows' is a Gauge of this run already"):
        own.histogram("rows")
    with pytest.raises(ValueError, match="pushgate's own metrics begin with batch_job_"):
        own.gauge("batch_job_rows")
    own.registry.register(Collector([gauge("batch_job_x", "", 1), gauge("y", "", 1)]))
    assert {family.name for family in own.collect()} == {"rows", "done", "y"}
    assert "'batch_job_x' is not pushed" in caplog.text
    with pytest.raises(InvalidGroupingKeyError, match="rename yours"):
        own_metrics_key(KEY.with_labels(origin="me"))


def test_an_outcome_waits_while_a_script_has_pushed_a_job_metric_with_another_type(server, outbox):
    gateway = gateway_of(server.url, outbox)
    gateway.send("PUT", GroupingKey("script"), b"batch_job_last_duration_seconds 1\n")
    sink = DirectSink(gateway)
    sink.finished(RUN, SUCCESS)
    assert sink.last_error.kept
    gateway.delete("script")
    outbox.flush(gateway)
    assert "batch_job_last_duration_seconds" in held(server)


def test_where_the_outcome_waits_the_own_metrics_wait_and_one_line_says_so(outbox, caplog):
    sink = DirectSink(gateway_of(REFUSED, outbox))
    sink.started(RUN)
    sink.finished(RUN, SUCCESS, lambda: ROWS)
    assert sorted(waiting(outbox), key=len) == [KEY.labels, own_metrics_key(KEY).labels]
    (record,) = caplog.records
    assert "it waits in the outbox and will be delivered later" in record.getMessage()
    assert (record.name, record.levelname) == ("pushgate", "WARNING")
    assert sink.last_error.kept


def test_without_an_outbox_one_line_says_what_failed(caplog):
    sink = DirectSink(gateway_of(REFUSED))
    sink.finished(RUN, SUCCESS, ROWS)
    (record,) = caplog.records
    assert record.getMessage().startswith(f"the push for {KEY} failed: POST {REFUSED}")
    assert isinstance(sink.last_error, GatewayUnreachableError)


def test_own_metrics_that_cannot_be_had_cost_no_outcome(server, caplog):
    def broken():
        raise SystemExit("a collector of the user's")

    sink = DirectSink(gateway_of(server.url))
    sink.finished(RUN, SUCCESS, broken)
    assert names("last_run_success") <= held(server)
    assert "own metrics" in caplog.text
    assert isinstance(sink.last_error, SystemExit)


@pytest.mark.parametrize("error", [OSError("o"), ValueError("v"), SystemExit(3), RecursionError()])
def test_a_handler_may_raise_anything(error, caplog):
    def handler(**_):
        raise error

    sink = DirectSink(Gateway("h", handler=handler))
    sink.started(RUN)
    sink.alive(RUN)
    sink.finished(RUN, FAILURE)
    assert sink.last_error is error
    assert len(caplog.records) == 1


@pytest.mark.parametrize(
    ("run", "outcome"),
    [(JobRun(KEY, "yesterday"), SUCCESS), (RUN, Outcome(Status.SUCCESS, "soon")), (RUN, None)],
)
def test_nonsense_raises_nothing(server, run, outcome):
    sink = DirectSink(gateway_of(server.url))
    sink.started(run)
    sink.finished(run, outcome)
    assert sink.last_error is not None


def test_what_hangs_without_regard_for_its_time_is_left_behind_and_kept(outbox, never, caplog):
    sink = DirectSink(Gateway("h", handler=never, outbox=outbox), timeout=0.2)
    sink.finished(RUN, SUCCESS, ROWS)
    assert sorted(waiting(outbox), key=len) == [KEY.labels, own_metrics_key(KEY).labels]
    never.end()
    (record,) = caplog.records
    assert record.getMessage() == (
        f"gave up waiting for the push for {KEY};"
        " it waits in the outbox and will be delivered later"
    )


def test_own_metrics_that_hang_cost_no_outcome(server, outbox, never, caplog):
    sink = DirectSink(gateway_of(server.url, outbox), timeout=0.2, keep_timeout=3.0)
    sink.finished(RUN, SUCCESS, never)
    # On a busy machine, the time may be over before the outcome is sent.
    assert KEY.labels in waiting(outbox) or names("last_run_success") <= held(server)
    assert "gave up waiting for the push of the job's own metrics" in caplog.text


def test_a_look_up_of_the_gateway_that_is_late_costs_nothing(server, outbox):
    looked_up, asked = threading.Event(), threading.Event()

    def look_up():
        asked.set()
        assert looked_up.wait(PATIENCE)
        return gateway_of(server.url, outbox)

    sink = DirectSink(look_up, timeout=0.01)
    over = threading.Event()
    sink.finish(RUN, SUCCESS, settled=over.set)
    assert asked.wait(PATIENCE)
    threading.Timer(0.1, looked_up.set).start()
    sink.close()
    assert over.wait(PATIENCE)
    assert waiting(outbox) == [KEY.labels] or names("last_run_success") <= held(server)


def test_a_look_up_that_hangs_is_given_up(never, caplog):
    sink = DirectSink(never, timeout=0.05, keep_timeout=0.05)
    sink.started(RUN)
    sink.finished(RUN, SUCCESS)
    assert "could not be kept within 0.05 s" in caplog.text


def test_a_look_up_that_fails_once_is_tried_again(server):
    def look_up():
        tried.append(1)
        if len(tried) == 1:
            raise OSError("no database")
        return gateway_of(server.url)

    tried = []
    sink = DirectSink(look_up)
    sink.started(RUN)
    sink.finished(RUN, SUCCESS)
    assert (sink.last_error, len(tried)) == (None, 2)


def test_reports_of_other_kinds_are_delivered_and_kept_alike(server, outbox):
    own = own_metrics_key(KEY)
    for url, box in ((server.url, None), (REFUSED, outbox)):
        sink = DirectSink(gateway_of(url, box))
        sink.deliver(lambda: [Report("PUT", own, ROWS, 150.0)], "the push of rows")
    assert "rows" in held(server, own)
    assert waiting(outbox) == [own.labels]


def test_no_gateway_is_no_error(caplog):
    sink = DirectSink(lambda: None)
    sink.finished(RUN, SUCCESS)
    assert (sink.last_error, caplog.records) == (None, [])


def test_a_start_is_kept_unless_its_end_has_begun(outbox, never, server):
    sink = DirectSink(gateway_of(REFUSED, outbox))
    sink.started(RUN)
    while outbox.is_empty():
        time.sleep(0.001)
    assert waiting(outbox) == [KEY.labels]
    late = Outbox(f"{outbox.path}-late")
    requests = iter((never,))

    def handler(**request):
        return next(requests, lambda **_: lambda: None)(**request)

    sink = DirectSink(Gateway("h", handler=handler, outbox=late), timeout=10.0)
    sink.started(RUN)
    assert never.was_called.wait(PATIENCE)
    sink.finished(RUN, SUCCESS)
    never.end()
    assert (sink.last_error, waiting(late)) == (None, [])


def test_a_closed_sink_tries_no_start_again(outbox):
    entered, released = threading.Semaphore(0), threading.Event()

    def handler(url, method, **_):
        entered.release()
        assert released.wait(PATIENCE)
        raise GatewayDisconnectedError("an outage", method=method, url=url)

    sink = DirectSink(Gateway("h", handler=handler, retries=5, outbox=outbox))
    sink.started(RUN)
    assert entered.acquire(timeout=PATIENCE)
    (thread,) = (t for t in threading.enumerate() if t.name == "pushgate-start")
    sink.close()
    released.set()
    thread.join(PATIENCE)
    assert not entered.acquire(blocking=False)
    assert waiting(outbox) == [KEY.labels]


def test_without_threads_the_end_is_pushed_all_the_same(server, monkeypatch):
    begin = threading.Thread.start

    def at_the_limit(thread):
        if thread.name in ("pushgate-start", "pushgate-delivery", "pushgate-keep"):
            raise RuntimeError("can't start new thread")
        begin(thread)

    sink = DirectSink(gateway_of(server.url))
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", at_the_limit)
        sink.started(RUN)
        done = []
        sink.finish(RUN, SUCCESS, ROWS, settled=lambda: done.append(1))
        sink.close()
    assert done == [1]
    assert names("last_run_success") <= held(server)


def report_in_a_child(url):
    never = Never()

    def look_up():
        return gateway_of(url) if never.was_called.is_set() else never()

    sink = DirectSink(look_up, timeout=PATIENCE)
    sink.started(RUN)
    assert never.was_called.wait(PATIENCE)  # a thread of the parent holds the look-up
    wait_for(fork(lambda: sink.finished(RUN, SUCCESS)))


def test_a_forked_child_reports_with_the_sink_of_its_parent(server):
    in_fresh_process(report_in_a_child, server.url)
    assert names("last_run_success") <= held(server)
