"""The outbox when its process is killed, or its disk fails, at any of its writes.

Each write of a script is found by one run that goes well, then the script is run once for each.
PUSHGATE_EVERY_FAULT=1 has a disk fail in every way at every write, which takes minutes.
"""

import contextlib
import errno
import os
import queue
from concurrent.futures import ThreadPoolExecutor
from itertools import product

import pytest

from pushgate.embedded import EmbeddedGateway
from support import gateways, outbox_disk, outbox_families, outbox_model
from support.outbox_crashes import SCRIPT, STEP, Clock, Zygote

pytestmark = pytest.mark.end_to_end

EVERY_FAULT = os.environ.get("PUSHGATE_EVERY_FAULT")
PROCESSES = os.cpu_count() or 1
FAULTS = (errno.ENOSPC, errno.EIO, errno.EROFS)
GROUPS = sorted({group for step in SCRIPT if step != "flush" for _, group, _ in step})
LATER = 100 * STEP  # seconds, until the next process comes


class Site:
    """A gateway of a run's own, an outbox's folder, and the clock of both."""

    def __init__(self, folder, zygotes):
        folder.mkdir()
        self.folder = folder
        self.clock = Clock.new(str(folder / "clock"))
        self.gateway = EmbeddedGateway(clock=self.clock)
        self._zygotes = zygotes

    def __enter__(self):
        self.gateway.start()
        return self

    def __exit__(self, *_):
        self.gateway.stop()
        self.clock.close()

    def run(self, **order):
        outbox = self.folder / "state"
        fixed = {"folder": str(outbox), "clock": str(self.folder / "clock")}
        zygote = self._zygotes.get()
        try:
            told = zygote.run(**fixed, url=self.gateway.url, **order)
        finally:
            self._zygotes.put(zygote)
        assert not told.crash, told.crash
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


@pytest.fixture(scope="module")
def zygotes():
    with contextlib.ExitStack() as stack:
        idle = queue.SimpleQueue()
        for _ in range(PROCESSES):
            idle.put(stack.enter_context(Zygote()))
        yield idle


@pytest.fixture
def site(tmp_path, zygotes):
    return lambda name: Site(tmp_path / name, zygotes)


def after(told, *, failed=False):
    """The states that each group may be in. ``failed``: the disk did, but the process went on."""
    states = dict.fromkeys(GROUPS, outbox_model.START)
    for number, step in enumerate(SCRIPT):
        if number > len(told.steps):
            break
        heard = told.steps[number] if number < len(told.steps) else "nothing"
        if step == "flush" or heard != "kept":
            states = {g: outbox_model.perhaps_flushed(s) for g, s in states.items()}
        for weather, group, change in () if step == "flush" else step:
            now = states[group]
            ran = weather == "unread"
            if heard == "nothing":
                states[group] = outbox_model.cut_off(now, change)
            elif heard == "arrived":
                what = outbox_model.arrived_unnoted if failed else outbox_model.arrived
                states[group] = what(now, change)
            else:
                states[group] = outbox_model.kept(now, change, late=False, ran=ran)
                if heard == "lost":
                    assert failed
                    # What could not be synced may be there all the same.
                    states[group] |= now
                    if ran:
                        states[group] |= {
                            s._replace(held=outbox_model.applied(s.held, change)) for s in now
                        }
    return states


def check(site, states, where):
    """Recover in a new process, and compare."""
    site.clock.advance(LATER)
    recovered = site.run(work="recover")
    assert recovered.steps in (["empty"], ["flushed"]), f"{where}: {recovered.steps}"
    if recovered.steps == ["empty"]:
        states = {g: outbox_model.nothing_waits(s) for g, s in states.items()}
    states = {g: outbox_model.flushed(s) for g, s in states.items()}
    held = site.held()
    for group in GROUPS:
        fitting = outbox_model.seen(states[group], held[group])
        assert fitting, f"{where}: {group} is {held[group]}, none of {set(states[group])}"
    for path in (site.folder / "state").glob("outbox/*"):
        assert path.stat().st_mode & 0o777 == 0o600, f"{where}: {path}"


def every(count, work):
    """``work(number)`` for each write, on all processors."""
    with ThreadPoolExecutor(PROCESSES) as pool:
        done = [pool.submit(work, number) for number in range(count)]
        for run in done:
            run.result()


def test_a_process_killed_at_any_write_loses_nothing_that_was_kept(site):
    with site("whole") as one:
        whole = one.run()
        check(one, after(whole), "never killed")
    assert len(whole.steps) == len(SCRIPT)
    assert {kind for kind, _ in whole.writes} >= {"create", "write", "sync", "rename", "delete"}

    def killed_at(number):
        kind, name = whole.writes[number]
        tears = kind == "write" and number % 2
        where = f"killed at write {number}, {kind} of {name}, {'half done' if tears else 'undone'}"
        with site(f"{number}") as one:
            told = one.run(at=number, failure=outbox_disk.TEAR if tears else 0)
            assert not told.writes, f"{where}: it was not"
            check(one, after(told), where)

    every(len(whole.writes), killed_at)
    print(f"\nkilled at each of {len(whole.writes)} writes")


def test_a_disk_that_fails_at_any_write_harms_no_job(site):
    with site("whole") as one:
        writes = one.run().writes
    ways = list(product(FAULTS, (True, False)))

    def failed_at(number):
        kind, name = writes[number]
        for failure, only in ways if EVERY_FAULT else ways[number // 3 % 6 :][: number % 3 == 0]:
            lasting = "for once" if only else "from then on"
            where = f"{errno.errorcode[failure]} {lasting} at write {number}, {kind} of {name}"
            with site(f"{number}-{failure}-{only}") as one:
                told = one.run(at=number, failure=failure, only=only)
                assert len(told.steps) == len(SCRIPT), f"{where}: {told.steps}"
                assert all("an outage" in error for error in told.errors), f"{where}: {told.errors}"
                assert len(told.said) == len(set(told.said)), f"{where}: {told.said}"
                said = [text for text in told.said if "can't be used" in text]
                assert "lost" not in told.steps or said, f"{where}: nothing was said"
                path = str(one.folder / "state" / "outbox")
                assert all(path in text for text in said), f"{where}: {said}"
                check(one, after(told, failed=True), where)

    every(len(writes), failed_at)
    print(f"\nfailed at {'each' if EVERY_FAULT else 'every third'} of {len(writes)} writes")
