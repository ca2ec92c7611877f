"""Metric families as plain values, and the families of all that can be pushed.

A :class:`Family` has the attributes of prometheus_client's ``Metric`` that an encoder reads, so
the encoder takes either, and building our own gauges costs no import of prometheus_client.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, cast

from .steps import SAMPLES_OF_A_STEP

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping, Sequence

EXEMPLARS, NATIVE_HISTOGRAMS = "exemplars", "native histograms"
_WITH_EXEMPLARS = frozenset({"counter", "histogram", "gaugehistogram"})
_EXEMPLAR, _NATIVE = attrgetter("exemplar"), attrgetter("native_histogram")


class Sample(NamedTuple):
    """One series' value. ``name`` is the full sample name, suffixes included."""

    name: str
    labels: Mapping[str, str]
    value: float
    timestamp: Any = None  # a Pushgateway refuses timestamps; the field exists to say so


class Family(NamedTuple):
    """The samples that share a name, a type and a help text.

    ``name`` follows prometheus_client: without ``_total`` for a counter. ``type`` is one of
    counter, gauge, histogram, gaugehistogram, summary, info, stateset, unknown.
    """

    name: str
    documentation: str
    type: str
    samples: Sequence[Sample]


class FamilyLike(Protocol):
    """What a family must offer: :class:`Family` and prometheus_client's ``Metric`` both do."""

    @property
    def name(self) -> str: ...
    @property
    def documentation(self) -> str: ...
    @property
    def type(self) -> str: ...
    @property
    def samples(self) -> Sequence[Any]: ...


class Collector(Protocol):
    """Anything with ``collect()``: a CollectorRegistry, a metric, a custom collector."""

    def collect(self) -> Iterable[FamilyLike]: ...


Metrics = Collector | FamilyLike | Iterable[Collector | FamilyLike] | None
"""What can be pushed; None is prometheus_client's global registry at run time."""


def gauge(
    name: str, documentation: str, value: float, labels: Mapping[str, str] | None = None
) -> Family:
    """A gauge family of one sample."""
    return Family(name, documentation, "gauge", (Sample(name, labels or {}, float(value)),))


def families_of(metrics: Metrics) -> Iterable[FamilyLike]:
    """The families of a registry, collector, family or iterable of families.

    None is prometheus_client's global ``REGISTRY``, looked up now. Raises TypeError for others.
    """
    if metrics is None:
        from prometheus_client import REGISTRY

        return REGISTRY.collect()
    if hasattr(metrics, "collect"):
        return metrics.collect()
    if hasattr(metrics, "samples"):
        return (cast("FamilyLike", metrics),)
    if not hasattr(metrics, "__iter__") or isinstance(metrics, (str, bytes, dict)):
        raise _not_metrics(metrics)
    return _each(metrics)


def collect_steps(metrics: Metrics) -> Generator[None, None, list[FamilyLike]]:
    """The list of the families, some collected at each step. Raises TypeError."""
    families: list[FamilyLike] = []
    count = 0
    for family in families_of(metrics):
        families.append(family)
        count += len(family.samples)
        if count > SAMPLES_OF_A_STEP:
            count = 0
            yield
    return families


def _each(metrics: Iterable[Collector | FamilyLike]) -> Iterator[FamilyLike]:
    for item in metrics:
        if hasattr(item, "collect"):
            yield from item.collect()
        elif hasattr(item, "samples"):
            yield item
        else:
            raise _not_metrics(item)


def _not_metrics(thing: object) -> TypeError:
    return TypeError(
        f"cannot push a {type(thing).__name__}: pass a CollectorRegistry, a metric, any object with"
        " collect(), or an iterable of these or of metric families"
    )


def beyond_text(families: Iterable[FamilyLike]) -> str:
    """What a sample has that the text format has no form for, or nothing.

    That is NATIVE_HISTOGRAMS, without which a push can't be sent at all, or EXEMPLARS.
    """
    found = ""
    for family in families:
        if family.type in _WITH_EXEMPLARS:
            with suppress(AttributeError):  # our own samples; those of an older prometheus_client
                if any(map(_EXEMPLAR, family.samples)):
                    found = EXEMPLARS
                if any(map(_NATIVE, family.samples)):
                    return NATIVE_HISTOGRAMS
    return found
