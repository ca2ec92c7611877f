"""Fixtures that run `pushgate run` and other commands as processes of their own."""

import os
import queue
import signal
import subprocess
import sys

import pytest

from pushgate import Settings
from pushgate.cli import main
from support.faults import OK, FaultServer

# A hang is a failure of its own test, not of the whole run.
DEADLINE = 50.0
NOBODY = "http://127.0.0.1:1"


@pytest.fixture(scope="session", autouse=True)
def signals_of_a_login():
    """What nohup and a script's `&` ignore would stay ignored in all that the tests start."""
    ours = {
        signal.SIGINT: signal.default_int_handler,
        signal.SIGHUP: signal.SIG_DFL,
        signal.SIGQUIT: signal.SIG_DFL,
    }
    ignored = [number for number in ours if signal.getsignal(number) == signal.SIG_IGN]
    for number in ignored:
        signal.signal(number, ours[number])
    yield
    for number in ignored:
        signal.signal(number, signal.SIG_IGN)


@pytest.fixture
def isolated(tmp_path, monkeypatch):
    """No settings of this machine's; what a run leaves behind goes into `tmp_path`."""
    for name in [name for name in os.environ if "PUSHGATE" in name]:
        monkeypatch.delenv(name)
    for name, directory in {
        "HOME": "home",
        "XDG_CONFIG_HOME": "config",
        "XDG_STATE_HOME": "xdg-state",
        "PUSHGATE_STATE_DIR": "state",
        "TMPDIR": "tmp",
    }.items():
        (tmp_path / directory).mkdir()
        monkeypatch.setenv(name, str(tmp_path / directory))
    return tmp_path


class Pushgate:
    """Makes command lines of pushgate and runs them; all are ended with the test."""

    def __init__(self, tmp_path):
        self.tmp_path = tmp_path
        self.running = []
        self.env = dict(os.environ)

    def argv(self, *words, job="backup", gateway=None, command="run"):
        """The command line `pushgate COMMAND --job JOB [--gateway URL] WORDS`."""
        to = [] if gateway is None else ["--gateway", gateway]
        return [sys.executable, "-m", "pushgate", command, "--job", job, *to, *words]

    def patched(self, patch, *words, **options):
        """As `argv`, in a Python in which `patch` has run, so that something does not work."""
        argv = self.argv(*words, **options)
        program = f"import sys\n{patch}\nfrom pushgate.cli import main\nsys.exit(main())"
        return [sys.executable, "-c", program, *argv[argv.index("-m") + 2 :]]

    def wrap(self, *command, **options):
        """`command` wrapped by `pushgate run -q`, without a gateway: quiet whatever happens."""
        words = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
        return self.argv("-q", *words, "--", *command)

    def sh(self, script, **options):
        """As `wrap`, for a shell script."""
        return self.wrap("/bin/sh", "-c", script, **options)

    def start(self, argv, **popen):
        """Start `argv` without a terminal; stdout and stderr are pipes unless told otherwise."""
        popen = {
            "stdin": subprocess.DEVNULL,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            "start_new_session": True,
            "env": self.env,
            **popen,
        }
        process = subprocess.Popen(argv, **popen)
        self.running.append(process)
        return process

    def ready(self, argv, **popen):
        """Start `argv`; return once it has written the line `ready`."""
        process = self.start(argv, **{"stdin": subprocess.PIPE, **popen})
        assert process.stdout.readline() == b"ready\n"
        return process

    def run(self, argv, data=None, **popen):
        """Run `argv` to its end; return its exit code, stdout and stderr."""
        if data is not None:
            popen["stdin"] = subprocess.PIPE
        process = self.start(argv, **popen)
        out, err = process.communicate(data, timeout=DEADLINE)
        return process.returncode, out, err

    def measure(self, *words, **popen):
        """Run `pushgate run --dry-run WORDS`; return the exit code and the metrics by name."""
        code, _, err = self.run(self.argv("--dry-run", *words), **popen)
        lines = [line.rpartition(" ") for line in err.decode().splitlines() if line[:1] != "#"]
        return code, {
            name.removeprefix("batch_job_last_"): float(value) for name, _, value in lines if name
        }

    def close(self):
        for process in self.running:
            if process.poll() is None:
                process.kill()
            process.wait(DEADLINE)
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream is not None:
                    stream.close()


@pytest.fixture
def pushgate(isolated, tmp_path):
    made = Pushgate(tmp_path)
    yield made
    made.close()


class Recorder(FaultServer):
    """A gateway that accepts everything; `next()` waits for the request that comes next."""

    def __init__(self):
        self._came = queue.Queue()
        self.hold = None  # an Event: the next request is answered once it is set
        super().__init__(self._answer)

    def _answer(self, peer):
        while seen := peer.request():
            hold, self.hold = self.hold, None
            self._came.put(seen)
            if hold is not None:
                hold.wait(DEADLINE)
            peer.send(OK)

    def next(self):
        return self._came.get(timeout=DEADLINE)


@pytest.fixture
def recorder():
    with Recorder() as server:
        yield server


@pytest.fixture
def run(pushgate, pushgateway):
    """Runs `pushgate run WORDS` against the embedded gateway."""

    def run(*words, **options):
        popen = {name: options.pop(name) for name in ("data", "env", "cwd") if name in options}
        options.setdefault("gateway", pushgateway.url)
        return pushgate.run(pushgate.argv(*words, **options), **popen)

    return run


@pytest.fixture
def value(pushgateway):
    """The value of one of the vocabulary's gauges of the job `backup`."""

    def value(name, job="backup", **labels):
        return pushgateway.value(f"batch_job_{name}", job=job, **labels)

    return value


@pytest.fixture
def call(isolated, pushgateway, capsys):
    """Runs another command in this process; returns its exit code and the lines of its stderr."""

    def call(command, *words, job="backup", gateway=pushgateway.url):
        to = [] if gateway is None else ["--gateway", gateway]
        code = main([command, "--job", job, *to, *words])
        out, err = capsys.readouterr()
        assert out == ""
        return code, err.splitlines()

    return call


@pytest.fixture
def waiting(isolated):
    """The groups that wait in the host's outbox, without a try to deliver them."""
    return lambda: Settings.load({}, dict(os.environ)).to_outbox().waiting()
