"""The relay with its real pusher process, real pipes and gateways that have good and bad days."""

import fcntl
import os
import signal
import stat
import struct
import subprocess
import sys
import termios
import textwrap
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from pushgate import (
    Gateway,
    Relay,
    Settings,
    SettingsError,
    gauge,
)
from pushgate.embedded import EmbeddedGateway
from support import debian, faults, servers
from support.fault_proxy import fault_proxy
from support.faults import FaultServer, answer
from support.fresh_process import fork, in_fresh_process, wait_for
from support.workers import PATIENCE, until

LEDGER = "support.relays:Ledger"
TESTS = Path(__file__).parent
FOREVER = 3600.0  # an interval that no test lives to see
FILL = "x" * 4000  # some 256 records with it fill the pipe

MakeRelay = Callable[..., Relay]


@pytest.fixture
def make_relay():
    """Makes relays that are started, and gone when the test ends."""
    made = []

    def make(url, *, timeout=10.0, outbox=None, start=True, **options):
        relay = Relay(
            options.pop("aggregator", LEDGER),
            settings=Settings(gateway=url, timeout=timeout, outbox=outbox),
            **options,
        )
        made.append(relay)
        if start:
            relay.start()
        return relay

    yield make
    for relay in made:
        relay.close(0.0)
        with suppress(ChildProcessError):  # it was waited for
            if relay._pusher is not None and not os.waitpid(pid_of(relay), os.WNOHANG)[0]:
                os.kill(pid_of(relay), signal.SIGKILL)
                os.waitpid(pid_of(relay), 0)


def stop(pid):
    """Stop a child, and return once it is: until then it might read on."""
    os.kill(pid, signal.SIGSTOP)
    os.waitid(os.P_PID, pid, os.WSTOPPED)


def pid_of(relay):
    assert relay._pusher is not None
    return relay._pusher.pid


def port_of(server):
    return int(server.url.rpartition(":")[2])


def values(url):
    """The samples that a gateway holds, by job."""
    return {
        group.labels["job"]: {f.name: f.samples[0].value for f in group.families}
        for group in Gateway(url).groups()
    }


def the_outbox():
    outbox = Settings().to_outbox()
    assert outbox is not None
    return outbox


def page(numbers):
    """What a ledger pushes that saw each of these once."""
    return {"records": len(numbers), "distinct": len(set(numbers)), "sum": sum(numbers)}


def own_descriptors():
    """Those of this process that are no sockets: its gateway's connections come and go."""
    found = []
    for number in map(int, os.listdir("/dev/fd")):
        with suppress(OSError):  # the one that lists them
            if not stat.S_ISSOCK(os.fstat(number).st_mode):
                found.append(number)
    return found


def unread(relay):
    """Bytes in the pipe that no pusher has read."""
    size = fcntl.ioctl(relay._read_end.number, termios.FIONREAD, b"\0" * 4)
    return struct.unpack("i", size)[0]


def started(url, aggregator=LEDGER):
    """A relay for functions that run in a process of their own."""
    relay = Relay(aggregator, settings=Settings(gateway=url))
    relay.start()
    return relay


def reuse_descriptors(folder, keep=()):
    """Close what was inherited and open files instead, as Celery's server beat does."""
    inherited = {int(name) for name in os.listdir("/dev/fd")} - {0, 1, 2, *keep}
    for fd in range(3, max(inherited) + 1):
        if fd not in keep:
            with suppress(OSError):
                os.close(fd)
    return [os.open(folder / str(n), os.O_CREAT | os.O_RDWR) for n in inherited]


def run_script(code, *arguments):
    """A Python of its own, with LEDGER importable, and its standard output and error at hand."""
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), *filter(None, sys.path)])},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


# Records.


