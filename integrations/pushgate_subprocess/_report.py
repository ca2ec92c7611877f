"""What one run publishes, and where: the gateway, a textfile, or stderr for a dry run.

RunOptions and an Outcome enter; pushes, files and lines for a person leave, never an exception.
Imported while the command runs, since it imports all that is heavy.
"""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING

from pushgate import (
    GroupingKey,
    InvalidGroupingKeyError,
    InvalidPayloadError,
    JobRun,
    Settings,
    SettingsError,
    Status,
    encode,
    end_families,
    start_families,
)
from pushgate_subprocess import _state
from pushgate_subprocess._failure import WAITS, Remarks, failure

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pushgate import Family, Outcome
    from pushgate_subprocess._delivery import Delivery
    from pushgate_subprocess._options import RunOptions
    from pushgate_subprocess._voice import Voice

    OwnMetrics = Callable[[GroupingKey], tuple[Sequence[Family], list[str]]]
    Connect = Callable[[RunOptions, Callable[[str], object]], Delivery | None]
    Send = Callable[[str, GroupingKey, bytes], bool]

__all__ = ("OWN_METRICS", "Report")

# The job's own metrics live in a group beside the outcome's, replaced by each run (PUT), so that
# a metric a run no longer writes vanishes while the last success stays.
OWN_METRICS = {"origin": "job"}
_OF_ITS_OWN = "publishing the job's own metrics"


