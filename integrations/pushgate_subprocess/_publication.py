"""Publish one run: to the gateway, into a textfile, or on stderr for a dry run.

Imported while the command runs, with all that is heavy and all that the end needs: a job that
upgrades pushgate takes the files away.
"""

from __future__ import annotations

import os
import socket
import sys
from typing import TYPE_CHECKING, Any

from pushgate import (
    DirectSink,
    Gateway,
    GroupingKey,
    JobRun,
    RateLimitedLogger,
    Settings,
    SettingsError,
    Status,
    encode,
    end_reports,
    failure,
    was_kept,
    with_schedule,
)
from pushgate_subprocess import _state
from pushgate_subprocess._outcome import describe, vanished

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pushgate import Background, Outcome
    from pushgate_subprocess._run_options import RunOptions

    # Of the group's key and what takes complaints, each a line for a person.
    OwnMetricsReader = Callable[[GroupingKey, Callable[[str], object]], Sequence[Any]]

_KEEP_SECONDS = 10.0
_UNTIL_THE_TIME_IS_OVER = 1_000_000  # retries, which --push-timeout bounds


class Publication:
    """One run, its state, and the sink of its reports. The parameters are those of RunReport.

    Raises InvalidGroupingKeyError or TypeError for the options' job and group. No method raises for
    a push that fails: that is logged.
    """

    def __init__(
        self,
        options: RunOptions,
        *,
        started_at: float,
        own_metrics: OwnMetricsReader,
        log: RateLimitedLogger,
        background: Background,
    ) -> None:
        self._options = options
        self._own_metrics = own_metrics
        self._log = log
        self._settings: Settings | SettingsError | None = None
        self._url: str | None = None
        self._outbox_lines: list[str] = []
        self._why_nothing_is_kept: list[str] = []
        self._state: _state.State | None = None
        self._outcome: Outcome | None = None
        self._is_in_textfile = self._has_own = False
        self._has_failed = self._has_arrived = self._is_settled = False
        self._textfile: TextfileSink | None = None
        if options.gateway is None:
            try:
                self._settings = Settings.load(options.settings, os.environ)
            except SettingsError as error:
                self._settings = error
        self._run = self._identify(started_at)
        if options.textfile is not None and not options.dry_run:
            from pushgate_subprocess._textfile import TextfileSink  # its parser takes 3 ms

            self._textfile = TextfileSink(options.textfile, log.warning)
        self._sink = DirectSink(
            self._connect,
            timeout=options.push_timeout,
            keep_timeout=_KEEP_SECONDS,
            log=RateLimitedLogger(self._warn, interval=0.0),
            background=background,
        )

    def start(self) -> None:
        """Publish that the run has started. A failure is not logged: the end tells it."""
        from pushgate import open_private, parse_leniently  # noqa: F401 - for the end, see above

        if self._options.start_push:
            if self._textfile is not None:
                self._textfile.started(self._run)
            self._sink.started(self._run)

    def alive(self) -> None:
        """Publish that the run goes on."""
        self._sink.alive(self._run)

    def finish(self, outcome: Outcome, settled: Callable[[], object]) -> None:
        """Publish how the run ended; ``settled`` is called once that is done. Once only."""
        self._outcome = outcome
        if self._options.dry_run:
            self._print(outcome)
        if self._textfile is not None:
            self._is_in_textfile = self._textfile.finished(self._run, outcome, self._own)
        self._sink.finish(self._run, outcome, self._own_for_the_sink, settled=settled)

    def keep(self) -> None:
        """Keep in the outbox what is not delivered. Takes up to 10 seconds on a busy disk."""
        self._sink.close()
        self._is_settled = True

    def close(self) -> None:
        """Note in the state that the run has ended, and tell of it where the user wants to know."""
        outcome = self._outcome
        error = self._sink.last_error if self._is_settled else TimeoutError()
        if self._state is not None:
            is_deleted = error is None and outcome is not None and outcome.status is Status.SUCCESS
            held = self._has_own or self._state.had_own_metrics
            self._state.end(own_metrics=self._has_own if is_deleted else held)
        if error is None:
            for line in self._take_outbox_lines():
                self._log.warning(line)
        if self._options.verbosity > 0 and outcome is not None:
            places = [self._options.textfile] if self._is_in_textfile else []
            if self._url is not None and (self._has_arrived or error is None):
                places.append(f"{self._url} {self._run.key}")
            where = [f"pushed to {' and '.join(map(str, places))}"] if places else []
            if error is not None and was_kept(error):
                where.append("kept in the outbox")
            how = describe(outcome, self._options.min_duration)
            self._log.info(f"{how}; {', '.join(where) or 'not pushed'}")

    def _identify(self, started_at: float) -> JobRun:
        options, source = self._options, self._options.gateway or self._settings
        utf8_names = isinstance(source, (Gateway, Settings)) and source.utf8_names
        key = GroupingKey(options.job, options.group, utf8_names=utf8_names)
        vanished_at = None
        if not options.dry_run:
            # That no state can be kept would be said at each run; -v says it.
            complain = self._log.warning if options.verbosity > 0 else lambda _line: None
            self._state = _state.begin(key, started_at, complain)
        if self._state is not None and self._state.previous_vanished is not None:
            self._log.warning(vanished(key, self._state.previous_vanished))
            vanished_at = started_at
        run = JobRun(key, started_at, vanished_at=vanished_at, host=socket.gethostname())
        return with_schedule(run, options.expect_every, self._log.warning)

    def _connect(self) -> Gateway | None:
        """The gateway; None for a dry run, and where a textfile is the only destination."""
        settings, gateway = self._settings, self._options.gateway
        if self._options.dry_run:
            return None
        if isinstance(settings, SettingsError):
            raise settings
        if settings is not None:
            if settings.gateway is None and self._options.textfile is not None:
                return None
            if "retries" not in settings.origins:
                settings = settings._replace(retries=_UNTIL_THE_TIME_IS_OVER)
            outbox = settings.to_outbox(RateLimitedLogger(self._outbox_lines.append))
            self._why_nothing_is_kept = self._take_outbox_lines()  # worth a line once a push fails
            gateway = settings.to_gateway(outbox)
        self._url = gateway.url if gateway else None
        return gateway

    def _own(self) -> Sequence[Any]:
        """The job's own metrics, as they are now."""
        own = self._own_metrics(self._run.key, self._log.warning)
        self._has_own = bool(own)
        return own

    def _own_for_the_sink(self) -> Sequence[Any] | None:
        """None leaves the group alone: the state says that no run before has had any."""
        self._has_arrived = not self._has_failed  # they are asked for after the outcome
        # Where no state tells: a DELETE too many does no harm, metrics that never vanish do.
        is_sure = self._state is not None and self._state.had_own_metrics is False
        return self._own() or (None if is_sure else [])

    def _print(self, outcome: Outcome) -> None:
        """Write on stderr what would be pushed."""
        try:
            for report in end_reports(self._run, outcome, self._own):
                if sys.stderr is not None:
                    sys.stderr.write(encode(report.families).text.decode())
                    sys.stderr.flush()
        except Exception as error:
            self._log.warning(failure("printing the metrics", error))

    def _warn(self, line: str) -> None:
        """Log ``line`` as one with what the outbox says, which tells why nothing could be kept."""
        self._has_failed = True
        self._log.warning("; ".join([line, *self._why_nothing_is_kept, *self._take_outbox_lines()]))

    def _take_outbox_lines(self) -> list[str]:
        lines, self._outbox_lines[:] = list(self._outbox_lines), []
        return lines
