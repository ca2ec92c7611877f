"""Server binaries for tests, from PATH or unpacked from Debian's packages.

TOOLS has their names and versions. Packages come from the mirror in the machine's own apt sources,
through a private apt state, so neither root nor an earlier `apt-get update` is needed, and nothing
on the machine changes. They are unpacked into $PUSHGATE_TEST_CACHE, else <repo>/.cache/servers.

    python -m support.debian --all      (from tests/) fetches everything ahead of the tests
"""

from __future__ import annotations

import argparse
import fcntl
import glob
import itertools
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

CACHE = Path(
    os.environ.get("PUSHGATE_TEST_CACHE") or Path(__file__).parents[2] / ".cache" / "servers"
)
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
STEP_TIMEOUT = 240.0  # seconds, for one apt command


class ToolUnavailableError(RuntimeError):
    """Neither PATH nor Debian's packages gave a binary that fits; the text says why."""


@dataclass(frozen=True)
class Tool:
    suite: str  # of Debian
    packages: tuple[str, ...]  # the binary's, and those of the libraries that a bare machine lacks
    commands: tuple[str, ...]  # names to look for on PATH
    binary: str  # inside the unpacked packages
    minimum: tuple[int, int, int]
    below: tuple[int, int, int] | None = None
    path: tuple[str, ...] = ()  # folders of commands that the binary runs by name
    libraries: tuple[str, ...] = ()  # folders of libraries below the usual one
    places: tuple[str, ...] = ()  # globs for folders of this machine that PATH leaves out
    edits: tuple[tuple[str, str, str], ...] = ()  # (file, old, new), where a prefix is written in
    versioned: str = ""  # a glob for a path with the version in it; else the binary says it
    says: str = "--version"  # the option by which it does

    def fits(self, version: tuple[int, int, int] | None) -> bool:
        return (
            version is not None
            and version >= self.minimum
            and (self.below is None or version < self.below)
        )


_PUSHGATEWAY_COMMANDS = ("pushgateway", "prometheus-pushgateway")
_ERLANG = (
    *("asn1", "base", "crypto", "eldap", "inets", "mnesia", "os-mon", "parsetools", "public-key"),
    *("runtime-tools", "ssl", "syntax-tools", "tools", "xmerl"),
)

