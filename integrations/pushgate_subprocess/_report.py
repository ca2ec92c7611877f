"""What one run publishes, and where: the gateway, a textfile, or stderr for a dry run.

RunOptions and an Outcome enter; pushes, files and lines for a person leave, never an exception.
Imported while the command runs, since it imports all that is heavy.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from typing import TYPE_CHECKING

from pushgate import (
    DeliveryError,
    Gateway,
    GroupingKey,
    InvalidGroupingKeyError,
    JobRun,
    PushError,
    Reporter,
    Settings,
    Status,
    encode,
    end_families,
    start_families,
)
from pushgate_subprocess import _state

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pushgate import Family, Outcome
    from pushgate_subprocess._options import RunOptions
    from pushgate_subprocess._voice import Voice

    OwnMetrics = Callable[[GroupingKey], tuple[Sequence[Family], list[str]]]

__all__ = ("OWN_METRICS", "Report", "configured_gateway", "vanished")

# The job's own metrics live in a group beside the outcome's, replaced by each run (PUT), so that
# a metric a run no longer writes vanishes while the last success stays.
OWN_METRICS = {"origin": "job"}
_RETRIES = 6  # some 5 seconds: a gateway that restarts is back by then
_OF_ITS_OWN = "publishing the job's own metrics"


class Report:
    """The report of one run that began at ``started_at`` (Unix seconds).

    ``voice`` takes lines for a person. ``own_metrics`` gives the job's own families and complaints
    about them, once the run has ended; ``connect`` the gateway, or None for no gateway.
    """

    def __init__(
        self,
        options: RunOptions,
        *,
        started_at: float,
        voice: Voice,
        own_metrics: OwnMetrics,
        connect: Callable[[RunOptions], Gateway | None],
    ) -> None:
        self._options = options
        self._voice = voice
        self._own_metrics = own_metrics
        self._run: JobRun | None = None
        self._state: _state.State | None = None
        self._gateway: Gateway | None = None
        self._has_own_metrics = False
        # The identity first: a textfile can do without a gateway, and nothing without that.
        if self._guarded(lambda: self._identify(started_at)) and not options.dry_run:
            self._guarded(lambda: self._find_gateway(connect))

    def push_start(self) -> None:
        """Publish that the run has started."""
        run, options = self._run, self._options
        if run is None or not options.start_push or options.dry_run:
            return
        # A failure is worth no line of its own: the end carries the start too, and tells.
        if options.textfile is not None:
            with contextlib.suppress(Exception):
                _write_textfile(options.textfile, run.key, start_families(run))
        if self._gateway is not None:
            self._reporter(self._gateway).started(run)

    def push_heartbeat(self) -> None:
        """Publish that the run goes on."""
        if self._run is not None and self._gateway is not None:
            self._reporter(self._gateway).alive(self._run)

    def push_end(self, outcome: Outcome, due: float) -> None:
        """Publish how the run ended, by ``due`` on the monotonic clock."""
        places = [] if self._run is None else self._publish_end(self._run, outcome, due)
        if self._options.verbosity > 0:
            where = f"pushed to {' and '.join(places)}" if places else "not pushed"
            self._voice.say(f"{_in_words(outcome, self._options.min_duration)}; {where}")

    def close(self) -> None:
        """The run is over, whether or not its end could be published."""
        if self._state is not None:
            self._state.end(own_metrics=self._has_own_metrics)

    def _identify(self, started_at: float) -> None:
        options = self._options
        key = GroupingKey(options.job, options.groups)
        if not options.dry_run:
            complain = self._voice.say if options.verbosity > 0 else _be_silent
            self._state = _state.begin(key, started_at, complain)
        # Where no state tells: a DELETE too many does no harm, metrics that never vanish do.
        self._has_own_metrics = self._state is None or self._state.had_own_metrics
        if self._state is not None and self._state.previous_vanished is not None:
            self._voice.say(vanished(key, self._state.previous_vanished))
        self._run = JobRun(
            key,
            started_at,
            expected_interval=options.expect_every,
            vanished_runs=None if self._state is None else self._state.vanished_runs,
        )

    def _find_gateway(self, connect: Callable[[RunOptions], Gateway | None]) -> None:
        self._gateway = connect(self._options)

    def _reporter(self, gateway: Gateway) -> Reporter:
        timeout = self._options.push_timeout
        return Reporter(gateway, timeout=timeout, on_error=lambda _run, _error: None)

    def _publish_end(self, run: JobRun, outcome: Outcome, due: float) -> list[str]:
        """Where the outcome has arrived."""
        options, families = self._options, end_families(run, outcome)
        places = []
        directory = gateway = None
        if options.dry_run:
            self._guarded(lambda: _print(families), "printing the metrics")
        elif (chosen := options.textfile) is not None and self._guarded(
            lambda: _write_textfile(chosen, run.key, families), f"writing into {chosen}"
        ):
            directory = chosen
            places.append(directory)
        if self._gateway is not None and self._guarded(
            lambda: self._push_end(run, outcome, _until(due))
        ):
            gateway = self._gateway
            places.append(f"{gateway.url} {run.key}")
        # The outcome first: reading a megabyte of the job's own metrics takes seconds.
        self._guarded(
            lambda: self._publish_own_metrics(outcome, directory, gateway, due), _OF_ITS_OWN
        )
        return places

    def _push_end(self, run: JobRun, outcome: Outcome, timeout: float) -> None:
        if self._gateway and (
            error := self._reporter(self._gateway).finished(run, outcome, timeout=timeout)
        ):
            raise error

    def _publish_own_metrics(
        self, outcome: Outcome, directory: str | None, gateway: Gateway | None, due: float
    ) -> None:
        options = self._options
        key = GroupingKey(options.job, {**options.groups, **OWN_METRICS})
        own, complaints = self._own_metrics(key)
        for complaint in complaints:
            self._voice.say(complaint)
        if own and not options.groups.keys().isdisjoint(OWN_METRICS):
            raise InvalidGroupingKeyError(
                "their group is told apart by the label 'origin'; name yours differently",
                label="origin",
            )
        if options.dry_run:
            _print(own)
        if not own and outcome.status is not Status.SUCCESS:
            return  # a run that failed before it wrote any keeps the last one's
        if directory is not None:
            self._guarded(lambda: _write_textfile(directory, key, own, replace=True), _OF_ITS_OWN)
        if gateway is not None and own:
            self._has_own_metrics = True  # also where the answer to this push is lost
            gateway.push(key, own, timeout=_until(due))
        elif gateway is not None and self._has_own_metrics:
            gateway.delete(key, timeout=_until(due))
            self._has_own_metrics = False

    def _guarded(self, action: Callable[[], None], what: str = "the push") -> bool:
        """Whether ``action`` went well; what it raises is said."""
        try:
            action()
        except Exception as error:
            text = str(error) if isinstance(error, (PushError, OSError)) else repr(error)
            if isinstance(error, DeliveryError) and error.url not in text:
                text = f"{error.method} {error.url}: {text}"
            self._voice.fail(f"{what} failed: {' '.join(text.split())}")
            return False
        return True


def configured_gateway(options: RunOptions) -> Gateway | None:
    """The gateway of the settings; None where there is none and a textfile is the destination.

    Raises SettingsError.
    """
    settings = Settings.load(options.settings, os.environ)
    if "retries" not in settings.origins:
        settings = settings._replace(retries=_RETRIES)
    if settings.gateway is None and options.textfile is not None:
        return None
    return settings.to_gateway()


def vanished(key: GroupingKey, started_at: float) -> str:
    """The line that says that the run before did not come to an end we know of."""
    began = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(started_at))
    return f"the run of {key} that began at {began} vanished: it never reported its end"


def _in_words(outcome: Outcome, min_duration: float) -> str:
    how = {Status.SUCCESS: "succeeded", Status.FAILURE: "failed"}.get(outcome.status, "skipped")
    if outcome.command is not None and outcome.command.exit_code:
        how += f" with exit code {outcome.command.exit_code}"
    if outcome.duration is None:
        return how
    too_short = outcome.status is Status.FAILURE and outcome.duration < min_duration
    why = f", less than {min_duration:g} s" if too_short else ""
    return f"{how} after {outcome.duration:.2f} s{why}"


def _print(families: Sequence[Family]) -> None:
    if sys.stderr is not None:
        sys.stderr.write(encode(families).text.decode())
        sys.stderr.flush()


def _write_textfile(
    directory: str, key: GroupingKey, families: Sequence[Family], *, replace: bool = False
) -> None:
    from pushgate_subprocess._textfile import write

    write(directory, key, families, replace=replace)


def _be_silent(_line: str) -> None:
    """That no state can be kept would be said at each run; -v says it."""


def _until(due: float) -> float:
    """Seconds left. Raises TimeoutError where none are."""
    left = due - time.monotonic()
    if left <= 0:
        raise TimeoutError("no time left for the push")
    return left
