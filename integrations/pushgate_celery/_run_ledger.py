"""The one ledger of runs: pairs what executing processes say with what the main process says.

An executing process says that a run began and how its code ended. The main process says what that
process can't: limits, revocations, that a child is gone. Each run ends once: as its code ended; or,
where that is not known, as the main process says; or as a failure when its process is gone.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from pushgate_celery._stamp import parsed
from pushgate_celery._task_records import End, TaskRun

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_WAIT = 5.0  # seconds, for another word on a run that was cut short
_REMEMBER = 60.0  # seconds after a child's end: Celery waits for a lost result for 10
_MOST_ENDED = 1000  # task ids of a process; the main process contradicts its latest
_MOST_OPEN = 20_000  # runs of a process; more are no runs, but ends that were lost
_KILLERS = ("TimeLimitExceeded", "")  # of a run; the second is a revocation


class _Process:
    """One executing process: its open runs, and what is known of those that ended."""

    def __init__(self) -> None:
        self.open: dict[int, TaskRun] = {}
        self.cut: dict[int, tuple[TaskRun, End, bool]] = {}
        self.told: set[int] = set()  # runs whose end came from the main process
        self.ended: deque[str] = deque(maxlen=_MOST_ENDED)
        self.latest = self.latest_end = 0  # numbers of runs that began and ended
        self.is_killed = False  # on purpose, with its run

    def find(self, task_id: str) -> TaskRun | None:
        """The open run of this task."""
        for run in self.open.values():
            if run.task_id == task_id:
                return run
        return next((run for run, _, _ in self.cut.values() if run.task_id == task_id), None)


class RunLedger:
    """Calls ``started(run)`` and ``ended(run, end)`` once for each run.

    A run of which only the main process knows has the number 0 and no times.
    """

    def __init__(
        self, started: Callable[[TaskRun], object], ended: Callable[[TaskRun, End], object]
    ) -> None:
        self._started = started
        self._ended = ended
        self._processes: dict[int, _Process] = {}
        self._gone: deque[tuple[float, _Process]] = deque()
        self._unknown: deque[str] = deque(maxlen=_MOST_ENDED)

    def start(self, fields: Sequence[Any]) -> None:
        """A run began; these are a TaskRun's."""
        run = _run_of(fields)
        process = self._process(run.pid)
        process.latest = max(process.latest, run.number)
        process.open[run.number] = run
        if len(process.open) > _MOST_OPEN:
            del process.open[next(iter(process.open))]
        self._started(run)

    def end(self, fields: Sequence[Any], end: End) -> None:
        """Its code ended."""
        process = self._process(fields[0])
        if (run := self._taken(process, fields)) is not None:
            self._close(process, run, end)

    def cut(self, fields: Sequence[Any], end: End, killed: bool) -> None:
        """Its code ended like that, as far as its process knows."""
        process = self._process(fields[0])
        if (run := self._taken(process, fields)) is not None:
            process.cut[run.number] = run, end, killed

    def told(self, task_id: str, task: str, end: End) -> None:
        """The main process, or Celery's tracer after the run, says how a run of the task ended."""
        for process in self._processes.values():
            run = process.find(task_id)
            if run is not None:
                _, before, killed = process.cut.pop(run.number, (run, end, True))
                process.open.pop(run.number, None)
                process.told.add(run.number)
                process.is_killed = end.exception in _KILLERS
                process.ended.append(task_id)
                if not killed and before.state == end.state:
                    end = before  # it knows the exception that the code raised
                elif end.duration is None:
                    end = end._replace(duration=max(0.0, end.at - run.started_at))
                self._ended(run, end)
                return
        known = (self._unknown, *(process.ended for process in self._all()))
        if not any(task_id in ended for ended in known):
            self._unknown.append(task_id)
            self._ended(
                TaskRun(0, 0, task_id, task, "", end.at, 0, False, None, None, 0, None), end
            )

    def gone(self, pid: int, is_wanted: bool, now: float) -> bool:
        """A child has ended; if ``is_wanted``, what it ran was handed back.

        Whether it was killed because of its run.
        """
        process = self._processes.pop(pid, None)
        if process is None:
            return False
        self._gone.append((now, process))
        for run, end, killed in process.cut.values():
            if not (killed and is_wanted):
                self._close(process, run, end)
        for run in process.open.values():
            if not is_wanted and run.after_loss < 2:
                self._lost(process, run, now)
        process.open.clear()
        process.cut.clear()
        return process.is_killed

    def look(self, now: float) -> None:
        """Time has passed: no other word will come on what was cut short a while ago."""
        for process in self._processes.values():
            for number, (run, end, _) in [*process.cut.items()]:
                if not now - _WAIT < end.at <= now + _WAIT:
                    del process.cut[number]
                    self._close(process, run, end)
        while self._gone and now - self._gone[0][0] > _REMEMBER:
            self._gone.popleft()

    def close(self, now: float, *, crashed: bool) -> None:
        """The worker is gone. What it ran was handed back if it ended well."""
        for process in self._processes.values():
            for run, end, killed in process.cut.values():
                if crashed or not killed:
                    self._close(process, run, end)
            for run in process.open.values():
                if crashed and not run.after_loss:
                    self._lost(process, run, now)
            process.open.clear()
            process.cut.clear()

    def _process(self, pid: int) -> _Process:
        try:
            return self._processes[pid]
        except KeyError:
            return self._processes.setdefault(pid, _Process())

    def _all(self) -> Iterator[_Process]:
        yield from self._processes.values()
        yield from (process for _, process in self._gone)

    def _taken(self, process: _Process, fields: Sequence[Any]) -> TaskRun | None:
        """The run, which is not open from now on; None where its end is known."""
        number = fields[1]
        if (run := process.open.pop(number, None)) is None:
            if number in process.told or number == process.latest_end:  # written twice
                return None
            run = _run_of(fields)
            if number > process.latest:  # another pusher read that it began, or it was lost
                process.latest = number
                self._started(run)
        process.latest_end = number
        return run

    def _close(self, process: _Process, run: TaskRun, end: End) -> None:
        process.ended.append(run.task_id)
        self._ended(run, end)

    def _lost(self, process: _Process, run: TaskRun, now: float) -> None:
        duration = max(0.0, now - run.started_at)
        self._close(process, run, End("failure", "WorkerLostError", now, duration))


def _run_of(fields: Sequence[Any]) -> TaskRun:
    return TaskRun._make((*fields[:8], parsed(fields[8]), *fields[9:]))
