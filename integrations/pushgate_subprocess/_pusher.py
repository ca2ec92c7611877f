"""The pushes of one run, in threads beside it: start, heartbeats, end.

What makes the report enters, and the outcome; pushes leave. No push delays the job: the caller
decides how long to wait for the last one, and a thread that hangs is left behind. The report is
made in a thread too, since making it imports all that is heavy. Once the run has ended, nothing
but its end is pushed.
"""

from __future__ import annotations

import threading
import time

from pushgate_subprocess._lean import TYPE_CHECKING
from pushgate_subprocess._voice import Voice

if TYPE_CHECKING:
    from collections.abc import Callable

    from pushgate import Outcome
    from pushgate_subprocess._report import Report

__all__ = ("Pusher",)

# Shares of the push deadline. How long the end waits for a start push that is under way: one that
# takes longer is talking to a gateway that hangs, and the end needs the time for itself.
_GRACE = 0.1
# What is kept for saying how the push failed, instead of only that its time is over.
_LAST_WORDS = 0.05


_MAKING_SECONDS = 0.5


class Pusher:
    """Pushes beside a run; it and ``make_report`` never raise into the run.

    ``heartbeat`` and ``push_timeout`` are in seconds; the latter bounds the end's push from the
    run's end on. Call ``begin``, ``end``, and then ``wait`` or, having waited, ``close``.
    """

    def __init__(
        self,
        make_report: Callable[[Voice], Report],
        *,
        heartbeat: float | None,
        push_timeout: float,
        say: Callable[[str], None],
    ) -> None:
        self._make_report = make_report
        self._heartbeat = heartbeat
        self._push_timeout = push_timeout
        self._voice = Voice(say)
        self._making = threading.Lock()
        self._report: Report | None = None
        self._ended = threading.Event()
        self._over = threading.Event()
        self._judge: Callable[[], Outcome] | None = None
        self._closed = False
        self._fault_said = False
        self._beside: threading.Thread | None = None

    def begin(self) -> None:
        """The run has started."""
        self._beside = _in_background(self._beside_the_run, "pushgate-start")

    def end(self, judge: Callable[[], Outcome], done: Callable[[], object] | None = None) -> None:
        """The run has ended, with the outcome that ``judge`` gives.

        ``done`` is called once that was delivered or given up, in the thread that did so.
        """
        self._ended.set()
        self._judge = judge
        due = time.monotonic() + self._push_timeout * (1 - _LAST_WORDS)

        def settle_and_push() -> None:
            try:
                if self._beside is not None:
                    self._beside.join(self._push_timeout * _GRACE)
                self._made_report().push_end(judge(), due)
            except Exception as error:
                self._note_fault(error)
            finally:
                self._over.set()
                if done is not None:
                    done()

        if _in_background(settle_and_push, "pushgate-end") is None:
            settle_and_push()

    def wait(self) -> None:
        """Return once the end was delivered, or its time is over."""
        try:
            self._over.wait(self._push_timeout)
        finally:
            self.close()

    def close(self) -> None:
        """The last call: keep the end if its push is not over, and let the run's state go."""
        # A report that is being made notes the run as going on: let that end, or the process may
        # exit with the note left behind, and nothing to keep its end by. One that nobody has begun
        # is not made any more.
        is_ours = self._making.acquire(timeout=_MAKING_SECONDS)
        try:
            self._voice.hush(None if self._over.is_set() else self._give_up())
        finally:
            self._closed = True
            if is_ours:
                self._making.release()
        if self._report is not None:
            self._report.close()

    def _give_up(self) -> str:
        """Keep what the thread in the midst of the end's push has not. Returns the last words."""
        words = ["gave up waiting for the push of the outcome"]
        if self._report is not None and self._judge is not None:
            try:
                words += self._report.keep_end(self._judge())
            except Exception as error:
                words.append(repr(error))
        return "; ".join(words)

    def _made_report(self) -> Report:
        """The report, made by the first thread that asks."""
        with self._making:
            if self._report is None:
                if self._closed:
                    raise RuntimeError("the run was given up")
                self._report = self._make_report(self._voice)
                if self._closed:
                    self._report.close()  # nobody else will
            return self._report

    def _beside_the_run(self) -> None:
        try:
            report = self._made_report()
            if not self._ended.is_set():
                report.push_start()
            while self._heartbeat is not None and not self._ended.wait(self._heartbeat):
                report.push_heartbeat()
        except Exception as error:
            self._note_fault(error)

    def _note_fault(self, error: Exception) -> None:
        """Say what nothing here should raise, once: the end tries again what the start did."""
        if not self._fault_said:
            self._fault_said = True
            self._voice.fail(f"a fault in pushgate, please report it: {error!r}")


def _in_background(target: Callable[[], None], name: str) -> threading.Thread | None:
    """A started daemon thread, or None where the limit on threads is reached."""
    thread = threading.Thread(target=target, name=name, daemon=True)
    try:
        thread.start()
    except RuntimeError:
        return None
    return thread
