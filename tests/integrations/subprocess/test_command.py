"""The command as without pushgate: exit status, arguments, environment, resources, time limits."""

import importlib
import os
import signal
import sys
import time
from pathlib import Path

import pytest

from pushgate import job_rows
from support.faults import OK, FaultServer, answer

DEADLINE = 50.0


def executable(path, text):
    path.write_text(text)
    path.chmod(0o755)
    return str(path)


# --- the exit status --------------------------------------------------------------------------


def test_exit_codes_pass_through_and_are_published(run, value):
    for code in (0, 1, 125, 255):
        assert run("--", "sh", "-c", f"exit {code}") == (code, b"", b"")
        assert value("last_exit_code") == code
        assert value("last_run_success") == (code == 0)


@pytest.mark.parametrize("name", ["SIGKILL", "SIGSEGV"])
def test_death_by_signal_n_is_128_plus_n(pushgate, name):
    number = int(getattr(signal, name))
    script = f"ulimit -c 0; kill -{number} $$"
    code, measured = pushgate.measure("--", "sh", "-c", script)
    assert code == measured["exit_code"] == 128 + number
    assert (measured["signal"], measured["run_success"]) == (number, 0)


@pytest.mark.parametrize(
    ("command", "code", "told"),
    [
        ("no-such-command", 127, "command not found"),
        ("./no/such/file", 127, "no such file"),
        ("export", 127, "not found; that is for a shell: sh -c 'cd DIR && COMMAND'"),
        ("LD_LIBRARY_PATH=/lib", 127, "env NAME=VALUE COMMAND"),
        ("", 127, "command not found"),
        ("{}/bad-interpreter", 127, "its interpreter was not found"),
        ("{}/not-executable", 126, "chmod +x"),
        ("{}", 126, "is a directory"),
    ],
)
def test_a_command_that_can_not_be_started_is_a_failure(run, value, tmp_path, command, code, told):
    executable(tmp_path / "bad-interpreter", "#!/no/such/interpreter\n")
    (tmp_path / "not-executable").write_text("exit 0\n")
    command = command.format(tmp_path)
    exit_code, out, err = run("--", command)
    assert (exit_code, out, err.count(b"\n")) == (code, b"", 1)
    assert err.startswith(f"pushgate: backup: {command}: ".encode())
    assert told.encode() in err
    assert (value("last_exit_code"), value("last_run_success")) == (code, 0)


def test_the_search_goes_on_behind_a_file_that_may_not_be_run(pushgate, tmp_path):
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    (tmp_path / "first" / "tool").write_text("not this one")
    executable(tmp_path / "second" / "tool", "#!/bin/sh\nexit 7\n")
    pushgate.env["PATH"] = f"{tmp_path}/nowhere:{tmp_path}/first:{tmp_path}/second"
    assert pushgate.run(pushgate.wrap("tool"))[0] == 7
    (tmp_path / "second" / "tool").unlink()
    assert pushgate.run(pushgate.wrap("tool"))[0] == 126


def test_an_empty_directory_in_path_is_the_current_one_and_no_path_the_usual(pushgate, tmp_path):
    executable(tmp_path / "tool", "#!/bin/sh\nexit 7\n")
    pushgate.env["PATH"] = "/no/such/place:"
    assert pushgate.run(pushgate.wrap("tool"), cwd=tmp_path)[0] == 7
    del pushgate.env["PATH"]
    assert pushgate.run(pushgate.wrap("true"))[0] == 0


@pytest.mark.parametrize("searched", [True, False], ids=["in PATH", "by path"])
def test_a_script_without_a_shebang_is_run_by_sh(pushgate, tmp_path, searched):
    script = executable(tmp_path / "plain-script", 'printf "<%s>" "$@"\nexit 5\n')
    pushgate.env["PATH"] += f":{tmp_path}"
    command = "plain-script" if searched else script
    code, out, _ = pushgate.run(pushgate.wrap(command, "a b", "", "--"))
    assert (code, out) == (5, b"<a b><><-->")


# --- arguments and environment ----------------------------------------------------------------


@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
def test_arguments_are_byte_exact_in_any_locale(pushgate, locale):
    words = [b"a b", b"", b"--", b"-v", b"--job=x", b"$HOME *", b"\xff\xfe", b"\xc3\xa9", b"\n"]
    pushgate.env["LC_ALL"] = locale
    code, out, _ = pushgate.run(pushgate.wrap("printf", "<%s>", *words))
    assert (code, out) == (0, b"".join(b"<%s>" % word for word in words))