TOOLS = {
    "pushgateway-1.5.1": Tool(
        suite="bookworm",
        packages=("prometheus-pushgateway",),
        commands=_PUSHGATEWAY_COMMANDS,
        binary="usr/bin/prometheus-pushgateway",
        minimum=(1, 5, 1),
        below=(1, 5, 2),
    ),
    # Debian's 1.11.0 (trixie) panics while logging a rejected push. sid's binary is static enough
    # to run on bookworm.
    "pushgateway-1.11": Tool(
        suite="sid",
        packages=("prometheus-pushgateway",),
        commands=_PUSHGATEWAY_COMMANDS,
        binary="usr/bin/prometheus-pushgateway",
        minimum=(1, 11, 2),
    ),
    "redis": Tool(
        suite="bookworm",
        packages=(
            *("redis-server", "redis-tools", "libjemalloc2", "liblzf1", "libatomic1", "libssl3"),
            *("libsystemd0", "libgcrypt20", "libgpg-error0", "libcap2", "liblz4-1", "libzstd1"),
        ),
        commands=("redis-server",),
        binary="usr/bin/redis-server",
        minimum=(6, 2, 0),
    ),
    # promtool is beside it, and is looked for there.
    "prometheus": Tool(
        suite="bookworm",
        packages=("prometheus",),
        commands=("prometheus",),
        binary="usr/bin/prometheus",
        minimum=(2, 42, 0),
    ),
    # Answers any request with 200 and a page.
    "node-exporter": Tool(
        suite="bookworm",
        packages=("prometheus-node-exporter",),
        commands=("prometheus-node-exporter", "node_exporter"),
        binary="usr/bin/prometheus-node-exporter",
        minimum=(1, 5, 0),
    ),
    "nginx": Tool(
        suite="bookworm",
        packages=("nginx", "libcrypt1", "libpcre2-8-0", "libssl3", "zlib1g"),
        commands=("nginx",),
        binary="usr/sbin/nginx",
        minimum=(1, 19, 5),
        places=("/usr/sbin",),
        says="-v",
    ),
    "tinyproxy": Tool(
        suite="bookworm",
        packages=("tinyproxy-bin",),
        commands=("tinyproxy",),
        binary="usr/bin/tinyproxy",
        minimum=(1, 11, 0),
        says="-v",
    ),
    "alertmanager": Tool(
        suite="bookworm",
        packages=("prometheus-alertmanager",),
        commands=("alertmanager", "prometheus-alertmanager"),
        binary="usr/bin/prometheus-alertmanager",
        minimum=(0, 24, 0),
    ),
    # Never from PATH: Debian's script there changes to another user, who may not enter the
    # folders of a test.
    "rabbitmq": Tool(
        suite="bookworm",
        packages=(
            *("rabbitmq-server", "libtinfo6", "libsctp1", "libstdc++6", "zlib1g"),
            *(f"erlang-{part}" for part in _ERLANG),
        ),
        commands=(),
        binary="usr/lib/rabbitmq/bin/rabbitmq-server",
        minimum=(3, 10, 0),
        path=("usr/lib/erlang/bin",),
        edits=(("usr/lib/erlang/bin/erl", "=/usr/lib/erlang", '="${progdir%/bin}"'),),
        versioned="usr/lib/rabbitmq/lib/rabbitmq_server-*",
    ),
    "postgresql": Tool(
        suite="bookworm",
        packages=(
            *("postgresql-15", "libpq5", "libgssapi-krb5-2", "libicu72", "libldap-2.5-0"),
            *("libpam0g", "libselinux1", "libssl3", "libstdc++6", "libsystemd0", "libuuid1"),
            *("libxml2", "libxslt1.1", "liblz4-1", "libzstd1", "zlib1g", "libaudit1"),
            *("libcap-ng0", "libcap2", "libcom-err2", "libffi8", "libgcrypt20", "libgmp10"),
            *("libgnutls30", "libgpg-error0", "libhogweed6", "libidn2-0", "libk5crypto3"),
            *("libkeyutils1", "libkrb5-3", "libkrb5support0", "liblzma5", "libnettle8"),
            *("libp11-kit0", "libsasl2-2", "libtasn1-6", "libunistring2"),
        ),
        commands=("postgres",),
        binary="usr/lib/postgresql/15/bin/postgres",
        minimum=(13, 0, 0),
        places=("/usr/lib/postgresql/*/bin",),
    ),
    # The browser without its window. chromium-common has its data.
    "chromium": Tool(
        suite="bookworm",
        packages=(
            *("chromium-headless-shell", "chromium-common", "libasound2", "libasyncns0"),
            *("libatk1.0-0", "libatspi2.0-0", "libblkid1", "libbrotli1", "libbsd0", "libcap2"),
            *("libdav1d6", "libdbus-1-3", "libdouble-conversion3", "libdrm2", "libexpat1"),
            *("libffi8", "libflac12", "libfontconfig1", "libfreetype6", "libgbm1", "libgcrypt20"),
            *("libglib2.0-0", "libgpg-error0", "libgraphite2-3", "libharfbuzz0b"),
            *("libharfbuzz-subset0", "libjpeg62-turbo", "liblcms2-2", "liblz4-1", "liblzma5"),
            *("libmd0", "libminizip1", "libmount1", "libmp3lame0", "libmpg123-0", "libnspr4"),
            *("libnss3", "libogg0", "libopenh264-7", "libopenjp2-7", "libopus0", "libpcre2-8-0"),
            *("libpng16-16", "libpulse0", "libselinux1", "libsndfile1", "libstdc++6"),
            *("libsystemd0", "libudev1", "libuuid1", "libvorbis0a", "libvorbisenc2"),
            *("libwayland-server0", "libx11-6", "libx11-xcb1", "libxau6", "libxcb1"),
            *("libxcb-randr0", "libxcomposite1", "libxdamage1", "libxdmcp6", "libxext6"),
            *("libxfixes3", "libxi6", "libxkbcommon0", "libxnvctrl0", "libxrandr2"),
            *("libxrender1", "libzstd1", "zlib1g"),
        ),
        commands=("chromium-headless-shell", "chromium", "google-chrome"),
        binary="usr/lib/chromium/chromium-headless-shell",
        minimum=(112, 0, 0),
        libraries=("pulseaudio",),
    ),
}

