"""The outbox as its users meet it: what waits, what goes, and what is wrong with the file."""

import os
import pickle
import random
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from urllib.error import HTTPError

import pytest

from pushgate import (
    DeliveryError,
    Gateway,
    GatewayRejectedError,
    GroupingKey,
    Outbox,
    gauge,
)
from pushgate.embedded import EmbeddedGateway
from pushgate.outbox import _claims, _clock, _file, _said
from support.faults import FaultServer, answer

NOWHERE = "http://gateway.invalid:9091"
KEY = GroupingKey("job")


@pytest.fixture
def server():
    with EmbeddedGateway() as gateway:
        yield gateway


@pytest.fixture(autouse=True)
def _one_clock(monkeypatch):
    """The embedded gateway's clock is ours; to find that out takes a second."""
    monkeypatch.setattr(
        _clock.Clock, "is_later", lambda _self, _g, here, there, _left: there > here
    )


@pytest.fixture
def said():
    return []


@pytest.fixture
def outbox(tmp_path, said):
    _said._said.clear()
    return Outbox(tmp_path / "state" / "outbox.sqlite3", say=said.append)


@pytest.fixture
def gateway(server, outbox):
    return Gateway(server.url, outbox=outbox, retries=0, timeout=5)


@contextmanager
def outage(server):
    server.stop()
    try:
        yield
    finally:
        server.start()


def fails(push, *arguments, **options):
    with pytest.raises(OSError) as caught:  # noqa: PT011 - of any kind
        push(*arguments, **options)
    return caught.value


def values(url):
    return {
        group.labels["job"]: {f.name: f.samples[0].value for f in group.families}
        for group in Gateway(url).groups()
    }


def test_what_fails_waits_and_goes_with_the_next_push_to_any_group(server, gateway, outbox):
    gateway.push("a", [gauge("old", "", 1)])
    gateway.push("d", [gauge("old", "", 1)])
    with outage(server):
        for push, *arguments in (
            (gateway.pushadd, "a", [gauge("x", "", 1), gauge("y", "", 1)]),
            (gateway.pushadd, "a", [gauge("x", "", 2)]),
            (gateway.push, "b", [gauge("x", "", 1)]),
            (gateway.push, "b", [gauge("z", "", 2)]),
            (gateway.pushadd, "b", [gauge("w", "", 3)]),
            (gateway.push, "c", [gauge("x", "", 1)]),
            (gateway.delete, "c"),
            (gateway.delete, "d"),
            (gateway.pushadd, "d", [gauge("x", "", 1)]),
        ):
            assert fails(push, *arguments).kept
        waiting = {
            group.labels["job"]: (group.method, group.families, group.tries)
            for group in outbox.waiting(gateway.url)
        }
    assert waiting == {
        "a": ("POST", ("x", "y"), 2),
        "b": ("PUT", ("w", "z"), 3),
        "c": ("DELETE", (), 2),
        "d": ("PUT", ("x",), 2),
    }

    gateway.push("e", [gauge("x", "", 1)])

    assert outbox.is_empty()
    assert values(server.url) == {
        "a": {"old": 1, "x": 2, "y": 1},
        "b": {"w": 3, "z": 2},
        "d": {"x": 1},
        "e": {"x": 1},
    }


def test_a_push_goes_after_what_waits_for_its_group(server, gateway, outbox):
    gateway.push("a", [gauge("old", "", 1)])
    with outage(server):
        fails(gateway.push, "a", [gauge("x", "", 1), gauge("y", "", 1)])
    gateway.pushadd("a", [gauge("x", "", 2)])
    assert (values(server.url), outbox.is_empty()) == ({"a": {"x": 2, "y": 1}}, True)

    with outage(server):
        fails(gateway.push, "a", [gauge("z", "", 1)])
    gateway.delete("a")
    assert (values(server.url), outbox.is_empty()) == ({}, True)


def test_a_heartbeat_is_not_kept_and_does_not_make_what_waits_look_old(server, gateway, outbox):
    with outage(server):
        fails(gateway.pushadd, "a", [gauge("x", "", 1)])
        assert not fails(gateway.pushadd, "b", []).kept
    with _claims.claimed(outbox.path, gateway.url):  # another process is about to deliver
        gateway.pushadd("a", [])
    assert values(server.url) == {"a": {}}
    outbox.flush(gateway)
    assert values(server.url) == {"a": {"x": 1}}