@pytest.mark.skipif(sys.platform == "darwin", reason="where LC_CTYPE comes from can't be told")
@pytest.mark.parametrize("locale", [{}, {"LC_CTYPE": "C"}])
def test_the_environment_is_that_of_the_bare_command(pushgate, locale):
    packages = [importlib.import_module(name) for name in ("pushgate", "pushgate_subprocess")]
    pushgate.env = {
        "PATH": "/usr/bin:/bin",
        "HOME": "/",
        "BYTES": "\udcff",
        "PYTHONPATH": os.pathsep.join({str(Path(p.__file__).parents[1]) for p in packages}),
        **locale,
    }
    _, bare, _ = pushgate.run(["env"])
    _, wrapped, _ = pushgate.run(pushgate.wrap("env"))
    added = set(wrapped.splitlines()) - set(bare.splitlines())
    assert [line.partition(b"=")[0] for line in added] == [b"PUSHGATE_METRICS_FILE"]
    assert set(bare.splitlines()) <= set(wrapped.splitlines())


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_modules_of_the_job_in_pythonpath_are_not_ours(run, value, pushgate, tmp_path):
    for name in ("json", "random", "resource", "select", "signal", "socket"):
        (tmp_path / f"{name}.py").touch()
    environment = {**pushgate.env, "PYTHONPATH": str(tmp_path)}
    tells = (sys.executable, "-c", "import random; print(random.__file__)")
    assert run("--", *tells, env=environment) == (0, f"{tmp_path}/random.py\n".encode(), b"")
    assert value("last_run_success") == 1


def test_secrets_are_nowhere_to_be_seen(pushgate, recorder):
    url = recorder.url.replace("//", "//robot:s3cret-url@")
    pushgate.env |= {
        "PUSHGATE_GATEWAY": url,
        "PUSHGATE_HEADERS": "X-Key: s3cret-header",
    }
    show = "tr '\\0' '\\n' </proc/$PPID/cmdline; tr '\\0' '\\n' </proc/$$/cmdline; env"
    code, out, err = pushgate.run(pushgate.argv("-v", "--", "sh", "-c", show))
    assert (code, b"s3cret" in out + err) == (0, False)
    assert f"PUSHGATE_GATEWAY={recorder.url}".encode() in out.splitlines()
    assert recorder.next().header("Authorization").startswith("Basic ")


# --- the time limit ---------------------------------------------------------------------------

# TERM waits until the command asks for it, so it may come before Python has started.
ENDS_WITH_3 = (sys.executable, "-c", "import signal; signal.sigwait([15]); raise SystemExit(3)")
SLEEPS = ("sleep", "60")


def hold_term():
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})


def ignore_term():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


@pytest.mark.parametrize(
    ("options", "prepare", "command", "code", "by_signal"),
    [
        ([], None, SLEEPS, 124, signal.SIGTERM),
        ([], hold_term, ENDS_WITH_3, 124, 0),
        (["--preserve-status"], hold_term, ENDS_WITH_3, 3, 0),
        (["--preserve-status"], None, SLEEPS, 143, signal.SIGTERM),
        (["--signal", "USR1"], None, SLEEPS, 124, signal.SIGUSR1),
        (["--signal", "SIGKILL"], None, SLEEPS, 137, signal.SIGKILL),
        (["--kill-after", "0.05"], ignore_term, SLEEPS, 137, signal.SIGKILL),
    ],
)
def test_the_time_limit(pushgate, options, prepare, command, code, by_signal):
    words = ("--timeout", "0.05s", *options, "--", *command)
    exit_code, measured = pushgate.measure(*words, preexec_fn=prepare)
    assert exit_code == measured["exit_code"] == code
    assert (measured["timed_out"], measured["signal"]) == (1, by_signal)
    assert measured["run_success"] == 0


@pytest.mark.parametrize(
    ("script", "prepare", "code"),
    [
        ("sleep 60 & wait", None, 124),
        ("sleep 60 & wait", ignore_term, 137),
        ("kill -STOP $$", None, 124),  # it is continued to take the signal
    ],
)
def test_the_time_limit_reaches_the_whole_group(pushgate, script, prepare, code):
    # stdout, which `run` reads to its end, would stay open for a minute.
    argv = pushgate.sh(script, timeout=0.15, kill_after=0.05 if prepare else DEADLINE)
    assert pushgate.run(argv, preexec_fn=prepare)[0] == code


def test_what_counts_as_success(run, value, pushgateway):
    three = ("--", "sh", "-c", "exit 3")
    for words, code, success, reason in (
        (("--success-codes", "0, 3", *three), 3, 1, None),
        (("--success-codes", "3", "true"), 0, 0, "exit 0"),
        (("--min-duration", "1m", "true"), 0, 0, "too short"),
        (("--min-duration", "1m", *three), 3, 0, "exit 3"),
    ):
        assert run(*words)[0] == code
        assert (value("last_run_success"), value("last_exit_code")) == (success, code)
        (row,) = job_rows(pushgateway.groups(), now=time.time())
        assert row.info.get("exception") == reason


