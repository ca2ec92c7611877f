"""Ratios of pushgate to prometheus_client and to the floor, side by side in one run.

    python tests/benchmarks/push.py [--quick]

Rounds alternate between the ways, so a machine that slows down slows them all; each figure is the
median over the rounds, and only the ratios are worth quoting. Nothing is asserted.
"""

import argparse
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import prometheus_client
import trustme
from prometheus_client import CollectorRegistry, Gauge, Histogram

import pushgate
from pushgate import encode
from support import debian, servers


class Collected:
    """A registry that has collected already, so that only encoding is timed."""

    def __init__(self, registry):
        self.families = list(registry.collect())

    def collect(self):
        return self.families


def small_registry():
    registry = CollectorRegistry()
    for number in range(5):
        Gauge(f"rows_{number}", "help", registry=registry).set(number)
    return registry


def large_registry():
    registry = CollectorRegistry()
    rows = Gauge("rows", "help", ["table"], registry=registry)
    for number in range(5000):
        rows.labels(f"table_{number}").set(number * 1.5)
    seconds = Histogram("seconds", "help", ["route"], registry=registry)
    for number in range(300):
        seconds.labels(f"/route/{number}").observe(number / 100)
    return registry


def compare(title, ways, *, rounds, calls):
    """Print the median wall and CPU time of each way, per call, and the ratios to the first."""
    wall = {name: [] for name in ways}
    cpu = {name: [] for name in ways}
    for call in ways.values():
        call()
    for _ in range(rounds):
        for name, call in ways.items():
            cpu_start, wall_start = time.process_time(), time.perf_counter()
            for _ in range(calls):
                call()
            wall[name].append((time.perf_counter() - wall_start) / calls)
            cpu[name].append((time.process_time() - cpu_start) / calls)
    print(f"\n{title}\n{'':34}{'wall':>10}{'ratio':>8}{'CPU':>10}{'ratio':>8}")
    first = next(iter(ways))
    for name in ways:
        w, c = statistics.median(wall[name]), statistics.median(cpu[name])
        w_ratio = w / statistics.median(wall[first])
        c_ratio = c / statistics.median(cpu[first])
        print(f"  {name:32}{w * 1e6:7.0f} µs{w_ratio:7.2f}x{c * 1e6:7.0f} µs{c_ratio:7.2f}x")


def small_push(url, rounds, calls):
    registry = small_registry()
    gateway = pushgate.Gateway(url)
    host, _, port = url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port))) as bare:
        bare.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        body = prometheus_client.generate_latest(registry)
        head = f"PUT /metrics/job/bare HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(body)}"
        prepared = head.encode() + b"\r\n\r\n" + body

        def floor():
            bare.sendall(prepared)
            bare.recv(4096)

        ways = {
            "prometheus_client": lambda: prometheus_client.push_to_gateway(url, "theirs", registry),
            "pushgate.push_to_gateway": lambda: pushgate.push_to_gateway(url, "ours", registry),
            "pushgate.Gateway.push": lambda: gateway.push("kept", registry),
            "bare socket, prepared bytes": floor,
        }
        title = "A push of 5 samples, gateway on loopback (aim: CPU <= 0.4x)"
        compare(title, ways, rounds=rounds, calls=calls)
        floor_first = {
            name: ways[name] for name in ("bare socket, prepared bytes", *list(ways)[1:3])
        }
        title = "The same against the floor (aim: wall <= 1.35x)"
        compare(title, floor_first, rounds=rounds, calls=calls)


def mutual_tls(binary, rounds, calls):
    registry = small_registry()
    authority = trustme.CA()
    with tempfile.TemporaryDirectory() as folder:
        files = {name: f"{folder}/{name}.pem" for name in ("ca", "server", "client")}
        authority.cert_pem.write_to_path(files["ca"])
        authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(
            files["server"]
        )
        authority.issue_cert("client@example").private_key_and_cert_chain_pem.write_to_path(
            files["client"]
        )
        config = Path(folder, "web.yml")
        config.write_text(
            "tls_server_config:\n"
            f"  cert_file: {files['server']}\n  key_file: {files['server']}\n"
            f"  client_ca_file: {files['ca']}\n  client_auth_type: RequireAndVerifyClientCert\n"
        )
        with servers.pushgateway(binary, f"--web.config.file={config}", scheme="https") as server:

            def pushed_with(push, handler):
                def authenticated(url, method, timeout, headers, data):
                    client, ca = files["client"], files["ca"]
                    return handler(url, method, timeout, headers, data, client, client, ca)

                return lambda: push(server.url, "tls", registry, handler=authenticated)

            compare(
                "The same by mutual TLS (aim: wall <= 0.17x)",
                {
                    "prometheus_client": pushed_with(
                        prometheus_client.push_to_gateway,
                        prometheus_client.exposition.tls_auth_handler,
                    ),
                    "pushgate.push_to_gateway": pushed_with(
                        pushgate.push_to_gateway, pushgate.tls_auth_handler
                    ),
                },
                rounds=rounds,
                calls=max(1, calls // 4),
            )


def encoding(rounds):
    registry = large_registry()
    collected = Collected(registry)
    compare(
        "Encoding 5,000 labelled gauges and 300 histograms, collected before (aim: <= 0.5x)",
        {
            "generate_latest": lambda: prometheus_client.generate_latest(collected),
            "pushgate.encode": lambda: encode(collected),
        },
        rounds=rounds,
        calls=3,
    )
    compare(
        "The same with prometheus_client's collect(), which both need",
        {
            "generate_latest": lambda: prometheus_client.generate_latest(registry),
            "pushgate.encode": lambda: encode(registry),
            "collect() alone": lambda: list(registry.collect()),
        },
        rounds=rounds,
        calls=3,
    )


def importing(rounds):
    def python(code):
        return lambda: subprocess.run([sys.executable, "-c", code], check=True)

    compare(
        "A Python process (aim: import pushgate <= 25 ms more than bare)",
        {
            "bare": python("pass"),
            "import pushgate": python("import pushgate"),
            "from pushgate import Gateway": python("from pushgate import Gateway"),
            "import prometheus_client": python("import prometheus_client"),
        },
        rounds=rounds,
        calls=3,
    )


def main():
    parser = argparse.ArgumentParser(description="Ratios of pushgate to prometheus_client.")
    parser.add_argument("--quick", action="store_true", help="few rounds: only shows that it runs")
    rounds, calls = (3, 20) if parser.parse_args().quick else (15, 200)
    # prometheus_client leaves sockets to the garbage collector on some paths.
    warnings.simplefilter("ignore", ResourceWarning)
    binary = debian.find("pushgateway-1.11")
    print(f"Python {sys.version.split()[0]}, {ssl.OPENSSL_VERSION}, medians of {rounds} rounds")
    with servers.pushgateway(binary) as server:
        small_push(server.url, rounds, calls)
    mutual_tls(binary, rounds, calls)
    encoding(rounds)
    importing(rounds)


if __name__ == "__main__":
    main()
