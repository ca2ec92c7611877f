"""Finds the groups whose labels are not valid Unicode, in the error of a gateway's failing scrape.

Such a group fails every scrape, and the gateway's JSON has U+FFFD in place of each bad byte: the
text of the ``500`` of ``/metrics`` is the only place that names them. Observed on Pushgateway 1.5.1
and 1.11.2.
"""

from __future__ import annotations

import re

from .names import is_unicode

_LINE = re.compile(r'collected metric "push_time_seconds" \{ ?(.*?) ?gauge:')
# label:<name:"k" value:"\377" > in 1.5, label:{name:"k"  value:"\xff"} in 1.11: Go's protobuf
# varies the blanks on purpose, https://protobuf.dev/reference/go/faq/#unstable-json
_LABEL = re.compile(r'label:\s*[<{]\s*name:\s*"([^"]*)"\s*value:\s*"((?:[^"\\]|\\.)*)"\s*[>}]')
_BAD = re.compile("\ufffd+")


def broken_labels(text: str) -> list[dict[str, bytes]]:
    """The groups with a label value that is not UTF-8, without an empty ``instance``."""
    found: list[dict[str, bytes]] = []
    for line in _LINE.findall(text):
        labels = {name: _unescaped(value) for name, value in _LABEL.findall(line)}
        if labels.get("instance") == b"":  # a gateway adds it to every group's metrics
            del labels["instance"]
        if labels not in found and not all(
            is_unicode(value.decode(errors="surrogateescape")) for value in labels.values()
        ):
            found.append(labels)
    return found


def same_but_for_broken_bytes(labels: dict[str, str], raw: dict[str, bytes]) -> bool:
    """Whether ``labels``, of the gateway's JSON, may be what is left of ``raw``."""
    return {name: _BAD.sub("\ufffd", value) for name, value in labels.items()} == {
        name: _BAD.sub("\ufffd", value.decode(errors="replace")) for name, value in raw.items()
    }


def _unescaped(value: str) -> bytes:
    raw = value.encode(errors="surrogateescape")
    return raw.decode("unicode_escape", "ignore").encode("latin-1", "ignore")
