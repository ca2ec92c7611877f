"""An in-memory Pushgateway for development and tests: loopback by default, nothing on disk.

Enters: HTTP requests as a Pushgateway takes them. Leaves: the answers of Pushgateway 1.11.2,
checked side by side with real ones by tests/test_conformance.py. It differs on purpose in these
ways:

- A group that the real one would keep although no scrape can show it is refused with 400 and not
  kept: a grouping value that is not UTF-8, and `instance=""` beside the same group without
  instance. On the real one either makes every scrape and every push fail until it is deleted.
- A pushed `push_failure_time_seconds` never replaces the gateway's own.
- Quoted metric and label names, and `--push.enable-utf8-names`, are not supported (400).
- Protobuf bodies get 415, and so does snappy where python-snappy is not installed.
- Of its own metrics it serves `pushgateway_build_info` only: there are no `go_…` names to clash
  with.
- `PUT /api/v1/admin/wipe` needs no flag. There is no web page, and paths are case-sensitive.
- A rejected push names the first inconsistency, not all.
"""

from pushgate.embedded.server import EmbeddedGateway

__all__ = ["EmbeddedGateway"]
