"""Reads URL paths as a Pushgateway does, down to the labels of a group.

By https://github.com/prometheus/pushgateway#url and, where that leaves something open, as observed
on 1.11.2.
"""

from __future__ import annotations

import base64
import binascii
import posixpath
import re
from urllib.parse import quote, unquote_to_bytes

_BASE64 = "@base64"
_GROUP = re.compile(r"/metrics/job(@base64)?/([^/]+)(?:/(.*))?", re.DOTALL)
_LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_BAD_PERCENT = re.compile(r"%(?![0-9a-fA-F]{2})")
_BASE64_TEXT = re.compile(r"[A-Za-z0-9_-]*")


class PathError(ValueError):
    """The path names no group; the text is the response's."""


def decode(target: str) -> str | None:
    """The path of a request target, percent-decoded; None if it is malformed.

    Bytes that are not UTF-8 become surrogate escapes.
    """
    path = target.partition("?")[0]
    if not path.startswith("/") or _BAD_PERCENT.search(path):
        return None
    return unquote_to_bytes(path.encode("latin-1")).decode("utf-8", "surrogateescape")


def redirect(path: str) -> str | None:
    """Where Go's ServeMux sends an unclean path (`//`, `.`, `..`, encoded or not) with 301."""
    # normpath keeps a leading "//", as POSIX has it.
    clean = posixpath.normpath("/" + path.lstrip("/"))
    if path.endswith("/") and clean != "/":
        clean += "/"
    if clean == path:
        return None
    return quote(clean.encode("utf-8", "surrogateescape"), safe="/$&+,:;=@")


def is_group(path: str) -> bool:
    """Whether a decoded path takes pushes."""
    return _GROUP.fullmatch(path) is not None


def grouping_labels(path: str) -> dict[str, str]:
    """The grouping labels of a group's path. Raises PathError, also for values not in UTF-8."""
    match = _GROUP.fullmatch(path)
    if not match:
        raise PathError("not the path of a group")
    encoded, job, rest = match.groups()
    job = _decode_base64(job, f'in job name "{job}"') if encoded else job
    components = rest.split("/") if rest else []
    if len(components) % 2:
        raise PathError(f'odd number of components in label string "/{rest}"')
    labels: dict[str, str] = {}
    for name, value in zip(components[::2], components[1::2], strict=True):
        plain = name.removesuffix(_BASE64)
        if not _LABEL_NAME.fullmatch(plain) or plain.startswith("__"):
            raise PathError(f'improper label name "{plain}"')
        where = f'for label {plain}="{value}"'
        labels[plain] = value if plain == name else _decode_base64(value, where)
    if not job:
        raise PathError("job name is required")
    labels["job"] = job
    for name, value in labels.items():
        if any("\udc80" <= character <= "\udcff" for character in value):
            raise PathError(f"the value of grouping label {name} is not UTF-8")
    return labels


def _decode_base64(text: str, where: str) -> str:
    """Decode URL-safe base64. Its padding may be wrong or missing."""
    bare = text.rstrip("=")
    try:
        if not _BASE64_TEXT.fullmatch(bare):  # the decoder skips foreign characters
            raise binascii.Error
        return base64.urlsafe_b64decode(bare + "=" * (-len(bare) % 4)).decode(
            "utf-8", "surrogateescape"
        )
    except binascii.Error:
        raise PathError(f"invalid base64 encoding {where}") from None