_found: dict[str, Path | ToolUnavailableError] = {}


def find(name: str) -> Path:
    """The binary of TOOLS[name]. Raises ToolUnavailableError; the answer holds for the process."""
    if name not in _found:
        try:
            _found[name] = _on_path(TOOLS[name]) or _cached(name, TOOLS[name])
        except ToolUnavailableError as error:
            _found[name] = error
    found = _found[name]
    if isinstance(found, ToolUnavailableError):
        raise found
    return found


def environment(name: str) -> dict[str, str]:
    """This process's own, and what find(name) needs beside it where it was unpacked."""
    found = dict(os.environ)
    root = CACHE / name
    if find(name).is_relative_to(root):
        found |= _environment(TOOLS[name], root)
    return found


def require(name: str) -> Path:
    """As find; a missing tool skips the test, and fails it where CI is set."""
    try:
        return find(name)
    except ToolUnavailableError as error:
        import pytest  # examples use this module, too, without pytest

        if os.environ.get("CI"):
            pytest.fail(f"{name}: {error}", pytrace=False)
        pytest.skip(f"{name}: {error}")


def _on_path(tool: Tool) -> Path | None:
    folders = [os.environ.get("PATH", os.defpath)]
    for place in tool.places:
        folders += sorted(glob.glob(place), reverse=True)
    for command, folder in itertools.product(tool.commands, folders):
        path = shutil.which(command, path=folder)
        if path and tool.fits(_says(Path(path), tool.says, {})):
            return Path(path)
    return None


def _environment(tool: Tool, root: Path) -> dict[str, str]:
    folders = [str(root / folder) for folder in tool.path]
    # lib may be a link to usr/lib, or not be there.
    libraries = [
        str(found)
        for base, below in itertools.product(("usr/lib", "lib"), ("", *tool.libraries))
        for found in root.glob(f"{base}/*-linux-gnu/{below}")
    ]
    return {
        name: os.pathsep.join([*added, *filter(None, [os.environ.get(name)])])
        for name, added in (("PATH", folders), ("LD_LIBRARY_PATH", libraries))
        if added
    }


