"""Families in a form in which what was pushed can be compared with what a gateway holds."""

from __future__ import annotations

import math
from hashlib import blake2b
from typing import TYPE_CHECKING, NamedTuple

from ..errors import InvalidPayloadError
from ..protocol.parse import ParseError, parse_text
from ..protocol.timestamps import is_impossible_time

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from ..protocol.families import Sample
    from ..protocol.groups import GroupFamily


class StoredFamily(NamedTuple):
    """A family's text, a hash of its content, and when its push began, in Unix seconds.

    ``value`` is that of its only sample, if that has no labels.
    """

    text: str
    fingerprint: str
    value: float | None
    at: float


def split(body: bytes, at: float, grouping: Collection[str]) -> dict[str, StoredFamily]:
    """The families of ``body``, whose push began ``at``, by name.

    ``grouping`` has the names of the grouping labels. Raises InvalidPayloadError for a body that a
    gateway would refuse.
    """
    try:
        families = parse_text(body, utf8_names=True)
    except ParseError as error:
        raise InvalidPayloadError(str(error)) from None
    return {
        name: StoredFamily(
            family.text.decode("utf-8", "surrogateescape"),
            *_content(family.type, family.samples, grouping),
            at,
        )
        for name, family in families.items()
    }


def held_content(family: GroupFamily, grouping: Collection[str]) -> tuple[str, float | None]:
    """The fingerprint and the value of a family that a gateway holds.

    A time that no clock shows is before all others: what waits replaces it.
    """
    fingerprint, value = _content(family.type, family.samples, grouping)
    if value is not None and is_impossible_time(family.name, value):
        value = -math.inf
    return fingerprint, value


def _content(
    kind: str, samples: Iterable[Sample], grouping: Collection[str]
) -> tuple[str, float | None]:
    found = [
        (
            sample.name,
            # An empty label is as good as none; the gateway adds the grouping labels and instance.
            sorted(
                (label, _bound(label, value))
                for label, value in sample.labels.items()
                if value and label not in grouping
            ),
            float(sample.value),
        )
        for sample in samples
    ]
    is_single = len(found) == 1 and not found[0][1]
    kind = kind.lower().replace("_", "")  # GAUGE_HISTOGRAM is its name where it is read
    text = repr((kind, sorted((name, labels, repr(value)) for name, labels, value in found)))
    fingerprint = blake2b(text.encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()
    return fingerprint, found[0][2] if is_single else None


def _bound(label: str, value: str) -> str:
    """A bucket's bound or a quantile as a number: the gateway writes 1 for what came as 1.0."""
    if label in ("le", "quantile"):
        try:
            return repr(float(value))
        except ValueError:
            pass
    return value