class Report:
    """The report of one run that began at ``started_at`` (Unix seconds).

    ``voice`` takes lines for a person. ``own_metrics`` gives the job's own families and complaints
    about them, once the run has ended. ``connect`` gives the way to the gateway, or None for no
    gateway; it is called with what takes the outbox's lines.
    """

    def __init__(
        self,
        options: RunOptions,
        *,
        started_at: float,
        voice: Voice,
        own_metrics: OwnMetrics,
        connect: Connect,
    ) -> None:
        self._options = options
        self._voice = voice
        self._own_metrics = own_metrics
        self._run: JobRun | None = None
        self._state: _state.State | None = None
        self._delivery: Delivery | None = None
        self._remarks = Remarks()
        self._has_own_metrics = False
        # Settled is what has arrived, was kept, or was told to be lost.
        self._outcome_is_settled = self._own_metrics_are_settled = False
        self._utf8_names = False
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
        if self._delivery is not None:
            self._delivery.start(run, options.push_timeout)

    def push_heartbeat(self) -> None:
        """Publish that the run goes on."""
        if self._run is not None and self._delivery is not None:
            self._delivery.heartbeat(self._run, self._options.push_timeout)

    def push_end(self, outcome: Outcome, due: float) -> None:
        """Publish how the run ended, by ``due`` on the monotonic clock."""
        self._remarks.begin()
        places = [] if self._run is None else self._publish_end(self._run, outcome, due)
        for remark in self._remarks.take(failed=False):
            self._voice.say(remark)
        if self._options.verbosity > 0:
            from pushgate_subprocess._words import in_words

            where = [f"pushed to {' and '.join(places)}"] if places else []
            if self._delivery is not None and self._delivery.waits:
                where.append("kept in the outbox")
            how = in_words(outcome, self._options.min_duration)
            self._voice.say(f"{how}; {', '.join(where) or 'not pushed'}")

    def keep_end(self, outcome: Outcome) -> list[str]:
        """Keep in the outbox what `push_end`, left behind in its thread, is not done with.

        Returns what is to be said of that. May raise.
        """
        run, delivery = self._run, self._delivery
        if run is None or delivery is None:
            return []

        def keep(method: str, key: GroupingKey, text: bytes) -> bool:
            delivery.keep(method, key, text)
            return False

        if not self._outcome_is_settled:
            keep("POST", run.key, encode(end_families(run, outcome), run.key).text)
        if not self._own_metrics_are_settled:
            own = self._read_own_metrics(_be_silent)
            self._send_own_metrics(outcome, *own, keep)
        return [WAITS] if delivery.waits else self._remarks.take(failed=True)

    def close(self) -> None:
        """The run is over, whether or not its end could be published."""
        if self._state is not None:
            self._state.end(own_metrics=self._has_own_metrics)

    def _identify(self, started_at: float) -> None:
        options = self._options
        self._utf8_names = _utf8_names_are_asked(options)
        key = GroupingKey(options.job, options.groups, utf8_names=self._utf8_names)
        if not options.dry_run:
            complain = self._voice.say if options.verbosity > 0 else _be_silent
            self._state = _state.begin(key, started_at, complain)
        # Where no state tells: a DELETE too many does no harm, metrics that never vanish do.
        self._has_own_metrics = self._state is None or self._state.had_own_metrics
        if self._state is not None and self._state.previous_vanished is not None:
            from pushgate_subprocess._words import vanished

            self._voice.say(vanished(key, self._state.previous_vanished))
        self._run = JobRun(
            key,
            started_at,
            expected_interval=options.expect_every,
            vanished_runs=None if self._state is None else self._state.vanished_runs,
        )

    def _find_gateway(self, connect: Connect) -> None:
        self._delivery = connect(self._options, self._remarks)

    def _publish_end(self, run: JobRun, outcome: Outcome, due: float) -> list[str]:
        """Where the outcome has arrived."""
        options, families = self._options, end_families(run, outcome)
        places = []
        directory = delivery = None
        if options.dry_run:
            self._guarded(lambda: _print(families), "printing the metrics")
        elif (chosen := options.textfile) is not None and self._guarded(
            lambda: _write_textfile(chosen, run.key, families), f"writing into {chosen}"
        ):
            directory = chosen
            places.append(directory)
        if (to := self._delivery) is not None:
            if self._guarded(lambda: to.end(run.key, encode(families, run.key).text, due)):
                places.append(f"{to.url} {run.key}")
                delivery = to
            elif to.waits:
                delivery = to
            self._outcome_is_settled = True
        # The outcome first: reading a megabyte of the job's own metrics takes seconds.
        self._guarded(
            lambda: self._publish_own_metrics(outcome, directory, delivery, due), _OF_ITS_OWN
        )
        self._own_metrics_are_settled = True
        return places

    def _publish_own_metrics(
        self, outcome: Outcome, directory: str | None, delivery: Delivery | None, due: float
    ) -> None:
        key, own = self._read_own_metrics(self._voice.say)
        if self._options.dry_run:
            _print(own)
        if directory is not None and (own or outcome.status is Status.SUCCESS):
            self._guarded(lambda: _write_textfile(directory, key, own, replace=True), _OF_ITS_OWN)
        if (to := delivery) is not None:
            self._send_own_metrics(outcome, key, own, lambda m, k, text: to.follow(m, k, text, due))

    def _read_own_metrics(
        self, complain: Callable[[str], None]
    ) -> tuple[GroupingKey, Sequence[Family]]:
        groups = self._options.groups
        labels = {**groups, **OWN_METRICS}
        key = GroupingKey(self._options.job, labels, utf8_names=self._utf8_names)
        own, complaints = self._own_metrics(key)
        for complaint in complaints:
            complain(complaint)
        if own and not groups.keys().isdisjoint(OWN_METRICS):
            raise InvalidGroupingKeyError(
                "their group is told apart by the label 'origin'; name yours differently",
                label="origin",
            )
        return key, own

    def _send_own_metrics(
        self, outcome: Outcome, key: GroupingKey, own: Sequence[Family], send: Send
    ) -> None:
        """``send`` returns whether it has arrived."""
        if own:
            payload = encode(own, key)
            if not payload.samples:
                raise InvalidPayloadError("none of them has a sample: set one, or leave them out")
            self._has_own_metrics = True  # also where the answer to this push is lost
            send("PUT", key, payload.text)
        elif self._has_own_metrics and outcome.status is Status.SUCCESS:
            # Where it waits, the next run says it again: perhaps to another gateway.
            self._has_own_metrics = not send("DELETE", key, b"")
        # else a run that failed before it wrote any keeps the last one's

    def _guarded(self, action: Callable[[], None], what: str = "the push") -> bool:
        """Whether ``action`` went well; what it raises is said."""
        try:
            action()
        except Exception as error:
            self._voice.fail(failure(what, error, self._remarks))
            return False
        return True


def _utf8_names_are_asked(options: RunOptions) -> bool:
    if all(
        name.isascii() and name.isidentifier() and not name.startswith("U__")
        for name in options.groups
    ):
        return False
    try:
        return Settings.load(options.settings, os.environ).utf8_names
    except SettingsError:  # which is said when the gateway is looked for
        return False


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
