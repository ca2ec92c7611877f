"""`pushgate run` as cron calls it, against real Pushgateways: what a scrape sees after each run."""

import os
import re
import shutil
import subprocess
import sys

import pytest

from pushgate import Gateway, Settings, gauge
from support.fault_proxy import fault_proxy
from support.faults import FaultServer
from support.gateways import NEW, OLD, open_gateway

pytestmark = pytest.mark.end_to_end
DEADLINE = 50.0


@pytest.fixture(params=[OLD, NEW])
def gateway(request):
    with open_gateway(request.param) as server:
        yield server


@pytest.fixture
def cron(tmp_path, gateway):
    """Runs a command line by /bin/sh with the environment that cron gives; returns its end."""
    home = tmp_path / "home"
    (home / ".config" / "pushgate").mkdir(parents=True)
    (home / ".config" / "pushgate" / "config.toml").write_text(f'gateway = "{gateway.url}"\n')

    def cron(script, *options):
        environment = {"HOME": str(home), "LOGNAME": "root", "SHELL": "/bin/sh"}
        environment["PATH"] = "/usr/bin:/bin"
        environment["SCRIPT"] = script
        words = " ".join((sys.executable, "-m pushgate run --job backup", *options))
        return subprocess.run(
            ["/bin/sh", "-c", f'{words} -- /bin/sh -c "$SCRIPT"'],
            env=environment,
            cwd=home,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=DEADLINE,
            check=False,
        )

    return cron


@pytest.fixture
def scraped(gateway):
    """The value of a series in the gateway's /metrics; None where it is not there."""

    def scraped(series):
        text = gateway.exchange("GET", "/metrics").text
        name, _, labels = series.partition("{")
        labels = labels.rstrip("}").split(",") if labels else []
        for line in text.splitlines():
            found = re.fullmatch(r"([^{#]+)\{(.*)\} (\S+)", line)
            if found and found[1] == name and {'job="backup"', *labels} <= set(found[2].split(",")):
                return float(found[3])
        return None

    return scraped


def times(scraped):
    names = ("success", "failure", "completion")
    return tuple(scraped(f"batch_job_last_{name}_timestamp_seconds") for name in names)


def test_as_cron_calls_it_again_and_again(cron, scraped, gateway):
    write = 'echo "rows_loaded %d" >> "$PUSHGATE_METRICS_FILE"'
    for rows in (1, 2):
        done = cron(write % rows, "--expect-every", "1m", "--lock", "$HOME/lock")
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
        assert scraped('rows_loaded{origin="job"}') == rows
    # A name has one type for all groups of a gateway: that of others' gauges.
    Gateway(gateway.url).push("other", gauge("rows_loaded", "Rows", 1))
    Gateway(gateway.url).delete("other")
    assert cron("exit 1").returncode == 1
    assert scraped('rows_loaded{origin="job"}') == 2
    assert cron("exit 0").stderr == b""
    assert scraped('rows_loaded{origin="job"}') is None
    assert scraped("batch_job_expected_interval_seconds") == 60
    assert scraped("batch_job_last_vanished_timestamp_seconds") is None
    assert len(gateway.groups()) == 1


def test_what_an_outage_kept_back_arrives_and_overwrites_nothing_newer(cron, scraped, gateway):
    write = 'echo "rows_loaded %d" >> "$PUSHGATE_METRICS_FILE"; exit %d'
    with fault_proxy(int(gateway.url.rpartition(":")[2])) as proxy:
        options = ("--gateway", proxy.url, "--push-timeout", "2s")
        assert cron(write % (1, 0), *options).stderr == b""
        success, *_ = times(scraped)
        proxy.hang()
        kept = cron(write % (2, 3), *options)
        assert (kept.returncode, kept.stderr.count(b"\n")) == (3, 1)
        proxy.heal()
        assert scraped("batch_job_last_exit_code") == 0
        assert cron("exit 0", *options, "--job", "other").stderr == b""
        assert scraped("batch_job_last_exit_code") == 3
        assert scraped('rows_loaded{origin="job"}') == 2
        assert times(scraped)[0] == success

        proxy.hang()
        cron("exit 4", *options)
        proxy.heal()
        cron("exit 0")  # past the proxy: the outbox takes it for another gateway
        newer = times(scraped)
        cron("exit 0", *options, "--job", "other")
        assert scraped("batch_job_last_exit_code") == 0
        success, failure, ended = times(scraped)
        assert (success, ended) == (newer[0], newer[2])
        assert newer[1] < failure < success  # the run that failed is not forgotten for that


