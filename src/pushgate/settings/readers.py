"""The functions that read an option's value, for the tables of :func:`pushgate.read_options`.

Each takes a value, as people write it in a variable, a file or an argument, or as Python, TOML and
JSON have it, and the :class:`~pushgate.OptionSource` it is from. Each returns what is meant, or
raises a ValueError that says what to write and never holds a secret. Imports only what is there at
Python's start: ``pushgate run`` reads its options before it starts the command.
"""

from __future__ import annotations

from . import secret_readers
from .option_table import OptionSource

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

headers, password, token = secret_readers.headers, secret_readers.password, secret_readers.token

_ANYWHERE = OptionSource({})
_LONGEST_TIMEOUT = 86_400.0  # seconds; a socket's own limit is 24 days
_LONGEST = 36_500 * 86_400.0  # seconds; what waits for 300 years raises OverflowError
_TRUE, _FALSE = ("1", "true", "t", "yes", "on"), ("0", "false", "f", "no", "off")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def text(value: object, _source: OptionSource = _ANYWHERE) -> str:
    """Text on one line, with something in it."""
    if value == "":
        raise ValueError("it is empty; leave it out, or give a text")
    if not isinstance(value, str) or not value.isprintable():
        raise ValueError("give a text on one line")
    return value


def switch(value: object, _source: OptionSource = _ANYWHERE) -> bool:
    """True or False, also as text such as ``yes``, ``off`` and ``1``."""
    word = str(value).lower()
    if word not in (*_TRUE, *_FALSE):
        raise ValueError(f"{value!r} is neither true nor false")
    return word in _TRUE


def count(least: int = 0, most: int = 999) -> Callable[[object, OptionSource], int]:
    """The reader of a whole number from ``least`` to ``most``."""

    def read(value: object, _source: OptionSource = _ANYWHERE) -> int:
        digits = str(value)
        is_number = digits.isascii() and digits.isdecimal() and len(digits) < 20
        if isinstance(value, bool) or not is_number or not least <= int(digits) <= most:
            raise ValueError(f"{value!r} is not a whole number from {least} to {most}")
        return int(digits)

    return read


def choice(*allowed: str) -> Callable[[object, OptionSource], str]:
    """The reader of one of these words, in upper or lower case."""

    def read(value: object, _source: OptionSource = _ANYWHERE) -> str:
        word = value.lower() if isinstance(value, str) else ""
        if word not in allowed:
            raise ValueError(f"{value!r} is not one of {', '.join(allowed)}")
        return word

    return read


def parse_duration(text: str) -> float:
    """The seconds in ``90s``, ``15m``, ``2h``, ``1d``, or a number of seconds such as ``2.5``.

    Raises ValueError, whose text says how to write a duration.
    """
    number, unit = (text[:-1], text[-1]) if text[-1:] in _SECONDS else (text, "s")
    # Not left to float() alone: it takes "1_0", "1e3", "nan", blanks and signs.
    digits = number.replace(".", "", 1)
    seconds = float(number) * _SECONDS[unit] if digits.isascii() and digits.isdecimal() else -1.0
    if not 0 <= seconds <= _LONGEST:
        raise ValueError(
            f"{text!r} is not a duration; write seconds, such as 90 or 2.5, or 90s, 15m, 2h, 1d, up"
            " to 36500d"
        )
    return seconds


