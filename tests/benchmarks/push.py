"""Ratios of pushgate to prometheus_client, to a bare socket and to an older pushgate, in one run.

    python tests/benchmarks/push.py [--quick] [--against FOLDER]

FOLDER is the ``src`` of another version. Each way runs in a process of its own, and rounds
alternate between the ways, so a machine that slows down slows them all; each figure is the median
over the rounds, and only the ratios are worth quoting. Nothing is asserted.
"""

import argparse
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import prometheus_client
from prometheus_client import CollectorRegistry, Gauge, Histogram

TESTS = Path(__file__).parents[1]


# In the processes that are measured.


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


def large_registry(histograms=300):
    registry = CollectorRegistry()
    rows = Gauge("rows", "help", ["table"], registry=registry)
    for number in range(5000):
        rows.labels(f"table_{number}").set(number * 1.5)
    seconds = Histogram("seconds", "help", ["route"], registry=registry)
    for number in range(histograms):
        seconds.labels(f"/route/{number}").observe(number / 100)
    return registry


def way_of(name, url, files):
    """The call that is timed."""
    small = small_registry()
    if name == "bare socket":
        return bare_socket(url, small)
    if name == "collect alone":
        registry = large_registry()
        return lambda: list(registry.collect())
    if name.startswith(("generate_latest", "encode")):
        registry = large_registry() if "collect" in name else Collected(large_registry())
        if name.startswith("generate"):
            return lambda: prometheus_client.generate_latest(registry)
        from pushgate import encode

        return lambda: encode(registry)
    return push_of(name, url, small, files)


def push_of(name, url, registry, files):
    import pushgate

    theirs = name.startswith("prometheus_client")
    if name == "Gateway.push":
        gateway = pushgate.Gateway(url)
        return lambda: gateway.push(name, registry)
    push = prometheus_client.push_to_gateway if theirs else pushgate.push_to_gateway
    if "TLS" in name:
        kept = prometheus_client.exposition if theirs else pushgate
        handler = with_files(kept.tls_auth_handler, files)
        return lambda: push(url, "tls", registry, handler=handler)
    return lambda: push(url, name, registry)


def bare_socket(url, registry):
    host, _, port = url.removeprefix("http://").partition(":")
    bare = socket.create_connection((host, int(port)))
    bare.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    body = prometheus_client.generate_latest(registry)
    head = f"PUT /metrics/job/bare HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(body)}\r\n\r\n"

    def push():
        bare.sendall(head.encode() + body)
        bare.recv(4096)

    return push


def with_files(handler, files):
    def authenticated(url, method, timeout, headers, data):
        return handler(url, method, timeout, headers, data, files[1], files[1], files[0])

    return authenticated


def measure(name, url, *files):
    """Read how many calls to make, and print the seconds of wall and CPU time of one; repeat."""
    # prometheus_client leaves sockets to the garbage collector on some paths.
    warnings.simplefilter("ignore", ResourceWarning)
    call = way_of(name, url, files)
    call()
    for line in sys.stdin:
        calls = int(line)
        wall, cpu = time.perf_counter(), time.process_time()
        for _ in range(calls):
            call()
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        print(wall / calls, cpu / calls, flush=True)


FIRST_PUSH = """
import sys, time
from prometheus_client import CollectorRegistry, Gauge
from pushgate import push_to_gateway
registry = CollectorRegistry()
Gauge("rows", "help", registry=registry).set(1)
wall, cpu = time.perf_counter(), time.process_time()
push_to_gateway(sys.argv[1], "first", registry)
print(time.perf_counter() - wall, time.process_time() - cpu)
"""


# In the process that compares.


