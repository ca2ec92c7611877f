"""The outbox when its process is killed, or its disk fails, at any of its writes.

Each write of a script is found by one run that goes well, then the script is run once for each, in
a forked process. Its clock is the gateway's, in shared memory, and stands still but for what the
steps add: so all that is compared is far apart, and nothing depends on how fast a machine is.
PUSHGATE_EVERY_FAULT=1 has a disk fail in every way at every write.
"""

import errno
import json
import mmap
import os
import struct
import time
from itertools import product
from pathlib import Path

import pytest

from pushgate import (
    Gateway,
    GatewayDisconnectedError,
    GroupingKey,
    Outbox,
    PushError,
    RateLimitedLogger,
    default_handler,
    encode,
)
from pushgate.embedded import EmbeddedGateway
from support import gateways, outbox_disk, outbox_families, outbox_model
from support.outbox_model import Change

pytestmark = [
    pytest.mark.end_to_end,
    pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning"),
]

EVERY_FAULT = os.environ.get("PUSHGATE_EVERY_FAULT")
FAULTS = (errno.ENOSPC, errno.EIO, errno.EROFS)
START = 1_800_000_000.0  # Unix seconds
STEP = 10.0  # seconds from one step to the next

DOWN, UP, UNREAD, KEEP, FLUSH = "down", "up", "unread", "keep", "flush"


def of(method, **families):
    return Change(method, frozenset(families.items()))


SCRIPT = (
    ((DOWN, "a", of("POST", rows=1)),),
    ((DOWN, "a", of("PUT", rows=2, parts=3)),),
    ((DOWN, "b", of("DELETE")),),
    (
        (KEEP, "c", of("POST", rows=4)),
        (KEEP, "d", of("POST", rows=5, sizes=6)),
        (KEEP, "e", of("PUT", rows=7)),
    ),
    ((UP, "a", of("POST", sizes=8)),),
    ((DOWN, "b", of("POST", rows=9)),),
    ((UNREAD, "c", of("PUT", rows=10)),),
    ((DOWN, "c", of("POST", sizes=11)),),
    ((FLUSH, "", of("POST")),),
    ((UNREAD, "e", of("DELETE")),),
    ((UP, "e", of("PUT", rows=12)),),
    ((DOWN, "a", of("PUT")),),
    ((UP, "b", of("DELETE")),),
    ((DOWN, "d", of("POST", rows=13)),),
    ((UP, "a", of("POST", rows=14)),),
)
"""What is done, one step after the other; what is in one tuple, at once. UNREAD: the gateway
performs the request, its answer is lost."""

GROUPS = sorted({group for step in SCRIPT for _, group, _ in step if group})


class Clock:
    """A time that processes share."""

    def __init__(self):
        self._memory = mmap.mmap(-1, 8)
        self.advance(START)

    def __call__(self):
        return struct.unpack("d", self._memory[:8])[0]

    def advance(self, seconds):
        self._memory[:8] = struct.pack("d", self() + seconds)


class Site:
    """A gateway, an outbox's folder, and the clock of both."""

    def __init__(self, folder):
        self.path = str(folder / "outbox")
        self.clock = Clock()
        self.gateway = EmbeddedGateway(clock=self.clock)

    def __enter__(self):
        self.gateway.start()
        return self

    def __exit__(self, *_):
        self.gateway.stop()

    def run(self, work, decide=lambda _kind, _name: None):
        """What ``work(job)`` told in a process whose writes ``decide`` is asked about."""
        reading, writing = os.pipe()
        if (pid := os.fork()) == 0:
            try:
                os.close(reading)
                time.time = self.clock
                outbox_disk.wrap(self.path, decide)
                work(Job(self, lambda told: os.write(writing, json.dumps(told).encode() + b"\n")))
            finally:
                os._exit(0)
        os.close(writing)
        with open(reading, "rb") as pipe:
            told = [json.loads(line) for line in pipe]
        os.waitpid(pid, 0)
        return told

    def held(self):
        server = gateways.GatewayUnderTest(gateways.EMBEDDED, self.gateway.url)
        found = dict.fromkeys(GROUPS)
        for entry in server.groups():
            families = {n: shown for n, shown in entry.items() if n in outbox_families.NAMES}
            found[entry["labels"]["job"]] = frozenset(
                (n, outbox_families.number_of(n, shown)) for n, shown in families.items()
            )
        return found


class Job:
    """The process that pushes: it tells of each step ``told``, ``error`` and the ``lines``."""

    def __init__(self, site, tell):
        self._clock, self._tell = site.clock, tell
        self._lines = []
        self._weather = UP
        self._outbox = Outbox(site.path, log=RateLimitedLogger(self._lines.append))
        options = {"handler": self._handle, "timeout": 10, "retries": 0}
        self._gateway = Gateway(site.gateway.url, outbox=self._outbox, **options)

    def follow_script(self):
        for step in SCRIPT:
            done = self._perform(step)
            self._tell({**done, "lines": self._lines})
            self._lines.clear()
            self._clock.advance(STEP)

    def recover(self):
        was_empty = self._outbox.is_empty()
        done = self._outbox.flush(self._gateway)
        self._tell([was_empty, done.left, str(done.error or "")])

    def _handle(self, **request):
        def perform():
            if self._weather != DOWN:
                default_handler(**request)()
            if self._weather != UP:
                method, url = request["method"], request["url"]
                raise GatewayDisconnectedError("an outage", method=method, url=url)

        return perform

    def _perform(self, step):
        self._weather = step[0][0]
        if self._weather == FLUSH:
            self._weather = UP
            self._outbox.flush(self._gateway)
            return {"told": FLUSH}
        requests = [
            (c.method, GroupingKey(g), encode(outbox_families.families(sorted(c.families))).text)
            for _, g, c in step
        ]
        if self._weather == KEEP:
            changes = [(*request, time.time()) for request in requests]
            return {"told": "kept" if self._outbox.keep(self._gateway.url, changes) else "lost"}
        try:
            self._gateway.send(*requests[0])
        except PushError as error:
            return {"told": "kept" if error.kept else "lost", "error": str(error)}
        finally:
            self._weather = UP
        return {"told": "arrived"}


