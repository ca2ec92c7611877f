"""The outbox as its users meet it: what waits, what goes, and what is wrong with the folder."""

import errno
import fcntl
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager, suppress
from functools import partial
from hashlib import blake2b
from pathlib import Path
from urllib.error import HTTPError

import pytest
from prometheus_client import Counter
from prometheus_client.core import Metric, NativeHistogram

from pushgate import (
    DeliveryError,
    Gateway,
    GatewayRejectedError,
    GatewayUnreachableError,
    GroupingKey,
    InvalidPayloadError,
    Outbox,
    RateLimitedLogger,
    default_handler,
    gauge,
)
from pushgate.embedded import EmbeddedGateway
from support import debian, faults, servers
from support.faults import FaultServer, answer
from support.fresh_process import fork, in_fresh_process, wait_for

NOWHERE = "http://gateway.invalid:9091"
KEY = GroupingKey("job")
GAUGE = b"# TYPE x gauge\nx 1\n"
PATIENCE = 50.0  # seconds; what takes longer hangs


@pytest.fixture
def lines():
    return []


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "state" / "outbox"


@pytest.fixture
def outbox(folder, lines):
    return Outbox(folder, log=RateLimitedLogger(lines.append))


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


def keep(outbox, job="job", text=GAUGE, at=None, url=NOWHERE):
    return outbox.keep(url, [("PUT", GroupingKey(job), text, at or time.time())])


class Delivery:
    """A flush in another thread, which has begun to send and waits for ``end``."""

    def __init__(self, outbox, url):
        self._begun, self._end = threading.Event(), threading.Event()

        def handler(**request):
            def perform():
                self._begun.set()
                assert self._end.wait(PATIENCE)
                default_handler(**request)()

            return perform

        gateway = Gateway(url, handler=handler)
        self._thread = threading.Thread(target=lambda: outbox.flush(gateway))

    def __enter__(self):
        self._thread.start()
        assert self._begun.wait(PATIENCE)
        return self

    def end(self):
        self._end.set()
        self._thread.join(PATIENCE)

    def __exit__(self, *_):
        self.end()


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


def test_a_heartbeat_is_not_kept_and_does_not_make_what_waits_look_old(
    server, gateway, outbox, lines
):
    with outage(server):
        fails(gateway.pushadd, "a", [gauge("x", "", 1)])
        assert not fails(gateway.pushadd, "b", []).kept
    with Delivery(outbox, gateway.url) as other:
        late = threading.Timer(0.1, other.end)
        late.start()
        gateway.pushadd("a", [])
    assert (values(server.url), outbox.is_empty(), lines) == ({"a": {"x": 1}}, True, [])


def refuse(status):
    return lambda peer: [peer.send(answer(status)) for _ in iter(peer.request, None)]


@pytest.mark.parametrize(
    ("status", "kept"),
    [
        *((f"{status} No", 0) for status in (400, 413, 415, 422)),
        *((f"{status} No", 1) for status in (401, 404, 429, 500, 503)),
    ],
)
def test_what_no_later_try_mends_is_not_kept(outbox, status, kept):
    with FaultServer(refuse(status)) as server:
        error = fails(Gateway(server.url, outbox=outbox, retries=0).push, "a", [gauge("x", "", 1)])
    assert (error.kept, len(outbox.waiting())) == (kept, kept)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("plain", b"Client sent an HTTP request to an HTTPS server."),
        ("html", b"<h1>400 Bad Request</h1><p>The plain HTTP request was sent to HTTPS port</p>"),
        ("html", b"<p>Reason: You're speaking plain HTTP to an SSL-enabled server port.<br />"),
        ("html", b"<h1>400 Bad Request</h1><p>The SSL certificate error</p>"),
    ],
    ids=["Go", "nginx", "Apache", "nginx: an expired client certificate"],
)
def test_a_400_that_is_not_about_the_metrics_loses_none(server, outbox, kind, text):
    headers = (("Content-Type", f"text/{kind}"),)
    refusing = faults.respond(answer("400 Bad Request", text, headers))
    with FaultServer(refusing) as old:
        gateway = Gateway(old.url, outbox=outbox, retries=0)
        for job in "ab":
            error = fails(gateway.push, job, [gauge("x", "", 1)])
            assert (error.kept, error.retryable, error.permanent) == (True, False, False)
        assert outbox.flush(gateway).left == 2
    outbox.flush(Gateway(server.url), from_url=old.url)
    assert values(server.url) == {"a": {"x": 1}, "b": {"x": 1}}


