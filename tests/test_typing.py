"""What a type checker lets a user push runs, and the reverse: CI has mypy check this file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from pushgate import Family, Gateway, Sample, encode, gauge, push_to_gateway
from pushgate.exposition import pushadd_to_gateway
from pushgate.handlers import Handler, basic_auth_handler

if TYPE_CHECKING:
    from collections.abc import Callable


class TheirCollector:
    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily("theirs", "", value=1)


class OurCollector:
    def collect(self) -> list[Family]:
        return [Family("ours", "", "gauge", [Sample("ours", {}, 1)])]


def authenticated(
    url: str, method: str, timeout: float | None, headers: list[tuple[str, str]], data: bytes
) -> Callable[[], object]:
    return basic_auth_handler(url, method, timeout, headers, data, "user", "password")


def test_what_is_typed_runs() -> None:
    registry = CollectorRegistry()
    counter = Counter("c", "", registry=registry)
    labelled = Gauge("g", "", ["a"], registry=registry)
    families: Mapping[str, Metric] = {"m": GaugeMetricFamily("m", "", value=1)}

    for payload in (
        encode(registry),
        encode(registry.restricted_registry(["c_total"])),
        encode(counter),
        encode(labelled),
        encode(Histogram("h", "", registry=None)),
        encode(TheirCollector()),
        encode(OurCollector()),
        encode(families["m"]),
        encode(families.values()),
        encode(family for family in registry.collect()),
        encode([counter, gauge("own", "", 1), families["m"]]),
        encode((gauge("own", "", 1),)),
        encode(None),
    ):
        assert payload.text.endswith(b"\n")


def test_the_functions_take_the_same() -> None:
    calls: list[str] = []

    def handler(*, url: str, **_: Any) -> Callable[[], object]:
        return lambda: calls.append(url)

    typed: Handler = handler
    push_to_gateway("g", "j", [gauge("m", "", 1)], handler=typed)
    pushadd_to_gateway("g", "j", OurCollector(), {"a": 1}, handler=typed)
    Gateway("g", handler=typed).push("j", (gauge("m", "", 1) for _ in range(1)))
    Gateway("g", handler=authenticated)
    assert len(calls) == 3


def test_what_does_not_run_is_not_typed() -> None:
    with pytest.raises(TypeError):
        encode(3)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        encode("text")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        encode(b"text")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        encode({"m": gauge("m", "", 1)})  # type: ignore[dict-item]
    with pytest.raises(TypeError):
        encode([1])  # type: ignore[list-item]
    with pytest.raises(TypeError):
        push_to_gateway("g", "j", {"m": 1})  # type: ignore[dict-item]
