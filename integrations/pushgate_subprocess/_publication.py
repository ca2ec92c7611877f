"""Publish one run: to the gateway, into a textfile, or on stderr for a dry run.

Imported while the command runs, with all that is heavy and all that the end needs: a job that
upgrades pushgate takes the files away.
"""

from __future__ import annotations

import functools
import os
import socket
import sys
import threading
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
    end_families,
    failure,
    was_kept,
)
from pushgate_subprocess import _state
from pushgate_subprocess._outcome import describe, vanished

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from pushgate import Family, Outcome
    from pushgate_subprocess._run_options import RunOptions

    # Of the group's key and what takes complaints, each a line for a person.
    OwnMetricsReader = Callable[[GroupingKey, Callable[[str], object]], Sequence[Any]]

__all__ = ("Publication",)

_KEEP_SECONDS = 10.0
_UNTIL_THE_TIME_IS_OVER = 1_000_000  # retries, which --push-timeout bounds


class Publication:
    """One run, its state, and the sink of its reports. The parameters are those of RunReport.

    No method raises for a push that fails: that is logged.
    """

    def __init__(
        self,
        options: RunOptions,
        *,
        started_at: float,
        own_metrics: OwnMetricsReader,
        log: RateLimitedLogger,
        gateway: Gateway | None,
    ) -> None:
        self._options = options
        self._own_metrics = own_metrics
        self._log = log
        self._gateway = gateway
        self._settings: Settings | SettingsError | None = None
        self._outbox_lines: list[str] = []
        self._why_nothing_is_kept: list[str] = []
        self._run: JobRun | None = None
        self._state: _state.State | None = None
        self._sink: DirectSink | None = None
        self._outcome: Outcome | None = None
        self._is_in_textfile = False
        self._has_own = False
        self._has_failed = self._has_arrived = False
        self._finishing = threading.Lock()
        self._textfile: TextfileSink | None = None
        if gateway is None:
            try:
                self._settings = Settings.load(options.settings, os.environ)
            except SettingsError as error:
                self._settings = error
        try:
            self._run = self._identify(started_at)
        except Exception as error:  # also a label of the wrong type
            self._warn(failure("the push", error))
            return
        if options.dry_run:
            return
        if options.textfile is not None:
            from pushgate_subprocess._textfile import TextfileSink  # its parser takes 3 ms

            self._textfile = TextfileSink(options.textfile, log.warning)
        self._sink = DirectSink(
            self._connect,
            timeout=options.push_timeout,
            keep_timeout=_KEEP_SECONDS,
            log=RateLimitedLogger(self._warn, interval=0.0),
        )

    def start(self) -> None:
        """Publish that the run has started. A failure is not logged: the end tells it."""
        from pushgate import open_private, parse_leniently  # noqa: F401 - for the end, see above

        run, options = self._run, self._options
        if run is None or not options.start_push or options.dry_run:
            return
        if self._textfile is not None:
            self._textfile.started(run)
        with self._finishing:
            if self._sink is not None and self._outcome is None:
                self._sink.started(run)

    def alive(self) -> None:
        """Publish that the run goes on."""
        if self._run is not None and self._sink is not None:
            self._sink.alive(self._run)

    def finish(self, outcome: Outcome, settled: Callable[[], object]) -> None:
        """Publish how the run ended; ``settled`` is called once that is done. Once only."""
        with self._finishing:
            if self._outcome is not None:
                return
            self._outcome = outcome
            run, options = self._run, self._options
            if run is None:
                settled()
            elif options.dry_run:
                self._print(lambda: end_families(run, outcome), "printing the metrics")
                self._print(lambda: self._own(run), "printing the job's own metrics")
                settled()
            elif self._sink is not None:
                own = functools.partial(self._own, run)
                self._is_in_textfile = self._textfile is not None and self._textfile.finished(
                    run, outcome, own
                )
                for_the_sink = functools.partial(self._own_for_the_sink, run)
                self._sink.finish(run, outcome, for_the_sink, settled=settled)

    def keep(self) -> None:
        """Keep in the outbox what is not delivered. Takes up to 10 seconds on a busy disk."""
        if self._sink is not None:
            self._sink.close()

    def close(self) -> None:
        """Note in the state that the run has ended, and tell of it where the user wants to know."""
        sink, outcome = self._sink, self._outcome
        error = None if sink is None else sink.last_error
        if self._state is not None:
            is_deleted = error is None and outcome is not None and outcome.status is Status.SUCCESS
            held = self._has_own or self._state.had_own_metrics
            self._state.end(own_metrics=self._has_own if is_deleted else held)
        if error is None:
            for line in self._take_outbox_lines():
                self._log.warning(line)
        if self._options.verbosity > 0 and outcome is not None:
            places = [self._options.textfile or ""] if self._is_in_textfile else []
            has_arrived = self._has_arrived or error is None
            if sink is not None and has_arrived and (url := self._url()) is not None:
                places.append(f"{url} {self._run.key if self._run else ''}")
            where = [f"pushed to {' and '.join(places)}"] if places else []
            if error is not None and was_kept(error):
                where.append("kept in the outbox")
            how = describe(outcome, self._options.min_duration)
            self._log.info(f"{how}; {', '.join(where) or 'not pushed'}")

    def _identify(self, started_at: float) -> JobRun:
        options, settings = self._options, self._settings
        source = self._gateway or settings
        utf8_names = isinstance(source, (Gateway, Settings)) and source.utf8_names
        key = GroupingKey(options.job, options.group, utf8_names=utf8_names)
        if not options.dry_run:
            # That no state can be kept would be said at each run; -v says it.
            complain = self._log.warning if options.verbosity > 0 else lambda _line: None
            self._state = _state.begin(key, started_at, complain)
        state = self._state
        vanished_at = None
        if state is not None and state.previous_vanished is not None:
            self._log.warning(vanished(key, state.previous_vanished))
            vanished_at = started_at
        return JobRun(
            key,
            started_at,
            expected_interval=options.expect_every,
            vanished_at=vanished_at,
            host=socket.gethostname(),
        )

    def _connect(self) -> Gateway | None:
        """The gateway; None where there is none and a textfile is the destination."""
        settings = self._settings
        if settings is None:
            return self._gateway
        if isinstance(settings, SettingsError):
            raise settings
        if settings.gateway is None and self._options.textfile is not None:
            return None
        if "retries" not in settings.origins:
            settings = settings._replace(retries=_UNTIL_THE_TIME_IS_OVER)
        outbox = settings.to_outbox(RateLimitedLogger(self._outbox_lines.append))
        self._why_nothing_is_kept = self._take_outbox_lines()  # worth a line once a push fails
        return settings.to_gateway(outbox)

    def _url(self) -> str | None:
        if self._gateway is not None:
            return self._gateway.url
        return self._settings.url if isinstance(self._settings, Settings) else None

    def _own(self, run: JobRun) -> Sequence[Any]:
        """The job's own metrics, as they are now."""
        own = self._own_metrics(run.key, self._log.warning)
        self._has_own = bool(own)
        return own

    def _own_for_the_sink(self, run: JobRun) -> Sequence[Any] | None:
        """None leaves the group alone: the state says that no run before has had any."""
        self._has_arrived = not self._has_failed  # they are asked for after the outcome
        # Where no state tells: a DELETE too many does no harm, metrics that never vanish do.
        is_sure = self._state is not None and self._state.had_own_metrics is False
        return self._own(run) or (None if is_sure else [])

    def _print(self, families: Callable[[], Iterable[Family]], what: str) -> None:
        try:
            text = encode(families()).text.decode()
            if sys.stderr is not None:
                sys.stderr.write(text)
                sys.stderr.flush()
        except Exception as error:
            self._log.warning(failure(what, error))

    def _warn(self, line: str) -> None:
        """Log ``line`` as one with what the outbox says, which tells why nothing could be kept."""
        self._has_failed = True
        more = [*self._why_nothing_is_kept, *self._take_outbox_lines()]
        self._log.warning("; ".join([line, *more]))

    def _take_outbox_lines(self) -> list[str]:
        lines, self._outbox_lines[:] = list(self._outbox_lines), []
        return lines