def write_in_children_and_threads(url):
    relay = started(url)

    def write(first):
        assert all(relay.write(["g", first + n]) for n in range(500))

    children = [fork(partial(write, first)) for first in (0, 500, 1000)]
    threads = [threading.Thread(target=write, args=(first,)) for first in (1500, 2000)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wait_for(*children)
    assert relay.close(PATIENCE)


def test_records_of_forked_children_and_of_threads_arrive_each_once(server):
    in_fresh_process(write_in_children_and_threads, server.url)
    assert values(server.url) == {"g": page(range(2500)), "closed": {"closed": 1}}


@pytest.mark.parametrize("library", ["gevent", "eventlet"])
def test_greenlets_of_a_patched_process_lose_nothing(library, server):
    patch, spawn, join = {
        "gevent": ("from gevent import monkey; monkey.patch_all()", "gevent.spawn", "join"),
        "eventlet": ("import eventlet; eventlet.monkey_patch()", "eventlet.spawn", "wait"),
    }[library]
    script = run_script(
        f"""
        import warnings; warnings.simplefilter("ignore")
        {patch}
        import {library}, sys
        from pushgate import Relay, Settings
        relay = Relay("{LEDGER}", settings=Settings(gateway=sys.argv[1]))
        relay.start()
        def write(first):
            for n in range(100):
                assert relay.write(["g", first + n])
                {library}.sleep(0)
        for one in [{spawn}(write, 100 * k) for k in range(20)]:
            one.{join}()
        assert not relay.ensure_running()
        assert relay.close(30)
        """,
        server.url,
    )
    out, err = script.communicate(timeout=PATIENCE)
    assert (script.returncode, out, err) == (0, "", "")
    assert values(server.url)["g"] == page(range(2000))


def test_a_record_that_cannot_be_written_is_told_of_and_logged_once(server, make_relay, caplog):
    relay = make_relay(server.url)
    deep = []
    for _ in range(10_000):
        deep = [deep]

    assert relay.write(["g", 1, "x" * 4000])
    for record in (["g", 2, "x" * 4096], [object()], deep, {"g": Path()}):
        assert not relay.write(record)
    assert relay.write(["g", 3])
    assert relay.close(PATIENCE)

    assert values(server.url) == {
        "g": page([1, 3]),
        "drops": {"dropped": 4},
        "closed": {"closed": 1},
    }
    lines = [record.getMessage() for record in caplog.records]
    assert ["4096 is the limit" in line for line in lines if "record" in line] == [True]


def write_more_than_the_pipe_holds(url):
    relay = started(url)
    stop(pid_of(relay))

    def write_other_half():
        written = sum(relay.write(["child", n, FILL[:80]]) for n in range(1, 12_001))
        assert 0 < written < 12_000
        os.kill(pid_of(relay), signal.SIGCONT)
        assert relay.flush(PATIENCE)

    parents = [n for n in range(1, 12_001) if relay.write(["parent", n, FILL[:80]])]
    assert len(parents) < 12_000
    wait_for(fork(write_other_half))
    assert relay.flush(PATIENCE)
    assert relay.close(PATIENCE)
    assert values(url)["parent"] == page(parents)


def test_what_a_stopped_pusher_makes_us_drop_is_counted_exactly(server):
    logged = in_fresh_process(write_more_than_the_pipe_holds, server.url)

    held = values(server.url)
    assert held["child"]["distinct"] == held["child"]["records"]
    assert held["child"]["records"] + held["parent"]["records"] + held["drops"]["dropped"] == 24_000
    assert logged.count("does not keep up") == 2  # once in each process


def detach_in_a_child(url, folder):
    relay = started(url)
    assert relay.write(["g", 0])
    held, ready = os.pipe(), os.pipe()

    def live_on():
        others = reuse_descriptors(Path(folder), keep=(held[0], ready[1]))
        relay.detach()
        assert not relay.write(["g", 1])
        assert relay.close(0.0)
        for other in others:
            os.close(other)  # all there
        os.write(ready[1], b"x")
        os.read(held[0], 1)

    child = fork(live_on)
    os.close(ready[1])
    assert os.read(ready[0], 1) == b"x"
    assert relay.close(PATIENCE)
    os.write(held[1], b"x")
    wait_for(child)


def write_in_a_child_without_descriptors(url, folder):
    relay = started(url)
    assert relay.write(["g", 0])

    def write():
        reuse_descriptors(Path(folder))
        assert relay.write(["g", 1])  # by the pipe of its parent

    wait_for(fork(write))
    assert relay.close(PATIENCE)
    assert values(url)["g"] == page([0, 1])


@pytest.mark.parametrize("act", [detach_in_a_child, write_in_a_child_without_descriptors])
def test_a_child_whose_descriptors_became_others_touches_none_of_them(act, server, tmp_path):
    in_fresh_process(act, server.url, str(tmp_path))
    assert list(tmp_path.iterdir())
    assert not [file for file in tmp_path.iterdir() if file.stat().st_size]


# Ends, also those that come too early.


def test_what_a_killed_worker_wrote_is_pushed(server):
    worker = run_script(
        f"""
        import sys, time
        from pushgate import Relay, Settings
        relay = Relay("{LEDGER}", settings=Settings(gateway=sys.argv[1]), interval={FOREVER})
        relay.start()
        relay.write(["g", 0])
        sys.stdin.readline()
        for n in range(1, 50):
            relay.write(["g", n])
        print("written", flush=True)
        time.sleep({PATIENCE})
        """,
        server.url,
    )
    assert worker.stdin is not None
    assert worker.stdout is not None
    until(lambda: values(server.url).get("g") == page([0]), "there is no first push")
    worker.stdin.write("\n")
    worker.stdin.flush()
    assert worker.stdout.readline() == "written\n"
    worker.kill()
    worker.communicate()  # its standard error is the pusher's, too: this waits for both

    held = values(server.url)
    held.pop("abandoned", None)  # which comes with the end
    assert held == {"g": page(range(50)), "closed": {"closed": 1}}


def test_a_pusher_that_was_killed_is_replaced_and_reads_what_was_left(server, make_relay, caplog):
    relay = make_relay(server.url)
    first, descriptors = pid_of(relay), own_descriptors()
    assert not relay.ensure_running()
    stop(first)
    for n in range(10):
        assert relay.write(["g", n])
    os.kill(first, signal.SIGKILL)

    until(relay.ensure_running, "the pusher is not replaced")

    assert not relay.ensure_running()
    assert len(own_descriptors()) == len(descriptors)
    assert relay.write(["g", 10])
    assert relay.close(PATIENCE)
    assert values(server.url)["g"] == page(range(11))
    with pytest.raises(ProcessLookupError):
        os.kill(first, 0)  # not even a zombie
    (record,) = caplog.records
    assert "signal 9" in record.getMessage()


def test_a_pusher_that_dies_while_much_waits_leaves_whole_records_to_the_next(server, make_relay):
    relay = make_relay(server.url, options={"dies_on": 0})
    stop(pid_of(relay))
    assert all(relay.write(["g", n, FILL[:80]]) for n in range(3000))
    os.kill(pid_of(relay), signal.SIGCONT)
    until(relay.ensure_running, "the pusher is not replaced")
    assert relay.write(["g", 3000])
    assert relay.close(PATIENCE)

    held = values(server.url)
    assert held["g"]["records"] == held["g"]["distinct"] > 0
    assert "drops" not in held


def test_a_pusher_that_is_found_dead_at_the_end_is_replaced_for_that(server, make_relay):
    relay = make_relay(server.url)
    stop(pid_of(relay))
    assert relay.write(["g", 1])
    os.kill(pid_of(relay), signal.SIGKILL)
    assert relay._pusher is not None
    assert relay._pusher.is_gone(PATIENCE)

    assert relay.close(PATIENCE)

    assert values(server.url)["g"] == page([1])


def test_the_pusher_survives_signals_to_the_service(server, make_relay):
    relay = make_relay(server.url)
    pusher = pid_of(relay)
    assert os.getpgid(pusher) == pusher
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1):
        os.kill(pusher, number)
    assert relay.write(["g", 1])
    assert relay.close(PATIENCE)
    assert values(server.url)["g"] == page([1])


