"""Whatever is wrong with the gateway, its settings or this machine: the command's fate stays."""

import contextlib
import os
import ssl
import sys
import time

import pytest
import trustme

from support.faults import (
    FaultServer,
    answer,
    hang,
    over_tls,
    reset,
    respond,
    respond_and_close,
    respond_and_drip,
)

DEADLINE = 30.0
JOB = ("--", "sh", "-c", "echo out; echo err >&2; exit 5")

needs_proc = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def one_line(err):
    """The wrapper's one line, which is whole and no traceback, beside what the job wrote."""
    lines = err.decode().splitlines()
    lines.remove("err")
    assert len(lines) == 1, err
    assert lines[0].startswith("pushgate: backup: ")
    return lines[0]


def untrusted():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    return over_tls(context, hang)


FAULTS = {
    "hangs": (hang, "http", "timed out"),
    "drips": (respond_and_drip(b"HTTP/1.1 200 OK\r\n", b"X-Y: z\r\n"), "http", "timed out"),
    "closes": (respond_and_close(b""), "http", ""),
    "resets": (reset, "http", ""),
    "answers garbage": (respond_and_close(b"220 mail.example ESMTP\r\n"), "http", ""),
    "400": (respond(answer("400 Bad Request", b"inconsistent help")), "http", "inconsistent help"),
    "401": (respond(answer("401 Unauthorized")), "http", "401"),
    "500": (respond(answer("500 Internal Server Error")), "http", "500"),
    "speaks no TLS": (lambda peer: peer.send(answer()), "https", ""),
    "is not trusted": (untrusted(), "https", "certificate"),
}


@pytest.mark.parametrize(("script", "scheme", "told"), FAULTS.values(), ids=FAULTS)
def test_fact_04_a_gateway_that(pushgate, script, scheme, told):
    with FaultServer(script) as server:
        url = server.url.replace("http:", f"{scheme}:")
        limit = "1.5s" if told == "timed out" else "5s"
        argv = pushgate.argv("--push-timeout", limit, "--retries", "1", *JOB, gateway=url)
        begun = time.monotonic()
        code, out, err = pushgate.run(argv)
        assert time.monotonic() - begun < 10
    assert (code, out) == (5, b"out\n")
    assert told in one_line(err)


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "http://no-such-host.invalid"])
def test_fact_04_a_gateway_that_is_not_there(pushgate, url):
    argv = pushgate.argv("--push-timeout", "5s", "--retries", "1", *JOB, gateway=url)
    code, out, err = pushgate.run(argv)
    assert (code, out) == (5, b"out\n")
    assert url in one_line(err)


def test_fact_04_a_push_that_hangs_leaves_no_run_that_vanished(pushgate, recorder):
    with FaultServer(hang) as server:
        argv = pushgate.argv("--push-timeout", "0.3", "--retries", "0", *JOB, gateway=server.url)
        one_line(pushgate.run(argv)[2])
    assert pushgate.run(pushgate.argv(*JOB, gateway=recorder.url)) == (5, b"out\n", b"err\n")


def test_fact_11_a_term_during_the_final_push_shortens_it(pushgate, recorder):
    recorder.hold = recorder.stopping
    options = ("--no-start-push", "--push-timeout", "1h", *JOB)
    process = pushgate.start(pushgate.argv(*options, gateway=recorder.url))
    assert b"last_exit_code" in recorder.next().body
    process.terminate()
    out, err = process.communicate(timeout=DEADLINE)
    assert (process.returncode, out) == (5, b"out\n")
    assert "gave up waiting" in one_line(err)


@pytest.mark.parametrize(
    ("options", "variables", "told"),
    [
        ([], {}, "no gateway is configured"),
        (["--gateway", "ftp://host"], {}, "http"),
        (["--config", "/no/such/file"], {}, "/no/such/file"),
        (["--config", __file__], {}, __file__),
        (["--group", "1st=x", "--gateway", "host:1"], {}, "1st"),
        (["--header", "nonsense", "--gateway", "host:1"], {}, "--header"),
        (["--username", "robot", "--gateway", "host:1"], {}, "password"),
        (["--cafile", "/no/such/file", "--gateway", "https://127.0.0.1:1"], {}, "/no/such/file"),
        (["--gateway", "host:1"], {"PUSHGATE_TIMEOUT": "never"}, "PUSHGATE_TIMEOUT"),
        (["--gateway", "host:1"], {"PUSHGATE_TOKEN": "file:/no/such/file"}, "PUSHGATE_TOKEN"),
    ],
)
def test_fact_05_wrong_settings_still_run_the_job(pushgate, options, variables, told):
    pushgate.env |= variables
    code, out, err = pushgate.run(pushgate.argv(*options, *JOB))
    assert (code, out) == (5, b"out\n")
    assert told in one_line(err)


def test_a_name_that_is_not_utf8_still_runs_the_job(pushgate):
    argv = [sys.executable, "-m", "pushgate", "run", "--job", b"caf\xe9", *JOB]
    code, out, err = pushgate.run(argv)
    assert (code, out, len(err.splitlines())) == (5, b"out\n", 2)


# --- this machine -----------------------------------------------------------------------------


def patched(pushgate, patch, *words, gateway):
    """`pushgate run` in a Python where something does not work."""
    argv = pushgate.argv(*words, gateway=gateway)
    program = f"import sys\n{patch}\nfrom pushgate.cli import main\nmain()"
    return [sys.executable, "-c", program, *argv[argv.index("run") :]]


