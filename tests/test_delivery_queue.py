"""QueueSink: nobody waits, the newest of each group is pushed, nothing older than what is there."""

import subprocess
import sys
import threading
import time

import pytest

from pushgate import (
    Gateway,
    GroupingKey,
    JobRun,
    Outcome,
    QueueSink,
    Report,
    Status,
    gauge,
)
from support import faults
from support.faults import PATIENCE, FaultServer, answer
from support.fresh_process import fork, in_fresh_process, wait_for
from support.workers import until

KEY = GroupingKey("etl", {"task_id": "load"})
NOW = time.time()
RUN = JobRun(KEY, started_at=NOW - 30)
SUCCESS = Outcome(Status.SUCCESS, ended_at=NOW, duration=30.0)
FAILURE = Outcome(Status.FAILURE, ended_at=NOW + 60, duration=30.0)


def sink_of(url, outbox=None, **options):
    return QueueSink(Gateway(url, retries=0, outbox=outbox), patience=PATIENCE, **options)


def report(value, name="x", *, key=KEY, method="POST", at=None, **options):
    return Report(method, key, [gauge(name, "", value)], at or time.time(), **options)


def values(url):
    return {
        group.labels["job"]: {
            family.name: family.samples[0].value
            for family in group.families
            if not family.name.startswith("push_")
        }
        for group in Gateway(url).groups()
    }


class Gate:
    """A gateway's handler that waits until it is opened, and then accepts."""

    def __init__(self):
        self.entered, self._open = threading.Event(), threading.Event()
        self.requests = []

    def __call__(self, *, url, method, timeout, headers, data):
        def send():
            self.entered.set()
            assert self._open.wait(PATIENCE)
            self.requests.append((method, data))

        return send

    def open(self):
        self._open.set()


@pytest.fixture
def gate():
    gate = Gate()
    yield gate
    gate.open()


def test_runs_are_pushed_and_a_failure_does_not_replace_the_success_before(server):
    sink = sink_of(server.url)
    sink.started(RUN)
    sink.finished(RUN, SUCCESS, lambda: [gauge("rows", "", 7)])
    sink.finished(RUN, FAILURE)
    sink.missed_deadline(RUN, NOW)
    sink.alive(RUN)
    sink.finished(RUN, None)  # an adapter's mistake
    assert sink.flush(PATIENCE) == 0
    groups = {group.labels.get("origin", ""): group for group in Gateway(server.url).groups()}
    assert groups["job"].value("rows") == 7
    for name, value in (("success", NOW), ("failure", NOW + 60), ("deadline_missed", NOW)):
        found = groups[""].value(f"batch_job_last_{name}_timestamp_seconds")
        assert found == pytest.approx(value)


def test_while_a_push_hangs_the_newest_of_each_slot_waits_and_no_caller(gate):
    sink = QueueSink(Gateway("h", handler=gate), size=5, patience=PATIENCE)
    sink.put("first", lambda: [report(0)])
    assert gate.entered.wait(PATIENCE)
    for number in range(1000):
        sink.put("a", lambda number=number: [report(number, "a")])
    assert sink.flush(0.01) == 2
    gate.open()
    assert sink.flush(PATIENCE) == 0
    assert [data.rsplit(b"\n", 2)[1] for _, data in gate.requests] == [b"x 0.0", b"a 999.0"]


def test_reports_of_a_group_are_one_push_in_the_order_in_which_they_came(gate):
    sink = QueueSink(Gateway("h", handler=gate), patience=PATIENCE)
    sink.put("first", lambda: [report(0)])
    assert gate.entered.wait(PATIENCE)
    sink.put("a", lambda: [report(1), report(1, "y")])
    sink.put("b", lambda: [report(2)])
    sink.put("a", lambda: [report(3, "y")])
    gate.open()
    assert sink.flush(PATIENCE) == 0
    last = gate.requests[-1][1].decode()
    assert (len(gate.requests), "x 2.0" in last, "y 3.0" in last) == (2, True, True)


def test_runs_without_news_wait_for_the_interval_and_an_end_unlike_the_last_does_not(gate):
    gate.open()
    sink = QueueSink(Gateway("h", handler=gate), interval=PATIENCE)
    sink.finished(RUN, SUCCESS)
    until(lambda: gate.requests, "the first end is pushed")
    for _ in range(9):
        sink.started(RUN)
        sink.finished(RUN, SUCCESS)
    sink.finished(RUN, FAILURE)
    until(lambda: b"last_failure" in gate.requests[-1][1], "so is the failure")
    assert b"last_success" in gate.requests[-1][1]
    assert len(gate.requests) == 2
    sink.close()


def test_work_waits_until_it_is_due_or_flushed(server):
    sink = sink_of(server.url)
    sink.put("later", lambda: [report(1, "later")], delay=3600)
    sink.put("now", lambda: [report(1, "now")])
    while not values(server.url):
        time.sleep(0.001)
    assert values(server.url) == {"etl": {"now": 1}}
    assert sink.flush(PATIENCE) == 0
    assert values(server.url) == {"etl": {"now": 1, "later": 1}}