def after(told, *, failed=False):
    """The states that each group may be in. ``failed``: the disk did, but the process went on."""
    states = dict.fromkeys(GROUPS, outbox_model.START)
    heard = [line["told"] for line in told]
    for step, outcome in zip(SCRIPT, [*heard, "nothing"], strict=False):
        if outcome != "kept":
            states = {g: outbox_model.perhaps_flushed(s) for g, s in states.items()}
        for weather, group, change in step if step[0][0] != FLUSH else ():
            now, ran = states[group], weather == UNREAD
            if outcome == "nothing":
                states[group] = outbox_model.cut_off(now, change)
            elif outcome == "arrived":
                arrived = outbox_model.arrived_unnoted if failed else outbox_model.arrived
                states[group] = arrived(now, change)
            else:
                states[group] = outbox_model.kept(now, change, late=False, ran=ran)
            if outcome == "lost":  # what could not be synced may be there all the same
                assert failed
                held = (s._replace(held=outbox_model.applied(s.held, change)) for s in now)
                states[group] |= {*now, *(held if ran else ())}
    return states


def check(site, states, where):
    """Recover in a new process, and compare."""
    site.clock.advance(100 * STEP)
    ((was_empty, left, error),) = site.run(Job.recover)
    assert (left, error) == (0, ""), where
    if was_empty:
        states = {g: outbox_model.nothing_waits(s) for g, s in states.items()}
    held = site.held()
    for group in GROUPS:
        possible = outbox_model.flushed(states[group])
        fitting = outbox_model.seen(possible, held[group])
        assert fitting, f"{where}: {group} is {held[group]}, none of {set(possible)}"
    for path in Path(site.path).glob("*"):
        assert path.stat().st_mode & 0o777 == 0o600, f"{where}: {path}"


def writes_of_a_whole_run(folder):
    """The kind and the name of each write."""
    (folder / "here").mkdir()
    with Site(folder / "here") as site:  # so that what is forked has imported all that it needs
        Job(site, lambda _: None).follow_script()
    with Site(folder) as site:
        found = folder / "writes"

        def noted(kind, name):
            with found.open("a") as file:
                file.write(f"{kind} {name}\n")

        told = site.run(Job.follow_script, noted)
        check(site, after(told), "never killed")
    assert len(told) == len(SCRIPT)
    return [line.split() for line in found.read_text().splitlines()]


def at(number, failure, *, only):
    """Decides to fail at one write, or from it on."""
    count = iter(range(10**9))

    def decide(_kind, _name):
        now = next(count)
        if now < number or (only and now > number):
            return None
        return failure if failure else outbox_disk.die()

    return decide


def test_a_process_killed_at_any_write_loses_nothing_that_was_kept(tmp_path):
    writes = writes_of_a_whole_run(tmp_path)
    assert {kind for kind, _ in writes} >= {"create", "write", "sync", "rename", "delete"}
    for number, (kind, name) in enumerate(writes):
        tears = kind == "write" and number % 2
        where = f"killed at write {number}, {kind} of {name}, {'half done' if tears else 'undone'}"
        (folder := tmp_path / f"{number}").mkdir()
        with Site(folder) as site:
            failure = outbox_disk.TEAR if tears else 0
            told = site.run(Job.follow_script, at(number, failure, only=True))
            assert len(told) < len(SCRIPT), f"{where}: it was not"
            check(site, after(told), where)
    print(f"\nkilled at each of {len(writes)} writes")


def test_a_disk_that_fails_at_any_write_harms_no_job(tmp_path):
    writes = writes_of_a_whole_run(tmp_path)
    ways = list(product(FAULTS, (True, False)))
    runs = 0
    for number, (kind, name) in enumerate(writes):
        for failure, only in ways if EVERY_FAULT else ways[number // 3 % 6 :][: number % 3 == 0]:
            lasting = "for once" if only else "from then on"
            where = f"{errno.errorcode[failure]} {lasting} at write {number}, {kind} of {name}"
            (folder := tmp_path / f"{number}-{failure}-{only}").mkdir()
            with Site(folder) as site:
                told = site.run(Job.follow_script, at(number, failure, only=only))
                assert len(told) == len(SCRIPT), f"{where}: {told}"
                errors = [line["error"] for line in told if "error" in line]
                true = ("an outage", f"can't be locked: {os.strerror(failure)}")
                assert all(e.endswith(true) for e in errors), f"{where}: {errors}"
                lines = [text for line in told for text in line["lines"]]
                assert len(lines) == len(set(lines)), f"{where}: {lines}"
                assert all(site.path in text for text in lines), f"{where}: {lines}"
                is_lost = any(line["told"] == "lost" for line in told)
                is_said = any("what is not delivered is lost" in text for text in lines)
                assert is_lost == is_said, f"{where}: {told}"
                check(site, after(told, failed=True), where)
            runs += 1
    print(f"\nfailed {runs} times at {len(writes)} writes")
