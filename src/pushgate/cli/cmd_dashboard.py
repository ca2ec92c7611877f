"""``pushgate dashboard``: a Grafana dashboard as JSON, on stdout."""

from __future__ import annotations

from .common_options import Parser

__all__ = ("main",)


def main(arguments: list[str]) -> int:
    """Print it. Returns 0."""
    Parser(
        "dashboard",
        "Print a Grafana dashboard of all jobs as JSON, for Grafana 9 to 11: import it, or put it\n"
        "into a folder that Grafana provisions dashboards from.",
    ).parse_args(arguments)
    import json

    from ..prometheus.dashboard import dashboard

    print(json.dumps(dashboard(), indent=2))  # noqa: T201
    return 0