def test_a_refused_push_leaves_what_waited_as_it_was(server, gateway, outbox):
    gateway.push("other", [gauge("bad", "", 1)])
    with outage(server):
        fails(gateway.push, "a", [gauge("x", "", 1)])
    bad = b"# TYPE bad counter\nbad 1\n"
    assert isinstance(fails(gateway.send, "PUT", GroupingKey("a"), bad), GatewayRejectedError)
    outbox.flush(gateway)
    assert values(server.url)["a"] == {"x": 1}


@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize(
    "error",
    [RuntimeError("http://u:secret@gateway:1"), TypeError(), MemoryError(), UnicodeError("\ud800"),
     StopIteration(), RecursionError()],
    ids=lambda error: type(error).__name__,
)  # fmt: skip
def test_whatever_a_users_handler_raises_the_push_is_kept(outbox, folder, error, waits):
    def handler(**request):
        raise error

    gateway = Gateway("gateway:1", handler=handler, outbox=outbox)
    if waits:
        keep(outbox, "a", url=gateway.url)
    # A StopIteration can't leave a coroutine: Python makes a RuntimeError of it (PEP 479).
    with pytest.raises((type(error), RuntimeError)) as caught:
        gateway.push("a", [gauge("new", "", 1)])
    assert error in (caught.value, caught.value.__cause__)
    assert caught.value.kept
    (group,) = outbox.waiting()
    assert "new" in group.families
    assert b"secret" not in b"".join(path.read_bytes() for path in folder.rglob("*.json"))


@pytest.mark.parametrize("waits", [False, True])
def test_a_mistake_in_the_push_itself_is_raised_and_not_kept(outbox, waits):
    gateway = Gateway("gateway:1", handler=lambda **_: print, outbox=outbox)
    if waits:
        keep(outbox, "a", url=gateway.url)
    before = outbox.waiting()
    with pytest.raises(ValueError, match="a Pushgateway has PUT"):
        gateway.send("PATCH", GroupingKey("a"), GAUGE)
    with pytest.raises(InvalidPayloadError):
        gateway.push("a", [gauge("push_time_seconds", "", 1)])
    assert outbox.waiting() == before


def test_of_a_users_handler_what_is_refused_for_good_is_not_kept(outbox):
    def handler(url, method, timeout, headers, data):
        def perform():
            raise to_raise

        return perform

    gateway = Gateway("gateway:1", handler=handler, outbox=outbox)
    to_raise = HTTPError("http://u:secret@gateway:1", 400, "no", {}, None)
    assert not getattr(fails(gateway.push, "a", [gauge("x", "", 1)]), "kept", False)
    to_raise.close()
    assert outbox.is_empty()
    to_raise = OSError("http://u:secret@gateway:1 did not answer")
    assert fails(gateway.push, "a", [gauge("x", "", 1)]).kept
    assert len(outbox.waiting()) == 1


def test_the_folder_is_the_users_alone_and_holds_no_credentials(folder, outbox):
    assert keep(outbox, url="http://user:secret@gateway.invalid")
    assert outbox.waiting("http://other:words@gateway.invalid")
    assert folder.stat().st_mode & 0o777 == 0o700
    for path in folder.iterdir():
        assert path.stat().st_mode & 0o777 == 0o600
        assert b"secret" not in path.read_bytes()


def test_one_bad_change_does_not_take_the_others_with_it(server, gateway, outbox, lines):
    with outage(server):
        fails(gateway.push, "a", [gauge("x", "", 1)])
        fails(gateway.send, "POST", GroupingKey("a"), b"# TYPE bad counter\nbad 1\n")
        fails(gateway.pushadd, "a", [gauge("y", "", 1)])
    gateway.push("other", [gauge("bad", "", 1)])
    assert (values(server.url)["a"], outbox.is_empty()) == ({"x": 1, "y": 1}, True)
    (line,) = lines
    assert '{job="a"}: bad refused: 400' in line


