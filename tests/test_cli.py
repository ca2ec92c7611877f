"""The commands as a person and as a script meet them: outcomes, exit codes, one line on stderr."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time

import pytest

from pushgate import Gateway, GroupingKey, JobRun, gauge, start_families
from pushgate.cli import COMMANDS, main

TEXT = """\
# HELP rows_total Rows loaded.
# TYPE rows_total counter
rows_total{table="a"} 3
rows_total{table="b"} 4
plain{x="1"} 1
plain{x="2"} 2
# TYPE took summary
took{quantile="0.5"} 0.2
took_sum 5
took_count 2
# TYPE size histogram
size_bucket{le="1"} 1
size_bucket{le="+Inf"} 2
size_sum 3
size_count 2
"""


def pushgate(*arguments, **options):
    """A command as a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "pushgate", *arguments], stderr=subprocess.PIPE, **options
    )


def types(url):
    return {f.name: f.type for group in Gateway(url).groups() for f in group.families}


def test_pushed_text_arrives_as_it_is_on_every_gateway(cli, gateway_url):
    assert cli("push", "--job", "j", "--gateway", gateway_url, stdin=TEXT) == (0, "", [])
    assert types(gateway_url) == {
        "rows_total": "counter",
        "plain": "gauge",
        "took": "summary",
        "size": "histogram",
    }


def test_a_sample_without_a_type_is_a_gauge_and_one_that_says_untyped_is_not(cli, gateway_url):
    """As in $PUSHGATE_METRICS_FILE: a gateway takes one type for a name from all groups."""
    text = '# HELP rows_loaded Rows.\nrows_loaded{table="a"} 42\n# TYPE odd untyped\nodd 1\n'
    text += "rows_loaded 1"
    Gateway(gateway_url).push("loader", gauge("rows_loaded", "Rows.", 1))
    assert cli("push", "--job", "j", "--gateway", gateway_url, stdin=text) == (0, "", [])
    assert types(gateway_url) == {"rows_loaded": "gauge", "odd": "untyped"}
    (group,) = [g for g in Gateway(gateway_url).groups() if g.labels["job"] == "j"]
    assert group.value("rows_loaded", table="a") == 42
    assert len(group.family("rows_loaded").samples) == 2


@pytest.mark.parametrize("keep", [[], ["--keep"]])
def test_a_metric_that_another_group_has_with_another_type_says_what_to_write(
    cli, gateway_url, keep, monkeypatch, tmp_path
):
    monkeypatch.setenv("PUSHGATE_OUTBOX", str(tmp_path / "outbox"))
    push = ("push", "--gateway", gateway_url, *keep)
    cli(*push, "--job", "a", stdin="# TYPE rows counter\nrows 1")
    code, _, (error,) = cli(*push, "--job", "b", stdin="rows 2")
    assert code == 1
    assert error.endswith(
        "; rows is a counter in {job=\"a\"}: put the line '# TYPE rows counter' before the sample,"
        " or rename the metric"
    )
    assert cli(*push, "--job", "b", stdin="# TYPE rows counter\nrows 2")[0] == 0


def test_files_from_windows_and_without_a_last_newline_are_pushed(cli, pushgateway, tmp_path):
    file = tmp_path / "metrics.prom"
    file.write_bytes(b"\xef\xbb\xbf" + TEXT.replace("\n", "\r\n").rstrip().encode())
    push = ("push", str(file), "--job", "j", "--gateway", pushgateway.url)
    assert cli(*push, "--group", "k=a/b=c") == (0, "", [])
    pushgateway.assert_pushed("size_count", 2, job="j", k="a/b=c")


def test_a_push_replaces_the_group_and_add_does_not(cli, pushgateway, monkeypatch):
    monkeypatch.setenv("PUSHGATEWAY_URL", pushgateway.url)
    for stdin, options in (("a 1", []), ("b 1", ["--add"])):
        assert cli("push", "--job", "j", *options, stdin=stdin)[0] == 0
    pushgateway.assert_pushed("a", 1)
    assert cli("push", "--job", "j", "-", stdin="c 1")[0] == 0
    pushgateway.assert_not_pushed("a")
    pushgateway.assert_pushed("c", 1)


