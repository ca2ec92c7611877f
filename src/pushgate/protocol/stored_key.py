"""A group by the labels that a gateway has it under, also those that no GroupingKey may have.

An empty instance, a label name of UTF-8 and bytes that are no text can poison a gateway, and a
group must be named to be deleted.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, NamedTuple

from ..errors import InvalidGroupingKeyError
from .grouping_key import GroupingKey
from .names import escaped, underscored_label

if TYPE_CHECKING:
    from collections.abc import Mapping


class StoredKey(NamedTuple):
    """A group that a gateway holds. ``path`` as in GroupingKey."""

    labels: Mapping[str, str]
    path: str


def stored_key(labels: Mapping[str, str | bytes]) -> StoredKey:
    """The group with exactly these labels, ``job`` among them."""
    texts = {
        name: value if isinstance(value, str) else value.decode(errors="replace")
        for name, value in labels.items()
    }
    if texts == labels:
        try:
            others = {name: value for name, value in texts.items() if name != "job"}
            return StoredKey(texts, GroupingKey(texts["job"], others).path)
        except InvalidGroupingKeyError:
            pass
    names = sorted(labels, key=lambda name: (name != "job", name))
    return StoredKey(
        texts,
        "/metrics" + "".join(f"/{_name(name)}@base64/{_value(labels[name])}" for name in names),
    )


def _name(name: str) -> str:
    """As it is, or escaped for a gateway with UTF-8 names, which alone can hold such a one."""
    return escaped(name) if name.startswith("__") or underscored_label(name) != name else name


def _value(value: str | bytes) -> str:
    data = value if isinstance(value, bytes) else value.encode(errors="replace")
    return base64.urlsafe_b64encode(data).decode() or "="