@pytest.mark.parametrize(
    ("outbox", "fate"),
    [("box", "wait in the outbox {}"), ("off", "are lost"), ("file/box", "are lost")],
)
def test_an_end_with_the_gateway_down_says_what_becomes_of_how_many_groups(
    make_relay, capfd, tmp_path, outbox, fate
):
    (tmp_path / "file").touch()
    path = "off" if outbox == "off" else str(tmp_path / outbox)
    relay = make_relay("http://user:hush@127.0.0.1:1", linger=0.3, outbox=path)
    for group in "abc":
        assert relay.write([group, 1])
    assert relay.close(PATIENCE)
    *_, last = capfd.readouterr().err.splitlines()
    assert "could not be delivered: 4;" in last  # and that of the end itself
    assert f"they {fate.format(path)};" in last
    assert "hush" not in last


def test_what_a_pusher_left_in_the_outbox_the_next_one_delivers_but_not_over_newer(
    make_relay, capfd
):
    ahead = 10.0  # seconds: two clocks can't be compared more exactly than to one
    with (
        EmbeddedGateway(clock=lambda: time.time() + ahead) as gateway,
        fault_proxy(port_of(gateway), down=True) as proxy,
    ):
        relay = make_relay(proxy.url, linger=0.0)
        for group in "abc":
            assert relay.write([group, 1])
        assert relay.close(PATIENCE)

        Gateway(gateway.url).push("b", [gauge("newer", "", 1)])
        ahead = 0.0
        proxy.listen()
        relay = make_relay(proxy.url)
        assert relay.write(["c", 2])
        until(the_outbox().is_empty, "the outbox is not delivered")
        assert relay.close(PATIENCE)
        assert values(gateway.url) == {
            "a": page([1]),
            "b": {"newer": 1},
            "c": page([2]),
            "closed": {"closed": 1},
        }
    assert "outbox" in capfd.readouterr().err


