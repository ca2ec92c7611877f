"""Selects series in PromQL, without the values that can't be true."""

from __future__ import annotations

from typing import NamedTuple

from ..jobs.vocabulary import DURATION, EXPECTED_INTERVAL
from ..protocol.timestamps import YEAR_10000, is_time_name

_NUMBERS = (DURATION, EXPECTED_INTERVAL)


class Series(NamedTuple):
    """Selects series. ``matchers`` are PromQL's between braces, such as ``job="backup"``.

    A ``modifier`` such as ``" @ end()"`` is put behind each selector.

    With a ``window``, such as ``10m``, a series lives for that time after its last sample: a single
    failed scrape makes all series of a gateway vanish, and alerts on them would end and start
    again. ``scrape_job`` is the ``job_name`` under which Prometheus scrapes the gateway.

    Anybody may push metrics of the vocabulary's names. As in ``jobs/health.py``, a time before 1970
    or beyond the year 9999, such as -Inf and NaN, and a span that is no number, count as absent.
    """

    matchers: str = ""
    window: str = ""
    scrape_job: str = "pushgateway"
    modifier: str = ""

    def of(self, name: str, *matchers: str, ago: str = "") -> str:
        """The series of a metric, with further matchers, as it is or was so long ``ago``."""
        return _possible(name, self._held(name + self._braces(*matchers), ago))

    def at(self, name: str, ago: str) -> str:
        """The series as it was so long ``ago``, whatever the window."""
        return _possible(name, f"{name}{self._braces()} offset {ago}")

    def over(self, function: str, name: str, time: str, modifier: str = "") -> str:
        """A function of the values over a ``time`` such as ``1h``, or ``7d:10m`` by a subquery."""
        return f"{function}({name}{self._braces()}[{time}]{modifier})"

    def highest(self, *names: str, matcher: str = "") -> str:
        """The highest of several metrics, for groups that have any of them."""
        names_match = f'__name__=~"{"|".join(names)}"'
        held = self._held(self._braces(names_match, matcher))
        return f"max without () ({_possible(names[0], held)})"

    def of_gateway(self, name: str) -> str:
        """A metric of the gateway itself, or of its scrape."""
        job = self.scrape_job.replace("\\", "\\\\").replace('"', '\\"')
        return f'{name}{{job="{job}"}}'

    def _held(self, selector: str, ago: str = "") -> str:
        offset = (f" offset {ago}" if ago else "") + self.modifier
        if self.window:
            return f"last_over_time({selector}[{self.window}]{offset})"
        return selector + offset

    def _braces(self, *matchers: str) -> str:
        inner = ",".join(filter(None, (*matchers, self.matchers)))
        return f"{{{inner}}}" if inner else ""


def number(value: float) -> str:
    """``value`` in PromQL, as a person would write it."""
    return f"{value:.0f}" if value == int(value) else repr(value)


def _possible(name: str, selected: str) -> str:
    """``selected`` without the values of the metric ``name`` that can't be true."""
    if is_time_name(name):
        return f"({selected} >= 0 < {YEAR_10000:.0f})"
    if name in _NUMBERS:
        return f"({selected} > -Inf < +Inf)"
    return selected