def test_of_jobs_that_all_end_at_once_while_the_gateway_is_away_each_outcome_waits():
    words = [sys.executable, "-m", "pushgate", "run", "--gateway", "http://127.0.0.1:9"]
    words += ["--push-timeout", "0.2", "--job"]
    names = {f"job-{number}" for number in range(40)}
    jobs = [
        subprocess.Popen([*words, name, "--", "true"], stderr=subprocess.PIPE) for name in names
    ]
    for job in jobs:
        _, err = job.communicate(timeout=60)
        assert (job.returncode, err.count(b"\n")) == (0, 1)
        assert err.endswith(b"; it waits in the outbox and will be delivered later\n"), err
    outbox = Settings.load({}, os.environ).to_outbox()
    assert {group.labels["job"] for group in outbox.waiting()} == names


READ_ONLY = """
mount -o bind,remount,ro / || exit 77
for folder in /tmp {shm}; do mount --bind $folder $folder; mount -o bind,remount,ro $folder; done
exec "$@"
"""


@pytest.mark.parametrize("shm", ["", "/dev/shm"])
def test_on_a_read_only_root_a_run_is_as_any_and_writes_no_line(gateway, scraped, tmp_path, shm):
    """As in a container with `--read-only`, also one without /dev/shm."""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("only root can make a mount namespace, by unshare(1)")
    apart = ["unshare", "--mount", "--pid", "--fork", "--mount-proc"]
    apart += ["sh", "-c", READ_ONLY.format(shm=shm), "sh"]
    words = [sys.executable, "-m", "pushgate", "run", "--gateway", gateway.url, "--job", "backup"]
    environment = {"HOME": str(tmp_path), "PATH": os.environ["PATH"]}

    def run(script):
        done = subprocess.run(
            [*apart, *words, "--", "sh", "-ec", script],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=DEADLINE,
            check=False,
        )
        if done.returncode in (1, 77) and b"pushgate" not in done.stderr:
            pytest.skip(f"no such namespace here: {done.stderr!r}")
        return done.returncode, done.stdout, done.stderr

    script = '! touch /tmp/x 2>&- || exit 9; echo "rows 42" >> "$PUSHGATE_METRICS_FILE"'
    assert run(script) == (0, b"", b"")
    assert scraped('rows{origin="job"}') == 42
    assert scraped("batch_job_last_run_success") == 1
    assert run("exit 3") == (3, b"", b"")
    assert scraped('rows{origin="job"}') == 42
    assert run("true") == (0, b"", b"")
    assert scraped('rows{origin="job"}') is None


def error_page(peer):
    """100 MB of text as a failure."""
    peer.request()
    peer.send(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: %d\r\n\r\n" % (100 << 20))
    for _ in range(100):
        peer.send(b"x" * (1 << 20))


def endless_page(peer):
    """A success that never ends: to a read, JSON of a Pushgateway."""
    peer.request()
    peer.send(b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{"data":[')
    while True:
        peer.send(b'{"labels":{"job":"x"},"last_push_successful":true},' * 1000)


@pytest.mark.parametrize("script", [error_page, endless_page])
def test_whatever_is_answered_the_wrapper_stays_below_64_mib(tmp_path, script):
    with FaultServer(script) as server:
        words = [sys.executable, "-m", "pushgate", "run", "--gateway", server.url]
        words += ["--job", "backup", "--push-timeout", "3s", "--", "true"]
        environment = {**os.environ, "PUSHGATE_STATE_DIR": str(tmp_path)}
        for _ in range(2):  # the second one finds something to compare with what the gateway holds
            program = f"import os, sys\n{MEASURE}"
            done = subprocess.run(
                [sys.executable, "-c", program, *words],
                env=environment,
                capture_output=True,
                timeout=DEADLINE,
                check=False,
            )
            code, peak_kib = map(int, done.stdout.split())
            assert (code, done.stderr.count(b"\n")) == (0, 1), done.stderr
            assert done.stderr.endswith(b"; it waits in the outbox and will be delivered later\n")
            assert peak_kib < 64 * 1024


# A process of its own starts it: a child's peak begins at that of the process that started it.
MEASURE = """
pid = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ)
_, status, usage = os.wait4(pid, 0)
print(os.waitstatus_to_exitcode(status), usage.ru_maxrss)
"""