def test_after_an_outage_no_round_is_said_to_take_too_long(make_relay, server, capfd):
    with fault_proxy(port_of(server), down=True) as proxy:
        relay = make_relay(
            proxy.url, options={"pace": "slow"}, interval=0.1, slow_interval=0.1, linger=PATIENCE
        )
        for group in "abc":
            assert relay.write([group, 1])
        until(lambda: len(the_outbox().waiting()) == 3, "not all are tried")
        proxy.listen()
        until(lambda: {*"abc"} <= values(server.url).keys(), "they are not delivered")
        assert relay.close(PATIENCE)
    assert "a round" not in capfd.readouterr().err


def test_what_a_push_failed_with_outlives_a_pusher_that_is_killed(make_relay, server):
    with fault_proxy(port_of(server), down=True) as proxy:
        relay = make_relay(proxy.url)
        assert relay.write(["g", 1])
        until(the_outbox().waiting, "it is not kept")
        os.kill(pid_of(relay), signal.SIGKILL)
        until(relay.ensure_running, "the pusher is not replaced")
        proxy.listen()
        assert relay.write(["other", 1])
        until(lambda: values(server.url).get("g") == page([1]), "it is not delivered")
        assert relay.close(PATIENCE)


def test_what_hangs_at_the_end_is_in_the_outbox_before_the_worker_takes_the_pusher_along(
    make_relay, server
):
    with fault_proxy(port_of(server), faults.hang) as proxy:
        relay = make_relay(proxy.url, linger=FOREVER, timeout=FOREVER)
        assert relay.write(["g", 1])
        assert not relay.close(0.1)
        until(lambda: len(the_outbox().waiting()) == 2, "it is not kept")
        os.kill(pid_of(relay), signal.SIGKILL)
        proxy.heal()
        assert the_outbox().flush(Gateway(proxy.url)).delivered == 2
    assert values(server.url) == {"g": page([1]), "closed": {"closed": 1}}


def test_what_was_kept_and_then_delivered_is_in_the_outbox_no_more(make_relay, server):
    with fault_proxy(port_of(server), down=True) as proxy:
        relay = make_relay(proxy.url, linger=PATIENCE)
        assert relay.write(["g", 1])
        assert not relay.close(0.1)
        until(lambda: len(the_outbox().waiting()) == 2, "it is not kept")
        proxy.listen()
        until(the_outbox().is_empty, "it stays")
        assert values(server.url) == {"g": page([1]), "closed": {"closed": 1}}


