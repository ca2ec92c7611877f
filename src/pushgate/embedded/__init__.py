"""An in-memory Pushgateway for development and tests: loopback by default, nothing on disk.

It behaves as Pushgateway 1.11.2: tests/test_conformance.py compares it with real ones. It differs
on purpose in these ways:

- It refuses with 400 two kinds of groups that break every scrape and every push of a real one until
  they are deleted: a grouping value that is not UTF-8, and ``instance=""`` beside the same group
  without an instance.
- A pushed `push_failure_time_seconds` never replaces the gateway's own.
- Quoted metric and label names, and `--push.enable-utf8-names`, are not supported (400).
- Protobuf bodies get 415, and so does snappy where python-snappy is not installed.
- Of its own metrics it has ``pushgateway_build_info`` only: no ``go_…`` names can clash.
- `PUT /api/v1/admin/wipe` needs no flag. There is no web page, and paths are case-sensitive.
- A rejected push names the first inconsistency, not all.
"""

from .server import EmbeddedGateway

__all__ = ["EmbeddedGateway"]