def test_an_empty_push_empties_the_group_only_when_asked_to(cli, pushgateway):
    push = ("push", "--job", "j", "--gateway", pushgateway.url)
    assert cli(*push, stdin="a 1")[0] == 0
    code, _, errors = cli(*push, stdin="# nothing\n")
    assert (code, len(errors)) == (1, 1)
    assert "--clear" in errors[0]
    assert cli(*push, "--add", stdin="")[0] == 0
    pushgateway.assert_pushed("a", 1)
    assert cli(*push, "--clear", stdin="")[0] == 0
    pushgateway.assert_not_pushed("a")


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("a 1\nb x\n", 2, '"x"'),
        ("# TYPE a unknown\na 1\n", 1, '"unknown"'),
        ("b 1\na 1\nb{x=''} 2\n", 3, "label name or value"),
        ('a{x="1",y="2"} 1\nb 1\na{y="2",x="1"} 2\nc 1\n', 3, "twice"),
        ("a 1\nb 1 1700000000\n", 2, "timestamp"),
        ('a 1\n\nb{x="1",job="mine"} 1\n', 3, "'job'"),
        ('a 1\nb{k="1"} 1\n', 2, "'k'"),
        ("a 1\npush_time_seconds 1\n", 2, "rename"),
        ("# TYPE a summary\na_sum 1\na_count 1\n# HELP z \udcff\n# TYPE z gauge\nz 1", 6, "help"),
    ],
)
def test_what_a_gateway_would_refuse_or_alter_is_refused_with_its_line(
    cli, pushgateway, text, line, words
):
    stdin = text.encode("utf-8", "surrogateescape")
    code, out, errors = cli(
        "push", "--job", "j", "--group", "k=v", "--gateway", pushgateway.url, stdin=stdin
    )
    assert (code, out, len(errors)) == (1, "", 1)
    assert errors[0].startswith(f"pushgate: stdin, line {line}: ")
    assert words in errors[0]
    assert pushgateway.groups() == []


def test_show_is_readable_and_can_be_narrowed_down(cli, pushgateway):
    gateway = ("--gateway", pushgateway.url)
    cli("push", "--job", "load", "--group", "k=1", *gateway, stdin=TEXT)
    cli("push", "--job", "load", "--group", "k=2", *gateway, stdin="done_timestamp_seconds 1.7e9")
    due = f"due_timestamp_seconds {time.time() + 200_000}"
    cli("push", "--job", "load", "--group", "k=2", "--add", *gateway, stdin=due)
    cli("push", "--job", "other", *gateway, stdin="a 1")

    code, out, errors = cli("show", *gateway)
    assert (code, errors) == (0, [])
    assert [line.split("  ")[0] for line in out.splitlines() if line.startswith("{")] == [
        '{job="load",k="1"}',
        '{job="load",k="2"}',
        '{job="other"}',
    ]
    assert '  rows_total{table="a"}  3' in out.splitlines()
    assert "size_count" in out
    assert "size_bucket" not in out
    assert "done_timestamp_seconds  2023-11-14 " in out.replace("15 ", "14 ")
    assert "(in 2d)" in next(line for line in out.splitlines() if "  due_timestamp" in line)
    _, narrow, _ = cli("show", "load", "k=1", *gateway)
    assert "rows_total" in narrow
    assert "done_timestamp_seconds" not in narrow


def test_show_as_json_has_everything_and_is_json(cli, pushgateway):
    gateway = ("--gateway", pushgateway.url)
    cli("push", "--job", "j", *gateway, stdin=TEXT + "bad NaN\nlow -Inf\nhigh +Inf\n")
    code, out, _ = cli("show", "--json", *gateway)
    (group,) = json.loads(out, parse_constant=pytest.fail)
    families = {family["name"]: family for family in group["families"]}
    assert code == 0
    assert group["labels"]["job"] == "j"
    assert group["last_push_successful"] is True
    assert families["rows_total"]["type"] == "counter"
    assert families["rows_total"]["help"] == "Rows loaded."
    buckets = [s for s in families["size"]["samples"] if s["name"] == "size_bucket"]
    assert {s["labels"]["le"]: s["value"] for s in buckets} == {"1": 1, "+Inf": 2}
    values = [families[name]["samples"][0]["value"] for name in ("bad", "low", "high")]
    assert values == ["NaN", "-Inf", "+Inf"]
    assert cli("show", "--json", "none", *gateway)[1].split() == ["[]"]


