"""The groups that a gateway holds: the response of ``/api/v1/metrics`` as typed values.

https://github.com/prometheus/pushgateway/blob/master/README.md#query-api
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from ..errors import PushError
from .families import Sample
from .metric_types import FAILURE_TIME, PUSH_TIME
from .timestamps import is_impossible_time, is_possible_time

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ("Group", "GroupFamily", "read_groups")


@dataclass(frozen=True)
class GroupFamily:
    """A metric family as the gateway stores it: ``name`` with every suffix, type in lower case.

    ``samples`` are those of an exposition, a histogram's buckets, sum and count included; of a
    native histogram, sum and count.
    ``pushed_at`` is when the family was last pushed, in Unix seconds by the gateway's clock.
    """

    name: str
    type: str
    documentation: str
    pushed_at: float
    samples: tuple[Sample, ...]


@dataclass(frozen=True)
class Group:
    """One group. ``labels`` are the grouping key, ``job`` included.

    ``push_time`` and ``push_failure_time`` are in Unix seconds by the gateway's clock, 0 where
    there was none. ``families`` leave out these two.
    """

    labels: dict[str, str]
    last_push_successful: bool
    push_time: float
    push_failure_time: float
    families: tuple[GroupFamily, ...]

    def family(self, name: str) -> GroupFamily | None:
        """The family of this name, or None."""
        return next((family for family in self.families if family.name == name), None)

    def value(self, name: str, /, **labels: str) -> float | None:
        """The value of the sample of this name that has these labels, or None.

        Grouping labels need not be given. With several such samples, the first. A time of the job
        metrics that no clock shows, such as -Inf, counts as absent.
        """
        for family in self.families:
            for sample in family.samples:
                if sample.name != name or not labels.items() <= sample.labels.items():
                    continue
                if not is_impossible_time(name, sample.value):
                    return sample.value
        return None


def read_groups(document: bytes) -> Iterator[Group]:
    """The groups in a response of ``/api/v1/metrics``, each decoded when its turn comes.

    Decoded as a whole, the response of a gateway of some thousand series takes tens of megabytes,
    which a small process keeps. Raises PushError for another layout.
    """
    try:
        for entry in _entries(document.decode()):
            yield _group(entry)
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
        raise PushError("/api/v1/metrics is not the response of a Pushgateway") from error


_OPENING = re.compile(r'\s*\{\s*"status"\s*:\s*"success"\s*,\s*"data"\s*:\s*\[\s*')
_NEXT = re.compile(r"\s*([,\]])\s*")


def _entries(text: str) -> Iterator[dict[str, Any]]:
    opening = _OPENING.match(text)
    if not opening or text.startswith("]", opening.end()):
        yield from json.loads(text)["data"]
        return
    decoder, at = json.JSONDecoder(), opening.end()
    while True:
        entry, at = decoder.raw_decode(text, at)
        yield entry
        mark = _NEXT.match(text, at)
        if mark is None:
            raise ValueError("the response ends early")
        if mark[1] == "]":
            return
        at = mark.end()


def _group(entry: dict[str, Any]) -> Group:
    families = {
        name: _family(name, value)
        for name, value in entry.items()
        # A grouping label may be called "metrics": only a family's is a list.
        if isinstance(value, dict) and isinstance(value.get("metrics"), list)
    }
    labels, successful = entry["labels"], entry["last_push_successful"]
    if "labels" in families:  # a metric of that name hides them; the gateway's own sample has them
        own = entry[PUSH_TIME]["metrics"][0]["labels"]
        labels = {name: value for name, value in own.items() if value or name != "instance"}
    times = [families.pop(name, None) for name in (PUSH_TIME, FAILURE_TIME)]
    push_time, failure_time = (_time_of(family) for family in times)
    return Group(
        labels=_job_first(labels),
        # Again, a metric of that name hides it.
        last_push_successful=(
            push_time >= failure_time if isinstance(successful, dict) else bool(successful)
        ),
        push_time=push_time,
        push_failure_time=failure_time,
        families=tuple(sorted(families.values(), key=lambda family: family.name)),
    )


def _time_of(family: GroupFamily | None) -> float:
    """Its time; 0 where there is none, or where another client pushed one that no clock shows."""
    if family is None or not family.samples or not is_possible_time(family.samples[0].value):
        return 0.0
    return family.samples[0].value


def _job_first(labels: dict[str, str]) -> dict[str, str]:
    return dict(sorted(labels.items(), key=lambda item: (item[0] != "job", item[0])))


def _family(name: str, entry: dict[str, Any]) -> GroupFamily:
    samples: list[Sample] = []
    for metric in entry["metrics"]:
        samples += _samples(name, entry["type"], metric)
    return GroupFamily(
        name=name,
        type=entry["type"].lower(),
        documentation=entry.get("help", ""),
        pushed_at=_unix_seconds(entry["time_stamp"]),
        samples=tuple(samples),
    )


def _samples(name: str, kind: str, metric: dict[str, Any]) -> list[Sample]:
    labels = metric.get("labels") or {}
    if kind not in ("HISTOGRAM", "SUMMARY"):
        return [Sample(name, labels, float(metric["value"]))]
    parts, label, suffix = (
        ("buckets", "le", "_bucket") if kind == "HISTOGRAM" else ("quantiles", "quantile", "")
    )
    bounds = metric.get(parts) or {}
    # A native histogram's buckets are a list (from 1.8.0 on): no samples of an exposition are.
    pairs = bounds.items() if isinstance(bounds, dict) else ()
    samples = [
        Sample(name + suffix, {**labels, label: bound}, float(value)) for bound, value in pairs
    ]
    samples.append(Sample(f"{name}_sum", labels, float(metric["sum"])))
    samples.append(Sample(f"{name}_count", labels, float(metric["count"])))
    return samples


def _unix_seconds(text: str) -> float:
    """Go's RFC 3339 time, with nanoseconds, which datetime.fromisoformat reads from 3.11 on."""
    head, _, rest = text.partition(".")
    digits = rest[: len(rest) - len(rest.lstrip("0123456789"))]
    zone = (rest[len(digits) :] if rest else head[19:]).replace("Z", "+00:00")
    return datetime.fromisoformat(head[:19] + zone).timestamp() + float(f"0.{digits or 0}")
