"""Reads dbt's run_results.json: https://docs.getdbt.com/reference/artifacts/run-results-json"""

from __future__ import annotations

import json
import re
from datetime import datetime
from typing import Any, NamedTuple

from pushgate import PushError

BAD = ("error", "fail", "runtime error", "partial success", "skipped")
"""With one of these statuses, dbt's own exit status is 1. Skipped: what it needs has failed."""
STATUSES = ("success", "pass", "warn", *BAD, "no-op", "reused")

_SCHEMA = re.compile(r"/dbt/run-results/v(\d+)\.json$")
_READ = ("4", "5", "6")  # dbt 1.0 to 1.6, 1.7, 1.8 and later
_BUILD_NOTHING = ("compile", "docs", "generate", "list", "parse", "show")


class RunResultsError(PushError):
    """The file can't be reported; the text says why, and what to do."""


class Node(NamedTuple):
    """What an invocation did with one model, test, seed, snapshot or operation.

    Times are in Unix seconds, None where it was not run. ``failures`` are the rows that a test
    found, ``rows_affected`` is what the database says; each None where not known.
    """

    unique_id: str
    status: str
    started_at: float | None
    ended_at: float | None
    execution_time: float
    failures: float | None
    rows_affected: float | None

    @property
    def type(self) -> str:
        """Such as ``model``."""
        return self.unique_id.partition(".")[0]


class Invocation(NamedTuple):
    """One run of dbt. Times are in Unix seconds."""

    invocation_id: str
    started_at: float
    ended_at: float
    nodes: tuple[Node, ...]


def read(text: str) -> Invocation:
    """The invocation that the text of a run_results.json tells of. Raises RunResultsError."""
    try:
        data = json.loads(text)
    except ValueError as error:
        raise RunResultsError(f"it is no JSON, or not all of it: {error}") from None
    try:
        schema = data["metadata"]["dbt_schema_version"]
    except (TypeError, KeyError):
        raise RunResultsError("it is no artifact of dbt: it has no dbt_schema_version") from None
    found = _SCHEMA.search(str(schema))
    if found is None:
        raise RunResultsError(f"it is another artifact of dbt: {schema}; give run_results.json")
    if found[1] not in _READ:
        raise RunResultsError(
            f"it has version {found[1]} of the schema, and this pushgate reads {', '.join(_READ)}"
        )
    try:
        return _invocation(data)
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise RunResultsError(f"it is not as its schema says: {error!r}") from None


def _invocation(data: Any) -> Invocation:
    metadata, arguments = data["metadata"], data.get("args") or {}
    if arguments.get("which") in _BUILD_NOTHING:
        raise RunResultsError(
            f"it is of 'dbt {arguments['which']}', which builds nothing: report the build before"
            " that command writes the file anew"
        )
    if arguments.get("empty"):
        raise RunResultsError("it is of a dbt command with --empty, which is only a dry run")
    ended_at = _timestamp(metadata["generated_at"])
    started = metadata.get("invocation_started_at")  # since dbt 1.10
    started_at = _timestamp(started) if started else ended_at - float(data["elapsed_time"])
    nodes = {result["unique_id"]: _node(result) for result in data["results"]}  # none twice
    invocation_id = str(metadata.get("invocation_id") or "")
    return Invocation(invocation_id, started_at, ended_at, tuple(nodes.values()))


def _node(result: Any) -> Node:
    timing = result["timing"]
    started = [_timestamp(t["started_at"]) for t in timing if t.get("started_at")]
    ended = [_timestamp(t["completed_at"]) for t in timing if t.get("completed_at")]
    affected = (result.get("adapter_response") or {}).get("rows_affected")
    return Node(
        str(result["unique_id"]),
        str(result["status"]),
        min(started, default=None),
        max(ended, default=None),
        float(result["execution_time"]),
        _number(result.get("failures")),
        _number(affected),
    )


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) and value >= 0 else None


def _timestamp(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
