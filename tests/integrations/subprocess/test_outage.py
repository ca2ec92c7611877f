"""Whatever is wrong with the settings or this machine: the command's fate stays, a line says it.

What every adapter promises of a gateway that is away is in tests/contract.
"""

import os
import sys
import threading
from pathlib import Path

import pytest

from pushgate.embedded.pytest_plugin import PushgatewayFixture
from support.faults import OK, FaultServer, answer, hang, respond_and_close

DEADLINE = 50.0
NOBODY = "http://127.0.0.1:1"
WAITS = "it waits in the outbox and will be delivered later"
JOB = ("--", "sh", "-c", "echo out; echo err >&2; exit 5")

needs_proc = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def one_line(err):
    """The wrapper's one line, which is whole and no traceback, beside what the job wrote."""
    lines = err.decode().splitlines()
    lines.remove("err")
    assert len(lines) == 1, err
    assert lines[0].startswith("pushgate: backup: ")
    return lines[0]


@pytest.mark.parametrize(
    ("options", "variables", "told"),
    [
        ([], {}, "no gateway is configured"),
        (["--gateway", "ftp://host"], {}, "http"),
        (["--gateway", "http://no-such-host.invalid", "--retries=0"], {}, "no-such-host.invalid"),
        (["--config", __file__], {}, __file__),
        (["--group", "1st=x", "--gateway", "host:1"], {}, "1st"),
        (["--gateway", "host:1"], {"PUSHGATE_TIMEOUT": "never"}, "PUSHGATE_TIMEOUT"),
        (["--gateway", "host:1"], {"PUSHGATE_TOKEN": "file:/no/such/file"}, "PUSHGATE_TOKEN"),
    ],
)
def test_wrong_settings_still_run_the_job(pushgate, options, variables, told):
    pushgate.env |= variables
    code, out, err = pushgate.run(pushgate.argv(*options, *JOB))
    assert (code, out) == (5, b"out\n")
    assert told in one_line(err)


def test_a_name_that_is_not_utf8_still_runs_the_job(pushgate):
    code, out, err = pushgate.run(pushgate.argv(*JOB, job=b"caf\xe9"))
    assert (code, out, len(err.splitlines())) == (5, b"out\n", 2)


@pytest.mark.parametrize(("options", "tries"), [([], 20), (["--retries", "2"], 3)])
def test_the_end_is_tried_until_its_time_is_over_or_as_often_as_is_asked(pushgate, options, tries):
    busy = respond_and_close(answer("503 Service Unavailable"))
    with FaultServer(*[busy] * 19, lambda peer: (peer.request(), peer.send(OK))) as server:
        words = ("--push-timeout", "60s", "--no-start-push", *options, *JOB)
        no_pauses = "import time\ntime.sleep = lambda _seconds: None"
        code, out, err = pushgate.run(pushgate.patched(no_pauses, *words, gateway=server.url))
    assert (code, out, len(server.requests)) == (5, b"out\n", tries)
    assert (WAITS.encode() in err) == (tries < 20)


def test_pushes_that_hang_are_left_behind_in_good_order_and_no_run_vanished(pushgate, recorder):
    def argv(number, gateway):
        words = ("--group", f"n={number}", "--push-timeout", "0.1", *JOB)
        return pushgate.argv(*words, gateway=gateway)

    with FaultServer(hang) as server:
        for process in [pushgate.start(argv(number, server.url)) for number in range(3)]:
            out, err = process.communicate(timeout=DEADLINE)
            assert (process.returncode, out) == (5, b"out\n")
            assert one_line(err).endswith(WAITS)
    assert b" vanished" not in pushgate.run(argv(0, recorder.url))[2]


def test_an_outbox_that_cannot_be_written_is_part_of_the_one_line(pushgate, isolated):
    (isolated / "file").touch()
    path = f"{isolated}/file/outbox"
    _, _, err = pushgate.run(pushgate.argv("--retries=0", "--outbox", path, *JOB, gateway=NOBODY))
    line = one_line(err)
    assert line.startswith("pushgate: backup: the push for ")
    assert (path in line, WAITS in line) == (True, False)


@pytest.mark.parametrize("refused", [True, False])
def test_v_tells_whether_it_was_kept(pushgate, refused):
    with FaultServer(respond_and_close(answer("422 Unprocessable Content"))) as server:
        gateway = server.url if refused else NOBODY
        _, _, err = pushgate.run(pushgate.argv("-v", "--retries=0", "true", gateway=gateway))
    assert err.endswith(b"; kept in the outbox\n") != refused


# --- this machine -----------------------------------------------------------------------------


def test_without_threads_the_end_is_still_pushed(pushgate, recorder):
    patch = "import threading\ndef start(_): raise RuntimeError\nthreading.Thread.start = start"
    argv = pushgate.patched(patch, "--quiet-on-success", "-v", *JOB, gateway=recorder.url)
    code, out, err = pushgate.run(argv)
    assert (code, out) == (5, b"out\n")
    assert b"pushed to" in err
    assert b"last_exit_code" in recorder.next().body