def test_a_group_that_is_not_taken_does_not_hold_up_the_others(outbox):
    def not_b(peer):
        for seen in iter(peer.request, None):
            if seen.method == "GET":
                peer.send(answer(body=b'{"status":"success","data":[]}'))
            else:
                peer.send(answer("500 No" if seen.target.endswith("/b") else "200 OK"))

    with FaultServer(not_b) as server:
        gateway = Gateway(server.url, outbox=outbox, retries=0)
        for number, job in enumerate("abc", 1):
            keep(outbox, job, at=number, url=gateway.url)
        flushed = outbox.flush(gateway)
    assert (flushed.delivered, flushed.left, flushed.error.status) == (2, 1, 500)
    assert [group.labels for group in outbox.waiting()] == [{"job": "b"}]


def test_a_group_whose_requests_are_cut_off_does_not_hold_up_the_others_for_ever(server, outbox):
    def handler(**request):
        if request["url"].endswith("/large"):
            raise ConnectionResetError
        return default_handler(**request)

    gateway = Gateway(server.url, handler=handler)
    for job in ("large", "small"):
        assert keep(outbox, job, url=server.url)
    assert [outbox.flush(gateway).left for _ in range(2)] == [2, 1]
    assert list(values(server.url)) == ["small"]


def test_a_gateway_that_may_not_be_read_gets_what_waits_only_when_told_to(outbox):
    taken = []

    def push_only(peer):
        for seen in iter(peer.request, None):
            taken.append((seen.method, seen.target, seen.body))
            peer.send(answer("403 No" if seen.method == "GET" else "200 OK"))

    with FaultServer(push_only) as server:
        gateway = Gateway(server.url, outbox=outbox, retries=0)
        keep(outbox, url=gateway.url)
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


def test_while_another_one_delivers_a_push_is_kept_or_waits_for_its_end(
    server, gateway, outbox, lines
):
    with outage(server):
        fails(gateway.push, "a", [gauge("x", "", 1)])
    with Delivery(outbox, gateway.url) as other:
        error = fails(gateway.pushadd, "a", [gauge("x", "", 2)], timeout=0.1)
        assert (type(error), error.kept, error.group) == (DeliveryError, True, {"job": "a"})
        assert outbox.flush(gateway).left == 1
        gateway.pushadd("b", [gauge("x", "", 1)])  # for which nothing waits
        late = threading.Timer(0.1, other.end)
        late.start()
        gateway.pushadd("a", [gauge("y", "", 3)])
    outbox.flush(gateway)
    assert values(server.url) == {"a": {"x": 2, "y": 3}, "b": {"x": 1}}
    with outage(server):
        fails(gateway.push, "a", [gauge("x", "", 1)])
    with Delivery(outbox, gateway.url) as other:
        late = threading.Timer(0.1, other.end)
        late.start()
        gateway.pushadd("a", [gauge("y", "", 4)])  # what waited is gone when its turn comes
    assert values(server.url)["a"] == {"x": 1, "y": 4}
    assert (outbox.is_empty(), lines) == (True, [])


def keep_in_a_child_while_a_thread_delivers(url, folder):
    outbox = Outbox(folder)

    def work():
        assert keep(outbox, "a", GAUGE.replace(b"1", b"2"), url=url)

    with Delivery(outbox, url):
        wait_for(fork(work))


def test_a_child_can_keep_a_push_while_a_thread_of_its_parent_delivers(
    server, gateway, folder, outbox
):
    with outage(server):
        fails(gateway.push, "a", [gauge("x", "", 1)])
    in_fresh_process(keep_in_a_child_while_a_thread_delivers, gateway.url, str(folder))
    assert outbox.is_empty()
    assert values(server.url) == {"a": {"x": 2}}


