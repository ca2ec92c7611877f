"""The groups that a gateway holds: the response of ``/api/v1/metrics`` as typed values.

https://github.com/prometheus/pushgateway/blob/master/README.md#query-api
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from sys import intern
from typing import TYPE_CHECKING, Any

from ..errors import PushError
from .families import Sample
from .json_stream import entries
from .metric_types import FAILURE_TIME, PUSH_TIME
from .timestamps import is_impossible_time, is_possible_time

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator


@dataclass(frozen=True, slots=True)
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


@dataclass(frozen=True, slots=True)
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

    @property
    def touched_at(self) -> float:
        """When it was last pushed to, as ``push_time``. A refused push counts."""
        return max(self.push_time, self.push_failure_time)

    def family(self, name: str) -> GroupFamily | None:
        """The family of this name, or None."""
        return next((family for family in self.families if family.name == name), None)

    def only(self, prefix: str) -> Group:
        """The group with those families alone whose names begin with ``prefix``.

        For a process that must hold many groups and needs little of them.
        """
        mine = tuple(family for family in self.families if family.name.startswith(prefix))
        return replace(self, families=mine)

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


# What reading a document raises that is not laid out as a Pushgateway's. Not Exception: a signal's
# handler may raise what is the job's own.
UNREADABLE = (
    *(ArithmeticError, AttributeError, LookupError, MemoryError, RecursionError, TypeError),
    ValueError,
)


class GroupParser:
    """The groups in a response of ``/api/v1/metrics``, each decoded when its turn comes.

    Decoded as a whole, that of a gateway with ten thousand groups takes hundreds of megabytes.
    """

    def __init__(self) -> None:
        self._entries = entries()
        next(self._entries)

    def feed(self, piece: bytes) -> Iterator[Group]:
        """The groups that end in the next piece of the response, which is empty at its end.

        Raises PushError for another layout.
        """
        try:
            entry = self._entries.send(piece)
            while entry is not None:
                yield _group(entry)
                entry = next(self._entries)
        except StopIteration:  # the end of the document; what follows it is not looked at
            self._entries = _ended()
            next(self._entries)
        except UNREADABLE as error:
            raise PushError("/api/v1/metrics is not the response of a Pushgateway") from error


def read_groups(document: Iterable[bytes]) -> Iterator[Group]:
    """The groups in ``document``, which comes in pieces. Raises as GroupParser, and its errors."""
    parser = GroupParser()
    for piece in document:
        yield from parser.feed(piece)
    yield from parser.feed(b"")


def _ended() -> Generator[None, bytes, None]:
    while True:
        yield


def _group(entry: dict[str, Any]) -> Group:
    # Most samples have these labels. Sharing them, and names and help texts, halves what ten
    # thousand groups take.
    shared = entry["labels"]
    if isinstance(shared, dict) and "metrics" not in shared:
        shared = {"instance": "", **shared}
    families = {
        name: _family(name, value, shared)
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
    if not all(isinstance(value, str) for value in labels.values()):
        raise TypeError("a label's value is a text")
    return dict(sorted(labels.items(), key=lambda item: (item[0] != "job", item[0])))


def _family(name: str, entry: dict[str, Any], shared: object) -> GroupFamily:
    samples: list[Sample] = []
    for metric in entry["metrics"]:
        samples += _samples(intern(name), entry["type"], metric, shared)
    return GroupFamily(
        name=intern(name),
        type=intern(entry["type"].lower()),
        documentation=intern(entry.get("help", "")),
        pushed_at=datetime.fromisoformat(entry["time_stamp"]).timestamp(),
        samples=tuple(samples),
    )


def _samples(name: str, kind: str, metric: dict[str, Any], shared: Any) -> list[Sample]:
    labels = metric.get("labels") or {}
    if labels == shared:
        labels = shared
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
