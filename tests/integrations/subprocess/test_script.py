"""`pushgate start` and `pushgate finish`: a run of a script that can't be wrapped."""

import os
import shlex
import signal
import time

import pytest

DEADLINE = 50.0
NOBODY = "http://127.0.0.1:1"


def test_a_start_and_a_finish_are_a_run(call, value):
    before = time.time()
    assert call("start", "--expect-every", "24h") == (0, [])
    assert before <= value("last_start_timestamp_seconds") <= time.time()
    assert value("expected_interval_seconds") == 86400
    assert value("last_vanished_timestamp_seconds") is None
    assert value("last_completion_timestamp_seconds") is None
    assert call("finish", "--exit-code", "0") == (0, [])
    assert 0 < value("last_duration_seconds") <= time.time() - before
    assert value("last_success_timestamp_seconds") == value("last_completion_timestamp_seconds")
    assert value("last_run_success") == 1
    succeeded = value("last_success_timestamp_seconds")

    call("start")
    assert call("finish", "--exit-code", "3") == (0, [])
    assert value("last_success_timestamp_seconds") == succeeded
    assert value("last_failure_timestamp_seconds") > succeeded
    assert value("last_exit_code") == 3


def test_a_finish_is_not_before_its_start_where_the_clock_was_set_back(call, value, monkeypatch):
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 3600)
    call("start")
    monkeypatch.setattr(time, "time", lambda: now)
    call("finish", "--exit-code", "0")
    assert value("last_completion_timestamp_seconds") == value("last_start_timestamp_seconds")
    assert value("last_duration_seconds") == 0


@pytest.mark.parametrize(
    ("options", "signal", "success"),
    [
        (["--exit-code", "143"], 15, 0),
        (["--exit-code", "128"], 0, 0),
        (["--exit-code", "255"], 0, 0),
        (["--exit-code", "3", "--success-codes", "0,3"], 0, 1),
    ],
)
def test_an_exit_code_of_a_shell_may_be_a_signal_or_a_success(
    call, value, options, signal, success
):
    call("finish", *options)
    assert value("last_exit_code") == int(options[1])
    assert (value("last_signal"), value("last_run_success")) == (signal, success)


def test_a_finish_without_a_start_leaves_out_the_duration(call, value):
    code, (line,) = call("finish", "--exit-code", "0")
    assert code == 0
    assert "no start" in line
    assert value("last_run_success") == 1
    assert value("last_duration_seconds") is None


@pytest.mark.parametrize("shell", ["bash", "sh"])
def test_a_script_that_is_ended_by_a_signal_has_failed(shell, pushgate, pushgateway, value):
    _, text, _ = pushgate.run(pushgate.argv("--help", command="finish"))
    traps = "\n".join(line for line in text.decode().splitlines() if line.startswith("  trap "))
    finish = shlex.join(pushgate.argv(command="finish", gateway=pushgateway.url))
    traps = traps.replace("pushgate finish --job backup", finish)
    script = pushgate.ready([shell, "-ec", f"{traps}\nsh -c 'echo ready; exec sleep 60'"])
    os.killpg(script.pid, signal.SIGTERM)
    assert script.wait(DEADLINE) == 143
    assert (value("last_exit_code"), value("last_run_success")) == (143, 0)


def test_a_run_that_never_finished_has_vanished(call, value):
    call("start")
    code, (line,) = call("start")
    assert code == 0
    assert "vanished" in line
    noticed = value("last_vanished_timestamp_seconds")
    assert noticed == value("last_start_timestamp_seconds")
    assert call("finish", "--exit-code", "0") == (0, [])
    assert call("start") == (0, [])
    assert value("last_vanished_timestamp_seconds") == noticed


@pytest.mark.parametrize(
    ("gateway", "told"),
    [
        (None, "no gateway is configured"),
        (NOBODY, "; it waits in the outbox and will be delivered later"),
    ],
)
def test_a_script_goes_on_whatever_is_wrong_with_the_gateway(call, value, gateway, told):
    for words in (["start"], ["finish", "--exit-code", "3"]):
        code, (line,) = call(*words, "--retries", "0", gateway=gateway)
        assert (code, told in line) == (0, True)
    call("start")
    call("finish", "--exit-code", "0")
    assert value("last_vanished_timestamp_seconds") is None


@pytest.mark.parametrize(
    "words",
    [
        ["finish"],
        ["finish", "--exit-code", "256"],
        ["start", "--expect-every", "daily"],
        ["start", "--group", "nonsense"],
        ["start", "--group", "a-b=c"],
    ],
)
def test_wrong_options_are_said_and_do_not_end_a_script(call, pushgateway, words):
    code, (line,) = call(*words)
    assert code == 0
    assert line.startswith("pushgate: ")
    assert pushgateway.groups() == []


def test_a_run_of_a_script_and_a_wrapped_one_share_what_they_know(call, pushgate, pushgateway):
    call("start")
    _, _, err = pushgate.run(pushgate.argv("true", gateway=pushgateway.url))
    assert b"vanished" in err
    pushgateway.assert_pushed("batch_job_last_vanished_timestamp_seconds", job="backup")