def _cached(name: str, tool: Tool) -> Path:
    binary = CACHE / name / tool.binary
    if binary.exists():  # the folder is renamed into place complete
        return binary
    CACHE.mkdir(parents=True, exist_ok=True)
    with _locked(CACHE / ".lock"):
        if binary.exists():  # a concurrent caller was faster
            return binary
        for stale in CACHE.glob("partial-*"):  # of a crashed holder of the lock
            shutil.rmtree(stale)
        partial = Path(tempfile.mkdtemp(prefix="partial-", dir=CACHE))
        try:
            _unpack(tool, partial / "apt", partial / "root")
            version = _version(tool, partial / "root")
            if not tool.fits(version):
                raise ToolUnavailableError(
                    f"{tool.packages[0]} of Debian {tool.suite} is of version {version}"
                )
            (partial / "root").rename(CACHE / name)
        finally:
            shutil.rmtree(partial)
    return binary


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _unpack(tool: Tool, state: Path, root: Path) -> None:
    for folder in ("lists/partial", "cache/archives/partial", "deb"):
        (state / folder).mkdir(parents=True)
    sources = state / "sources.list"
    signed = f"[signed-by={KEYRING}] " if KEYRING.exists() else ""
    sources.write_text(f"deb {signed}{mirror()} {tool.suite} main\n")
    options = {
        "Dir::State": state,
        "Dir::State::lists": state / "lists",
        "Dir::State::status": "/dev/null",
        "Dir::Cache": state / "cache",
        "Dir::Etc::sourcelist": sources,
        "Dir::Etc::sourceparts": "-",
        "Acquire::Languages": "none",
        "Acquire::Retries": "2",
        "Acquire::http::Timeout": "30",
        # As root, apt would download as a user who may not enter this folder.
        "APT::Sandbox::User": "root",
    }
    apt = ["apt-get", "-qq", *(f"-o{key}={value}" for key, value in options.items())]
    _run([*apt, "update"], cwd=state)
    _run([*apt, "download", *tool.packages], cwd=state / "deb")
    for package in (state / "deb").glob("*.deb"):
        _run(["dpkg-deb", "-x", str(package), str(root)], cwd=state)
    for name, old, new in tool.edits:
        text = (root / name).read_text()
        if old not in text:
            raise ToolUnavailableError(f"{name} of {tool.packages[0]} has no {old!r}")
        (root / name).write_text(text.replace(old, new))


def mirror() -> str:
    """The URL of the Debian mirror in the machine's own apt sources."""
    release = dict(
        line.split("=", 1)
        for line in _read(Path("/etc/os-release")).splitlines()
        if line.count("=") == 1
    )
    if release.get("ID") != "debian":
        raise ToolUnavailableError("not on PATH, and packages are only taken on Debian")
    own = {release.get("VERSION_CODENAME"), "stable", "testing", "unstable", "sid"}
    # What `apt-get indextargets` knows is empty until the first update; this is not.
    listing = _run(["apt-get", "update", "--print-uris"], cwd=Path("/"))
    for url, name in re.findall(r"^'(\S+)/dists/([^/']+)/InRelease'", listing, re.MULTILINE):
        if name in own:
            return url
    raise ToolUnavailableError("the machine's apt sources name no Debian mirror")


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def _version(tool: Tool, root: Path) -> tuple[int, int, int] | None:
    if tool.versioned:
        return next((_number(path.name) for path in root.glob(tool.versioned)), None)
    return _says(root / tool.binary, tool.says, _environment(tool, root))


def _says(binary: Path, option: str, environment: Mapping[str, str]) -> tuple[int, int, int] | None:
    try:
        return _number(_run([str(binary), option], cwd=binary.parent, environment=environment))
    except ToolUnavailableError:
        return None


def _number(text: str) -> tuple[int, int, int] | None:
    match = re.search(r"(?<![\d.])(\d+)\.(\d+)(?:\.(\d+))?", text)
    return (int(match[1]), int(match[2]), int(match[3] or 0)) if match else None


def _run(
    command: list[str], cwd: Path, environment: Mapping[str, str] = MappingProxyType({})
) -> str:
    try:
        done = subprocess.run(
            command,
            cwd=cwd,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=STEP_TIMEOUT,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ToolUnavailableError(f"{command[0]}: {error}") from error
    if done.returncode != 0:
        raise ToolUnavailableError(f"{command[0]} failed: {done.stderr.strip()[-500:]}")
    return done.stdout + done.stderr


def main() -> None:
    parser = argparse.ArgumentParser(description="Fetch server binaries for tests.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(TOOLS))
    parser.add_argument("--all", action="store_true", help="fetch every one")
    arguments = parser.parse_args()
    names = list(TOOLS) if arguments.all else arguments.names
    if not names or not set(names) <= set(TOOLS):
        parser.error(f"name some of {', '.join(TOOLS)}, or --all")
    for name in names:
        print(f"{name}: {find(name)}")


if __name__ == "__main__":
    main()
