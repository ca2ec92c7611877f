"""A grouping key as a file name: readable where it can be, and never another key's. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from pushgate import GroupingKey

# Lower case only: macOS takes Backup and backup for one file.
_PLAIN = re.compile(r"[a-z0-9_][a-z0-9_.-]{0,99}")
_LIKE_HASHED = re.compile(r"-[0-9a-f]{16}\Z")


def stem(key: GroupingKey) -> str:
    """``backup`` for the plain job of that name; quoted and with a hash of the path for others."""
    plain = len(key.labels) == 1 and _PLAIN.fullmatch(key.job) is not None
    if plain and not _LIKE_HASHED.search(key.job):
        return key.job
    from hashlib import sha256  # 3 ms and OpenSSL, which the plainest jobs do without

    return f"{quote(key.job, safe='')[:100]}-{sha256(key.path.encode()).hexdigest()[:16]}"
