"""The types of the text format: their names, the samples that belong to each, and what is reserved.

https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format
"""

from __future__ import annotations

TYPES = ("counter", "gauge", "histogram", "summary", "untyped")

MEMBERS = {"histogram": ("_bucket", "_count", "_sum"), "summary": ("_count", "_sum")}
"""The ends of the sample names that a type owns beside the family's; others are families."""

BOUNDS = {"histogram": "le", "summary": "quantile"}
"""The label that tells the series of one distribution apart; no other metric may set it."""

PUSH_TIME, FAILURE_TIME = "push_time_seconds", "push_failure_time_seconds"
RESERVED_FAMILIES = frozenset({PUSH_TIME, FAILURE_TIME})
"""The gateway adds these to every group itself.

Pushed, the first is dropped without a word, and the second takes the place of its own: as a
counter, it makes every new group's push fail.
"""

# prometheus_client's types that the text format 0.0.4 does not have, and what it writes instead.
_TEXT_TYPES = {
    "info": "gauge",
    "stateset": "gauge",
    "gaugehistogram": "histogram",
    "unknown": "untyped",
}
_NAME_SUFFIXES = {"counter": "_total", "info": "_info"}


def text_type(kind: str) -> tuple[str, str]:
    """What the text format calls a type of prometheus_client, and what it adds to the name."""
    return _TEXT_TYPES.get(kind, kind), _NAME_SUFFIXES.get(kind, "")