# --- resources --------------------------------------------------------------------------------

ALLOCATE = "x = bytearray(b'x') * ({} << 20)"


def test_a_peak_not_above_our_own_is_left_out(pushgate):
    assert "max_rss_bytes" not in pushgate.measure("--", "true")[1]


@pytest.mark.skipif(sys.platform == "darwin", reason="the floor is Linux's")
def test_the_peak_of_the_process_that_started_us_is_no_floor(pushgate):
    """A wrapper that a large program starts by fork begins with that program's ru_maxrss."""
    large = f"import os, sys; {ALLOCATE.format(120)}; os.execv(sys.argv[1], sys.argv[1:])"
    command = ("--dry-run", "--", sys.executable, "-c", ALLOCATE.format(60))
    _, _, err = pushgate.run([sys.executable, "-c", large, *pushgate.argv(*command)])
    (line,) = [line for line in err.splitlines() if line.startswith(b"batch_job_last_max_rss")]
    assert 60 << 20 < float(line.split()[1]) < 120 << 20


def test_the_cpu_time_is_the_commands_with_its_descendants(pushgate):
    burn = "import time\nwhile time.process_time() < 0.1: pass"
    script = f'{sys.executable} -c "$0"; :'
    _, measured = pushgate.measure("--", "sh", "-c", script, burn)
    assert 0.1 <= measured['cpu_seconds{mode="user"}'] + measured['cpu_seconds{mode="system"}'] < 2


def test_nothing_heavy_is_imported_before_the_command_runs(pushgate, tmp_path):
    patch = f"""if True:
        import os
        spawn = os.posix_spawn
        def spy(*arguments, **options):
            with open({str(tmp_path / "modules")!r}, "w") as file:
                print(*sorted(sys.modules), file=file)
            return spawn(*arguments, **options)
        os.posix_spawn = spy
    """
    words = ("-q", "--lock", str(tmp_path / "lock"), "--", "true")
    assert pushgate.run(pushgate.patched(patch, *words))[0] == 0
    loaded = (tmp_path / "modules").read_text().split()
    heavy = {"argparse", "asyncio", "json", "logging", "socket", "subprocess", "typing", "urllib"}
    heavy |= {"pushgate.errors", "pushgate.protocol", "pushgate.transport", "prometheus_client"}
    assert heavy.isdisjoint(loaded)


def test_a_run_that_goes_well_imports_nothing_that_only_trouble_needs(pushgate, pushgateway):
    pushgate.env["PYTHONPROFILEIMPORTTIME"] = "1"
    script = 'echo rows 42 >>"$PUSHGATE_METRICS_FILE"'
    _, _, err = pushgate.run(pushgate.argv("--", "sh", "-c", script, gateway=pushgateway.url))
    assert b"pushgate.gateway" in err
    for module in (b"prometheus_client", b"sqlite3", b"hashlib", b" json"):
        assert module not in err
    pushgateway.assert_pushed("rows", 42, job="backup", origin="job")


# --- a push inside the command ----------------------------------------------------------------


def asks_for_a_password(peer):
    while seen := peer.request():
        right = seen.header("authorization") == "Basic bWU6c2VjcmV0"
        peer.send(OK if right else answer("401 Unauthorized"))


@pytest.mark.parametrize(
    ("password", "url", "told"),
    [
        ("secret", "{}", b"passes PUSHGATE_PASSWORD on to its command only where it is file:/path"),
        (None, "me:secret@{}", b"set PUSHGATE_PASSWORD or PUSHGATE_TOKEN to file:/path"),
        ("file:{}", "{}", b""),
    ],
)
def test_a_push_inside_a_wrapped_script_works_or_says_what_to_do(
    pushgate, tmp_path, password, url, told
):
    (tmp_path / "password").write_text("secret\n")
    with FaultServer(asks_for_a_password) as server:
        url = url.format(server.url.removeprefix("http://"))
        pushgate.env |= {"PUSHGATE_GATEWAY": url, "PUSHGATE_OUTBOX": "off"}
        if password is not None:
            pushgate.env["PUSHGATE_USERNAME"] = "me"
            pushgate.env["PUSHGATE_PASSWORD"] = password.format(tmp_path / "password")
        inner = f"echo 'rows 1' | {sys.executable} -m pushgate push --job inner"
        code, _, err = pushgate.run(pushgate.argv("--", "sh", "-c", inner))
        pushed = [seen.target for seen in server.requests if b"rows" in seen.body]
    assert (code == 0, told in err) == (not told, True), err
    assert b"the push for" not in err  # our own outcome arrived
    assert pushed == (["/metrics/job/inner"] if not told or password is None else [])
