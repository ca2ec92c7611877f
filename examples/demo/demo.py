"""Shows what pushgate promises, in a minute, on a gateway in memory that goes away in between.

It runs commands and, where they are installed, a Celery worker and an Airflow DAG. It prints what
each of them shows, what the outbox kept and delivered, the table of all jobs, and what a scrape of
the gateway returns. It uses no setting of the user's and leaves nothing on the disk.
"""

import os
import shlex
import subprocess
import sys
import time
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.request import ProxyHandler, build_opener

from pushgate.embedded import EmbeddedGateway

HERE = Path(__file__).parent
PATIENCE = 180.0  # seconds; Airflow makes a database first
ADAPTERS = {
    "celery": "Celery: a worker runs three tasks, one fails; some 5 seconds",
    "airflow": "Airflow: a DAG runs, its last task fails; some 20 seconds",
}
# These settings of the user's would lead the demo to their gateway, outbox, database or broker.
PRIVATE = ("PUSHGATE", "PROMETHEUS_PUSHGATEWAY", "AIRFLOW", "CELERY")
SHOWN = ("batch_job_last_run_success", "rows_loaded", "rows_imported", "items_in_stock")
NEXT = """\
# what next
pushgate doctor --gateway http://YOUR-GATEWAY:9091         is it well, and reached?
pushgate run --job NAME --expect-every 24h -- COMMAND      in your crontab
pushgate rules > pushgate.yml                              alerts for Prometheus
pushgate dashboard > batch-jobs.json                       for Grafana
pushgate gateway                                           this gateway, to play with
More: README.md, and the folders beside this one."""


def main() -> None:
    with TemporaryDirectory() as folder, EmbeddedGateway() as gateway:
        environment = private_environment(gateway.url, Path(folder))
        # An adapter's part prepares itself, which takes seconds, and then waits for a line.
        parts = {
            name: Part(name, Path(folder), environment) for name in ADAPTERS if find_spec(name)
        }
        try:
            show(gateway, environment, parts)
        finally:
            for part in parts.values():
                part.kill()


def show(gateway: EmbeddedGateway, environment: dict[str, str], parts: dict[str, "Part"]) -> None:
    def pushgate(*arguments: str) -> None:
        say(f"$ pushgate {shlex.join(arguments)}")
        done = subprocess.run(
            [sys.executable, "-m", "pushgate", *arguments], env=environment, check=False
        )
        if arguments[0] == "run":
            say(f"exit code {done.returncode}")

    say(f"A Pushgateway in memory listens on {gateway.url}")
    say("\n# a job that succeeds and tells how many rows it loaded")
    script = 'echo "rows_loaded 42" >> "$PUSHGATE_METRICS_FILE"; echo "backing up"'
    pushgate("run", "--job", "backup", "-v", "--", "sh", "-c", script)

    say("\n# the gateway goes away; a job fails: its exit code is its own, its outcome waits")
    say("# (pushgate tries for two seconds, by --push-timeout)")
    gateway.stop()
    script = 'echo "no such table: orders" >&2; exit 3'
    pushgate("run", "--job", "report", "--push-timeout", "2", "-v", "--", "sh", "-c", script)
    for name, title in ADAPTERS.items():
        if name in parts:
            say(f"\n# {title}")
            parts[name].finish()
        else:
            say(f"\n# {title}: not installed; pip install '.[{name}]' adds it")
    pushgate("flush", "--list")

    say("\n# the gateway is back")
    gateway.start()
    pushgate("flush")
    say("\n# how all jobs are doing")
    pushgate("status")
    say("\n# some of what Prometheus sees when it scrapes the gateway")
    with build_opener(ProxyHandler({})).open(f"{gateway.url}/metrics") as scrape:
        text = scrape.read().decode()
    samples = [line for line in text.splitlines() if not line.startswith("#")]
    shown = [line for line in samples if line.startswith(SHOWN)]
    say("\n".join(shown))
    say(f"and {len(samples) - len(shown)} more: times, durations, exit codes, memory, counters")
    missing = [job for job in ("backup", "report", *parts) if f'job="{job}"' not in text]
    if missing:
        sys.exit(f"the gateway has nothing of {', '.join(missing)}")
    say(f"\n{NEXT}")


def private_environment(url: str, folder: Path) -> dict[str, str]:
    config = folder / "config.toml"
    config.touch()
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(PRIVATE) and not name.lower().endswith("_proxy")
    }
    return kept | {
        "PUSHGATE_GATEWAY": url,
        "PUSHGATE_STATE_DIR": str(folder / "state"),
        "PUSHGATE_CONFIG": str(config),
    }


class Part:
    """A process that runs `NAME_part.py`, which begins when it is told to."""

    def __init__(self, name: str, folder: Path, environment: dict[str, str]) -> None:
        home = folder / name
        home.mkdir()
        self._log = home / "log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, HERE / f"{name}_part.py", home],
                env=environment,
                cwd=home,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
            )

    def finish(self) -> None:
        self._process.stdin.write(b"begin\n")
        self._process.stdin.close()
        end = time.monotonic() + PATIENCE
        while self._process.poll() is None and time.monotonic() < end:
            print(".", end="", flush=True)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(1)
        lines = self._log.read_text(errors="replace").splitlines()
        if self._process.returncode:
            sys.exit("\n".join(["it failed:", *lines[-30:]]))
        say(f" done, with {len(lines)} lines of log")

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


def say(text: str) -> None:
    print(text, flush=True)  # at once: the commands write to the same terminal


if __name__ == "__main__":
    main()