def test_without_threads_the_end_is_still_pushed(pushgate, recorder):
    patch = "import threading\ndef start(_): raise RuntimeError\nthreading.Thread.start = start"
    options = ("--quiet-on-success", "-v", *JOB)
    code, out, err = pushgate.run(patched(pushgate, patch, *options, gateway=recorder.url))
    assert (code, out) == (5, b"out\n")
    assert b"pushed to" in err
    assert b"last_exit_code" in recorder.next().body


def test_without_a_place_for_its_metrics_a_script_can_write_them_all_the_same(pushgate, recorder):
    patch = "from pushgate_subprocess import _handoff\n_handoff.create = lambda: None"
    script = 'set -e; echo rows 1 >> "$PUSHGATE_METRICS_FILE"; exit 5'
    argv = patched(pushgate, patch, "sh", "-c", script, gateway=recorder.url)
    code, out, err = pushgate.run(argv)
    assert (code, out, len(err.splitlines())) == (5, b"", 1)
    assert b"$TMPDIR" in err


def test_a_wrapper_that_can_report_nothing_runs_the_job(pushgate, recorder):
    patch = "import sys\nsys.modules['threading'] = None\nsys.modules['pushgate.errors'] = None"
    code, out, err = pushgate.run(patched(pushgate, patch, *JOB, gateway=recorder.url))
    assert (code, out) == (5, b"out\n")
    assert "ModuleNotFoundError" in one_line(err)


def test_a_fault_of_our_own_is_said_once_and_runs_the_job(pushgate, recorder):
    patch = "import sys\nsys.modules['pushgate_subprocess._report'] = None"
    code, out, err = pushgate.run(patched(pushgate, patch, *JOB, gateway=recorder.url))
    assert (code, out) == (5, b"out\n")
    assert "please report it" in one_line(err)


def test_without_a_place_for_the_state_runs_are_reported(pushgate, recorder, tmp_path):
    (tmp_path / "file").touch()
    pushgate.env |= {"PUSHGATE_STATE_DIR": f"{tmp_path}/file/x", "TMPDIR": f"{tmp_path}/file/x"}
    assert pushgate.run(pushgate.argv(*JOB, gateway=recorder.url)) == (5, b"out\n", b"err\n")
    assert b"last_exit_code" in recorder.requests[-1].body
    _, _, err = pushgate.run(pushgate.argv("-v", *JOB, gateway=recorder.url))
    assert b"set PUSHGATE_STATE_DIR" in err


def test_fact_04_a_full_disk(pushgate, recorder, tmp_path):
    argv = pushgate.argv("--textfile", str(tmp_path), *JOB, gateway=recorder.url)
    code, out, err = pushgate.run(["sh", "-c", 'ulimit -f 0; exec "$@"', "sh", *argv])
    assert (code, out) == (5, b"out\n")
    assert str(tmp_path) in one_line(err)
    assert b"last_exit_code" in recorder.requests[-1].body


@pytest.mark.parametrize("limit", [6, 12])
def test_few_descriptors_cost_metrics_and_not_the_exit_code(pushgate, recorder, limit):
    argv = pushgate.argv("--retries", "0", *JOB, gateway=recorder.url)
    code, out, err = pushgate.run(["sh", "-c", f'ulimit -n {limit}; exec "$@"', "sh", *argv])
    if code != 125:  # it could not be started, which is said
        assert (code, out) == (5, b"out\n")
    assert b"Traceback" not in err


@needs_proc
@pytest.mark.parametrize("closed", ["<&-", "2>&-", "<&- >&- 2>&-"])
def test_fact_12_streams_that_are_closed_stay_closed(pushgate, recorder, tmp_path, closed):
    found = tmp_path / "found"
    look = 'for n in 0 1 2; do [ -e /proc/$$/fd/$n ] && set -- "$@" $n; done; echo "$@" >"$0"'
    bare = ["sh", "-c", look, str(found)]
    closing = ["sh", "-c", f'exec "$@" {closed}', "sh"]
    pushgate.run([*closing, *bare])
    expected = found.read_text()
    argv = pushgate.argv("-v", "--", *bare, gateway=recorder.url)
    code, out, _ = pushgate.run([*closing, *argv])
    assert (code, out, found.read_text()) == (0, b"", expected)
    for seen in recorder.requests:  # our messages did not go into a socket that took the place
        assert (seen.method, b"pushgate:" in seen.body) == ("POST", False)
    assert b"last_exit_code" in recorder.requests[-1].body


@needs_proc
def test_a_reader_of_stderr_who_has_gone(pushgate):
    read_end, write_end = os.pipe()
    os.close(read_end)
    argv = pushgate.argv("-v", "--retries=0", "sh", "-c", "exit 5", gateway="http://127.0.0.1:1")
    code, out, _ = pushgate.run(argv, stderr=write_end)
    os.close(write_end)
    assert (code, out) == (5, b"")


@pytest.mark.parametrize("script", [hang, respond_and_close(b"")], ids=["hangs", "closes"])
def test_leaving_a_push_behind_ends_python_in_good_order(pushgate, script):
    with FaultServer(script) as server:
        argvs = [
            pushgate.argv("--push-timeout", "0.1", "--group", f"n={n}", *JOB, gateway=server.url)
            for n in range(6)
        ]
        for process in [pushgate.start(argv) for argv in argvs]:
            out, err = process.communicate(timeout=DEADLINE)
            assert (process.returncode, out) == (5, b"out\n")
            one_line(err)


def test_a_reader_of_stderr_who_does_not_read(pushgate):
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(write_end, b"x" * 65_536)
    os.set_blocking(write_end, True)
    argv = pushgate.argv("--retries=0", "--", "sh", "-c", "exit 5", gateway="http://127.0.0.1:1")
    code, out, _ = pushgate.run(argv, stderr=write_end)
    os.close(write_end)
    os.close(read_end)
    assert (code, out) == (5, b"")
