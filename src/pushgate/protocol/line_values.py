"""The values in a line of the text format: numbers and escaped texts."""

from __future__ import annotations

import math
import re

__all__ = ("LineError", "is_unicode", "read_number", "unescaped", "unescaped_name")

_NUMBER = re.compile(r"(?ai)[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?|inf(?:inity)?)|nan")


class LineError(ValueError):
    """A line that a gateway refuses; the text has the reason."""


def read_number(text: str, what: str) -> float:
    """A number as Go reads it. Raises LineError, which calls it ``what``."""
    number = float(text) if _NUMBER.fullmatch(text) else None
    if number is None or (math.isinf(number) and "i" not in text.lower()):
        raise LineError(f'expected float as {what}, got "{text}"')
    return number


def unescaped_name(text: str) -> str:
    """A name that was in quotes. Raises LineError where it is not UTF-8."""
    name = unescaped(text)
    if not is_unicode(name):
        raise LineError(f'invalid name "{name!a}": not UTF-8')
    return name


def unescaped(text: str) -> str:
    """``text`` with its escapes replaced."""
    if "\\" not in text:
        return text
    return re.sub(r"\\(.)", lambda match: {"n": "\n"}.get(match[1], match[1]), text)


def is_unicode(text: str) -> bool:
    """Whether there is no lone surrogate in it, which a byte that is not UTF-8 becomes."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