def refuse(status):
    return lambda peer: [peer.send(answer(status)) for _ in iter(peer.request, None)]


@pytest.mark.parametrize(
    ("status", "kept"),
    [("400 No", 0), ("413 No", 0), ("422 No", 0), ("401 No", 1), ("404 No", 1), ("503 No", 1)],
)
def test_what_no_later_try_mends_is_not_kept(outbox, status, kept):
    with FaultServer(refuse(status)) as server:
        error = fails(Gateway(server.url, outbox=outbox, retries=0).push, "a", [gauge("x", "", 1)])
    assert (error.kept, len(outbox.waiting())) == (kept, kept)


def test_a_refused_push_leaves_what_waited_as_it_was(server, gateway, outbox):
    gateway.push("other", [gauge("bad", "", 1)])
    with outage(server):
        fails(gateway.push, "a", [gauge("x", "", 1)])
    bad = b"# TYPE bad counter\nbad 1\n"
    assert isinstance(fails(gateway.send, "PUT", GroupingKey("a"), bad), GatewayRejectedError)
    outbox.flush(gateway)
    assert values(server.url)["a"] == {"x": 1}


def test_of_a_users_handler_errors_of_the_network_are_kept_and_bugs_are_not(outbox):
    def handler(url, method, timeout, headers, data):
        def perform():
            raise to_raise

        return perform

    gateway = Gateway("gateway:1", handler=handler, outbox=outbox)
    to_raise = HTTPError("http://u:secret@gateway:1", 400, "no", {}, None)
    assert not getattr(fails(gateway.push, "a", [gauge("x", "", 1)]), "kept", False)
    to_raise = ZeroDivisionError()
    with pytest.raises(ZeroDivisionError):
        gateway.push("a", [gauge("x", "", 1)])
    assert outbox.is_empty()
    to_raise = OSError("http://u:secret@gateway:1 did not answer")
    assert fails(gateway.push, "a", [gauge("x", "", 1)]).kept
    assert len(outbox.waiting()) == 1


def test_the_file_is_the_users_alone_and_holds_no_credentials(tmp_path, outbox):
    outbox.keep("http://user:secret@gateway.invalid", [("PUT", KEY, b"x 1\n", time.time())])
    assert outbox.waiting("http://other:words@gateway.invalid")
    assert os.stat(tmp_path / "state").st_mode & 0o777 == 0o700
    for name in os.listdir(tmp_path / "state"):
        path = tmp_path / "state" / name
        assert path.stat().st_mode & 0o777 == 0o600
        assert b"secret" not in path.read_bytes()


def test_one_bad_change_does_not_take_the_others_with_it(server, gateway, outbox, said):
    with outage(server):
        fails(gateway.push, "a", [gauge("x", "", 1)])
        fails(gateway.send, "POST", GroupingKey("a"), b"# TYPE bad counter\nbad 1\n")
        fails(gateway.pushadd, "a", [gauge("y", "", 1)])
    gateway.push("other", [gauge("bad", "", 1)])
    assert (values(server.url)["a"], outbox.is_empty()) == ({"x": 1, "y": 1}, True)
    assert len(said) == 1
    assert '{job="a"}: bad refused: 400' in said[0]


def test_a_group_that_is_not_taken_does_not_hold_up_the_others(outbox):
    def not_b(peer):
        for seen in iter(peer.request, None):
            if seen.method == "GET":
                peer.send(answer(body=b'{"status":"success","data":[]}'))
            else:
                peer.send(answer("500 No" if seen.target.endswith("/b") else "200 OK"))

    with FaultServer(not_b) as server:
        gateway = Gateway(server.url, outbox=outbox, retries=0)
        keys = map(GroupingKey, "abc")
        outbox.keep(gateway.url, [("PUT", key, b"x 1\n", n) for n, key in enumerate(keys, 1)])
        flushed = outbox.flush(gateway)
    assert (flushed.delivered, flushed.left, flushed.error.status) == (2, 1, 500)
    assert [group.labels for group in outbox.waiting()] == [{"job": "b"}]