def test_in_an_outage_it_waits_and_is_pushed_when_the_gateway_is_back(server, caplog):
    sink = sink_of(server.url)
    server.stop()
    sink.started(RUN)
    assert sink.flush(PATIENCE) == 1
    server.start()
    assert sink.flush(PATIENCE) == 0
    assert "batch_job_last_start_timestamp_seconds" in values(server.url)["etl"]
    assert len([r for r in caplog.records if "wait for the gateway" in r.getMessage()]) == 1


@pytest.mark.parametrize("asked", ["9" * 400, "Fri, 31 Dec 9999 23:59:59 GMT"])
def test_what_a_gateway_puts_off_for_years_is_tried_again_in_minutes(asked, monkeypatch):
    real, ahead = time.monotonic, 0.0
    monkeypatch.setattr(time, "monotonic", lambda: real() + ahead)
    busy = answer("503 Busy", headers=(("Retry-After", asked),))
    with FaultServer(faults.respond(busy)) as server:
        sink = sink_of(server.url)
        sink.alive(RUN)
        ends = real() + PATIENCE
        while len([r for r in server.requests if "load" in r.target]) < 2 and real() < ends:
            time.sleep(0.02)
            ahead += 301.0
            sink.alive(JobRun(GroupingKey("other"), started_at=NOW))  # the queue looks at its clock
        assert real() < ends
        sink.close()


def test_what_does_not_fit_goes_to_the_outbox_and_is_delivered_when_the_gateway_is_back(
    server, outbox, caplog
):
    sink = sink_of(server.url, outbox, size=4)
    server.stop()
    for number in range(9):
        key = GroupingKey(f"job{number}")
        sink.put(number, lambda key=key, number=number: [report(number, key=key)])
        sink.flush(PATIENCE)
    assert 0 < len(outbox.waiting()) <= 9
    assert "dropped" not in caplog.text
    sink.close()
    server.start()
    sink.put("again", lambda: [report(9, key=GroupingKey("job9"))])
    assert sink.flush(PATIENCE) == 0
    sink.put("again", lambda: [report(9, key=GroupingKey("job9"))])
    while not outbox.is_empty():
        time.sleep(0.001)
    assert values(server.url) == {f"job{number}": {"x": number} for number in range(10)}


def test_what_waits_because_of_its_own_group_holds_up_no_other(server, outbox):
    Gateway(server.url).send(
        "PUT", GroupingKey("script"), b"batch_job_last_duration_seconds 1\n"
    )  # no gauge
    sink = sink_of(server.url, outbox)
    sink.finished(RUN, SUCCESS)
    sink.put("other", lambda: [report(1, key=GroupingKey("other"))])
    assert sink.flush(PATIENCE) == 0
    assert values(server.url)["other"] == {"x": 1}
    assert [group.labels for group in outbox.waiting()] == [KEY.labels]


def test_in_a_long_outage_all_goes_to_the_outbox_as_the_process_may_be_killed(
    server, outbox, monkeypatch
):
    real, ahead = time.monotonic, 0.0
    monkeypatch.setattr(time, "monotonic", lambda: real() + ahead)
    sink = sink_of(server.url, outbox)
    server.stop()
    sink.started(RUN)
    assert sink.flush(PATIENCE) == 1
    ahead = 61.0
    assert sink.flush(PATIENCE) == 0
    assert [group.labels for group in outbox.waiting()] == [KEY.labels]
    server.start()
    ahead += 61.0
    sink.alive(JobRun(GroupingKey("other"), started_at=NOW))
    until(outbox.is_empty, "an outbox without anything")
    assert "batch_job_last_start_timestamp_seconds" in values(server.url)["etl"]
    sink.close()


def test_without_an_outbox_a_full_queue_says_how_much_is_lost(gate, caplog):
    sink = QueueSink(Gateway("h", handler=gate), size=2, patience=0.05)
    assert sink.put("first", lambda: [report(0)])
    assert gate.entered.wait(PATIENCE)
    taken = [sink.put(number, lambda: [report(1)], weight=2) for number in range(9)]
    assert not all(taken)
    assert "2 reports are dropped: the queue is full" in caplog.text
    sink.close()
    assert "reports are lost: the process ends" in caplog.text


def test_the_end_of_the_process_keeps_what_is_left_also_what_is_under_way(gate, outbox, caplog):
    sink = QueueSink(Gateway("h", handler=gate, outbox=outbox), patience=0.05)
    sink.put("a", lambda: [report(1)], weight=2)
    assert gate.entered.wait(PATIENCE)
    sink.put("b", lambda: [report(2, key=GroupingKey("other"))])
    sink.close()
    sink.close()
    assert sorted(group.labels["job"] for group in outbox.waiting()) == ["etl", "other"]
    assert "3 reports wait in the outbox" in caplog.text
    assert "lost" not in caplog.text


