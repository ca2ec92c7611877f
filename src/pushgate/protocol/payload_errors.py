"""The errors for payloads that a Pushgateway would refuse or alter."""

from __future__ import annotations

import re

from ..errors import InvalidPayloadError
from .names import is_unicode


def overwritten(metric: str, label: str) -> InvalidPayloadError:
    """The error for a label that is in the grouping key with another value."""
    return InvalidPayloadError(
        f"the metric {metric!r} has the label {label!r}, which the grouping key of the same name"
        " would silently overwrite; rename the label, or take it out of the grouping key",
        metric=metric,
        label=label,
    )


def bad_sample(name: str, what: str) -> InvalidPayloadError:
    """The error for a sample; ``what`` is wrong with it, and what to change."""
    return InvalidPayloadError(f"a sample of {name!r} has {what}", metric=name)


def no_time(name: str, value: object) -> InvalidPayloadError:
    """The error for a time of the job metrics that no clock shows."""
    return bad_sample(
        name,
        f"the value {value}, which is no time that a clock shows; give Unix seconds (time.time()),"
        " or leave it out",
    )


def not_unicode(text: str) -> InvalidPayloadError:
    """The error for text that has no UTF-8 encoding."""
    line = next(line for line in text.split("\n") if not is_unicode(line))
    name = metric_of(line.removeprefix("# HELP "))
    label = next(
        (n for n, v in re.findall(r'([^"{,]+)"?="([^"]*)', line) if not is_unicode(v)),
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


def metric_of(line: str) -> str:
    """The name at the beginning of a line that holds a sample, or of its ``name{labels}``."""
    match = re.match(r'\{?"((?:[^"\\]|\\.)*)"|[^ {]*', line)
    return (match and (match[1] or match[0])) or ""
