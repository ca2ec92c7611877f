"""The Grafana dashboard's JSON model: its variables, annotations, and panels in their order."""

from __future__ import annotations

from typing import Any

from ..jobs import vocabulary
from .job_panels import LEGEND, job_panels, job_stats
from .jobs_table import VARIABLES
from .panels import DATA_SOURCE, layout, row
from .series_selector import Series
from .tool_panels import (
    OF_COMMANDS,
    OF_TASKS,
    celery_panels,
    gateway_panels,
    gateway_stats,
    last_run_panels,
)

_UID = "pushgate"  # the alerts' dashboard_url has it, too
_LABELS = {"dag_id": "DAG", "task_id": "Airflow task", "task": "Celery task"}


def dashboard(*, scrape_job: str = "pushgateway") -> dict[str, Any]:
    """The JSON model, for Grafana 9 to 11. It asks for the data source.

    ``scrape_job`` is the ``job_name`` under which Prometheus scrapes the gateway. What only some
    users have stands in rows that are closed, which cost no query.
    """
    matchers = ",".join(f'{name}=~"${name}"' for name in VARIABLES)
    series = Series(matchers, scrape_job=scrape_job)
    panels = (
        *job_stats(series),
        *gateway_stats(series),
        *job_panels(series),
        row("Commands", last_run_panels(series, OF_COMMANDS)),
        row("Orchestrated tasks", last_run_panels(series, OF_TASKS)),
        row("Celery", celery_panels(series)),
        row("Gateway", gateway_panels(series)),
    )
    return {
        "uid": _UID,
        "title": "Batch jobs",
        "description": "How every batch job went, from what pushgate pushes to a Pushgateway.",
        "tags": ["pushgate", "batch"],
        "schemaVersion": 36,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "timezone": "browser",
        "refresh": "1m",
        "time": {"from": "now-24h", "to": "now"},
        "annotations": {"list": [_failures(series)]},
        "links": [],
        "templating": {"list": [_data_source(), *map(_variable, VARIABLES)]},
        "panels": layout(panels),
    }


def _failures(series: Series) -> dict[str, Any]:
    return {
        "name": "Failures",
        "datasource": DATA_SOURCE,
        "enable": True,
        "expr": f"1000 * {series.of(vocabulary.FAILURE)}",
        "useValueForTime": True,
        "titleFormat": "Failed",
        "textFormat": LEGEND,
        "step": "60s",
        "iconColor": "red",
    }


def _data_source() -> dict[str, Any]:
    return {
        "name": "datasource",
        "label": "Data source",
        "type": "datasource",
        "query": "prometheus",
        "refresh": 1,
        "current": {},
        "options": [],
    }


def _variable(name: str) -> dict[str, Any]:
    # Of one that is chosen, only what its job has; workers report no outcome of their own.
    narrowed = "" if name == "job" else ',job=~"$job"'
    known = f'{{__name__=~"{vocabulary.START}|celery_worker_up"{narrowed}}}'
    query = f"label_values({known}, {name})"
    return {
        "name": name,
        "label": _LABELS.get(name, name.capitalize()),
        "type": "query",
        "datasource": DATA_SOURCE,
        "definition": query,
        "query": {"query": query, "refId": name},
        "multi": True,
        "includeAll": True,
        # The others also for groups that have no such label.
        "allValue": ".+" if name == "job" else ".*",
        "refresh": 2,
        "sort": 1,
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
        "options": [],
    }