def test_what_is_refused_after_it_was_kept_is_in_the_outbox_no_more(make_relay, capfd):
    def refuse_late(peer):
        while seen := peer.request():
            if seen.method == "GET":
                peer.send(answer(body=b'{"status":"success","data":[]}'))
            else:
                until(the_outbox().waiting, "nothing is kept")
                peer.send(answer("400 Bad Request"))

    with FaultServer(refuse_late) as server:
        relay = make_relay(server.url)
        assert relay.write(["g", 1])
        assert relay.close(PATIENCE)
    assert the_outbox().is_empty()
    assert capfd.readouterr().err.count("was given up") == 2


def test_an_end_with_a_hung_gateway_is_over_when_its_time_is(make_relay, capfd):
    with FaultServer(faults.hang) as server:
        relay = make_relay(server.url, linger=0.3, timeout=FOREVER)
        assert relay.write(["g", 1])
        until(lambda: server.accepted, "nothing is pushed")
        assert relay.close(PATIENCE)
    assert "could not be delivered: 2;" in capfd.readouterr().err


@pytest.mark.end_to_end
def test_a_push_that_a_stalled_gateway_does_late_is_not_taken_for_newer_than_what_was_kept(
    make_relay,
):
    with servers.pushgateway(debian.require("pushgateway-1.11")) as gateway:
        relay = make_relay(gateway.url, interval=0.0, linger=0.3)
        assert relay.write(["g", 1])
        until(lambda: values(gateway.url).get("g") == page([1]), "nothing is pushed")
        assert gateway._process is not None
        stop(gateway._process.pid)
        assert relay.write(["g", 2])
        until(lambda: unread(relay) == 0, "the pusher does not read")
        assert relay.write(["g", 3])
        assert relay.close(PATIENCE)
        os.kill(gateway._process.pid, signal.SIGCONT)
        until(lambda: values(gateway.url)["g"] != page([1]), "the gateway did not do it late")

        assert not the_outbox().flush(Gateway(gateway.url)).dropped

        assert values(gateway.url) == {"g": page([1, 2, 3]), "closed": {"closed": 1}}


def test_close_waits_no_longer_than_it_may(make_relay):
    with FaultServer(faults.hang) as server:
        relay = make_relay(server.url, linger=FOREVER, timeout=FOREVER)
        assert relay.write(["g", 1])
        assert not relay.close(0.1)
        assert not relay.write(["g", 2])
        assert relay.close(0.1), "a second time does nothing"


def test_a_process_that_was_left_hides_no_death(server):
    ended, end = os.pipe()

    def die():
        os.close(end)
        relay = started(server.url)
        assert relay.write(["g", 1])
        fork(lambda: os.read(ended, 1))
        os.kill(os.getpid(), signal.SIGKILL)

    os.waitpid(fork(die), 0)
    until(lambda: "abandoned" in values(server.url), "the death is not told")
    assert "closed" not in values(server.url)
    os.close(end)
    until(lambda: "closed" in values(server.url), "the end is not told")
    os.close(ended)


# Pushes.


def test_a_group_is_pushed_at_once_and_then_no_more_in_its_interval(make_relay):
    with FaultServer(faults.accept) as server:
        relay = make_relay(server.url, interval=FOREVER)
        for group in "ab":
            assert relay.write([group, 0])
        until(lambda: len(server.requests) >= 2, "nothing is pushed at once")
        for n in range(1, 500):
            assert relay.write(["ab"[n % 2], n])
        assert relay.close(PATIENCE)
        assert sorted(f"{seen.method} {seen.target}" for seen in server.requests) == [
            "POST /metrics/job/closed",
            *["PUT /metrics/job/a"] * 2,
            *["PUT /metrics/job/b"] * 2,
        ]