def test_a_gateway_that_may_not_be_read_gets_what_waits_only_when_told_to(outbox):
    taken = []

    def push_only(peer):
        for seen in iter(peer.request, None):
            taken.append((seen.method, seen.target, seen.body))
            peer.send(answer("403 No" if seen.method == "GET" else "200 OK"))

    with FaultServer(push_only) as server:
        gateway = Gateway(server.url, outbox=outbox, retries=0)
        outbox.keep(gateway.url, [("PUT", KEY, b"x 1\n", time.time())])
        flushed = outbox.flush(gateway)
        assert (flushed.left, "--unseen" in str(flushed.error)) == (1, True)
        gateway.pushadd("job", [gauge("y", "", 1)])
        assert not outbox.is_empty()
        before = len(taken)
        gateway.push("other", [gauge("y", "", 1)])
        assert len(taken) == before + 1, "it asked again at once"
        assert outbox.flush(gateway, unseen=True).delivered == 1
    # The POST that came after the PUT is in it: it would have undone it.
    assert taken[-1][:2] == ("PUT", "/metrics/job/job")
    assert (b"x 1\n" in taken[-1][2], b"y 1.0\n" in taken[-1][2]) == (True, True)


def test_a_push_leaves_its_time_for_keeping_when_the_gateway_hangs(outbox):
    with FaultServer(lambda peer: (peer.request(), peer.hang())) as server:
        gateway = Gateway(server.url, outbox=outbox, retries=0, timeout=0.2)
        error = fails(gateway.push, "a", [gauge("x", "", 1)])
    assert (type(error).__name__, error.kept) == ("GatewayTimeoutError", True)


def test_while_another_process_delivers_for_a_group_a_push_of_it_waits(server, gateway, outbox):
    with outage(server):
        fails(gateway.push, "a", [gauge("x", "", 1)])
    from pushgate.outbox._store import group_text

    with _claims.claimed(outbox.path, group_text(gateway.url, {"job": "a"})) as is_ours:
        assert is_ours
        error = fails(gateway.pushadd, "a", [gauge("x", "", 2)])
        assert (type(error), error.kept, error.group) == (DeliveryError, True, {"job": "a"})
        assert values(server.url) == {}
        assert outbox.flush(gateway).left == 1
    assert outbox.flush(gateway).delivered == 1
    assert values(server.url) == {"a": {"x": 2}}


def test_who_has_no_turn_to_write_keeps_its_push_all_the_same(server, gateway, outbox, tmp_path):
    gateway.push("a", [gauge("x", "", 1)])
    with outage(server):
        fails(gateway.push, "b", [gauge("x", "", 1)])
        with _claims.turn(outbox.path, wait=1):
            for value in (2, 3):
                assert fails(gateway.pushadd, "a", [gauge("x", "", value)]).kept
            assert os.listdir(f"{outbox.path}.spool")
        assert not outbox.is_empty()
    gateway.pushadd("c", [gauge("x", "", 1)])
    assert values(server.url) == {"a": {"x": 3}, "b": {"x": 1}, "c": {"x": 1}}
    assert outbox.is_empty()


def test_many_threads_lose_nothing(server, gateway, outbox):
    def work(number):
        for value in range(5):
            fails(gateway.pushadd, f"job{number}", [gauge(f"x{value}", "", value)])

    with outage(server):
        threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    outbox.flush(gateway)
    assert values(server.url) == {f"job{n}": {f"x{v}": v for v in range(5)} for n in range(8)}


def test_a_push_that_arrives_while_nothing_waits_imports_no_sqlite3(server, tmp_path):
    code = f"""if True:
        import sys
        from pushgate import Gateway, Outbox, gauge
        outbox = Outbox({str(tmp_path / "none" / "outbox")!r})
        Gateway({server.url!r}, outbox=outbox).push("a", [gauge("x", "", 1)])
        print(*sys.modules)
    """
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"sqlite3", "json", "fcntl"} & set(found.stdout.split())
    assert not (tmp_path / "none").exists()


def test_a_stale_marker_is_taken_away_by_the_next_flush(server, gateway, outbox):
    outbox.keep(gateway.url, [("PUT", KEY, b"y 1\n", time.time())])
    outbox.flush(gateway)
    open(f"{outbox.path}.waiting", "x").close()  # its process was killed before it removed it
    gateway.push("a", [gauge("x", "", 1)])
    assert outbox.is_empty()


