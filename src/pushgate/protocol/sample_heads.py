"""How the heads of samples are written: name and labels, up to the value."""

from __future__ import annotations

from functools import lru_cache
from operator import itemgetter
from typing import TYPE_CHECKING, NamedTuple

from .names import naming, quoted_label, quoted_metric

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


class Schema(NamedTuple):
    """How the samples of one name and one set of label names are written."""

    name: str
    is_side: bool  # written as a family of its own
    labels: tuple[str, ...]  # as they are written, in that order
    head: Callable[[Mapping[str, str]], str]  # name{label="…",…} of a sample's labels


@lru_cache(maxsize=1024)
def schema_of(sample: str, given: tuple[str, ...], family: str, utf8_names: bool) -> Schema:
    """The schema of the samples called ``sample`` with the label names ``given``.

    ``family`` is the family's name, as prometheus_client has it.
    """
    names = naming(utf8_names=utf8_names)
    name, ordered = names.metric(sample), sorted(given)
    labels = tuple([names.label(label) for label in ordered])
    head = _head_writer(_fixed_texts(name, labels), ordered)
    # A sample of OpenMetrics only is written as a gauge of its own.
    is_side = sample in [family + end for end in ("_created", "_gcount", "_gsum")]
    return Schema(name, is_side, labels, head)


def _fixed_texts(name: str, labels: Sequence[str]) -> list[str]:
    """The texts before, between and after the values of the labels."""
    written = quoted_metric(name)
    if not labels:
        return [name if written == name else f"{{{written}}}"]
    names = [f'{quoted_label(label)}="' for label in labels]
    start = f"{name}{{" if written == name else f"{{{written},"
    return [start + names[0], *[f'",{name}' for name in names[1:]], '"}']


def _head_writer(fixed: list[str], labels: Sequence[str]) -> Callable[[Mapping[str, str]], str]:
    # Joined, not formatted: that would write what a str of another class shows. TypeError: no str.
    # Most samples have one or two labels, and are written in half the time of the rest.
    if not labels:
        (whole,) = fixed
        return lambda _: whole
    if len(labels) == 1:
        before, after = fixed
        (label,) = labels
        return lambda values: before + values[label] + after
    if len(labels) == 2:
        before, between, after = fixed
        label, second = labels
        return lambda values: "".join((before, values[label], between, values[second], after))
    values_of = itemgetter(*labels)
    template = [part for text in fixed for part in (text, "")][:-1]

    def head(values: Mapping[str, str]) -> str:
        parts = template.copy()
        parts[1::2] = values_of(values)
        return "".join(parts)

    return head
