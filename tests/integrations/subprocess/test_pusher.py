"""Giving up a push: no note of a run that goes on is left behind by a process that exits then."""

import threading

from pushgate_subprocess._pusher import Pusher


class Report:
    def __init__(self, _voice):
        self.is_closed = False
        self.let_go = threading.Event()
        self.kept = []

    def push_start(self):
        pass

    def push_end(self, outcome, due):
        self.let_go.wait(30)

    def keep_end(self, outcome):
        self.kept.append(outcome)
        return []

    def close(self):
        self.is_closed = True


def pusher(make_report, say):
    return Pusher(make_report, heartbeat=None, push_timeout=0.01, say=say)


def test_a_report_that_is_being_made_is_kept_and_closed_when_the_run_is_given_up():
    class Over(threading.Event):
        def wait(self, timeout=None):
            is_set = super().wait(timeout)
            go_on.set()
            return is_set

    begun, go_on, made = threading.Event(), threading.Event(), []

    def make_report(voice):
        begun.set()
        assert go_on.wait(30)
        made.append(Report(voice))
        return made[0]

    given_up = pusher(make_report, say=lambda _line: None)
    given_up._over = Over()
    given_up.begin()
    assert begun.wait(30)
    given_up.end(lambda: "outcome")
    given_up.wait()
    (report,) = made
    report.let_go.set()
    assert (report.is_closed, report.kept) == (True, ["outcome"])


def test_no_report_is_made_of_a_run_that_was_given_up():
    made, lines = [], []
    given_up = pusher(made.append, say=lines.append)
    given_up.close()
    over = threading.Event()
    given_up.end(lambda: None, over.set)
    assert over.wait(30)
    assert made == []
    assert lines == ["gave up waiting for the push of the outcome"]
