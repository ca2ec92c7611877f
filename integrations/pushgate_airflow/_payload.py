"""What a task was told to push, as a payload.

Enters: a mapping of names to numbers, Prometheus text, or a function that fills a registry; and the
grouping key. Leaves: a Payload that a Pushgateway takes, or an InvalidPayloadError that says what
to change; what the function raises is raised on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from pushgate import InvalidPayloadError, checked_text, encode

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from pushgate import GroupingKey

__all__ = ("Metrics", "payload")

Metrics = Mapping[str, Any] | str | Callable[["CollectorRegistry"], object]


def payload(metrics: Any, key: GroupingKey) -> tuple[bytes, int]:
    """The text of ``metrics``, after templating, and how many samples it holds.

    Raises InvalidPayloadError, also where there is no sample.
    """
    made: tuple[bytes, int]
    if isinstance(metrics, Mapping):
        made = _of_mapping(metrics, key)
    elif isinstance(metrics, str):
        made = checked_text(_bytes(_without_indent(metrics)), key)[:2]
    elif callable(metrics):
        from prometheus_client import CollectorRegistry

        registry = CollectorRegistry()
        metrics(registry)
        made = encode(registry, key)[:2]
    else:
        raise InvalidPayloadError(
            f"metrics is {metrics!r} after templating; give a dict of names and numbers, text in"
            " Prometheus's format, or a function that takes a registry"
        )
    if not made[1]:
        raise InvalidPayloadError("there is no metric to push; DeleteGroupOperator empties a group")
    return made


def _of_mapping(metrics: Mapping[Any, Any], key: GroupingKey) -> tuple[bytes, int]:
    """A gauge for each item; ``rows{table="orders"}`` is a name with labels."""
    lines: dict[str, str] = {}  # with the item that each is of
    for series, value in metrics.items():
        if not isinstance(series, str) or series.startswith("#") or not series.isprintable():
            raise InvalidPayloadError(
                f'{series!r} is no name of a metric; write rows, or rows{{table="x"}}'
            )
        lines.setdefault(f"# TYPE {series.partition('{')[0].strip()} gauge", series)
        lines[f"{series} {_number(series, value)}"] = series
    try:
        return checked_text(_bytes("\n".join(lines)), key)[:2]
    except InvalidPayloadError as error:
        line, _, reason = str(error).partition(": ")
        item = [*lines.values()][int(line.removeprefix("line ")) - 1]
        raise InvalidPayloadError(
            f"{item!r}: {reason}", metric=error.metric, label=error.label
        ) from None


def _number(series: str, value: Any) -> float:
    try:
        if isinstance(value, str) and "_" in value:  # float() takes 1_000
            raise ValueError
        return float(value)
    except (TypeError, ValueError, OverflowError):  # the last for an int of over 308 digits
        lost = value is None or str(value).strip() in ("None", "")
        hint = "; has the task it comes from run, and pushed an XCom?" if lost else ""
        raise InvalidPayloadError(
            f"the value of {series!r} is {value!r}, which is no number{hint}", metric=series
        ) from None


def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogatepass")  # which is refused later, with the line


def _without_indent(text: str) -> str:
    """Text as it stands in a DAG's source, in triple quotes."""
    return "\n".join(line.strip() for line in text.strip().split("\n"))