def test_what_others_pushed_cannot_steer_the_terminal(cli, pushgateway):
    Gateway(pushgateway.url).send("PUT", GroupingKey("\x1b[2J"), b'a{x="\x1b]0;hi\x07\\n"} 1\n')
    _, out, _ = cli("show", "--gateway", pushgateway.url)
    assert "\x1b" not in out
    assert "\x07" not in out
    assert len(out.splitlines()) == 2


def test_delete_removes_this_group_alone(cli, pushgateway):
    gateway = ("--gateway", pushgateway.url)
    cli("push", "--job", "j", *gateway, stdin="a 1")
    cli("push", "--job", "j", "--group", "k=v", *gateway, stdin="a 2")
    assert cli("delete", "--job", "j", "--group", "k=v", *gateway) == (0, "", [])
    assert [group.labels.get("k") for group in pushgateway.groups()] == [None]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["shwo"], "did you mean 'show'"),
        (["--job"], "--job"),
        (["push"], "--job"),
        (["push", "--job", "j", "--jbo", "x"], "--jbo"),
        (["push", "--job", "j", "--gate", "h"], "there is no option --gate"),  # no abbreviations
        (["push", "--job", "j", "--passwrd", "x"], "set PUSHGATE_PASSWORD to it, or to file:/path"),
        (["rules", "--label=--"], "--label needs a value"),
        (["gateway", "--port", "9"], "no option --port; see 'pushgate gateway --help'"),
        (["--gateway", "h", "push"], "write it after the command"),
        (["push", "--job", ""], "empty"),
        (["push", "--job", "j", "--group", "x"], "LABEL=VALUE"),
        (["push", "--job", "j", "--group", "a=1", "--group", "a=2"], "twice"),
        (["push", "--job", "j", "--group", "job=x"], "'job'"),
        (["push", "--job", "j", "--add", "--clear"], "--clear"),
        (["push", "--job", "j"], "no gateway is configured"),
        (["push", "--job", "j", "--gateway", "h", "--timeout", "1w"], "--timeout: '1w'"),
        (["delete"], "--job"),
        (["show", "--gateway", "https://h", "--cafile", "/nope"], "/nope"),
        (["gateway", "--listen", "host:x"], "127.0.0.1:9091"),
        (["gateway", "--listen", "65536"], "65536"),
    ],
)
def test_wrong_usage_is_one_line_and_2(cli, arguments, words):
    code, out, errors = cli(*arguments)
    assert (code, out, len(errors)) == (2, "", 1)
    assert errors[0].startswith("pushgate: ")
    assert words in errors[0]


@pytest.mark.parametrize("command", [("push", "--job"), ("show",), ("delete", "--job")])
def test_what_was_not_delivered_is_one_line_and_1(cli, monkeypatch, httpserver, command):
    httpserver.expect_request("/metrics/job/j").respond_with_data("out\nof order", status=400)
    httpserver.expect_request("/api/v1/metrics").respond_with_data("out of order", status=400)
    url = f"http://me:hunter2@{httpserver.host}:{httpserver.port}"
    monkeypatch.setenv("PUSHGATE_GATEWAY", url)
    code, out, errors = cli(*command, "j", stdin="a 1")
    assert (code, out, len(errors)) == (1, "", 1)
    assert "out of order" in errors[0]
    assert "hunter2" not in errors[0]


@pytest.mark.parametrize("command", [("push", "--job"), ("show",), ("pause", "--for=1h")])
def test_a_gateway_that_lets_nobody_in_is_named_with_the_next_step(cli, httpserver, command):
    httpserver.expect_request(re.compile(".*")).respond_with_data("who?", status=401)
    url = f"http://{httpserver.host}:{httpserver.port}"
    code, _, (error,) = cli(*command, "j", "--gateway", url, stdin="a 1")
    assert code == 1
    assert url in error
    assert error.endswith("; see 'pushgate doctor'")


