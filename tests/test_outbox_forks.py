"""A process that forks while one of its threads works on the outbox, as a scheduler does."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from pushgate import GroupingKey, Outbox
from pushgate.outbox import _forks

# Python warns of just this from 3.12 on.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")

PATIENCE = 20.0  # seconds; what takes longer hangs


class Work(NamedTuple):
    """Of a thread in the midst of SQLite: what ends it, and whether that has happened."""

    end: threading.Event
    ended: list[bool]


@pytest.fixture
def work() -> Iterator[Work]:
    inside, work = threading.Event(), Work(threading.Event(), [])

    def run() -> None:
        with _forks.no_fork():
            inside.set()
            assert work.end.wait(PATIENCE)
            work.ended.append(True)

    thread = threading.Thread(target=run)
    thread.start()
    assert inside.wait(PATIENCE)
    yield work
    work.end.set()
    thread.join(PATIENCE)


def forked(work: Work, outbox: Outbox) -> tuple[bool, bool]:
    """In a child: whether the work had ended when it was forked, and whether it can keep a push."""
    pid = os.fork()
    if pid == 0:
        ended = bool(work.ended)
        push = ("POST", GroupingKey("j"), b"a 1\n", time.time())
        kept = outbox.keep("http://gateway.test", [push])
        os._exit(2 * ended + kept)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return bool(code & 2), bool(code & 1)


def test_a_fork_waits_for_the_end_of_what_a_thread_does_with_sqlite(
    work: Work, tmp_path: Path
) -> None:
    os.register_at_fork(before=work.end.set)  # it is called before the outbox's own
    assert forked(work, Outbox(tmp_path / "outbox")) == (True, True)


def test_a_disk_that_hangs_stops_no_fork_and_the_child_works(
    work: Work, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_forks, "_LONGEST", 0.01)
    assert forked(work, Outbox(tmp_path / "outbox")) == (False, True)