def test_a_note_whose_writer_was_killed_is_taken_away(server, gateway, outbox):
    folder = f"{outbox.path}.spool"
    os.makedirs(folder)
    for name, age in (("0-half", 3600), ("1-half", 0), ("2-foreign.json", 0)):
        with open(os.path.join(folder, name), "w") as file:
            file.write("[{")
        moment = time.time() - age
        os.utime(file.name, (moment, moment))
    gateway.push("a", [gauge("x", "", 1)])
    assert os.listdir(folder) == ["1-half"]  # which may be being written yet
    os.utime(os.path.join(folder, "1-half"), (0, 0))
    assert outbox.waiting() == []
    assert outbox.is_empty()


def test_a_note_that_was_given_up_while_its_writer_stood_still_is_written_again(
    gateway, outbox, monkeypatch
):
    fsync = os.fsync

    def slow(fd):
        monkeypatch.setattr(os, "fsync", fsync)
        for name in os.listdir(f"{outbox.path}.spool"):
            os.unlink(f"{outbox.path}.spool/{name}")

    os.makedirs(os.path.dirname(outbox.path))
    with _claims.turn(outbox.path, wait=1):
        monkeypatch.setattr(os, "fsync", slow)
        assert outbox.keep(NOWHERE, [("PUT", KEY, b"y 1\n", time.time())])
    assert [group.families for group in outbox.waiting()] == [("y",)]


def test_the_name_of_the_file_may_be_any(tmp_path):
    outbox = Outbox(os.fsencode(tmp_path / "100%? #").decode() + "\udcff")
    assert outbox.keep(NOWHERE, [("PUT", KEY, b"y 1\n", time.time())])
    assert len(outbox.waiting()) == 1


def test_a_link_is_the_file_that_it_leads_to(tmp_path):
    real, link = Outbox(tmp_path / "real" / "outbox"), tmp_path / "link"
    link.symlink_to(real.path)  # which is not there yet
    assert Outbox(link).keep(NOWHERE, [("PUT", KEY, b"y 1\n", time.time())])
    assert len(real.waiting()) == 1
    assert sorted(os.listdir(tmp_path)) == ["link", "real"]


# What is wrong with the file


def broken(path):
    path.parent.mkdir()
    path.write_bytes(b"SQLite format 3\0" + random.Random(1).randbytes(8000))


def half_broken(path):
    Outbox(path).keep(NOWHERE, [("PUT", GroupingKey(f"j{n}"), b"x 1\n", 1.0) for n in range(99)])
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(path.stat().st_size - 8192))


@pytest.mark.parametrize("breaking", [broken, half_broken])
def test_a_broken_file_is_moved_aside_and_a_new_one_begun(outbox, said, tmp_path, breaking):
    breaking(tmp_path / "state" / "outbox.sqlite3")
    assert outbox.keep(NOWHERE, [("PUT", KEY, b"x 1\n", time.time())])
    assert [group.labels for group in outbox.waiting()] == [{"job": "job"}]
    (line,) = said
    assert "is broken" in line
    assert next(n for n in os.listdir(tmp_path / "state") if ".corrupt-" in n) in line


def test_a_file_that_was_never_an_outbox_keeps_its_name(tmp_path, said):
    theirs = tmp_path / "notes.txt"
    theirs.write_text("a setting may name any file by mistake\n" * 99)
    outbox = Outbox(theirs, say=said.append)
    assert not outbox.keep(NOWHERE, [("PUT", KEY, b"x 1\n", time.time())])
    assert [p.name for p in tmp_path.glob("notes*") if p.suffix != ".lock"] == ["notes.txt"]
    assert theirs.read_text().startswith("a setting")
    assert "is no outbox, and is left alone" in said[0]


def of_a_newer_version(path):
    Outbox(path).keep(NOWHERE, [("PUT", KEY, b"x 1\n", 1.0)])
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA application_id = {_file._APPLICATION + 99}")
    connection.close()


def of_something_else(path):
    path.parent.mkdir()
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    connection.close()


def a_pipe(path):
    path.parent.mkdir()
    os.mkfifo(path)


def a_directory(path):
    path.mkdir(parents=True)