@pytest.mark.parametrize(("pace", "there"), [("slow", page([0])), ("now", page([0, 1]))])
def test_a_slow_group_has_an_interval_of_its_own_but_for_what_can_not_wait(
    server, make_relay, pace, there
):
    options = {"pace": pace}
    relay = make_relay(server.url, interval=0.0, slow_interval=FOREVER, options=options)
    assert relay.write(["g", 0])
    until(lambda: values(server.url).get("g") == page([0]), "it is not pushed at once")
    assert relay.write(["g", 1])
    until(lambda: unread(relay) == 0, "the pusher does not read")
    until(lambda: values(server.url).get("g") == there, "it is not as it should be")
    assert relay.close(PATIENCE)
    assert values(server.url)["g"] == page([0, 1])


def test_a_hung_gateway_delays_no_writer(make_relay):
    with FaultServer(faults.hang) as server:
        relay = make_relay(server.url, linger=0.0)
        assert relay.write(["g", 0])
        until(lambda: server.accepted, "nothing is pushed")
        for _ in range(5):  # of which each nearly fills the pipe
            assert all(relay.write(["g", n, FILL]) for n in range(200))
            until(lambda: unread(relay) == 0, "the pusher does not read")
        assert relay.close(PATIENCE)


def test_after_an_outage_all_that_was_counted_in_it_arrives(make_relay, server, capfd):
    url = server.url
    relay = make_relay(url, interval=0.0)
    assert relay.write(["g", 0])
    until(lambda: "g" in values(url), "nothing is pushed")
    server.stop()
    for n in range(1, 5):
        assert relay.write(["g", n])
    said = ""

    def is_noticed():
        nonlocal said
        said += capfd.readouterr().err
        return "takes nothing now" in said

    until(is_noticed, "the outage is not noticed")
    server.start()
    until(lambda: values(url).get("g") == page(range(5)), "it does not arrive")
    assert relay.close(PATIENCE)
    said += capfd.readouterr().err
    assert len(said.splitlines()) == 2
    assert "answers again" in said


def test_a_group_that_is_rejected_stops_no_other(server, make_relay, capfd):
    Gateway(server.url).push("mine", [gauge("records", "", 1)])
    relay = make_relay(server.url, interval=0.0, options={"counter_of": "bad"})
    for n in range(3):
        assert relay.write(["bad", n])
        assert relay.write(["good", n])
        until(lambda n=n: values(server.url).get("good") == page(range(n + 1)), "no push")
    assert relay.close(PATIENCE)
    assert values(server.url)["bad"] == {}  # the gateway keeps the time of the failure
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith('pushgate: a push for {job="bad"} was given up: HTTP Error 400')


def test_an_aggregator_that_raises_loses_the_record_and_says_so_once(server, make_relay, capfd):
    relay = make_relay(server.url, options={"raise_on": 13})
    for n in (1, 13, 2, 13, 3):
        assert relay.write(["g", n])
    assert relay.close(PATIENCE)
    assert values(server.url)["g"] == page([1, 2, 3])
    (line,) = capfd.readouterr().err.splitlines()
    assert "the ledger refuses 13" in line


# The process.


def test_the_pusher_shows_no_secret_and_keeps_nothing_of_ours_open(server, make_relay, monkeypatch):
    monkeypatch.setenv("PUSHGATE_PASSWORD", "hush-1")
    inherited = os.pipe()
    for fd in inherited:
        os.set_inheritable(fd, True)
    url = server.url.replace("http://", "http://user:hush-2@")
    relay = make_relay(url)
    assert relay.write(["g", 1])
    until(lambda: "g" in values(server.url), "nothing is pushed")

    os.close(inherited[1])
    os.set_blocking(inherited[0], False)
    assert os.read(inherited[0], 1) == b"", "the pusher keeps the other end"
    os.close(inherited[0])
    shown = subprocess.run(
        ["ps", "-ww", "-o", "args=", "-p", str(pid_of(relay))], capture_output=True, check=True
    ).stdout
    assert b"pushgate.relay" in shown
    if sys.platform == "linux":
        shown += Path(f"/proc/{pid_of(relay)}/environ").read_bytes()
    assert b"hush" not in shown
    assert relay.close(PATIENCE)


