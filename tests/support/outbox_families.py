"""Families that are made of a number, so that a gateway's answer tells which push they are from.

In: a name of NAMES and a number. Out: the family to push; and back from a family of
/api/v1/metrics, every sample checked.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from prometheus_client import Metric
from prometheus_client.samples import Exemplar

from pushgate import Family, Sample, gauge
from pushgate.protocol.families import FamilyLike

EPOCH = 1_700_000_000.0  # the vocabulary's times are this and the number
OUTCOME = (
    "batch_job_last_completion_timestamp_seconds",
    "batch_job_last_run_success",
    "batch_job_last_duration_seconds",
)
SUCCESS = "batch_job_last_success_timestamp_seconds"
FAILURE = "batch_job_last_failure_timestamp_seconds"
TRACED = "traced_total"  # has an exemplar, and with it travels by protobuf, where that is taken
PLAIN = ("rows", "parts", "events_total", "latency_seconds", "sizes", TRACED)
NAMES = (*PLAIN, *OUTCOME, SUCCESS, FAILURE)


def family(name: str, number: float) -> FamilyLike:
    if name == TRACED:
        traced = Metric("traced", "A counter.", "counter")
        traced.add_sample(name, {}, number, exemplar=Exemplar({"trace_id": "1"}, 1.0))
        return traced
    if name == "parts":
        samples = [Sample(name, {"part": part}, number + plus) for part, plus in _PARTS.items()]
        return Family(name, "Labelled.", "gauge", samples)
    if name == "events_total":
        return Family("events", "A counter.", "counter", [Sample(name, {}, number)])
    if name == "latency_seconds":
        return Family(
            name,
            "A histogram.",
            "histogram",
            [
                Sample(f"{name}_bucket", {"le": "0.5"}, number),
                Sample(f"{name}_bucket", {"le": "+Inf"}, number + 1),
                Sample(f"{name}_count", {}, number + 1),
                Sample(f"{name}_sum", {}, number / 2),
            ],
        )
    if name == "sizes":
        return Family(
            name,
            "A summary.",
            "summary",
            [
                Sample(name, {"quantile": "0.5"}, number),
                Sample(f"{name}_count", {}, number),
                Sample(f"{name}_sum", {}, number),
            ],
        )
    return gauge(name, "A gauge.", number + (EPOCH if name.endswith("timestamp_seconds") else 0))


def families(spec: Iterable[tuple[str, float]]) -> list[FamilyLike]:
    return [family(name, number) for name, number in spec]


def number_of(name: str, shown: dict[str, Any]) -> float:
    """Of a family in /api/v1/metrics. AssertionError where it is not one of ours, whole."""
    metrics = {m["labels"].get("part", ""): m for m in shown["metrics"]}
    first = metrics.get("a" if name == "parts" else "", {})
    expected: dict[str, Any]
    if name == "latency_seconds":
        number = float(first["buckets"]["0.5"])
        expected = {"": ("HISTOGRAM", {0.5: number, _INF: number + 1}, number + 1, number / 2)}
    elif name == "sizes":
        number = float(first["quantiles"]["0.5"])
        expected = {"": ("SUMMARY", {0.5: number}, number, number)}
    elif name == "parts":
        number = float(first["value"])
        expected = {part: ("GAUGE", number + plus) for part, plus in _PARTS.items()}
    else:
        value = float(first["value"])
        number = value - (EPOCH if name.endswith("timestamp_seconds") else 0)
        expected = {"": ("COUNTER" if name.endswith("_total") else "GAUGE", value)}
    found = {part: _plain(shown["type"], metric) for part, metric in metrics.items()}
    assert name in NAMES, f"nobody pushed {name}"
    assert found == expected, f"{name} is {found}, not {expected}"
    return number


_PARTS = {"a": 0.0, "b": 0.5}
_INF = float("inf")


def _plain(kind: str, metric: dict[str, Any]) -> tuple[Any, ...]:
    for points in ("buckets", "quantiles"):
        if points in metric:
            shown = {float(k): float(v) for k, v in metric[points].items()}
            return kind, shown, float(metric["count"]), float(metric["sum"])
    return kind, float(metric["value"])
