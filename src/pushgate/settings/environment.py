"""What a wrapped command gets of our environment, and where the state directory is.

Imports only what is there at Python's start, since a wrapper needs it before it starts the command.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

CONFIG = "PUSHGATE_CONFIG"


def child_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """``environ`` for a wrapped command: without the secrets that are ours.

    These are PUSHGATE_PASSWORD, _TOKEN and _HEADERS, and the user in the URL of PUSHGATE_GATEWAY.
    ``file:/path`` stays: it is no secret, and a push inside the command may need it. All else stays
    as it is, also variables that we read and other tools do as well, such as PUSHGATEWAY_PASSWORD.
    """
    kept = dict(environ)
    for name in ("PUSHGATE_PASSWORD", "PUSHGATE_TOKEN", "PUSHGATE_HEADERS"):
        if not kept.get(name, "").startswith("file:"):
            kept.pop(name, None)
    if "PUSHGATE_GATEWAY" in kept:
        kept["PUSHGATE_GATEWAY"] = _without_userinfo(kept["PUSHGATE_GATEWAY"])
    return kept


def is_wrapped(environ: Mapping[str, str]) -> bool:
    """Whether ``environ`` is that of a wrapped command, which :func:`child_environment` made."""
    return "PUSHGATE_METRICS_FILE" in environ


def state_directory(environ: Mapping[str, str]) -> str:
    """The directory for what must outlive a process, such as the outbox. It is not made.

    A systemd unit with ``StateDirectory=`` has it there, in a folder beside what the service keeps:
    https://www.freedesktop.org/software/systemd/man/systemd.exec.html#RuntimeDirectory=

    Raises FileNotFoundError for a user without a home directory.
    https://specifications.freedesktop.org/basedir-spec/: a relative path is to be ignored.
    """
    import errno
    import os

    if chosen := environ.get("PUSHGATE_STATE_DIR"):
        return os.path.expanduser(chosen)  # in a crontab or a unit, no shell does
    base = environ.get("STATE_DIRECTORY", "").split(":")[0]  # of the unit, which may have several
    if not os.path.isabs(base):
        base = environ.get("XDG_STATE_HOME", "")
    if not os.path.isabs(base):
        home = environ.get("HOME") or os.path.expanduser("~")
        if not os.path.isdir(home):  # as root we would make it, on a disk not yet mounted
            raise FileNotFoundError(errno.ENOENT, "this user has none")
        base = os.path.join(home, ".local", "state")
    return os.path.join(base, "pushgate")


def _without_userinfo(url: str) -> str:
    # All up to the last '@': a password with an unescaped '/' or '@' must not get through, and
    # a gateway's address, unlike a request's URL, has no '@' elsewhere.
    userinfo, at, rest = url.rpartition("@")
    if not at:
        return url
    scheme, separator, _ = userinfo.partition("://")
    return f"{scheme}://{rest}" if separator and scheme.lower() in ("http", "https") else rest