@pytest.mark.parametrize("status", ["400 Bad Request", "415 Unsupported Media Type"])
def test_what_is_refused_for_good_costs_only_itself(status, caplog):
    refuse_once = faults.respond(answer(status), faults.OK)
    with FaultServer(refuse_once) as server:
        sink = sink_of(server.url)
        sink.put("a", lambda: [report(1)])
        sink.put("b", lambda: [report(1, key=GroupingKey("b"))])
        assert sink.flush(PATIENCE) == 0
        assert sink.put("c", lambda: [report(1, key=GroupingKey("c"))])
        assert sink.flush(PATIENCE) == 0
        assert len(server.requests) == 3
    assert "1 reports are lost" in caplog.text


def test_a_mistake_in_what_makes_reports_costs_only_that(server, caplog):
    sink = sink_of(server.url)
    sink.put("a", lambda: 1 / 0)
    sink.put("b", lambda: [Report("POST", KEY, [gauge("no name", "", 1)], NOW)])
    sink.put("c", lambda: [report(1, key=GroupingKey("c"))])
    assert sink.flush(PATIENCE) == 0
    assert values(server.url)["c"] == {"x": 1}
    assert "ZeroDivisionError" in caplog.text


def run_report(ended_at, duration=30.0, **options):
    from pushgate import end_families

    run = JobRun(KEY, ended_at - duration)
    families = end_families(run, Outcome(Status.SUCCESS, ended_at, duration))
    return Report("POST", KEY, families, ended_at, **options)


def test_what_is_compared_is_pushed_where_it_says_something_newer(server):
    sink = sink_of(server.url)
    name = "batch_job_last_success_timestamp_seconds"
    for ended_at, expected in ((200.0, 200.0), (100.0, 200.0), (300.0, 300.0)):
        sink.put("end", lambda ended_at=ended_at: [run_report(ended_at, compare=True)])
        assert sink.flush(PATIENCE) == 0
        assert values(server.url)["etl"][name] == expected
    sink.put("late", lambda: [run_report(250.0)])  # its time is long ago, so it is compared too
    sink.put("same", lambda: [run_report(307.0, 20.0, compare=True, run_started_at=260.0)])
    assert sink.flush(PATIENCE) == 0
    assert values(server.url)["etl"][name] == 300.0, "the run's own process said it already"


@pytest.mark.parametrize("age", [1.0, 3600.0])
def test_where_nobody_may_read_only_what_is_fresh_is_pushed(age, caplog):
    def no_reading(peer):
        while seen := peer.request():
            peer.send(answer("403 Forbidden") if seen.method == "GET" else faults.OK)

    with FaultServer(no_reading) as server:
        sink = sink_of(server.url)
        sink.put("end", lambda: [run_report(time.time() - age, compare=True)])
        assert sink.flush(PATIENCE) == 0
        pushed = [seen for seen in server.requests if seen.method == "POST"]
    assert len(pushed) == (age == 1.0)
    assert ("can't be compared" in caplog.text) == (age > 1.0)


def test_groups_are_not_read_again_at_once(server):
    reads = []

    class Counting(Gateway):
        def iter_groups(self, **options):
            reads.append(1)
            time.sleep(0.3)  # so that the next reading may begin six seconds later
            return super().iter_groups(**options)

    sink = QueueSink(Counting(server.url), patience=PATIENCE)
    other = GroupingKey("other")
    for number in range(3):
        sink.put(number, lambda: [run_report(NOW, compare=True)])
        sink.put("plain", lambda number=number: [report(number, key=other)])
        while values(server.url).get("other") != {"x": number}:
            time.sleep(0.001)
    assert len(reads) == 1
    assert sink.flush(PATIENCE) == 0
    assert len(reads) == 2


def put_in_a_child(url):
    sink = QueueSink(Gateway(url), patience=PATIENCE)
    sink.put("parents", lambda: [report(1, "parents")], delay=3600)

    def put():
        assert sink.flush(0) == 0
        sink.put("childs", lambda: [report(1, "childs")])
        assert sink.flush(PATIENCE) == 0

    wait_for(fork(put))
    assert values(url) == {"etl": {"childs": 1}}
    assert sink.flush(PATIENCE) == 0


def test_a_forked_child_has_none_of_it(server):
    in_fresh_process(put_in_a_child, server.url)
    assert values(server.url) == {"etl": {"childs": 1, "parents": 1}}


def test_the_exit_of_a_forked_child_does_not_wait_for_what_its_parent_has_to_deliver():
    code = """if True:
        import os, sys
        from pushgate import Gateway, QueueSink
        sink = QueueSink(Gateway("h"), patience=3600)
        sink.put("a", list, delay=3600)
        if os.fork() == 0:
            sys.exit()
        os._exit(os.waitstatus_to_exitcode(os.wait()[1]))
    """
    subprocess.run([sys.executable, "-c", code], check=True, timeout=PATIENCE)
