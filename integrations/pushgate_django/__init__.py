"""Django to pushgate: the outcome of management commands, by a mixin, and of tasks, by signals.

The gateway and its options are ``PUSHGATE = {"gateway": "http://…", …}`` in Django's settings.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from importlib import import_module
from typing import TYPE_CHECKING, Any

from django.conf import settings as django_settings
from django.core.management.base import BaseCommand

from pushgate import (
    GroupingKey,
    JobRun,
    OptionSource,
    OwnMetrics,
    PushError,
    RateLimitedLogger,
    configured_direct_sink,
    configured_sink,
    read_options,
    readers,
    with_schedule,
)
from pushgate_django._django_runs import command_outcome, task_outcome, task_run

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pushgate import Sink

_OWN_OPTIONS = {"job": readers.job, "enabled": readers.switch}
_LABEL = "PUSHGATE['{name}'] in Django's settings"
_SIGNALS = ("django.tasks.signals", "django_tasks.signals")  # from Django 6.0 on; the package
_log = RateLimitedLogger()


class PushgateMixin(BaseCommand):  # type: ignore[misc]  # Django ships no types
    """Reports each run of a management command, from the shell or by ``call_command``.

    ``pushgate_expect_every`` is the schedule's period, such as ``"24h"``, or a cron expression,
    such as ``"0 3 * * * Europe/Berlin"``; without a zone, it is in Django's ``TIME_ZONE``.
    ``self.pushgate`` has the metrics of the run, as that of ``pushgate_subprocess.job``. What is
    raised, returned and printed stays the same. A run with ``--dry-run``, and one in a test, is
    not told.
    """

    pushgate_expect_every: float | str | None = None
    pushgate = OwnMetrics()  # of no run: for what calls ``handle`` itself

    def pushgate_group(self, **options: Any) -> Mapping[str, object]:  # noqa: ARG002
        """Labels beside the command's name, where its options make jobs of their own of it."""
        return {}

    def execute(self, *args: Any, **options: Any) -> Any:
        self.pushgate = OwnMetrics()
        told = None if options.get("dry_run") else _guarded(_CommandReport, self, options)
        error: BaseException | None = None
        try:
            return super().execute(*args, **options)
        except BaseException as raised:
            error = raised
            raise
        finally:
            if told is not None:
                _guarded(told.end, error)


class _CommandReport:
    """Tells of one run of a command, from its making to ``end``."""

    def __init__(self, command: PushgateMixin, options: Mapping[str, Any]) -> None:
        self._process, self._clock = os.getpid(), time.monotonic()
        self._own = command.pushgate.collect
        self._sink: Sink | None = None
        job, source = _configuration()
        if source is None:
            return
        sink = configured_direct_sink("this command's runs", _log, source)
        if sink is None:
            return
        name = type(command).__module__.rpartition(".")[2]
        key = GroupingKey(job, {"task": name, **command.pushgate_group(**options)})
        every = command.pushgate_expect_every
        self._run = with_schedule(
            JobRun(key, time.time(), host=socket.gethostname()),
            None if every is None else _guarded(readers.schedule, every),
            _log.warning,
        )
        self._sink = sink
        sink.started(self._run)

    def end(self, error: BaseException | None) -> None:
        if self._sink is not None and os.getpid() == self._process:  # no fork of it
            outcome = command_outcome(error, time.time(), time.monotonic() - self._clock)
            self._sink.finished(self._run, outcome, self._own)


def install(*, sink: Sink | None = None, job: str = "django") -> Callable[[], None]:
    """Report tasks from now on, as the app in INSTALLED_APPS does. Returns what uninstalls.

    Without ``sink``, Django's settings say the gateway and ``job``, as soon as a task starts.
    """
    reports = _TaskReports(sink, readers.job(job))
    hooked = []
    for name in _SIGNALS:
        try:
            signals = import_module(name)
        except ImportError:
            continue
        signals.task_started.connect(reports.started, weak=False)
        signals.task_finished.connect(reports.finished, weak=False)
        hooked.append(signals)

    def uninstall() -> None:
        for signals in hooked:
            signals.task_started.disconnect(reports.started)
            signals.task_finished.disconnect(reports.finished)

    return uninstall


class _TaskReports:
    """Receives the signals of tasks. What a receiver raises would be a failure of the task."""

    def __init__(self, sink: Sink | None, job: str) -> None:
        self._sink = sink
        self._job = job
        self._host = socket.gethostname()

    def started(self, **event: Any) -> None:
        _guarded(self._tell, event["task_result"], ended=False)

    def finished(self, **event: Any) -> None:
        _guarded(self._tell, event["task_result"], ended=True)

    def _tell(self, result: Any, *, ended: bool) -> None:
        if self._sink is None:
            self._job, source = _configuration()
            if source is not None:
                self._sink = configured_sink("this process's tasks", _log, source)
        if self._sink is None:
            return
        run = task_run(self._job, result, self._host)
        if ended:
            self._sink.finished(run, task_outcome(result, time.time()))
        else:
            self._sink.started(run)


def _configuration() -> tuple[str, OptionSource | None]:
    """The label ``job`` and the options of the gateway; None where nothing is to be told.

    Only real runs speak: Django's test runner, and pytest-django, make ``mail.outbox``.
    """
    given = getattr(django_settings, "PUSHGATE", {})
    if not isinstance(given, dict):
        raise ValueError(f"PUSHGATE in Django's settings is a {type(given).__name__}, not a dict")
    given = dict(given)
    own = {name: given.pop(name) for name in _OWN_OPTIONS if name in given}
    options, _ = read_options(_OWN_OPTIONS, OptionSource(own, _LABEL))
    is_test = hasattr(sys.modules.get("django.core.mail"), "outbox")
    is_told = options.get("enabled", True) and not is_test
    return options.get("job", "django"), OptionSource(given, _LABEL) if is_told else None


def _guarded(call: Callable[..., Any], *arguments: Any, **keywords: Any) -> Any:
    """What the call returns; None where it raises, which is logged."""
    try:
        return call(*arguments, **keywords)
    except Exception as error:
        why = str(error) if isinstance(error, (PushError, ValueError)) else repr(error)
        _log.error(f"a run is not reported, or not all of it: {why}")
        return None
