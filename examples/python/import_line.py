"""Written for prometheus_client; only one import line has changed."""

import sys

from prometheus_client import CollectorRegistry, Gauge

from pushgate import push_to_gateway

registry = CollectorRegistry()
Gauge("rows_exported", "Rows exported by the last run.", registry=registry).set(42)
push_to_gateway(sys.argv[1], job="exporter", registry=registry, grouping_key={"instance": "a"})
