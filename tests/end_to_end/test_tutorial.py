"""Every command of the tutorial, in one shell, with the real gateway, Prometheus and Alertmanager.

Ports are free ones, and the phone is a server of the test's own. A comment ``<!-- wait: … -->`` in
the page is what a reader waits for by looking.
"""

import json
import os
import queue
import re
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from support import debian
from support.servers import free_port

pytestmark = pytest.mark.end_to_end

PAGE = Path(__file__).parents[2] / "docs" / "tutorial.md"
DEADLINE = 40.0
# A command that the reader sees again and again, until it is as the page says.
UNTIL = "for _ in $(seq 600); do {command} && break; sleep 0.1; done; {command}"

AT_END = "kill $(jobs -p) 2>/dev/null || true"
# Debian's binary has the path of its templates written in; in a namespace of its own it is there.
ALERTMANAGER = """#!/bin/sh
exec unshare --map-root-user --mount sh -c '
    mount -t tmpfs none /usr/share && mkdir /usr/share/prometheus &&
    ln -s {package}/usr/share/prometheus/alertmanager /usr/share/prometheus/ &&
    exec {package}/usr/bin/prometheus-alertmanager "$@"' - "$@"
"""


@pytest.fixture
def phone():
    """A server that takes Alertmanager's webhooks; yields its address and a queue of them."""
    calls = queue.Queue()

    class Phone(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            for alert in body["alerts"]:
                calls.put((alert["status"], alert["annotations"]["summary"]))
                Path(
                    self.server.folder, f"{alert['status']}-{alert['labels']['alertname']}"
                ).touch()
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Phone) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield server, calls
        server.shutdown()


def script_of(page, folder):
    """The page's shell blocks as one script, and a loop for each thing to wait for."""
    lines = []
    pattern = r'(<!-- skip: next ".*?" -->\n)?```sh\n(.*?)```|<!-- wait: (.*?) -->'
    for skipped, block, wait in re.findall(pattern, page, re.DOTALL):
        if wait.startswith("http"):
            reader = f"{sys.executable} -c 'import urllib.request as u; u.urlopen(\"{wait}\")'"
            lines.append(UNTIL.format(command=f"{reader} 2>>waited.log"))
        elif wait:
            _, status, name = wait.split()
            lines.append(UNTIL.format(command=f"test -e {folder}/{status}-{name}"))
        elif not skipped:
            lines.append(block)
    return "\n".join(lines)


def test_every_command_of_the_tutorial_works(phone, tmp_path):
    server, calls = phone
    server.folder = tmp_path
    binaries = tmp_path / "bin"
    binaries.mkdir()
    prometheus = debian.require("prometheus")
    for name, binary in {
        "prometheus": prometheus,
        "promtool": prometheus.with_name("promtool"),
        "prometheus-pushgateway": debian.require("pushgateway-1.11"),
    }.items():
        (binaries / name).symlink_to(binary)
    (binaries / "prometheus-alertmanager").write_text(
        ALERTMANAGER.format(package=debian.require("alertmanager").parents[2])
    )
    (binaries / "prometheus-alertmanager").chmod(0o755)
    page = PAGE.read_text(encoding="utf-8")
    for port in ("9090", "9091", "9093"):
        page = page.replace(f"127.0.0.1:{port}", f"127.0.0.1:{free_port()}")
    page = page.replace("https://ntfy.sh", f"http://127.0.0.1:{server.server_port}")

    environment = {
        **os.environ,
        "PATH": f"{binaries}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PUSHGATE_STATE_DIR": str(tmp_path / "state"),
    }
    script = tmp_path / "tutorial.sh"  # in a file: the page's pkill looks at command lines
    script.write_text(f"set -eEuo pipefail\ntrap '{AT_END}' EXIT\n{script_of(page, tmp_path)}")
    done = subprocess.run(
        ["bash", script],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=3 * DEADLINE,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "exit code 2" in done.stdout  # tar's own
    assert ("firing", "Batch job backup has failed.") in list(calls.queue)
    assert done.stdout.rstrip().endswith("1 job, all well")