def test_a_file_that_is_not_there_is_one_line_and_1(cli):
    code, _, errors = cli("push", "/nope", "--job", "j", "--gateway", "h")
    assert (code, errors) == (1, ["pushgate: /nope: No such file or directory"])


def test_help_fits_a_screen_and_each_command_has_its_own(cli):
    code, out, errors = cli("--help")
    assert (code, errors) == (0, [])
    assert len(out.splitlines()) <= 24
    assert max(map(len, out.splitlines())) <= 80
    assert cli()[1] == cli("help")[1] == out
    assert cli("-V") == cli("--version")
    assert cli("-V")[1].startswith("pushgate 0.")


@pytest.mark.parametrize("command", COMMANDS)
def test_each_commands_help_fits_the_screen_and_has_each_option_once(cli, command):
    code, out, errors = cli("help", command)
    assert (code, errors) == (0, [])
    assert cli(command, "--help")[1] == out
    assert out.startswith(f"usage: pushgate {command}")
    assert max(map(len, out.splitlines())) <= 80
    options = [line.split()[0] for line in out.splitlines() if line.startswith("  -")]
    assert len(options) == len(set(options))
    if command != "run":  # which has a test of its own
        _, _, (line,) = cli(command, "--hepl")
        assert line.startswith("pushgate: there is no option --hepl; did you mean '--help'?")


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        (["st"], {"start", "status"}),
        (["status", "--wa"], {"--watch"}),
        (["completion", ""], {"bash", "zsh", "fish"}),
        (["run", "--job", "x", "--", "cat", "scr"], {"script"}),  # a file
    ],
)
def test_bash_completes_commands_and_options(cli, tmp_path, typed, offered):
    (tmp_path / "script").write_text(cli("completion", "bash")[1])
    words = shlex.join(["pushgate", *typed])
    code = f"""
        source {tmp_path}/script; COMP_WORDS=({words}); COMP_CWORD={len(typed)}
        _shtab_pushgate pushgate {shlex.quote(typed[-1])}; echo "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(
        ["bash", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert set(done.stdout.split()) >= offered


@pytest.mark.parametrize(("shell", "line"), [("zsh", "#compdef pushgate"), ("fish", "complete -c")])
def test_other_shells_have_a_script_with_all_commands(cli, shell, line):
    code, out, errors = cli("completion", shell)
    assert (code, errors) == (0, [])
    assert line in out
    assert all(command in out for command in COMMANDS)


def test_completion_without_its_extra_says_how_to_install_it(cli, monkeypatch):
    monkeypatch.setitem(sys.modules, "shtab", None)
    expected = "pushgate: completion needs shtab: pip install 'pushgate[cli]'"
    assert cli("completion", "bash") == (1, "", [expected])


def test_the_page_of_the_manual_has_each_command_and_the_gateways_options_once(cli):
    code, page, errors = cli("man")
    assert (code, errors) == (0, [])
    assert [line for line in page.splitlines() if line.startswith(".SH")] == [
        ".SH NAME",
        ".SH DESCRIPTION",
        *(f".SH {command.upper()}" for command in COMMANDS),
        ".SH GATEWAY OPTIONS",
    ]
    assert page.count("authorities to trust") == 1
    if shutil.which("groff"):
        command = ["groff", "-man", "-Tutf8"]
        done = subprocess.run(command, input=page, capture_output=True, text=True, check=True)
        assert done.stderr == ""


@pytest.mark.parametrize(
    "arguments", [["--help"], ["-V"], ["push", "--help"], ["show"], ["show", "--json"]]
)
def test_a_reader_that_goes_away_early_makes_no_noise(pushgateway, arguments):
    Gateway(pushgateway.url).send("PUT", GroupingKey("j"), b"a 1\n")
    read, write = os.pipe()
    os.close(read)
    process = pushgate(
        *arguments, stdout=write, env={**os.environ, "PUSHGATE_GATEWAY": pushgateway.url}
    )
    os.close(write)
    assert process.communicate(timeout=60)[1] == b""
    assert process.returncode == 128 + signal.SIGPIPE


@pytest.mark.parametrize(
    "arguments",
    [["--help"], *([command, "--help"] for command in COMMANDS), ["-V"], ["man"], ["rules"],
     ["completion", "fish"], ["dashboard"], ["scrape-config"], ["status"], ["groups"], ["show"],
     ["doctor"], ["flush"], ["flush", "--list"], ["prune", "--older-than", "1d"], ["delete", "x"],
     ["pause", "j", "--for", "1h", "--json"]],
    ids=" ".join,
)  # fmt: skip
def test_a_closed_stdout_is_no_error(pushgateway, monkeypatch, arguments):
    run = JobRun(GroupingKey("j"), time.time())
    Gateway(pushgateway.url).pushadd(run.key, start_families(run))
    monkeypatch.setenv("PUSHGATE_GATEWAY", pushgateway.url)
    monkeypatch.setattr("sys.stdout", None)
    assert main(arguments) == 0


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["push", "--job", "j"], 0),
        (["push", "--job", "j", "--retries", "0", "--gateway", "127.0.0.1:1"], 1),
        (["start", "--job", "j", "--retries", "0", "--gateway", "127.0.0.1:1"], 0),
        (["status"], 0),
        (["status", "nobody"], 3),
        (["doctor", "--gateway", "127.0.0.1:1"], 1),
        (["flush"], 0),
        (["prune", "--older-than", "1d"], 0),
        (["delete", "nobody"], 0),
    ],
)
def test_quiet_is_no_line_at_all_in_every_command(cli, pushgateway, monkeypatch, arguments, code):
    monkeypatch.setenv("PUSHGATE_GATEWAY", pushgateway.url)
    assert cli(*arguments, "-q", stdin="a 1") == (code, "", [])
    assert len(cli(*arguments, "-q", "--nope")[2]) == 1, "but for wrong usage"


def test_verbose_says_what_is_done(cli, pushgateway):
    there = ("--gateway", pushgateway.url, "-v")
    for command, done in (("push", "pushed"), ("delete", "deleted")):
        code, out, errors = cli(command, "--job", "j", *there, stdin="a 1")
        assert (code, out) == (0, "")
        assert errors == [f'pushgate: {done} {{job="j"}} at {pushgateway.url}']


def test_a_full_disk_is_one_line_and_1():
    if not os.path.exists("/dev/full"):
        pytest.skip("this system has no /dev/full")
    with open("/dev/full", "wb") as full:
        process = pushgate("--help", stdout=full)
        errors = process.communicate(timeout=60)[1].splitlines()
    assert process.returncode == 1
    assert errors == [b"pushgate: can't write the output: No space left on device"]


def test_a_terminal_that_is_not_utf8_gets_escapes(pushgateway):
    Gateway(pushgateway.url).send("PUT", GroupingKey("été"), b"a 1\n")
    environ = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    process = pushgate("show", "--gateway", pushgateway.url, stdout=subprocess.PIPE, env=environ)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, b"")
    assert out.startswith(b'{job="\\xe9t\\xe9"}')


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_gateway_serves_until_it_is_asked_to_end(cli, number):
    server = pushgate("gateway", "--listen", "127.0.0.1:0", stdout=subprocess.PIPE)
    try:
        url = server.stdout.readline().decode().split()[2].rstrip(";")
        assert cli("push", "--job", "j", "--gateway", url, stdin="a 1") == (0, "", [])
        assert Gateway(url).groups()[0].value("a") == 1
        code, out, errors = cli("gateway", "--listen", url.removeprefix("http://"))
        assert (code, out, len(errors)) == (1, "", 1)
        assert "another process listens on" in errors[0]
        server.send_signal(number)
        assert server.communicate(timeout=60) == (b"", b"")
        assert server.returncode == 0
    finally:
        server.kill()
        server.communicate()


def test_run_gets_its_arguments_as_they_came_and_pays_for_no_other_command():
    code = """if True:
        import sys, types
        before = set(sys.modules)
        run = sys.modules["pushgate.cli.cmd_run"] = types.ModuleType("pushgate.cli.cmd_run")
        run.main = lambda arguments: print(arguments) or 7
        from pushgate.cli import main
        print(main(["run", "--", "a b", "", "--", "--help"]))
        ours = ("pushgate", "pushgate.cli", "pushgate.cli.cmd_run", "__future__")
        print(*sorted(set(sys.modules) - before - set(ours)))
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["['--', 'a b', '', '--', '--help']", "7", ""]
