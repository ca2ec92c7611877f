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
from math import isinf
from typing import TYPE_CHECKING, Any

from ..errors import InvalidPayloadError
from .metric_types import BOUNDS, MEMBERS, RESERVED_FAMILIES, TYPES
from .names import underscored_label, underscored_metric

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ("PayloadChecks", "not_a_number", "not_unicode", "with_timestamp")

# Compiled where they are needed: few payloads do, and a wrapper of short commands has none of them.
# A number as Go's parser reads it: no underscores, blanks or other scripts' digits.
_GO_FLOAT = r"(?ai)[+-]?((\d+\.?\d*|\.\d+)(e[+-]?\d+)?|inf(inity)?|nan)\Z"
_NO_INSTANCE = r'(?<=\{)instance="",?|,instance=""(?=[,}])'
_SURROGATE = "[\ud800-\udfff]"


class PayloadChecks:
    """The checks of one payload. ``grouping`` are the key's label names, with underscores.

    The methods raise InvalidPayloadError, which says what to change.
    """

    utf8_names: bool
    """Whether there was a name that only a gateway with ``--push.enable-utf8-names`` reads."""

    def __init__(self, grouping: frozenset[str]) -> None:
        self.utf8_names = False
        self._grouping = grouping
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

    def distribution(self, name: str, kind: str, samples: Iterable[Any]) -> None:
        """The samples of a histogram or summary, where a gateway reads bounds and counts."""
        bound, bucket = BOUNDS[kind], name + ("_bucket" if kind == "histogram" else "")
        count = f"{name}_count"
        bounds: set[Any] = set()
        for sample in samples:
            of = sample.name
            if of == bucket:
                bounds.add((sample.labels or {}).get(bound))
                if kind == "summary":
                    continue
            elif of == name:
                raise InvalidPayloadError(
                    f"{name!r} is a native histogram, which the text format has no way to write;"
                    " give it buckets, or push to a gateway that takes protobuf",
                    metric=name,
                )
            elif of != count:
                continue
            # Written as its type wants it: a negative or missing count wraps round to 1.8e19.
            if not float(sample.value) >= 0:
                raise InvalidPayloadError(
                    f"a sample of {of!r} has the value {sample.value!r}; a {kind}'s counts begin"
                    " at 0",
                    metric=of,
                )
        is_number = re.compile(_GO_FLOAT).match
        for text in bounds:
            if not is_number(text or "") or isinf(float(text)) != ("inf" in text.lower()):
                raise InvalidPayloadError(
                    f"a sample of the {kind} {name!r} has {bound}={text!r}; that label must hold a"
                    " number",
                    metric=bucket,
                    label=bound,
                )

    def schema(self, family: str, name: str, labels: Sequence[str]) -> None:
        """Samples called ``name`` with these label names belong to ``family``."""
        if name != family:
            self._member(family, name)
        for label in labels:
            self._label(name, label)
        if len(set(map(underscored_label, labels))) < len(labels):
            twin = Counter(map(underscored_label, labels)).most_common(1)[0][0]
            raise InvalidPayloadError(
                f"the metric {name!r} has two labels that are both written {twin!r} without UTF-8"
                " names; rename one",
                metric=name,
                label=twin,
            )

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

    def _label(self, name: str, label: str) -> None:
        plain = underscored_label(label)
        if plain != label:
            self._utf8(name, label, f"label name {label!r}")
        if plain in self._grouping:
            raise InvalidPayloadError(
                f"the metric {name!r} has the label {label!r}, which the grouping key of the"
                " same name would silently overwrite; rename the label, or take it out of"
                " the grouping key",
                metric=name,
                label=label,
            )
        if label.startswith("__") or not label or plain == "__name__":
            raise InvalidPayloadError(
                f"the metric {name!r} has the label {label!r}; a label name must not be empty"
                " or begin with '__', nor with underscores be '__name__'",
                metric=name,
                label=label,
            )
        self._with_instance |= label == "instance"

    def series(self, heads: Sequence[str]) -> None:
        """All series of a family, each written ``name{labels}``."""
        if self._with_instance and "instance" not in self._grouping:
            # The gateway gives instance="" to each series without one.
            without = re.compile(_NO_INSTANCE).sub
            heads = [without("", head).replace("{}", "") for head in heads]
        if len(set(heads)) == len(heads):
            return
        head = Counter(heads).most_common(1)[0][0]
        raise InvalidPayloadError(
            f"the series {head} is there twice; a push can hold each name and label set once:"
            " give the samples labels that differ, or drop one",
            metric=_metric_of(head),
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
        if re.search(_SURROGATE, name):
            raise InvalidPayloadError(
                f"the {what} of the metric {metric!r} is not valid Unicode: it holds a lone"
                " surrogate; decode it with errors='replace'",
                metric=metric,
                label=None if name == metric else name,
            )


def with_timestamp(name: str) -> InvalidPayloadError:
    """The error for a sample that has a timestamp."""
    return InvalidPayloadError(
        f"a sample of {name!r} has a timestamp, which a Pushgateway refuses; drop it, or push"
        " the time as a gauge of its own",
        metric=name,
    )


def not_a_number(name: str, value: object) -> InvalidPayloadError:
    """The error for a value that float() does not take."""
    return InvalidPayloadError(
        f"a sample of {name!r} has the value {value!r}, which is not a number", metric=name
    )


def not_unicode(text: str) -> InvalidPayloadError:
    """The error for text that has no UTF-8 encoding."""
    line = next(line for line in text.split("\n") if re.search(_SURROGATE, line))
    name = _metric_of(line.removeprefix("# HELP "))
    label = next(
        (n for n, v in re.findall(r'([^"{,]+)"?="([^"]*)', line) if re.search(_SURROGATE, v)),
        None,
    )
    where = f"the label {label!r}" if label else "the help text"
    return InvalidPayloadError(
        f"{where} of the metric {name!r} is not valid Unicode: it holds a lone surrogate, most"
        " often from a file name decoded with 'surrogateescape'; decode it with"
        " errors='replace'",
        metric=name,
        label=label,
    )


def _metric_of(line: str) -> str:
    """The name at the beginning of a line that holds a sample, or of its ``name{labels}``."""
    match = re.match(r'\{?"((?:[^"\\]|\\.)*)"|[^ {]*', line)
    return (match and (match[1] or match[0])) or ""