def test_a_project_s_modules_named_like_the_library_s_do_no_harm(server, tmp_path):
    for name in ("json", "threading", "celery", "signal", "random", "pushgate"):
        (tmp_path / f"{name}.py").write_text("raise ImportError(f'{__name__} of the project')")
    script = run_script(
        f"""
        import os, sys
        from pushgate import Relay, Settings
        relay = Relay("{LEDGER}", settings=Settings(gateway=sys.argv[1]))
        sys.path.insert(0, sys.argv[2])  # as the celery command does with the current directory
        sys.path.insert(0, "")
        os.chdir(sys.argv[2])
        relay.start()
        relay.write(["g", 1])
        assert relay.close({PATIENCE})
        """,
        server.url,
        str(tmp_path),
    )
    out, err = script.communicate(timeout=PATIENCE)
    assert (script.returncode, out, err) == (0, "", "")
    assert values(server.url)["g"] == page([1])


@pytest.mark.parametrize(
    ("aggregator", "words"),
    [
        ("support.relays:Missing", "Missing"),
        ("no_such_package.module:factory", "no_such_package"),
        ("support.relays:refusing", "these options are no good"),
        ("support.relays", "package.module:factory"),
    ],
)
def test_a_pusher_that_cannot_begin_says_why_to_who_starts_it(make_relay, aggregator, words):
    relay = make_relay("http://127.0.0.1:1", start=False, aggregator=aggregator)
    before = own_descriptors()
    with pytest.raises(OSError, match="could not begin") as caught:
        relay.start()
    assert words in str(caught.value)
    assert own_descriptors() == before
    assert not relay.write(["g", 1])


@pytest.mark.parametrize("stderr", [">&-", ">/dev/null"])
def test_what_the_pusher_of_a_daemon_says_is_in_the_daemon_s_log(tmp_path, stderr):
    log = tmp_path / "log"
    script = run_script(
        f"""
        import logging, os, sys, time
        if len(sys.argv) == 3:
            again = [sys.executable, *sys.orig_argv[1:], "again"]
            os.execv("/bin/sh", ["sh", "-c", f'exec "$@" 2{{sys.argv[2]}}', "sh", *again])
        logging.basicConfig(filename=sys.argv[1])
        from pushgate import Relay, Settings
        relay = Relay("{LEDGER}", settings=Settings(gateway="http://127.0.0.1:1"), linger=0.1)
        relay.start()
        relay.write(["g", 1])
        deadline = time.monotonic() + {PATIENCE}
        while not os.path.getsize(sys.argv[1]) and time.monotonic() < deadline:
            assert not relay.ensure_running()
            time.sleep(0.01)
        assert relay.close({PATIENCE})
        """,
        str(log),
        stderr,
    )
    script.communicate(timeout=PATIENCE)
    first, last = log.read_text().splitlines()
    assert "WARNING:pushgate:the gateway http://127.0.0.1:1 takes nothing now" in first
    assert "could not be delivered: 2;" in last


@pytest.mark.parametrize("executable", ["", "/bin/true", "/no/such/python"])
def test_a_worker_without_an_interpreter_is_told(make_relay, monkeypatch, executable):
    relay = make_relay("http://127.0.0.1:1", start=False)
    monkeypatch.setattr(sys, "executable", executable)
    with pytest.raises(OSError, match=r"sys\.executable|/no/such/python"):
        relay.start()


def test_what_a_relay_cannot_use_is_refused_when_it_is_made():
    settings = Settings(gateway="http://127.0.0.1:1")
    with pytest.raises(SettingsError, match="no gateway is configured"):
        Relay(LEDGER, settings=Settings())
    with pytest.raises(TypeError, match="JSON"):
        Relay(LEDGER, settings=settings, options={"a": {1}})
    with pytest.raises(ValueError, match="interval is -1"):
        Relay(LEDGER, settings=settings, interval=-1)