def fail_in_processes(folder, processes, jobs):
    reading, writing = os.pipe()

    def fail(outbox, number):
        gateway = Gateway("127.0.0.1:9", outbox=outbox, retries=0, timeout=1)
        metrics = [gauge(f"x{number}", "", number)]
        assert fails(gateway.pushadd, f"job{number % jobs}", metrics).kept

    def fail_together(number):
        os.close(writing)
        os.read(reading, 1)  # they all begin when the other end is closed
        fail(Outbox(folder), number)

    fail(Outbox(f"{folder}-first"), 0)  # what it needs is loaded once
    children = [fork(partial(fail_together, number)) for number in range(processes)]
    os.close(reading)
    os.close(writing)
    wait_for(*children)


@pytest.mark.parametrize(("processes", "jobs"), [(100, 100), (40, 1)])
def test_processes_that_fail_at_once_are_all_kept(folder, outbox, processes, jobs):
    in_fresh_process(fail_in_processes, str(folder), processes, jobs)
    assert sum(len(group.families) for group in outbox.waiting()) == processes


@pytest.mark.parametrize("is_sent", [True, False])
def test_however_often_a_group_fails_its_files_stay_few(folder, outbox, is_sent):
    gateway = Gateway("127.0.0.1:9", outbox=outbox, retries=0)
    for number in range(40):
        if is_sent:
            assert fails(gateway.pushadd, "job", [gauge("x", "", number)]).kept
        else:
            assert keep(outbox, text=b"x %d\n" % number)
    assert len(list(folder.glob("*.json"))) < 10
    (group,) = outbox.waiting()
    assert (group.families, group.tries) == (("x",), 40 * is_sent)


def test_a_push_that_arrives_while_nothing_waits_costs_nothing(server, tmp_path):
    code = f"""if True:
        import sys
        from pushgate import Gateway, Outbox, gauge
        outbox = Outbox({str(tmp_path / "none" / "outbox")!r})
        Gateway({server.url!r}, outbox=outbox).push("a", [gauge("x", "", 1)])
        print(*sys.modules)
    """
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"json", "hashlib", "fcntl"} & set(found.stdout.split())
    assert not (tmp_path / "none").exists()


def test_what_killed_writers_left_is_taken_away_by_the_next_flush(server, gateway, folder, outbox):
    keep(outbox, url=gateway.url)
    ours = os.listdir(folder)[0].removesuffix(".json")
    for name, age in ((f"{ours}2.json.new", 0), (f"{ours}3.json.new", 3600)):
        (folder / name).touch()
        os.utime(folder / name, (time.time() - age,) * 2)
    gateway.push("a", [gauge("x", "", 1)])
    assert outbox.is_empty()
    assert [found.name for found in folder.glob("*.new")] == [f"{ours}2.json.new"]


def share_a_folder():
    lines = []
    with tempfile.TemporaryDirectory() as shared, EmbeddedGateway() as server:
        os.chmod(shared, 0o1777)  # as /tmp is
        gateway = Gateway(
            server.url, outbox=Outbox(shared, log=RateLimitedLogger(lines.append)), retries=0
        )

        def as_nobody(job, name):
            os.setuid(65534)
            with suppress(OSError):
                gateway.pushadd(job, [gauge(name, "", 1)])
            assert not lines

        with outage(server):
            fails(gateway.pushadd, "a", [gauge("of_root", "", 1)])
            wait_for(fork(lambda: as_nobody("a", "of_nobody")))
        wait_for(fork(lambda: as_nobody("b", "x")))
        assert values(server.url) == {"a": {"of_nobody": 1}, "b": {"x": 1}}
        gateway.push("c", [gauge("x", "", 1)])
        assert values(server.url)["a"] == {"of_nobody": 1, "of_root": 1}
        assert (gateway.outbox.waiting(), lines) == ([], [])
        planted = f"{shared}/{'0' * 12}-{'0' * 32}.0.json"
        wait_for(fork(lambda: (os.setuid(65534), os.symlink("/etc/passwd", planted))))
        assert gateway.outbox.waiting() == []
        assert [planted in line and "symbolic link" in line for line in lines] == [True]
        assert os.path.islink(planted)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_users_who_share_a_folder_deliver_each_what_is_theirs():
    in_fresh_process(share_a_folder)


