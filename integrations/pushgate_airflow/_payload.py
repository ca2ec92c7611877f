"""The text that an operator pushes: from a mapping, Prometheus's format, or a function."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from pushgate import InvalidPayloadError, checked_text, encode, parse_leniently

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from pushgate import Family, GroupingKey

Metrics = Mapping[str, Any] | str | Callable[["CollectorRegistry"], object]


def payload(metrics: Any, key: GroupingKey) -> tuple[bytes, int]:
    """The text of ``metrics``, after templating, and how many samples it holds.

    Raises InvalidPayloadError for what a Pushgateway would not take, also where there is no sample.
    What the user's function raises is not caught.
    """
    if isinstance(metrics, Mapping):
        text, samples = encode(_gauges(metrics, key), key)[:2]
    elif isinstance(metrics, str):
        # As it stands in a DAG's source, in triple quotes.
        lines = [line.strip() for line in metrics.strip().split("\n")]
        text, samples = checked_text(_bytes("\n".join(lines)), key)[:2]
    elif callable(metrics):
        from prometheus_client import CollectorRegistry

        registry = CollectorRegistry()
        metrics(registry)
        text, samples = encode(registry, key)[:2]
    else:
        raise InvalidPayloadError(
            f"metrics is {metrics!r} after templating; give a dict of names and numbers, text in"
            " Prometheus's format, or a function that takes a registry"
        )
    if not samples:
        raise InvalidPayloadError("there is no metric to push; DeleteGroupOperator empties a group")
    return text, samples


def _gauges(metrics: Mapping[Any, Any], key: GroupingKey) -> list[Family]:
    """A sample for each item; ``rows{table="orders"}`` is a name with labels."""
    lines = []
    for series, value in metrics.items():
        if not isinstance(series, str) or series.startswith("#") or not series.isprintable():
            raise InvalidPayloadError(
                f'{series!r} is no name of a metric; write rows, or rows{{table="x"}}'
            )
        lines.append(f"{series} {_number(series, value)}")
    families, complaints = parse_leniently(_bytes("\n".join(lines)), key)
    if complaints:
        raise InvalidPayloadError(complaints[0].text)
    return families


def _number(series: str, value: Any) -> float:
    try:
        if isinstance(value, str) and "_" in value:  # float() takes 1_000
            raise ValueError
        return float(value)
    except (TypeError, ValueError, OverflowError):  # the last for an int of over 308 digits
        is_lost = value is None or str(value).strip() in ("None", "")
        hint = "; has the task it comes from run, and pushed an XCom?" if is_lost else ""
        raise InvalidPayloadError(
            f"the value of {series!r} is {value!r}, which is no number{hint}", metric=series
        ) from None


def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogatepass")  # which is refused later, with the line
