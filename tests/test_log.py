"""Lines that are written once in a while."""

import logging
import signal
import threading

from pushgate import RateLimitedLogger
from support.fresh_process import fork, wait_for


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_a_subject_has_one_line_in_an_interval_and_the_next_counts_what_was_left_out():
    lines = []
    clock = Clock()
    log = RateLimitedLogger(lines.append, interval=60, clock=clock)
    for _ in range(3):
        log.warning("{count} reports are lost: refused", subject="lost", count=2)
    log.warning("another subject")
    assert lines == ["2 reports are lost: refused", "another subject"]
    clock.now = 60
    log.warning("{count} reports are lost: again", subject="lost", count=1)
    assert lines[2:] == ["5 reports are lost: again"]


def test_without_a_function_the_logger_pushgate_writes(caplog):
    log = RateLimitedLogger()
    with caplog.at_level(logging.INFO, "pushgate"):
        assert log.warning("down")
        assert not log.warning("down")
        log.info("ready")
    assert [(r.levelname, r.getMessage()) for r in caplog.records] == [
        ("WARNING", "down"),
        ("INFO", "ready"),
    ]


def test_held_lines_come_when_they_are_released():
    lines = []
    log = RateLimitedLogger(lines.append, held=True)
    log.warning("early")
    assert not lines
    log.release()
    log.warning("late")
    assert lines == ["early", "late"]


def test_a_silenced_logger_writes_its_last_line_and_nothing_more():
    lines = []
    log = RateLimitedLogger(lines.append)
    log.silence("gave up")
    log.warning("found out later")
    log.silence("again")
    assert lines == ["gave up"]


def test_a_signal_handler_may_log_while_a_line_is_logged():
    def clock():
        signal.raise_signal(signal.SIGUSR1)
        return 0.0

    def handle(*_):
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        log.warning("handled")

    lines = []
    log = RateLimitedLogger(lines.append, clock=clock)
    before = signal.signal(signal.SIGUSR1, handle)
    try:
        log.warning("interrupted")
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert lines == ["handled", "interrupted"]


def test_a_forked_child_logs_also_if_a_thread_of_its_parent_was_at_it():
    inside, over = threading.Event(), threading.Event()

    def clock():
        if threading.current_thread() is thread:
            inside.set()
            over.wait(60)
        return 0.0

    def child():
        assert log.warning("the child's")

    log = RateLimitedLogger(str, clock=clock)
    thread = threading.Thread(target=log.warning, args=("the thread's",))
    thread.start()
    inside.wait(60)
    wait_for(fork(child))
    over.set()
    thread.join()


def test_what_the_writer_raises_reaches_nobody():
    def broken(line):
        raise RuntimeError(line)

    assert RateLimitedLogger(broken).warning("x")
