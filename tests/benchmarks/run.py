"""`pushgate run` beside the script people write today, and beside the bare command.

    python tests/benchmarks/run.py [--quick]

The script is subprocess.run and prometheus_client's push_to_gateway. Rounds alternate, figures are
medians over the rounds; only the ratios are worth quoting. Nothing is asserted. Run it where the
installed modules have been compiled to bytecode, as pip leaves them.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from support import debian, servers

SCRIPT = """
import subprocess, sys, time
from prometheus_client import CollectorRegistry, Gauge, push_to_gateway
started = time.time()
code = subprocess.run(sys.argv[2:]).returncode
registry = CollectorRegistry()
Gauge("last_duration_seconds", "h", registry=registry).set(time.time() - started)
Gauge("last_exit_code", "h", registry=registry).set(code)
Gauge("last_completion_timestamp_seconds", "h", registry=registry).set_to_current_time()
push_to_gateway(sys.argv[1], job="script", registry=registry)
sys.exit(code)
"""


def measured(command, environment):
    """Wall and CPU seconds and peak MiB of one run."""
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        # A process of its own, so that the command's usage is told apart from all others'.
        started = time.perf_counter()
        subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
        wall = time.perf_counter() - started
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        line = f"{wall} {used.ru_utime + used.ru_stime} {used.ru_maxrss / 1024}"
        os.write(write_end, line.encode())
        os._exit(0)
    os.close(write_end)
    os.waitpid(pid, 0)
    with os.fdopen(read_end) as answer:
        return [float(figure) for figure in answer.read().split()]


def until_the_child_runs(command, environment):
    """Seconds from exec of the wrapper to the first words of the command it wraps."""
    started = time.time()
    ran = subprocess.run(
        [*command, "date", "+%s.%N"], env=environment, check=True, capture_output=True
    )
    return float(ran.stdout) - started


def main():
    parser = argparse.ArgumentParser(description="Ratios of pushgate run to a script.")
    parser.add_argument("--quick", action="store_true", help="few rounds: only shows that it runs")
    rounds = 3 if parser.parse_args().quick else 30
    with (
        servers.pushgateway(debian.find("pushgateway-1.11")) as server,
        tempfile.TemporaryDirectory() as state,
    ):
        environment = {**os.environ, "PUSHGATE_GATEWAY": server.url, "PUSHGATE_STATE_DIR": state}
        pushgate = [str(Path(sys.executable).with_name("pushgate")), "run", "--job", "bench", "--"]
        ways = {
            "script": [sys.executable, "-c", SCRIPT, server.url],
            "pushgate run": pushgate,
            "bare": [],
        }
        figures = {name: [] for name in ways}
        delays = {name: [] for name in ways}
        for number in range(rounds + 1):
            for name, command in ways.items():
                run = measured([*command, "true"], environment)
                delay = until_the_child_runs(command, environment)
                if number:  # the first is a warm-up
                    figures[name].append(run)
                    delays[name].append(delay)
    print(f"Python {sys.version.split()[0]}, medians of {rounds} rounds, wrapping true")
    print(
        f"{'':14}{'wall':>9}{'ratio':>8}{'CPU':>9}{'ratio':>8}{'peak':>11}{'child runs after':>19}"
    )
    base = [statistics.median(column) for column in zip(*figures["script"], strict=True)]
    for name, runs in figures.items():
        wall, cpu, peak = (statistics.median(column) for column in zip(*runs, strict=True))
        delay = statistics.median(delays[name])
        print(
            f"{name:14}{wall * 1e3:6.1f} ms{wall / base[0]:7.2f}x{cpu * 1e3:6.1f} ms"
            f"{cpu / base[1]:7.2f}x{peak:7.1f} MiB{delay * 1e3:16.1f} ms"
        )


if __name__ == "__main__":
    main()