class Bench:
    def __init__(self, against, rounds):
        self._rounds = rounds
        self._versions = {"": None, **({" before": against} if against else {})}

    def compare(self, title, names, url="", files=(), *, calls):
        """Print the medians of each way, and their ratios to the first."""
        ways = {}
        for name in names:
            is_ours = name.startswith(("push_to", "Gateway", "encode"))
            for label, source in self._versions.items() if is_ours else [("", None)]:
                arguments = [sys.executable, __file__, "--measure", name, url, *files]
                ways[name + label] = subprocess.Popen(
                    arguments, env=environment(source), stdin=-1, stdout=-1, text=True
                )
        figures = {name: [] for name in ways}
        for _ in range(self._rounds):
            for name, process in ways.items():
                print(calls, file=process.stdin, flush=True)
                figures[name].append(tuple(map(float, process.stdout.readline().split())))
        for process in ways.values():
            process.communicate()
        self._print(title, figures)

    def processes(self, title, code, *arguments):
        """Print what processes say of themselves."""
        figures = {f"pushgate{label}": [] for label in self._versions}
        for _ in range(self._rounds):
            for label, source in self._versions.items():
                command = [sys.executable, "-c", code, *arguments]
                text = subprocess.check_output(command, env=environment(source), text=True)
                figures[f"pushgate{label}"].append(tuple(map(float, text.split())))
        self._print(title, figures)

    def _print(self, title, figures):
        print(f"\n{title}\n{'':34}{'wall':>10}{'ratio':>8}{'CPU':>10}{'ratio':>8}")
        medians = {
            name: [statistics.median(column) for column in zip(*measured, strict=True)]
            for name, measured in figures.items()
        }
        first = next(iter(medians.values()))
        for name, (wall, cpu) in medians.items():
            ratios = f"{wall / first[0]:7.2f}x{cpu * 1e6:7.0f} µs{cpu / first[1]:7.2f}x"
            print(f"  {name:32}{wall * 1e6:7.0f} µs{ratios}", flush=True)


def environment(source):
    path = [str(TESTS), *([str(source)] if source else [])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path)}


def tls_files(folder):
    """A gateway's configuration that asks for a client's certificate, and the client's files."""
    from support.certificates import Certificates

    files = Certificates(Path(folder))
    config = Path(folder, "web.yml")
    config.write_text(
        f"tls_server_config: {{cert_file: {files.server}, key_file: {files.server},"
        f" client_ca_file: {files.ca}, client_auth_type: RequireAndVerifyClientCert}}\n"
    )
    return config, (files.ca, files.both)


def main():
    parser = argparse.ArgumentParser(description="Ratios of pushgate to prometheus_client.")
    parser.add_argument("--quick", action="store_true", help="few rounds: only shows that it runs")
    parser.add_argument("--against", metavar="FOLDER", help="the src of another version")
    options = parser.parse_args()
    sys.path.insert(0, str(TESTS))
    from support import debian, servers

    rounds, calls = (3, 20) if options.quick else (15, 200)
    bench = Bench(options.against, rounds)
    ours = ["push_to_gateway", "Gateway.push"]
    binary = debian.find("pushgateway-1.11")
    print(f"Python {sys.version.split()[0]}, medians of {rounds} rounds")
    with servers.pushgateway(binary) as server:
        title = "A push of 5 samples, gateway on loopback (aim: CPU <= 0.22x)"
        bench.compare(title, ["prometheus_client", *ours], server.url, calls=calls)
        title = "The same against the floor (aim: wall <= 1.25x)"
        bench.compare(title, ["bare socket", *ours], server.url, calls=calls)
        title = "The first push of a process, less imports (aim: <= 2 ms)"
        bench.processes(title, FIRST_PUSH, server.url)
    with tempfile.TemporaryDirectory() as folder:
        config, files = tls_files(folder)
        with servers.pushgateway(binary, f"--web.config.file={config}", scheme="https") as server:
            title = "The same by mutual TLS (aim: wall <= 0.17x)"
            names = ["prometheus_client by TLS", "push_to_gateway by TLS"]
            bench.compare(title, names, server.url, files, calls=max(1, calls // 4))
    title = "Encoding 5,000 gauges and 300 histograms, collected before (aim: <= 0.5x)"
    bench.compare(title, ["generate_latest", "encode"], calls=3)
    title = "The same with prometheus_client's collect(), which both need (aim: <= 0.55x)"
    names = ["generate_latest with collect", "encode with collect", "collect alone"]
    bench.compare(title, names, calls=3)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        measure(*sys.argv[2:])
    else:
        main()
