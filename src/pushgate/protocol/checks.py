"""The rules a payload must meet so that a Pushgateway takes it whole and unaltered.

Each is one that the real gateway was seen to enforce (400) or to break silently (labels
overwritten), on 1.5.1 and 1.11.2. The encoder asks while it writes.

Names are compared as a Prometheus reads them that knows no UTF-8 names, with underscores: of two
samples that are then one it drops the second, and for two labels that are then one it refuses the
whole gateway (seen on 2.42).
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any

from ..errors import InvalidPayloadError
from .metric_types import BOUNDS, MEMBERS, RESERVED_FAMILIES, TYPES
from .names import (
    is_unicode,
    quoted,
    quoted_label,
    text_of,
    underscored_label,
    underscored_metric,
)
from .payload_errors import metric_of, overwritten

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence


class PayloadChecks:
    """The checks of one payload. ``grouping`` are the key's labels: names and values.

    They stand there by their names with underscores. None in place of name and value is for a label
    that may have another name at the gateway. The methods raise InvalidPayloadError, which says
    what to change.
    """

    utf8_names: bool
    """Whether there was a name that only a gateway with ``--push.enable-utf8-names`` reads."""

    def __init__(self, grouping: Mapping[str, tuple[str, str] | None]) -> None:
        self.utf8_names = False
        self._grouping = grouping
        self._shared: dict[str, str] = {}
        self._types: dict[str, str] = {}
        self._with_instance = False

    def family(self, name: str, kind: str) -> None:
        """A ``# TYPE`` line is about to be written."""
        if not name:
            raise InvalidPayloadError("a metric family has an empty name; name it", metric=name)
        plain = underscored_metric(name)
        if plain != name:
            self._utf8(name, name, "name")
        if plain in RESERVED_FAMILIES:
            raise InvalidPayloadError(
                f"the metric {name!r} is one the Pushgateway sets itself; rename it", metric=name
            )
        if plain in self._types:
            raise InvalidPayloadError(
                f"the metric family {plain!r} is sent twice; merge the two into one, or unregister"
                " one of the collectors that produce it",
                metric=name,
            )
        if kind not in TYPES:
            raise InvalidPayloadError(
                f"the metric {name!r} has the type {kind!r}, which the text format does not know;"
                f" use one of {', '.join(TYPES)}",
                metric=name,
            )
        bound = BOUNDS.get(kind)
        if bound in self._grouping:
            raise InvalidPayloadError(
                f"the grouping key has the label {bound!r}, which the {kind} {name!r} needs for its"
                " own; rename the grouping label",
                metric=name,
                label=bound,
            )
        self._types[plain] = kind

    def distribution(
        self,
        name: str,
        kind: str,
        names: Sequence[str],
        labels: Sequence[Mapping[str, str]],
        values: Sequence[Any],
    ) -> None:
        """The samples of a histogram or summary, where a gateway reads bounds and counts."""
        bound, bucket = BOUNDS[kind], name + ("_bucket" if kind == "histogram" else "")
        count = f"{name}_count"
        if self._shared:
            self._one_series(name, bound, labels)
        bounds: set[Any] = set()
        for of, given, value in zip(names, labels, values, strict=True):
            if of == bucket:
                bounds.add(given.get(bound))
                if kind == "summary":
                    continue
            elif of == name:
                raise InvalidPayloadError(
                    f"{name!r} is a native histogram, which the text format has no way to write;"
                    " give it buckets, or push to a gateway that takes protobuf",
                    metric=name,
                )
            elif bound in given and of in (count, f"{name}_sum"):
                raise InvalidPayloadError(
                    f"the sample {of!r} of a {kind} has the label {bound!r}, which a gateway drops"
                    " or refuses; rename that label",
                    metric=of,
                    label=bound,
                )
            elif of != count:
                continue
            # Written as its type wants it: a negative or missing count wraps round to 1.8e19.
            if not float(value) >= 0:
                raise InvalidPayloadError(
                    f"a sample of {of!r} has the value {value!r}; a {kind}'s counts begin at 0",
                    metric=of,
                )
        from .text_lines import LineError, read_number  # few payloads need it

        for text in bounds:
            try:
                read_number(text or "", bound)
            except LineError:
                raise InvalidPayloadError(
                    f"a sample of the {kind} {name!r} has {bound}={text!r}; that label must hold a"
                    " number",
                    metric=bucket,
                    label=bound,
                ) from None

    def _one_series(self, name: str, bound: str, labels: Iterable[Mapping[str, str]]) -> None:
        # The gateway puts a distribution together before it adds the grouping labels: two halves of
        # one, of which one half has such a label, are two for it.
        found: dict[frozenset[tuple[str, str]], frozenset[str]] = {}
        for given in labels:
            others = {
                label if label in self._shared else underscored_label(label): text_of(value)
                for label, value in given.items()
                if label != bound
            }
            shared = self._shared.keys() & others.keys()
            own = frozenset(pair for pair in others.items() if pair[0] not in shared)
            if found.setdefault(own, frozenset(shared)) != shared:
                label = min(shared ^ found[own])
                raise InvalidPayloadError(
                    f"some samples of one series of {name!r} have the label {label!r}, which the"
                    " grouping key has, too; give it to all of them, or to none",
                    metric=name,
                    label=label,
                )

    def schema(self, family: str, name: str, labels: Sequence[str]) -> dict[str, str]:
        """Samples called ``name`` with these label names belong to ``family``.

        Returns those labels that are also in the grouping key, with the values they must have.
        """
        if name != family:
            self._member(family, name)
        shared = {}
        for label in labels:
            value = self._label(name, label)
            if value is not None:
                shared[label] = value
        self._shared |= shared
        if len(set(map(underscored_label, labels))) < len(labels):
            twin = Counter(map(underscored_label, labels)).most_common(1)[0][0]
            raise InvalidPayloadError(
                f"the metric {name!r} has two labels that are both written {twin!r} without UTF-8"
                " names; rename one",
                metric=name,
                label=twin,
            )
        return shared

    def _member(self, family: str, name: str) -> None:
        plain, own = underscored_metric(name), underscored_metric(family)
        if plain != name:
            self._utf8(name, name, "name")
        if plain == own or plain in [own + end for end in MEMBERS.get(self._types[own], ())]:
            return
        # Not the family's: the gateway's parser opens an untyped family for it.
        if self._types.get(plain, "stray") != "stray":
            raise InvalidPayloadError(
                f"the family {family!r} holds a sample called {name!r}, which is a metric"
                " family of its own in the same push; rename one of them",
                metric=name,
            )
        self._types[plain] = "stray"

    def _label(self, name: str, label: str) -> str | None:
        """The value that the grouping key has for it, if it has that label."""
        plain = underscored_label(label)
        if plain != label:
            self._utf8(name, label, f"label name {label!r}")
        value = None
        if plain in self._grouping:
            of_the_key = self._grouping[plain]
            if of_the_key is None or of_the_key[0] != label:
                raise overwritten(name, label)
            value = of_the_key[1]
        if label.startswith("__") or not label or plain == "__name__":
            raise InvalidPayloadError(
                f"the metric {name!r} has the label {label!r}; a label name must not be empty"
                " or begin with '__', nor with underscores be '__name__'",
                metric=name,
                label=label,
            )
        self._with_instance |= label == "instance"
        return value

    def series(self, heads: Sequence[str]) -> None:
        """All series of a family, each written ``name{labels}``."""
        # What the gateway gives to each series that has it not.
        added = dict(self._shared)
        if self._with_instance and "instance" not in self._grouping:
            added["instance"] = ""
        for label, value in added.items():
            heads = _without(label, value, heads)
        if len(set(heads)) == len(heads):
            return
        head = Counter(heads).most_common(1)[0][0]
        raise InvalidPayloadError(
            f"the series {head} is there twice; a push can hold each name and label set once:"
            " give the samples labels that differ, or drop one",
            metric=metric_of(head),
        )

    def finish(self) -> None:
        """All is written: names that only clash together."""
        for name, kind in self._types.items():
            for suffix in MEMBERS.get(kind, ()):
                if name + suffix in self._types:
                    raise InvalidPayloadError(
                        f"the metric {name + suffix!r} has the name of a series of the {kind}"
                        f" {name!r}; rename one of them",
                        metric=name + suffix,
                    )

    def _utf8(self, metric: str, name: str, what: str) -> None:
        self.utf8_names = True
        if not is_unicode(name):
            raise InvalidPayloadError(
                f"the {what} of the metric {metric!r} is not valid Unicode: it holds a lone"
                " surrogate; decode it with errors='replace'",
                metric=metric,
                label=None if name == metric else name,
            )


def _without(label: str, value: str, heads: Sequence[str]) -> list[str]:
    """The heads without this label."""
    pair = re.escape(f"{quoted_label(label)}={quoted(value)}")
    without: Callable[[str, str], str] = re.compile(rf"(?<=\{{){pair},?|,{pair}(?=[,}}])").sub
    return [without("", head).removesuffix("{}") for head in heads]