NO_FOLDER = "import os\nos.path.abspath = lambda _path: '/no/such/folder'\n"


@needs_proc
@pytest.mark.parametrize("memory", [True, False])
def test_where_no_folder_can_be_written_metrics_are_in_memory_or_nowhere(
    pushgate, recorder, memory
):
    script = 'echo rows 1 > "$PUSHGATE_METRICS_FILE"; echo size 2 >> "$PUSHGATE_METRICS_FILE"'
    patch = NO_FOLDER if memory else f"{NO_FOLDER}os.__dict__.pop('memfd_create', None)"
    argv = pushgate.patched(patch, "--", "sh", "-ec", f"{script}; exit 5", gateway=recorder.url)
    code, out, err = pushgate.run(argv)
    assert (code, out) == (5, b"")
    assert (err == b"", b"$TMPDIR" in err) == (memory, not memory)
    puts = [seen.body for seen in recorder.requests if seen.method == "PUT"]
    assert [(b"rows 1" in body, b"size 2" in body) for body in puts] == [(True, True)] * memory


@pytest.mark.parametrize(
    ("missing", "told"),
    [
        (("threading", "pushgate.errors"), "ModuleNotFoundError"),
        (("pushgate.protocol",), "please report it"),
    ],
)
def test_a_fault_of_our_own_is_said_once_and_runs_the_job(pushgate, recorder, missing, told):
    patch = f"import sys\nsys.modules.update(dict.fromkeys({missing}))"
    code, out, err = pushgate.run(pushgate.patched(patch, *JOB, gateway=recorder.url))
    assert (code, out) == (5, b"out\n")
    assert told in one_line(err)


def test_a_clock_that_is_set_back_puts_no_end_before_its_start(pushgate, pushgateway):
    """Such a run would look as if it went on."""
    patch = """if True:
        import os, time
        wait4, now = os.wait4, time.time
        def back(*arguments):
            time.time = lambda: now() - 3600
            return wait4(*arguments)
        os.wait4 = back
    """
    argv = pushgate.patched(patch, *JOB, gateway=pushgateway.url)
    assert pushgate.run(argv) == (5, b"out\n", b"err\n")
    start, end, duration = (
        pushgateway.value(f"batch_job_last_{name}_seconds", job="backup")
        for name in ("start_timestamp", "completion_timestamp", "duration")
    )
    assert end - start == pytest.approx(duration, abs=1e-5)


# --- what is late -----------------------------------------------------------------------------


@pytest.fixture
def late(pushgate, tmp_path):
    """Runs a job whose wrapper can't load pushgate before its fifo is opened for writing."""
    fifo = tmp_path / "go-on"
    os.mkfifo(fifo)

    def late(*words):
        patch = f"""if True:
            import importlib.abc, sys
            class Slow(importlib.abc.MetaPathFinder):
                def find_spec(self, name, *_):
                    if name == "pushgate.errors":
                        sys.meta_path.remove(self)
                        open({str(fifo)!r}).close()
            sys.meta_path.insert(0, Slow())
        """
        process = pushgate.start(pushgate.patched(patch, *words, *JOB, gateway=NOBODY))
        assert process.stderr.readline() == b"err\n"
        return process, lambda: fifo.write_text("")

    return late


def test_an_end_is_kept_that_nothing_could_be_done_for_in_time(late, waiting):
    """What keeps depends on nothing that is late: here pushgate itself is."""
    process, go_on = late("--push-timeout", "0.1")
    threading.Timer(0.3, go_on).start()
    _, err = process.communicate(timeout=DEADLINE)
    assert (process.returncode, err.decode().rstrip().endswith(WAITS)) == (5, True)
    assert [group.labels for group in waiting()] == [{"job": "backup"}]


@needs_proc
def test_a_term_ends_also_the_wait_for_what_is_late(late, waiting):
    process, _ = late("--push-timeout", "1h")
    while Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text():
        assert process.poll() is None
    while process.poll() is None:  # a TERM that comes with the command's end is the command's
        process.terminate()
    err = process.stderr.read()
    told = b"gave up waiting: the outcome was neither pushed nor kept in time"
    assert (process.returncode, told in err, waiting()) == (5, True, [])


def test_a_start_is_kept_and_delivered_while_the_command_runs(pushgate, waiting, tmp_path, server):
    os.mkfifo(tmp_path / "fifo")
    held, url = PushgatewayFixture(server), server.url
    server.stop()
    words = ("--retries=0", "--heartbeat=0.1s", "--", "cat", str(tmp_path / "fifo"))
    process = pushgate.start(pushgate.argv(*words, gateway=url))
    until(process, waiting)
    server.start()
    until(process, lambda: held.value("batch_job_last_start_timestamp_seconds", job="backup"))
    assert held.value("batch_job_last_completion_timestamp_seconds", job="backup") is None
    (tmp_path / "fifo").write_text("")
    assert process.wait(DEADLINE) == 0
    assert held.value("batch_job_last_run_success", job="backup") == 1
    assert waiting() == []


def until(process, condition):
    while not condition():
        assert process.poll() is None