def duration(value: object, _source: OptionSource = _ANYWHERE) -> float:
    """Seconds from 0 on: a number, or text such as ``90s`` or ``15m``."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if not 0 <= value <= _LONGEST:
            raise ValueError(f"{value!r} is not a duration; give seconds from 0 to 100 years")
        return float(value)
    return parse_duration(str(value))


def age(value: object, _source: OptionSource = _ANYWHERE) -> float:
    """As positive_duration, but text has to have its unit: ``7`` is 7 seconds to us, not days."""
    _require_unit(value)
    return positive_duration(value)


def positive_duration(value: object, _source: OptionSource = _ANYWHERE) -> float:
    """As duration, but above 0."""
    if not (seconds := duration(value)):
        raise ValueError(f"{value!r} is too short; give a duration above 0")
    return seconds


def schedule(value: object, _source: OptionSource = _ANYWHERE) -> float | str:
    """A period, as age, or a cron expression, which is read when the run is published."""
    _require_unit(value)
    words = value.split() if isinstance(value, str) else []
    if len(words) in (5, 6) or (len(words) in (1, 2) and words[0].startswith("@")):
        return " ".join(words)
    try:
        return positive_duration(value)
    except ValueError:
        raise ValueError(
            f"{value!r} is no schedule; write a period, such as 24h, or a cron expression, such as"
            " '0 9-17 * * mon-fri' or '0 9-17 * * mon-fri Europe/Berlin'"
        ) from None


def _require_unit(value: object) -> None:
    if isinstance(value, str) and value.replace(".", "", 1).isdecimal():
        raise ValueError(f"{value!r} has no unit; write {value}d, {value}h or {value}s")


def timeout(value: object, _source: OptionSource = _ANYWHERE) -> float:
    """As duration, but above 0 and at most a day."""
    if not 0 < (seconds := duration(value)) <= _LONGEST_TIMEOUT:
        raise ValueError(f"{value!r} is not above 0 and at most 1d")
    return seconds


def names(value: object, _source: OptionSource = _ANYWHERE) -> tuple[str, ...]:
    """Names or patterns: a list, or a text with commas or blanks between them."""
    if isinstance(value, str):
        return tuple(value.replace(",", " ").split())
    if not isinstance(value, (list, tuple, set, frozenset)):
        raise ValueError(f"{value!r} is not a list of names")
    if not all(isinstance(name, str) for name in value):
        raise ValueError(f"{value!r} holds more than texts; give a list of names")
    return tuple(value)


def labels(value: Iterable[str], _source: OptionSource = _ANYWHERE) -> dict[str, str]:
    """The labels of texts such as ``team=db``."""
    found: dict[str, str] = {}
    for label in value:
        name, equals, content = label.partition("=")
        if not name or not equals:
            raise ValueError(f"{label!r}: write it as LABEL=VALUE")
        if name in found:
            raise ValueError(f"the label {name!r} is given twice; keep one")
        found[name] = content
    return found


def exit_codes(value: str, _source: OptionSource = _ANYWHERE) -> frozenset[int]:
    """Exit codes, with commas between them."""
    codes = [int(code) if code.strip().isdecimal() else -1 for code in value.split(",")]
    if not all(0 <= code <= 255 for code in codes):
        raise ValueError(f"write {value!r} as exit codes from 0 to 255, such as 0,3")
    return frozenset(codes)


def path(value: object, source: OptionSource = _ANYWHERE) -> str:
    """The path of a file, relative to the source's folder."""
    if not isinstance(value, str) or not value:
        raise ValueError("give the path of a file")
    return source.path(value)


def job(value: object, _source: OptionSource = _ANYWHERE) -> str:
    """The value of the label ``job``."""
    from ..protocol.grouping_key import GroupingKey

    return GroupingKey(text(value)).job


def gateway(value: object, source: OptionSource = _ANYWHERE) -> str:
    """The URL of a gateway; with a password only where secrets may stand."""
    from ..transport.urls import base_url, parse

    # A line of an environment file may end with a blank, or as on Windows.
    url = base_url(text(value.strip() if isinstance(value, str) else value))
    credentials = parse(url).credentials
    if credentials and credentials[1] and not source.holds_secrets:
        raise ValueError(
            "the URL holds a password, which does not belong here; write it into a file that only"
            " this user can read and give password = 'file:/path', or set PUSHGATE_PASSWORD"
        )
    return url


def compression(value: object, _source: OptionSource = _ANYWHERE) -> str | None:
    """``gzip``, ``snappy``, or ``none``, which is read as None."""
    name = choice("gzip", "snappy", "none")(value, _source)
    return None if name == "none" else name


def outbox(value: object, source: OptionSource = _ANYWHERE) -> str:
    """A path, or ``off``; false is what TOML has for that."""
    if value is False or (isinstance(value, str) and value.lower() in _FALSE):
        return "off"
    return path(value, source)


def username(value: object, _source: OptionSource = _ANYWHERE) -> str:
    """A user name for basic authentication."""
    name = text(value)
    if ":" in name:
        raise ValueError("a user name can't hold a colon (RFC 7617)")
    return name
