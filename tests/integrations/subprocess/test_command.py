"""The command as without pushgate: exit status, arguments, environment, resources, time limits."""

import importlib
import os
import signal
import sys
from pathlib import Path

import pytest

from support.faults import OK, FaultServer, answer

DEADLINE = 30.0


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


def test_an_empty_directory_in_path_is_the_current_one(pushgate, tmp_path):
    executable(tmp_path / "tool", "#!/bin/sh\nexit 7\n")
    pushgate.env["PATH"] = "/no/such/place:"
    assert pushgate.run(pushgate.wrap("tool"), cwd=tmp_path)[0] == 7


def test_without_path_the_standard_places_are_searched(pushgate):
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


@pytest.mark.parametrize("name", ["PUSHGATE_PASSWORD", "PUSHGATE_TOKEN"])
def test_a_secret_reaches_the_gateway_and_not_the_command(pushgate, recorder, name):
    pushgate.env[name] = "s3cret"
    user = ["--username", "robot"] if name == "PUSHGATE_PASSWORD" else []
    argv = pushgate.argv("-v", *user, "--", "env", gateway=recorder.url)
    code, out, err = pushgate.run(argv)
    assert (code, b"s3cret" in out + err) == (0, False)
    assert recorder.next().header("Authorization") is not None


# --- the time limit ---------------------------------------------------------------------------

# Ends at TERM with code 3, and says once its trap is set that the time may come.
TRAPPING = "trap 'exit 3' TERM; while :; do sleep 60 & wait; done"


@pytest.mark.parametrize(
    ("options", "script", "code", "by_signal"),
    [
        ([], "exec sleep 60", 124, signal.SIGTERM),
        ([], TRAPPING, 124, 0),
        (["--preserve-status"], TRAPPING, 3, 0),
        (["--preserve-status"], "exec sleep 60", 143, signal.SIGTERM),
        (["--signal", "USR1"], "exec sleep 60", 124, signal.SIGUSR1),
        (["--signal", "SIGKILL"], "exec sleep 60", 137, signal.SIGKILL),
        (["--kill-after", "0.05"], "trap '' TERM; exec sleep 60", 137, signal.SIGKILL),
    ],
)
def test_the_time_limit(pushgate, options, script, code, by_signal):
    limit = "0.5s" if "trap" in script else "0.05s"  # the shell's, to set its traps
    exit_code, measured = pushgate.measure("--timeout", limit, *options, "--", "sh", "-c", script)
    assert exit_code == measured["exit_code"] == code
    assert (measured["timed_out"], measured["signal"]) == (1, by_signal)
    assert measured["run_success"] == 0


def test_an_end_within_the_time_limit_is_not_a_timeout(pushgate):
    code, measured = pushgate.measure("--timeout", "60", "--", "sh", "-c", "exit 3")
    assert (code, measured["timed_out"]) == (3, 0)


def test_a_stopped_command_is_continued_to_take_the_signal(pushgate):
    argv = pushgate.sh("kill -STOP $$", timeout=0.3, kill_after=DEADLINE)
    assert pushgate.run(argv)[0] == 124


@pytest.mark.parametrize("ignoring", ["", "trap '' TERM; "])
def test_the_time_limit_reaches_the_whole_group(pushgate, ignoring):
    script = f"{ignoring}sleep 60 & wait"
    # stdout, which `run` reads to its end, would stay open for a minute.
    code, _, _ = pushgate.run(pushgate.sh(script, timeout=0.4, kill_after=0.05))
    assert code == (137 if ignoring else 124)


def test_other_codes_may_count_as_success(run, value):
    assert run("--success-codes", "0, 3", "--", "sh", "-c", "exit 3")[0] == 3
    assert (value("last_run_success"), value("last_exit_code")) == (1, 3)
    assert run("--success-codes", "3", "true")[0] == 0
    assert value("last_run_success") == 0


def test_a_run_that_is_too_short_has_failed(run, value):
    assert run("--min-duration", "1m", "true")[0] == 0
    assert value("last_run_success") == 0


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
    burn = "import time\nwhile time.process_time() < 0.2: pass"
    script = f'{sys.executable} -c "$0"; :'
    _, measured = pushgate.measure("--", "sh", "-c", script, burn)
    assert 0.2 <= measured['cpu_seconds{mode="user"}'] + measured['cpu_seconds{mode="system"}'] < 2


def test_nothing_heavy_is_imported_before_the_command_runs(pushgate, tmp_path):
    program = f"""if True:
        import os, sys
        spawn = os.posix_spawn
        def spy(*arguments, **options):
            with open({str(tmp_path / "modules")!r}, "w") as file:
                print(*sorted(sys.modules), file=file)
            return spawn(*arguments, **options)
        os.posix_spawn = spy
        from pushgate.cli import main
        main()
    """
    words = pushgate.wrap("true", lock=tmp_path / "lock")
    assert pushgate.run([sys.executable, "-c", program, *words[3:]])[0] == 0
    loaded = (tmp_path / "modules").read_text().split()
    heavy = {"argparse", "asyncio", "json", "logging", "socket", "subprocess", "typing", "urllib"}
    heavy |= {"pushgate.errors", "pushgate.protocol", "pushgate.transport", "prometheus_client"}
    assert heavy.isdisjoint(loaded)


@pytest.mark.parametrize("threads", [True, False])
def test_where_pidfds_are_forbidden_a_thread_waits_instead(pushgate, threads):
    program = f"""if True:
        import _thread, os, sys
        def forbidden(*_):
            raise PermissionError(1, "seccomp")
        def none(*_):
            raise RuntimeError("can't start new thread")
        os.pidfd_open = forbidden
        if not {threads}:
            _thread.start_new_thread = none
        from pushgate.cli import main
        sys.exit(main(sys.argv[1:]))
    """
    words = pushgate.wrap("sh", "-c", "exit 3")[3:]
    assert pushgate.run([sys.executable, "-c", program, *words])[0] == 3


# --- a push inside the command ----------------------------------------------------------------


def asks_for_a_password(peer):
    while seen := peer.request():
        right = seen.header("authorization") == "Basic bWU6c2VjcmV0"
        peer.send(OK if right else answer("401 Unauthorized"))


@pytest.mark.parametrize(
    ("password", "url", "told"),
    [
        ("secret", "{}", b"set PUSHGATE_PASSWORD to file:/path"),
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
