"""Without fcntl and its kin, as on Windows: pushes work, and the rest says what it needs."""

import pytest

from support.fresh_process import in_fresh_process


def hide_posix():
    import errno
    import os
    import select
    import signal
    import socket
    import sys

    hidden = ("fcntl", "resource", "pwd", "grp", "posix", "termios", "tty", "pty")
    for name in hidden:
        sys.modules[name] = None  # its import raises ModuleNotFoundError
    for module, names in {
        os: "fork register_at_fork geteuid getuid O_NOFOLLOW O_CLOEXEC O_NONBLOCK fchmod wait4"
        " O_DIRECTORY killpg posix_spawn memfd_create sysconf",
        select: "poll epoll",
        signal: "SIGHUP SIGQUIT SIGKILL SIGUSR1 SIGUSR2 SIGALRM SIGTSTP pthread_sigmask SIGCHLD",
    }.items():
        for name in names.split():
            delattr(module, name)
    os.strerror = lambda _: "Unknown error"
    socket.errorTab = {errno.ECONNREFUSED: "Connection refused."}


def pushes_work():
    import asyncio

    import pushgate
    from pushgate.embedded import EmbeddedGateway

    everything = {}
    exec("from pushgate import *", everything)
    assert set(pushgate.__all__) <= everything.keys()
    with EmbeddedGateway() as server:
        pushgate.push_to_gateway(server.url, "a", pushgate.gauge("x", "", 1))
        settings = pushgate.Settings.load({"gateway": server.url}, {"HOME": "/nowhere"})
        assert settings.to_outbox() is None
        gateway = settings.to_gateway()
        for _ in range(2):
            gateway.push("b", [pushgate.gauge("x", "", 1)])
        assert len(gateway.groups()) == 2
        asyncio.run(pushgate.AsyncGateway(server.url).pushadd("b", [pushgate.gauge("y", "", 1)]))
        sink = pushgate.DirectSink(gateway)
        run = pushgate.JobRun(pushgate.GroupingKey("c"), started_at=1.0)
        sink.started(run)
        sink.finished(run, pushgate.Outcome(pushgate.Status.SUCCESS, 2.0, 1.0))
        assert sink.last_error is None
    with pytest.raises(pushgate.GatewayUnreachableError, match="refused"):
        pushgate.delete_from_gateway(gateway.url, "b")


def the_rest_refuses():
    import pushgate
    import pushgate.cli
    import pushgate_subprocess

    settings = pushgate.Settings(gateway="gateway:1", outbox="C:/outbox")
    for make in (
        lambda: pushgate.Outbox("C:/outbox"),
        settings.to_outbox,
        lambda: pushgate.Relay("a:B", settings=settings),
        lambda: pushgate_subprocess.run(["true"], job="x"),
    ):
        with pytest.raises(pushgate.PushError, match="needs Linux, macOS or another POSIX system"):
            make()
    with pytest.raises(OSError, match="not a POSIX system"):
        pushgate.open_private("file", 0)
    assert pushgate.cli.main(["run", "--job", "x", "--", "true"]) == 125


def without_posix():
    import asyncio  # noqa: F401 - which takes these names where the system is not Windows

    hide_posix()
    pushes_work()
    the_rest_refuses()


def test_without_posix():
    in_fresh_process(without_posix)
