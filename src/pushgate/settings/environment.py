"""The variables of our settings, the environment of a wrapped command, and the state directory.

Imports only what is there at Python's start, since a wrapper needs it before it starts the command.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ("CONFIG", "VARIABLES", "child_environment", "state_directory")

CONFIG = "PUSHGATE_CONFIG"
"""The variable that names the configuration file."""

VARIABLES: Mapping[str, tuple[str, ...]] = {
    "gateway": (
        "PUSHGATE_GATEWAY",
        # In use by other tools, in no agreed order.
        "PUSHGATEWAY_URL",
        "PROMETHEUS_PUSHGATEWAY_URL",
        "PROMETHEUS_PUSHGATEWAY",
    ),
    "username": ("PUSHGATE_USERNAME", "PUSHGATEWAY_USERNAME"),
    "password": ("PUSHGATE_PASSWORD", "PUSHGATEWAY_PASSWORD"),
    "token": ("PUSHGATE_TOKEN",),
    "cafile": ("PUSHGATE_CAFILE",),
    "certfile": ("PUSHGATE_CERTFILE",),
    "keyfile": ("PUSHGATE_KEYFILE",),
    "insecure_skip_verify": ("PUSHGATE_INSECURE_SKIP_VERIFY",),
    "headers": ("PUSHGATE_HEADERS",),
    "redirects": ("PUSHGATE_REDIRECTS",),
    "timeout": ("PUSHGATE_TIMEOUT",),
    "compression": ("PUSHGATE_COMPRESSION",),
    "retries": ("PUSHGATE_RETRIES",),
    "outbox": ("PUSHGATE_OUTBOX",),
    "utf8_names": ("PUSHGATE_UTF8_NAMES",),
    "protobuf": ("PUSHGATE_PROTOBUF",),
}
"""The variables of each setting, the one that counts most first."""


def child_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """``environ`` for a wrapped command: without passwords, tokens, headers and URL credentials.

    ``file:/path`` stays: it is no secret, and a push inside the command may need it.
    """
    kept = dict(environ)
    for name in (*VARIABLES["password"], *VARIABLES["token"], *VARIABLES["headers"]):
        if not kept.get(name, "").startswith("file:"):
            kept.pop(name, None)
    for name in VARIABLES["gateway"]:
        if name in kept:
            kept[name] = _without_userinfo(kept[name])
    return kept


def state_directory(environ: Mapping[str, str]) -> str:
    """The directory for what must outlive a process, such as the outbox. It is not made.

    Raises FileNotFoundError for a user without a home directory.
    https://specifications.freedesktop.org/basedir-spec/: a relative path is to be ignored.
    """
    import errno
    import os

    if chosen := environ.get("PUSHGATE_STATE_DIR"):
        return chosen
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