def test_other_files_in_a_folder_that_was_named_by_mistake_are_left_alone(
    server, gateway, folder, outbox, lines
):
    folder.mkdir(parents=True)
    others = ("package.json", "settings.json.new", "0123456789ab-notes.json")
    for name in others:
        (folder / name).touch()
        os.utime(folder / name, (0, 0))
    with outage(server):
        fails(gateway.push, "a", [gauge("x", "", 1)])
    assert len(outbox.waiting()) == 1
    outbox.flush(gateway)
    assert (values(server.url), outbox.waiting(), lines) == ({"a": {"x": 1}}, [], [])
    assert {path.name for path in folder.iterdir()}.issuperset(others)
    with pytest.raises(ValueError, match="name a folder"):
        Outbox("")


# What is wrong with the folder


def test_a_broken_file_costs_its_group_and_is_moved_aside(folder, outbox, lines):
    jobs = {}
    for number in range(300):
        assert keep(outbox, f"job{number}", b"# HELP x Text.\nx 1\ny 2\n", at=1e9)
        (path,) = set(folder.glob("*.json")) - set(jobs)
        jobs[path] = f"job{number}"
    chance = random.Random(1)
    broken = chance.sample(sorted(jobs), 250)
    for path in broken:
        content = bytearray(path.read_bytes())
        content[chance.randrange(len(content) - 1)] ^= chance.randrange(1, 256)
        path.write_bytes(content[: chance.choice([None, len(content) // 2])])
    for path in broken[:100]:  # met by one who keeps, the others by one who reads
        assert keep(outbox, jobs[path])
    assert len(outbox.waiting()) == 150
    assert len(lines) == 250
    for path in broken:
        (line,) = (line for line in lines if str(path) in line)
        assert f"{path} can't be used: it is broken; it is now {path}.aside-" in line


def test_a_planted_link_or_pipe_in_the_folder_is_moved_aside(tmp_path, folder, outbox, lines):
    precious = tmp_path / "precious"
    precious.write_text("precious")
    keep(outbox)
    (path,) = folder.glob("*.json")
    for plant in (lambda path: path.symlink_to(precious), os.mkfifo, Path.mkdir):
        path.unlink(missing_ok=True)
        plant(path)
        assert keep(outbox)
        assert len(outbox.waiting()) == 1
        (line,) = lines
        assert str(path) in line
        lines.clear()
    lock = path.name.partition("-")[0]
    (folder / f"{lock}-lock-{os.geteuid()}").symlink_to(precious)
    outbox.flush(Gateway(NOWHERE, timeout=0.1, retries=0))
    assert "it is a symbolic link; it is now" in lines[0]
    assert precious.read_text() == "precious"


def a_file(path):
    path.parent.mkdir()
    path.write_text("of an older version, or named by mistake")


def a_link(path):
    (path.parent / "elsewhere").mkdir(parents=True)
    path.symlink_to(path.parent / "elsewhere")


def in_no_folder(path):
    path.parent.write_bytes(b"")


def of_another_user(path):
    if os.geteuid() != 0:
        pytest.skip("only root can give a folder away")
    path.mkdir(parents=True)
    os.chown(path, 65534, -1)


def full_of_files(path):
    path.mkdir(parents=True, mode=0o700)
    for number in range(10_001):
        os.mknod(path / f"{number}")


def full_of_bytes(path):
    path.mkdir(parents=True, mode=0o700)
    (path / "large").touch()
    os.truncate(path / "large", 256 * 1024**2)


@pytest.mark.parametrize(
    ("making", "reason"),
    [
        (a_file, "is not a folder"),
        (a_link, "is a symbolic link"),
        (in_no_folder, "is not a folder"),
        (of_another_user, "belongs to another user"),
        (full_of_files, "is full: it holds 10000 files"),
        (full_of_bytes, "is full: it may hold 256 MiB"),
    ],
)
def test_a_folder_that_cannot_be_used_is_left_alone_and_logged_once(
    server, folder, outbox, lines, making, reason
):
    making(folder)
    before = sorted(os.listdir(folder)) if folder.is_dir() else folder.exists()
    gateway = Gateway(server.url, outbox=outbox, retries=0)
    gateway.push("a", [gauge("x", "", 1)])
    del lines[:]
    text = b'y{k="' + b"y" * 40_000 + b'"} 1\n'
    with outage(server):
        for _ in range(2):
            assert not keep(outbox, text=text, url=gateway.url)
        assert not fails(gateway.send, "PUT", KEY, text).kept
    (line,) = lines
    assert (reason in line, outbox.path in line, "PUSHGATE_OUTBOX" in line) == (True, True, True)
    assert "what is not delivered is lost" in line
    assert (sorted(os.listdir(folder)) if folder.is_dir() else folder.exists()) == before
    assert values(server.url) == {"a": {"x": 1}}


def test_on_a_disk_without_locks_a_push_goes_all_the_same(
    server, gateway, outbox, lines, monkeypatch
):
    def flock(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    with outage(server):
        fails(gateway.push, "a", [gauge("x", "", 1)])
    monkeypatch.setattr(fcntl, "flock", flock)
    gateway.push("a", [gauge("x", "", 2)])
    assert values(server.url) == {"a": {"x": 2}}
    (line,) = lines
    assert "No locks available; what waits there stays" in line
    monkeypatch.undo()
    assert not outbox.flush(gateway).left
    assert values(server.url) == {"a": {"x": 2}}


def rewritten(file, version, change):
    """The content of ``file`` as another version of pushgate would have written it."""
    values = change(json.loads(file.read_bytes().partition(b"\n")[2]))
    body = json.dumps(values).encode()
    checksum = blake2b(version + body, digest_size=8).hexdigest().encode()
    return b"pushgate outbox %b %b\n%b\n" % (version, checksum, body)


@pytest.mark.parametrize(
    ("version", "change", "line"),
    [
        (b"9", lambda values: values, "of another version of pushgate; what waits in them stays"),
        (b"1", lambda values: {**values, "ahead": None}, "can't be used: it is broken; it is now"),
        (b"1", lambda values: {**values, "labels": 7}, "can't be used: it is broken; it is now"),
        (b"1", lambda values: [values], "can't be used: it is broken; it is now"),
    ],
)
def test_a_file_that_another_version_wrote_costs_its_own_group_only(
    server, folder, outbox, lines, version, change, line
):
    assert keep(outbox, url=server.url)
    (file,) = folder.glob("*.json")
    other = rewritten(file, version, change)
    assert keep(outbox, "b", url=server.url)
    file.write_bytes(other)
    assert keep(outbox, url=server.url)  # beside it, for the same group
    gateway = Gateway(server.url, outbox=outbox)
    assert outbox.flush(gateway)[:3] == (2, (), 0)
    gateway.push("job", [gauge("x", "", 1)])
    assert outbox.waiting() == []
    assert [path.read_bytes() for path in folder.glob("*.json*")] == [other]
    assert [line in told for told in lines] == [True]


def test_exemplars_wait_as_text_and_a_native_histogram_that_can_not_wait_says_so(outbox, lines):
    status = b'{"status":"success","data":{"build_information":{"version":"1.11.2"},"flags":{}}}'

    def takes_nothing(peer):
        for seen in iter(peer.request, None):
            peer.send(answer(body=status) if seen.method == "GET" else answer("503 No"))

    counter = Counter("rows", "Rows.", registry=None)
    counter.inc(2, {"trace_id": "x"})
    histogram = Metric("nat", "Native.", "histogram")
    spans = {"schema": 3, "zero_threshold": 0.001, "zero_count": 1}
    histogram.add_sample("nat", {}, 0, None, None, NativeHistogram(1.0, 0.0, **spans))
    with FaultServer(takes_nothing) as server:
        gateway = Gateway(server.url, outbox=outbox, retries=0)
        assert not fails(gateway.push, "a", histogram).kept
        assert fails(gateway.push, "a", counter).kept
    assert [group.families for group in outbox.waiting()] == [("rows_created", "rows_total")]
    (line,) = lines
    assert "can't hold a push, which is lost" in line
    assert "native histogram" in line


@pytest.mark.end_to_end
def test_exemplars_and_dotted_names_wait_as_well(outbox):
    counter = Counter("rows", "Rows.", registry=None)
    counter.inc(2, {"trace_id": "x"})
    flags = ("--push.enable-utf8-names",)
    with servers.pushgateway(debian.require("pushgateway-1.11"), *flags) as server:
        gateway = Gateway(server.url, outbox=outbox, retries=0, utf8_names=True)
        gateway.pushadd("warm", [counter])  # it has learned what the gateway knows
        server.kill()
        for push in (
            lambda: gateway.push("a", [counter], {"dotted.name": "v"}),
            lambda: gateway.pushadd("a", [gauge("my.metric", "", 1)], {"dotted.name": "v"}),
        ):
            with pytest.raises(GatewayUnreachableError) as caught:
                push()
            assert caught.value.kept
        server.restart()
        assert outbox.flush(gateway).delivered == 1
        (group,) = gateway.groups()
    assert group.labels == {"job": "a", "dotted.name": "v"}
    assert (group.value("my.metric"), group.value("rows_total")) == (1, 2)


class KilledError(BaseException):
    """Ends the push where SIGKILL would: when the gateway has taken it."""


def killed_after(url, outbox=None, *, sending=True):
    def handler(**request):
        def perform():
            if sending:
                default_handler(**request)()
            raise KilledError

        return perform

    return Gateway(url, handler=handler, outbox=outbox)


def test_a_push_that_was_sent_by_a_process_that_was_killed_is_not_undone(server, gateway, outbox):
    with outage(server):
        fails(gateway.pushadd, "a", [gauge("x", "", 1), gauge("y", "", 1)])
        fails(gateway.push, "b", [gauge("x", "", 1)])
    killed = killed_after(server.url, outbox)
    for push, *arguments in ((killed.delete, "a"), (killed.pushadd, "b", [gauge("y", "", 2)])):
        with pytest.raises(KilledError):
            push(*arguments)
    outbox.flush(gateway)
    assert (values(server.url), outbox.is_empty()) == ({"b": {"x": 1, "y": 2}}, True)


def test_what_an_interrupted_flush_was_sending_is_not_taken_for_newer(server, gateway, outbox):
    with outage(server):
        fails(gateway.push, "a", [gauge("x", "", 1)])
    with pytest.raises(KilledError):
        outbox.flush(killed_after(server.url, sending=False))
    with outage(server):
        fails(gateway.push, "a", [gauge("x", "", 2)])
    Gateway(server.url).push("a", [gauge("x", "", 1)])  # the gateway hung, and does it now
    outbox.flush(gateway)
    assert (values(server.url), outbox.is_empty()) == ({"a": {"x": 2}}, True)


# What waits for another gateway


def test_what_waits_for_a_gateway_that_moved_goes_to_the_new_one(server, gateway, outbox):
    gateway.push("a", [gauge("x", "", 9)])
    keep(outbox, "a", at=time.time() - 100)  # older than what the new one holds
    keep(outbox, "b", at=time.time() - 100)
    keep(outbox, "b", GAUGE.replace(b"1", b"2"), at=time.time() - 50, url=gateway.url)
    planned = outbox.flush(gateway, from_url=NOWHERE, dry_run=True)
    assert (planned.delivered, len(planned.dropped)) == (2, 1)
    flushed = outbox.flush(gateway, from_url=NOWHERE)
    assert (flushed.delivered, len(flushed.dropped)) == (1, 1)
    assert (values(server.url), outbox.is_empty()) == ({"a": {"x": 9}, "b": {"x": 2}}, True)


def test_a_dry_run_says_what_would_be_and_changes_nothing(server, gateway, outbox):
    gateway.push("a", [gauge("x", "", 9)])
    keep(outbox, "a", at=time.time() - 100, url=gateway.url)
    keep(outbox, "b", url=gateway.url)
    planned = outbox.flush(gateway, dry_run=True)
    assert (planned.delivered, len(planned.dropped), planned.left) == (1, 1, 2)
    assert values(server.url) == {"a": {"x": 9}}
    assert outbox.flush(gateway).delivered == 1