def in_no_directory(path):
    path.parent.write_bytes(b"")


def full(path):
    Outbox(path).keep(NOWHERE, [("PUT", KEY, b"x 1\n", 1.0)])


@pytest.mark.parametrize(
    ("making", "reason"),
    [
        (of_a_newer_version, "another version of pushgate"),
        (of_something_else, "a database of something else"),
        (a_directory, "not a regular file"),
        (a_pipe, "not a regular file"),
        (in_no_directory, "is not a directory"),
        (full, "full"),
    ],
)
def test_a_file_that_cannot_be_used_is_left_alone_and_said_once(
    server, outbox, said, tmp_path, monkeypatch, making, reason
):
    path = tmp_path / "state" / "outbox.sqlite3"
    making(path)
    if making is full:
        monkeypatch.setattr(_file, "_PAGES", 8)
    before = path.read_bytes() if path.is_file() else None
    gateway = Gateway(server.url, outbox=outbox, retries=0)
    gateway.push("a", [gauge("x", "", 1)])
    text = b"y 1 # " + b"y" * 20_000 + b"\n"
    with outage(server):
        assert not fails(gateway.send, "PUT", KEY, text).kept
        assert not fails(gateway.send, "PUT", KEY, text).kept
        assert not outbox.keep(gateway.url, [("PUT", KEY, text, 1.0)])
    (line,) = said
    assert (reason in line, outbox.path in line, "PUSHGATE_OUTBOX" in line) == (True, True, True)
    assert (path.read_bytes() if path.is_file() else None) == before
    if path.exists() and not path.is_file():
        assert os.listdir(path.parent) == [path.name]  # no lock beside a device
    assert values(server.url) == {"a": {"x": 1}}


def test_a_file_of_another_user_is_said_once(server, gateway, outbox, said, monkeypatch):
    outbox.keep(gateway.url, [("PUT", KEY, b"x 1\n", 1.0)])
    monkeypatch.setattr(os, "access", lambda *_: False)  # a chmod does not stop root
    with outage(server):
        assert not fails(gateway.push, "a", [gauge("x", "", 1)]).kept
    (line,) = said
    assert "Permission denied" in line


def test_a_push_that_was_sent_by_a_process_that_was_killed_is_not_undone(server, gateway, outbox):
    class KilledError(BaseException):
        """Ends the push where SIGKILL would: when the gateway has taken it."""

    def killed(gateway, *arguments, **options):
        send_directly(gateway, *arguments, **options)
        raise KilledError

    send_directly = Gateway.send_directly

    with outage(server):
        fails(gateway.pushadd, "a", [gauge("x", "", 1), gauge("y", "", 1)])
        fails(gateway.push, "b", [gauge("x", "", 1)])
    for push, *arguments in (
        (gateway.delete, "a"),
        (gateway.pushadd, "b", [gauge("y", "", 2)]),
    ):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Gateway, "send_directly", killed)
            with pytest.raises(KilledError):
                push(*arguments)
    outbox.flush(gateway)
    assert (values(server.url), outbox.is_empty()) == ({"b": {"x": 1, "y": 2}}, True)


def test_what_an_interrupted_flush_was_sending_is_not_taken_for_newer(
    server, gateway, outbox, monkeypatch
):
    def interrupted(*_arguments, **_options):
        raise KeyboardInterrupt

    with outage(server):
        fails(gateway.push, "a", [gauge("x", "", 1)])
    with monkeypatch.context() as patch:
        patch.setattr(Gateway, "send_directly", interrupted)
        with pytest.raises(KeyboardInterrupt):
            outbox.flush(gateway)
    with outage(server):
        fails(gateway.push, "a", [gauge("x", "", 2)])
    Gateway(server.url).push("a", [gauge("x", "", 1)])  # the gateway hung, and does it now
    outbox.flush(gateway)
    assert (values(server.url), outbox.is_empty()) == ({"a": {"x": 2}}, True)
    assert not [name for name in os.listdir(os.path.dirname(outbox.path)) if ".claim" in name]


def test_whether_a_push_is_kept_survives_pickling(server, gateway):
    with outage(server):
        error = fails(gateway.push, "a", [gauge("x", "", 1)])
    assert pickle.loads(pickle.dumps(error)).kept
